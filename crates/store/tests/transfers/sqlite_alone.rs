//! What only a SQLite file can get wrong.

use countersign_store::database::OpenMode;
use countersign_store::error::RestoredError;
use countersign_store::transfer::{Progress, TransferError, transfer};
use countersign_store::{Clock, StoreError};

use crate::house::{House, Site};
use crate::world::World;

/// A program from before there was a mark counts its commits like every other.
#[tokio::test]
async fn a_program_that_does_not_know_the_mark_cannot_commit_past_it() {
    let world = World::<House<false>>::new().await;
    let site = Site::new(false).await;
    world.harness.transfer(&site).await.unwrap();
    let countersign_store::database::Database::Sqlite(path) = &world.harness.site.database else { unreachable!() };
    let connection = rusqlite::Connection::open(path).unwrap();
    let refused = connection.execute("UPDATE auth_state SET commit_seq = commit_seq + 1", []).unwrap_err();
    assert!(refused.to_string().contains("the database has moved"), "{refused}");
}

#[tokio::test]
async fn a_copy_from_before_the_move_is_noticed() {
    let world = World::<House<false>>::new().await;
    world.register("alice").await;
    world.store().close().await.unwrap();
    let countersign_store::database::Database::Sqlite(path) = &world.harness.site.database else { unreachable!() };
    let copy = path.with_extension("copy");
    countersign_store::sqlite::backup(path, &copy, |_| {}).unwrap();
    world.harness.transfer(&*Site::new(false).await).await.unwrap();
    for log in ["-wal", "-shm"] {
        let _ = std::fs::remove_file(format!("{}{log}", path.display()));
    }
    std::fs::rename(&copy, path).unwrap();
    let refused = world.harness.open(&world.harness.site, OpenMode::Serve).await.err().unwrap();
    assert!(matches!(refused, StoreError::Restored(RestoredError::WentBack { .. })), "{refused}");
    let refused = world.harness.transfer(&*Site::new(false).await).await.unwrap_err();
    assert!(matches!(refused, TransferError::Restored(_, RestoredError::WentBack { .. })), "{refused}");
}

/// A path is the same file from wherever it is named.
#[tokio::test]
async fn a_file_is_known_by_every_path_to_it() {
    let world = World::<House<false>>::new().await;
    let countersign_store::database::Database::Sqlite(path) = &world.harness.site.database else { unreachable!() };
    let around = path.parent().unwrap().join("..").join(path.parent().unwrap().file_name().unwrap()).join("store.db");
    let around = countersign_store::database::Database::Sqlite(around);
    let mut steps = vec![];
    let refused = transfer(&world.harness.site.database, &around, &Clock::System, |step| steps.push(step)).await;
    assert!(matches!(refused, Err(TransferError::Same(_))));
    assert_eq!(steps, Vec::<Progress>::new());
}

//! Copies of a database in use.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use countersign_core::events::Origin;
use tokio::task::JoinSet;

use super::{Place, new_account, register, sign_in};
use crate::database::OpenMode;
use crate::error::{RestoredError, StoreError};
use crate::sqlite::backup;
use crate::verbs::Registered;
use crate::{Clock, Store as _};

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_made_under_writes_is_whole() {
    let place = Place::new();
    let store = Arc::new(place.open());
    // Large enough for many steps.
    let populated = store.writer.run(|writing| {
        for number in 0..2000 {
            let mut new = new_account(number);
            new.password = countersign_core::accounts::PasswordHash::new("x".repeat(4000));
            crate::sqlite::accounts::register(writing, new, Origin::SERVER)?;
        }
        Ok(())
    });
    populated.await.unwrap();
    let (done, written) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(2000)));
    let mut writing = JoinSet::new();
    {
        let (store, done, written) = (Arc::clone(&store), Arc::clone(&done), Arc::clone(&written));
        writing.spawn(async move {
            while !done.load(Ordering::SeqCst) {
                let number = written.load(Ordering::SeqCst);
                let answer = store.register(new_account(number), Origin::SERVER).await.unwrap();
                assert!(matches!(answer, Registered::Done(_)));
                store.revoke_account(new_account(number).id, Origin::SERVER).await.unwrap();
                written.store(number + 1, Ordering::SeqCst);
            }
        });
    }
    let (path, copy) = (place.path(), place.beside("copy.db"));
    let told = {
        let (copy, written) = (copy.clone(), Arc::clone(&written));
        let made = tokio::task::spawn_blocking(move || {
            let mut told = vec![];
            backup(&path, &copy, |progress| {
                told.push(progress);
                // Others write between one step and the next.
                let (seen, since) = (written.load(Ordering::SeqCst), Instant::now());
                while written.load(Ordering::SeqCst) == seen {
                    assert!(since.elapsed() < Duration::from_secs(60), "nobody writes");
                    std::thread::yield_now();
                }
            })
            .unwrap();
            told
        });
        made.await.unwrap()
    };
    done.store(true, Ordering::SeqCst);
    writing.join_all().await;
    assert!(told.len() > 1 && told.windows(2).all(|pair| pair[0].copied < pair[1].copied), "{told:?}");
    let last = told.last().unwrap();
    assert_eq!(last.copied, last.total);

    let names: Vec<_> = fs::read_dir(place.folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with("copy"))
        .collect();
    assert_eq!(names, ["copy.db"], "a copy is one file");
    let raw = rusqlite::Connection::open(&copy).unwrap();
    let count = |sql: &str| raw.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(
        count("SELECT count(*) FROM events WHERE feed_seq IS NOT NULL"),
        count("SELECT feed_seq FROM auth_state")
    );
    assert_eq!(
        count("SELECT count(*) FROM events WHERE kind = 'account_registered'"),
        count("SELECT count(*) FROM accounts")
    );
    assert!(count("SELECT commit_seq FROM auth_state") < place.commit_seq(), "it is of one moment");
}

#[cfg(unix)]
#[tokio::test]
async fn only_the_owner_may_read_a_copy() {
    use std::os::unix::fs::PermissionsExt as _;

    let place = Place::new();
    let store = place.open();
    register(&store, 1).await;
    backup(&place.path(), &place.beside("copy.db"), |_| {}).unwrap();
    assert_eq!(fs::metadata(place.beside("copy.db")).unwrap().permissions().mode() & 0o777, 0o600);
}

#[tokio::test]
async fn nothing_is_overwritten_and_nothing_left_half_done() {
    let place = Place::new();
    let copy = place.beside("copy.db");
    assert!(matches!(backup(&place.path(), &copy, |_| {}).unwrap_err(), StoreError::Unavailable(_)));
    assert!(!copy.exists() && !place.path().exists(), "there was nothing to copy");

    let store = place.open();
    register(&store, 1).await;
    fs::write(&copy, "the copy of last week").unwrap();
    let error = backup(&place.path(), &copy, |_| {}).unwrap_err();
    assert!(matches!(&error, StoreError::Unavailable(text) if text.contains("copy.db")), "{error}");
    assert_eq!(fs::read_to_string(&copy).unwrap(), "the copy of last week");
    fs::remove_file(&copy).unwrap();

    // A page in the middle is damaged: the copy is checked, and does not count.
    for number in 2..200 {
        register(&store, number).await;
    }
    store.close().await.unwrap();
    let mut bytes = fs::read(place.path()).unwrap();
    let middle = bytes.len() / 4096 / 2 * 4096;
    bytes[middle..middle + 4096].fill(0xFF);
    fs::write(place.path(), bytes).unwrap();
    assert!(matches!(backup(&place.path(), &copy, |_| {}).unwrap_err(), StoreError::Corrupt(_)));
    assert!(!copy.exists());
}

#[tokio::test]
async fn a_copy_that_is_put_back_is_noticed() {
    let place = Place::new();
    let store = place.open();
    register(&store, 1).await;
    backup(&place.path(), &place.beside("copy.db"), |_| {}).unwrap();
    sign_in(&store, 1, 1).await;
    store.close().await.unwrap();
    fs::rename(place.beside("copy.db"), place.path()).unwrap();
    let error = place.try_open(OpenMode::Serve).unwrap_err();
    assert!(matches!(error, StoreError::Restored(RestoredError::WentBack { .. })), "{error}");

    // Elsewhere it has no witness at all.
    let elsewhere = Place::new();
    fs::copy(place.path(), elsewhere.path()).unwrap();
    let error = crate::sqlite::SqliteStore::open(elsewhere.path(), OpenMode::Serve, Clock::System).unwrap_err();
    assert!(matches!(error, StoreError::Restored(RestoredError::Unwitnessed { .. })), "{error}");
}

//! Which files there are, and who may read them.

use std::fs;

use super::{Place, register};
use crate::database::OpenMode;
use crate::error::StoreError;
use crate::sqlite::SqliteStore;
use crate::{Clock, Store as _};

#[cfg(unix)]
#[tokio::test]
async fn only_the_owner_may_read_what_was_made() {
    use std::os::unix::fs::PermissionsExt as _;

    let place = Place::new();
    let path = place.beside("deep/down/store.db");
    let store = SqliteStore::open(&path, OpenMode::Serve, Clock::System).unwrap();
    register(&store, 1).await;
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&place.beside("deep")), 0o700);
    assert_eq!(mode(&place.beside("deep/down")), 0o700);
    let files: Vec<_> = fs::read_dir(place.beside("deep/down")).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(files.len() >= 4, "the database, its log, its index and the witness: {files:?}");
    for file in files {
        assert_eq!(mode(&file), 0o600, "{}", file.display());
    }
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let place = Place::new();
    fs::write(place.beside("file"), "").unwrap();
    let error = SqliteStore::open(place.beside("file/store.db"), OpenMode::Serve, Clock::System).unwrap_err();
    assert!(matches!(&error, StoreError::Unavailable(text) if text.contains("file/store.db")), "{error}");
}

#[tokio::test]
async fn closing_leaves_the_database_and_its_witness_alone() {
    let place = Place::new();
    let store = place.open();
    register(&store, 1).await;
    store.close().await.unwrap();
    let mut names: Vec<_> = fs::read_dir(place.folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["store.db", "store.db.witness"]);
    assert!(matches!(store.ready().await.unwrap_err(), StoreError::Unavailable(text) if text.contains("closed")));
    let late = store.register(super::new_account(2), countersign_core::events::Origin::SERVER).await;
    assert!(matches!(late.unwrap_err(), StoreError::Unavailable(_)));
    store.close().await.unwrap();
}

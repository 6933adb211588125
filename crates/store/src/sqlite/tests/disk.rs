//! A disk that is full.

use countersign_core::events::Origin;

use super::{Place, new_account, register, rotate, sign_in};
use crate::Store as _;
use crate::error::StoreError;
use crate::sqlite::SqliteStore;
use crate::verbs::RotatedIn;

/// Lets the database have this many pages and no more.
async fn limit(store: &SqliteStore, pages: i64) {
    let limited = store.writer.run(move |writing| {
        let connection = writing.connection;
        Ok(connection.pragma_update_and_check(None, "max_page_count", pages, |row| row.get::<_, i64>(0))?)
    });
    limited.await.unwrap();
}

#[tokio::test]
async fn a_full_disk_makes_writes_unavailable_and_nothing_is_lost() {
    let place = Place::new();
    let store = place.open();
    register(&store, 0).await;
    let token = sign_in(&store, 0, 1).await;
    limit(&store, place.count("PRAGMA page_count")).await;
    let mut number = 0;
    let refused = loop {
        number += 1;
        match store.register(new_account(number), Origin::SERVER).await {
            Ok(_) => assert!(number < 10_000, "the disk is never full"),
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, StoreError::Unavailable(_)), "{refused}");
    let kept = i64::from(number);
    assert_eq!(place.count("SELECT count(*) FROM accounts"), kept, "what was answered is there, and no more");
    // What is read, and what needs no room, goes on.
    assert!(store.account(new_account(0).id).await.unwrap().is_some());
    assert!(matches!(rotate(&store, &token).await, RotatedIn::Rotated(..)));
    limit(&store, 1 << 30).await;
    register(&store, number).await;
    let verdict: String = place.raw().query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(verdict, "ok");
}

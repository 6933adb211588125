//! What must not grow with the number of sessions, and how much one takes.

use countersign_core::events::Origin;

use super::{Place, id, new_account, new_session, presentation};
use crate::sqlite::writing::Writing;
use crate::sqlite::{SqliteStore, accounts, revocations, rotation, sessions};
use crate::verbs::{Begun, RotatedIn};

/// Accounts with sessions, each of which was refreshed once.
async fn populate(store: &SqliteStore, count: u32) {
    let populated = store.writer.run(move |writing: &Writing<'_>| {
        for number in 0..count {
            // A third as many accounts as sessions, with ids that are not in the order of the sessions.
            let account = (number / 3).wrapping_mul(0x9E37_79B1);
            if number % 3 == 0 {
                accounts::register(writing, new_account(account), Origin::SERVER)?;
            }
            let mut begin = new_session(account, number);
            // As a UUID of version 7 has it: a part that grows, and a random one.
            let mut bytes = id(number);
            bytes[8..].copy_from_slice(&u64::from(number).wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes());
            begin.session = countersign_core::ids::SessionId::from_bytes(bytes);
            let token = begin.token.clone();
            assert!(matches!(sessions::begin(writing, &begin, Origin::SERVER)?, Begun::Live(..)));
            let rotated = rotation::rotate(writing, &presentation(&token), Origin::SERVER)?;
            assert!(matches!(rotated, RotatedIn::Rotated(..)));
        }
        Ok(())
    });
    populated.await.unwrap();
}

/// How many rows a revocation of everyone changes.
async fn rows_changed(store: &SqliteStore) -> u64 {
    let changed = store.writer.run(|writing| {
        let before = writing.connection.total_changes();
        revocations::revoke_everyone(writing, Origin::SERVER)?;
        Ok(writing.connection.total_changes() - before)
    });
    changed.await.unwrap()
}

#[tokio::test]
async fn revoking_everyone_changes_as_many_rows_whoever_there_is() {
    let place = Place::new();
    let store = place.open();
    populate(&store, 10).await;
    assert_eq!(rows_changed(&store).await, 3, "the epoch, the number in the feed, and the event");
    let place = Place::new();
    let store = place.open();
    populate(&store, 10_000).await;
    assert_eq!(rows_changed(&store).await, 3);
}

#[tokio::test]
async fn a_session_takes_at_most_400_bytes() {
    let place = Place::new();
    let store = place.open();
    populate(&store, 10_000).await;
    let bytes = place.count(
        "SELECT sum(pgsize) FROM dbstat \
         WHERE name IN ('sessions', 'sessions_by_account', 'families', 'families_by_session')",
    );
    let one = bytes / 10_000;
    assert!(one <= 400, "{one} bytes");
    assert!(one >= 150, "{one} bytes: something is not counted");
}

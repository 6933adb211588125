//! Migrations and what is refused.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use countersign_core::events::Origin;
use countersign_core::ids::ClientId;
use countersign_core::sessions::rotation::Refusal;
use countersign_core::sessions::state::{Dead, EndReason};
use countersign_core::throttles::{Quota, Usage};
use rusqlite::Connection;

use super::{Place, new_session, presentation, register, rotate, sign_in, sign_out};
use crate::database::{OpenMode, SchemaVersion};
use crate::error::{SchemaError, StoreError};
use crate::sqlite::{SqliteStore, schema_version};
use crate::verbs::{Begin, Bucket, Charge, RotatedIn};
use crate::{Clock, Store as _};

async fn made() -> Place {
    let place = Place::new();
    let store = place.open();
    register(&store, 1).await;
    store.close().await.unwrap();
    place
}

fn refusal(place: &Place) -> SchemaError {
    match place.try_open(OpenMode::Serve).unwrap_err() {
        StoreError::Schema(error) => error,
        other => panic!("{other}"),
    }
}

fn altered(place: &Place) -> String {
    match refusal(place) {
        SchemaError::Altered { what } => what,
        other => panic!("{other}"),
    }
}

/// Takes back what the migrations after the first one did.
fn back_to_version_1() -> String {
    let first = include_str!("../../../migrations/sqlite/0001_initial.sql");
    let (_, tables) = first.split_once("CREATE TABLE sessions").unwrap();
    let (tables, _) = tables.split_once("-- Private parts").unwrap();
    format!("{TABLES_BACK_TO_VERSION_1}; {KEEP_SESSIONS}; CREATE TABLE sessions{tables} {SESSIONS_OF_VERSION_1}")
}

const KEEP_SESSIONS: &str = "CREATE TABLE kept AS SELECT s.id, s.account, f.born_global, f.born_session, s.device, s.address, \
    s.created_at, f.session_expires_at, f.ended_at, f.end_reason FROM sessions s JOIN families f ON f.session = s.id; \
    CREATE TABLE kept_hot AS SELECT id, session, coalesce(client, 'first-party') AS client, generation, current_hash, previous_hash, nonce, \
    retry_hash, rotated_at, idle_expires_at, access_expires_at, reissues, reissue_streak, older_generation, older_at, \
    newer_generation, newer_at FROM families; DROP TABLE families; DROP TABLE sessions";
const SESSIONS_OF_VERSION_1: &str = "INSERT INTO sessions SELECT * FROM kept; INSERT INTO families SELECT * FROM kept_hot; \
    DROP TABLE kept; DROP TABLE kept_hot";
const TABLES_BACK_TO_VERSION_1: &str = "DROP TABLE throttles; DROP TABLE lanes; DROP TABLE incarnations; \
    DROP TRIGGER moved_databases_stay_as_they_are; ALTER TABLE auth_state DROP COLUMN arrived; \
    ALTER TABLE auth_state DROP COLUMN arriving; ALTER TABLE auth_state DROP COLUMN moved_for_good; \
    ALTER TABLE auth_state DROP COLUMN moved_by; ALTER TABLE auth_state DROP COLUMN moved_to; \
    DELETE FROM migrations WHERE version > 1";

#[tokio::test]
async fn is_migrated_once_and_says_how_far_it_is() {
    let place = made().await;
    assert_eq!(schema_version(&place.path()).unwrap(), SchemaVersion { applied: 4, known: 4 });
    let store = place.open();
    assert_eq!(place.count("SELECT count(*) FROM migrations"), 4);
    assert!(store.account(super::new_account(1).id).await.unwrap().is_some());
}

#[tokio::test]
async fn a_database_of_version_1_is_brought_up_to_date_and_keeps_its_rows() {
    let place = Place::new();
    let store = place.open();
    register(&store, 1).await;
    let token = sign_in(&store, 1, 2).await;
    let ended = sign_in(&store, 1, 3).await;
    sign_out(&store, 1, 3).await;
    let other = ClientId::parse("other").unwrap();
    let begin = Begin { client: other.clone(), ..new_session(1, 4) };
    let mut of_another_client = presentation(&begin.token);
    of_another_client.presented.client = other;
    store.begin_session(begin, Origin::SERVER).await.unwrap();
    store.close().await.unwrap();
    place.raw().execute_batch(&back_to_version_1()).unwrap();
    assert_eq!(schema_version(&place.path()).unwrap(), SchemaVersion { applied: 1, known: 4 });
    assert!(matches!(
        place.try_open(OpenMode::Inspect).unwrap_err(),
        StoreError::Schema(SchemaError::Older { found: 1, known: 4 })
    ));
    let store = place.open();
    assert_eq!(schema_version(&place.path()).unwrap(), SchemaVersion { applied: 4, known: 4 });
    assert!(store.account(super::new_account(1).id).await.unwrap().is_some());
    assert!(matches!(rotate(&store, &token).await, RotatedIn::Rotated(..)));
    let rotated = store.rotate(of_another_client, Origin::SERVER).await.unwrap().committed().await.unwrap();
    assert!(matches!(rotated, RotatedIn::Rotated(..)), "{rotated:?}");
    let signed_out = Refusal::Dead(Dead::Ended(EndReason::SignedOut));
    assert_eq!(rotate(&store, &ended).await, RotatedIn::Refused(signed_out));
    let bucket = Bucket::from_bytes(super::id(1));
    let quota = Quota { burst: 3, refill: Duration::from_secs(10) };
    store.charge(vec![Charge { bucket, quota }]).await.unwrap();
    assert_ne!(store.throttle_usage(&[bucket]).await.unwrap(), [Usage::NONE]);
}

#[test]
fn of_many_that_start_at_once_one_migrates() {
    for _ in 0..10 {
        let place = Arc::new(Place::new());
        let starts: Vec<_> = (0..4)
            .map(|_| {
                let place = Arc::clone(&place);
                std::thread::spawn(move || place.try_open(OpenMode::Serve).map(|_| ()))
            })
            .collect();
        for start in starts {
            start.join().unwrap().unwrap();
        }
        assert_eq!(place.count("SELECT count(*) FROM migrations"), 4);
        assert_eq!(place.count("SELECT count(*) FROM auth_state"), 1);
    }
}

#[tokio::test]
async fn a_newer_schema_is_refused_and_left_alone() {
    let place = made().await;
    place.raw().execute("INSERT INTO migrations VALUES (7, 'later', zeroblob(32), 0)", []).unwrap();
    assert_eq!(refusal(&place), SchemaError::Newer { found: 7, known: 4 });
    assert!(matches!(
        place.try_open(OpenMode::Inspect).unwrap_err(),
        StoreError::Schema(SchemaError::Newer { found: 7, known: 4 })
    ));
    assert_eq!(place.count("SELECT count(*) FROM migrations"), 5);
}

#[tokio::test]
async fn a_migration_that_was_another_is_refused() {
    let place = made().await;
    place.raw().execute("UPDATE migrations SET checksum = zeroblob(32)", []).unwrap();
    assert_eq!(altered(&place), "migration 1 is not the one that this program has");
    place.raw().execute("DELETE FROM migrations", []).unwrap();
    assert_eq!(altered(&place), "migration 1 is not the one that this program has");
}

#[tokio::test]
async fn a_schema_that_was_altered_is_refused_and_the_object_named() {
    for (sql, what) in [
        ("DROP INDEX sessions_by_account", "the index sessions_by_account is missing"),
        ("ALTER TABLE accounts ADD COLUMN notes TEXT", "the table accounts was changed"),
        ("CREATE TABLE notes (text TEXT)", "there is a table notes that does not belong here"),
        (
            "CREATE TRIGGER spy AFTER UPDATE ON accounts BEGIN SELECT 1; END",
            "there is a trigger spy that does not belong here",
        ),
    ] {
        let place = made().await;
        place.raw().execute_batch(sql).unwrap();
        assert_eq!(altered(&place), what);
    }
}

#[tokio::test]
async fn what_sqlite_keeps_for_itself_is_no_alteration() {
    let place = made().await;
    place.raw().execute_batch("ANALYZE; VACUUM").unwrap();
    place.open();
}

#[tokio::test]
async fn the_database_of_another_program_is_left_byte_for_byte() {
    let place = Place::new();
    place.raw().execute_batch("CREATE TABLE notes (text TEXT)").unwrap();
    let before = fs::read(place.path()).unwrap();
    assert_eq!(refusal(&place), SchemaError::Foreign);
    assert_eq!(fs::read(place.path()).unwrap(), before);

    let place = Place::new();
    place.raw().execute_batch("PRAGMA application_id = 77; CREATE TABLE migrations (version INTEGER)").unwrap();
    assert_eq!(refusal(&place), SchemaError::Foreign);
}

#[test]
fn what_is_no_database_is_refused() {
    let place = Place::new();
    fs::write(place.path(), "an old shopping list, long enough to be no empty file".repeat(100)).unwrap();
    assert!(matches!(place.try_open(OpenMode::Serve).unwrap_err(), StoreError::Corrupt(_)));
}

#[tokio::test]
async fn to_look_makes_and_changes_nothing() {
    let place = Place::new();
    assert!(matches!(place.try_open(OpenMode::Inspect).unwrap_err(), StoreError::Unavailable(_)));
    assert!(!place.path().exists());
    Connection::open(place.path()).unwrap().execute_batch("PRAGMA user_version = 0").unwrap();
    assert!(matches!(
        place.try_open(OpenMode::Inspect).unwrap_err(),
        StoreError::Schema(SchemaError::Older { found: 0, known: 4 })
    ));

    let place = made().await;
    let looking = place.try_open(OpenMode::Inspect).unwrap();
    assert!(looking.account(super::new_account(1).id).await.unwrap().is_some());
    let origin = countersign_core::events::Origin::SERVER;
    assert!(matches!(looking.register(super::new_account(2), origin).await.unwrap_err(), StoreError::Unavailable(_)));
    assert!(matches!(looking.ready().await.unwrap_err(), StoreError::Unavailable(_)));
}

#[test]
fn memory_is_no_place_for_it() {
    for path in [":memory:", "", "file::memory:?cache=shared"] {
        let error = SqliteStore::open(path, OpenMode::Serve, Clock::System).unwrap_err();
        assert!(matches!(error, StoreError::Unavailable(text) if text.contains("has to be a file")), "{path}");
    }
}

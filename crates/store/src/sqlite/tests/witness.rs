//! A database that went back in time.

use std::fs;
use std::time::{Duration, Instant};

use countersign_core::events::Origin;
use countersign_core::sessions::rotation::Refusal;
use countersign_core::sessions::state::Dead;

use super::{Place, register, rotate, sign_in};
use crate::Store as _;
use crate::database::OpenMode;
use crate::error::{RestoredError, StoreError};
use crate::sqlite::SqliteStore;
use crate::verbs::RotatedIn;

fn refusal(place: &Place) -> RestoredError {
    match place.try_open(OpenMode::Serve).unwrap_err() {
        StoreError::Restored(error) => error,
        other => panic!("{other}"),
    }
}

fn witnessed(place: &Place) -> i64 {
    let witness: serde_json::Value = serde_json::from_slice(&fs::read(place.witness()).unwrap()).unwrap();
    witness["commit_seq"].as_i64().unwrap()
}

async fn reopen(place: &Place, store: SqliteStore) -> SqliteStore {
    store.close().await.unwrap();
    place.open()
}

#[tokio::test]
async fn a_restored_copy_is_refused_until_it_is_accepted() {
    let place = Place::new();
    let store = place.open();
    register(&store, 1).await;
    let first = sign_in(&store, 1, 1).await;
    store.close().await.unwrap();
    fs::copy(place.path(), place.beside("yesterday.db")).unwrap();

    let store = place.open();
    let RotatedIn::Rotated(_, second) = rotate(&store, &first).await else { panic!("it is the current token") };
    store.close().await.unwrap();
    let seen = witnessed(&place);
    fs::copy(place.beside("yesterday.db"), place.path()).unwrap();
    let witness = place.witness().display().to_string();
    let found = seen.unsigned_abs() - 1;
    assert_eq!(refusal(&place), RestoredError::WentBack { found, seen: seen.unsigned_abs(), witness });
    assert_eq!(witnessed(&place), seen, "a refusal forgets nothing");
    place.try_open(OpenMode::Inspect).unwrap();

    let store = place.try_open(OpenMode::Maintain).unwrap();
    store.accept_restore(Origin::COMMAND_LINE).await.unwrap();
    assert_eq!(witnessed(&place), place.commit_seq(), "the witness is there before the answer");
    let store = reopen(&place, store).await;
    for token in [&first, &second] {
        assert_eq!(rotate(&store, token).await, RotatedIn::Refused(Refusal::Dead(Dead::EveryoneRevoked)));
    }
    sign_in(&store, 1, 2).await;
}

#[tokio::test]
async fn another_database_in_its_place_is_refused() {
    let (place, other) = (Place::new(), Place::new());
    for place in [&place, &other] {
        let store = place.open();
        register(&store, 1).await;
        store.close().await.unwrap();
    }
    fs::copy(other.path(), place.path()).unwrap();
    assert_eq!(refusal(&place), RestoredError::Swapped { witness: place.witness().display().to_string() });
}

#[tokio::test]
async fn a_database_that_was_served_needs_its_witness() {
    let place = Place::new();
    let store = place.open();
    register(&store, 1).await;
    store.close().await.unwrap();
    let text = fs::read_to_string(place.witness()).unwrap();
    fs::remove_file(place.witness()).unwrap();
    assert_eq!(refusal(&place), RestoredError::Unwitnessed { witness: place.witness().display().to_string() });
    fs::write(place.witness(), &text[..text.len() / 2]).unwrap();
    let error = place.try_open(OpenMode::Serve).unwrap_err();
    assert!(matches!(&error, StoreError::Corrupt(text) if text.contains("accept-restore")), "{error}");
    fs::write(place.witness(), text).unwrap();
    place.open();
}

#[tokio::test]
async fn a_database_that_was_never_served_gets_its_witness() {
    let place = Place::new();
    let maintained = place.try_open(OpenMode::Maintain).unwrap();
    assert!(!place.witness().exists(), "maintenance makes no witness");
    maintained.close().await.unwrap();
    let store = place.open();
    assert_eq!(witnessed(&place), 0);
    reopen(&place, store).await;
}

#[tokio::test]
async fn an_empty_database_does_not_take_the_place_of_one_that_was_served() {
    let place = Place::new();
    let testimony = r#"{"incarnation":"00000000-0000-0000-0000-000000000000","commit_seq":99}"#;
    fs::write(place.witness(), testimony).unwrap();
    let refused = place.try_open(OpenMode::Serve);
    assert!(matches!(refused, Err(StoreError::Restored(RestoredError::Swapped { .. }))), "{refused:?}");
    assert_eq!(fs::read_to_string(place.witness()).unwrap(), testimony, "what is known of the lost one stays known");
}

#[tokio::test]
async fn the_witness_follows_and_is_never_ahead() {
    let place = Place::new();
    let (store, another) = (place.open(), place.open());
    let began = Instant::now();
    let mut number = 0;
    // Two processes write, until each must have written the witness at least once.
    while began.elapsed() < Duration::from_millis(1500) {
        number += 2;
        register(&store, number).await;
        register(&another, number + 1).await;
        let seen = witnessed(&place);
        assert!(seen <= place.commit_seq());
    }
    assert!(witnessed(&place) > 0, "it follows while the database is in use");
    store.close().await.unwrap();
    another.close().await.unwrap();
    assert_eq!(witnessed(&place), place.commit_seq());
}

#[tokio::test]
async fn the_witness_catches_up_when_nothing_happens() {
    let place = Place::new();
    let store = place.open();
    register(&store, 1).await;
    let deadline = Instant::now() + Duration::from_secs(20);
    while witnessed(&place) < place.commit_seq() {
        assert!(Instant::now() < deadline, "nobody wrote the witness");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_crash_is_no_restore() {
    let place = Place::new();
    for number in 1..=5 {
        let store = place.open();
        register(&store, number).await;
        // Neither closed nor waited for.
        drop(store);
    }
    assert_eq!(place.count("SELECT count(*) FROM accounts"), 5);
}

#[tokio::test]
async fn a_witness_that_cannot_be_written_is_told_at_the_start() {
    let place = Place::new();
    fs::create_dir(place.witness()).unwrap();
    let error = place.try_open(OpenMode::Serve).unwrap_err();
    assert!(matches!(&error, StoreError::Unavailable(text) if text.contains("witness")), "{error}");
}

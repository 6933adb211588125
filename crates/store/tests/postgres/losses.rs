//! The database forgets what it had committed, as a server does that was promoted behind its predecessor.

use std::collections::{BTreeMap, BTreeSet};

use countersign_core::events::{EventKind, Origin};
use countersign_core::sessions::rotation::Refusal;
use countersign_core::sessions::state::Dead;
use countersign_store::error::RestoredError;
use countersign_store::postgres::objection;
use countersign_store::verbs::{AccessDenied, RotatedIn};
use countersign_store::{Store as _, StoreError};

use crate::postgres_harness::PostgresHarness;
use crate::world::{STRANGER, World, rotated};

/// Forgets the last commit of every lane, whatever it was about.
const FORGET_A_COMMIT: &str = "UPDATE countersign.lanes SET commit_seq = commit_seq - 1 WHERE commit_seq > 1; \
                               DELETE FROM countersign.lanes WHERE commit_seq = 1";

fn lost<T: std::fmt::Debug>(answer: Result<T, StoreError>) -> bool {
    matches!(answer, Err(StoreError::Restored(RestoredError::LostCommits { .. })))
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL: scripts/with-postgres cargo test -p countersign-store -- --ignored"]
async fn a_lost_refresh_stops_the_node_until_every_session_has_ended() {
    let world = World::<PostgresHarness>::new().await;
    let alice = world.register("alice").await;
    let signed_in = world.sign_in(alice.id).await;
    let before = world.store().feed_position().await.unwrap();
    let token = world.successor(&signed_in.token).await;
    world.harness.sql(FORGET_A_COMMIT).await;

    assert!(lost(rotated(&*world.store(), world.presentation(&token)).await));
    assert!(lost(world.store().session_account(signed_in.session).await), "reads are refused as well from then on");
    assert!(lost(world.store().feed_position().await));

    let after = world.store().accept_restore(Origin::SERVER).await.unwrap();
    assert!(
        after.incarnation != before.incarnation && after.seq > before.seq && after.global_epoch > before.global_epoch
    );
    let dead = Dead::EveryoneRevoked;
    assert_eq!(world.denied(signed_in.session).await, Some(AccessDenied::Dead(dead)));
    assert_eq!(world.rotate(&token).await, RotatedIn::Refused(Refusal::Dead(dead)));
    assert_eq!(world.last_event().await.kind, EventKind::RestoreAccepted);
    let again = world.sign_in(alice.id).await;
    world.successor(&again.token).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL: scripts/with-postgres cargo test -p countersign-store -- --ignored"]
async fn a_lost_revocation_is_noticed_by_a_node_that_only_read_of_it() {
    let world = World::<PostgresHarness>::new().await;
    let other = world.harness.node().await;
    let alice = world.register("alice").await;
    let signed_in = world.sign_in(alice.id).await;
    world.end(alice.id, signed_in.session).await.unwrap();
    assert_eq!(other.feed_position().await.unwrap().seq, 1);
    let forget = "UPDATE countersign.auth_state SET feed_seq = 0; DELETE FROM countersign.events WHERE feed_seq = 1; \
                  UPDATE countersign.families SET ended_at = NULL, end_reason = NULL";
    world.harness.sql(forget).await;

    assert!(lost(other.session_account(signed_in.session).await), "the session would be alive again");
    assert!(lost(world.store().session_account(signed_in.session).await));

    // Whoever comes second finds the history of the first.
    let (first, second) = (
        other.accept_restore(Origin::SERVER).await.unwrap(),
        world.store().accept_restore(Origin::SERVER).await.unwrap(),
    );
    assert_eq!(first, second);
    assert!(first.seq > 1, "a number that readers have seen does not come again");
    assert_eq!(world.denied(signed_in.session).await, Some(AccessDenied::Dead(Dead::EveryoneRevoked)));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL: scripts/with-postgres cargo test -p countersign-store -- --ignored"]
async fn a_node_that_lost_nothing_follows_the_others_into_the_new_history() {
    let world = World::<PostgresHarness>::new().await;
    let other = world.harness.node().await;
    let accepted = world.store().accept_restore(Origin::COMMAND_LINE).await.unwrap();
    assert_eq!(other.feed_position().await.unwrap(), accepted);
    let alice = world.register("alice").await;
    other.revoke_account(alice.id, STRANGER).await.unwrap().unwrap();

    // The history that was left does not come back, though its number is no smaller.
    let back = format!("UPDATE countersign.auth_state SET incarnation = '{}'", uuid::Uuid::from_u128(7));
    world.harness.sql(&back).await;
    let swapped = |answer| matches!(answer, Err(StoreError::Restored(RestoredError::AnotherHistory)));
    assert!(swapped(other.feed_position().await));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL: scripts/with-postgres cargo test -p countersign-store -- --ignored"]
async fn a_start_remembers_what_the_witness_saw() {
    let world = World::<PostgresHarness>::new().await;
    let alice = world.register("alice").await;
    let signed_in = world.sign_in(alice.id).await;
    world.successor(&signed_in.token).await;
    world.store().close().await.unwrap();
    let (url, witness) = (world.harness.url(), world.harness.first_witness());
    assert_eq!(objection(&url, &witness).await.unwrap(), None);
    world.harness.start().await.unwrap().close().await.unwrap();

    world.harness.sql(FORGET_A_COMMIT).await;
    assert!(matches!(objection(&url, &witness).await.unwrap(), Some(RestoredError::WentBack { .. })));
    let started = world.harness.start().await;
    assert!(matches!(started, Err(StoreError::Restored(RestoredError::WentBack { .. }))), "{started:?}");
    let elsewhere = world.harness.node().await;
    elsewhere.accept_restore(Origin::COMMAND_LINE).await.unwrap();
    assert_eq!(objection(&url, &witness).await.unwrap(), None, "the history that followed is known by the database");
    world.harness.start().await.unwrap();

    std::fs::write(&witness, "{").unwrap();
    assert!(matches!(world.harness.start().await, Err(StoreError::Corrupt(_))), "a testimony that nobody can read");
    assert!(
        matches!(objection(&url, &witness).await.unwrap(), Some(RestoredError::Unwitnessed { .. })),
        "and it can be accepted"
    );
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL: scripts/with-postgres cargo test -p countersign-store -- --ignored"]
async fn a_poll_notices_what_any_lane_has_lost() {
    let world = World::<PostgresHarness>::new().await;
    let alice = world.register("alice").await;
    let signed_in = world.sign_in(alice.id).await;
    world.successor(&signed_in.token).await;
    world.store().feed_position().await.unwrap();
    world.harness.sql(FORGET_A_COMMIT).await;
    assert!(lost(world.store().feed_position().await), "though nothing was written since");
}

/// Which nodes have counted in which lanes.
async fn lanes(world: &World<PostgresHarness>) -> BTreeMap<uuid::Uuid, BTreeSet<i64>> {
    let client = world.harness.connect().await;
    let rows = client.query("SELECT node, lane FROM countersign.lanes", &[]).await.unwrap();
    let mut lanes = BTreeMap::<_, BTreeSet<_>>::new();
    for row in rows {
        lanes.entry(row.get(0)).or_default().insert(row.get(1));
    }
    lanes
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL: scripts/with-postgres cargo test -p countersign-store -- --ignored"]
async fn nodes_that_start_from_one_witness_count_apart() {
    let world = World::<PostgresHarness>::new().await;
    world.register("alice").await;
    let (witness, copied) = (world.harness.first_witness(), std::fs::read(world.harness.first_witness()).unwrap());
    let copy = world.harness.start().await.unwrap();
    std::fs::write(&witness, copied).unwrap();
    let another = world.harness.start().await.unwrap();
    assert_eq!(lanes(&world).await.len(), 3, "a node each");
    for node in [&copy, &another] {
        node.feed_position().await.unwrap();
        node.ready().await.unwrap();
    }
    world.register("bob").await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL: scripts/with-postgres cargo test -p countersign-store -- --ignored"]
async fn of_a_node_that_has_ended_only_that_is_kept() {
    let world = World::<PostgresHarness>::new().await;
    world.register("alice").await;
    world.store().close().await.unwrap();
    let copied = std::fs::read(world.harness.first_witness()).unwrap();
    let next = world.harness.start().await.unwrap();
    let kept = lanes(&world).await;
    assert_eq!(kept.values().cloned().collect::<BTreeSet<_>>(), BTreeSet::from([[-1].into(), [0].into()]), "{kept:?}");
    next.close().await.unwrap();

    // Whoever kept the witness of that node has lost nothing either.
    std::fs::write(world.harness.first_witness(), copied).unwrap();
    world.harness.start().await.unwrap();
}

//! Commits that hang until nobody waits for them any more, and are made all the same.

use std::time::Duration;

use countersign_core::sessions::rotation::Replay;
use countersign_store::StoreError;
use countersign_store::verbs::RotatedIn;

use crate::postgres_harness::PostgresHarness;
use crate::world::{LIFETIMES, World, rotated};

const OVERLAP: Duration = LIFETIMES.rotation_overlap;
const MOMENT: Duration = Duration::from_secs(1);

/// Has every commit of a refresh take longer than a caller waits, as if a standby were missed.
async fn hang_commits(world: &World<PostgresHarness>) {
    let sql =
        "CREATE FUNCTION hang() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(3); RETURN NULL; END $$;
         CREATE CONSTRAINT TRIGGER hang AFTER UPDATE ON countersign.families DEFERRABLE INITIALLY DEFERRED
         FOR EACH ROW EXECUTE FUNCTION hang()";
    world.harness.sql(sql).await;
}

/// Waits until those are made that are under way.
async fn go_on(world: &World<PostgresHarness>) {
    world.harness.sql("DROP TRIGGER hang ON countersign.families").await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL: scripts/with-postgres cargo test -p countersign-store -- --ignored"]
async fn a_client_without_a_retry_key_outlives_a_commit_that_hung_for_longer_than_the_overlap() {
    let world = World::<PostgresHarness>::new().await;
    let alice = world.register("alice").await;
    let [hung, late, before] =
        [world.sign_in(alice.id).await, world.sign_in(alice.id).await, world.sign_in(alice.id).await];
    world.successor(&before.token).await;
    world.advance(MOMENT);
    hang_commits(&world).await;
    for token in [&hung.token, &late.token] {
        let unknown = rotated(&*world.store(), world.presentation(token)).await;
        assert!(matches!(unknown, Err(StoreError::Unavailable(_))), "{unknown:?}");
    }
    go_on(&world).await;
    world.advance(OVERLAP * 2);
    let retried = world.rotate(&hung.token).await;
    assert!(matches!(retried, RotatedIn::Reissued(..)), "{retried:?}");
    let replayed = world.rotate(&before.token).await;
    assert!(matches!(replayed, RotatedIn::Replayed(Replay::AfterOverlap, _)), "it was answered before: {replayed:?}");

    world.advance(OVERLAP);
    let replayed = world.rotate(&late.token).await;
    assert!(matches!(replayed, RotatedIn::Replayed(Replay::AfterOverlap, _)), "commits are made again: {replayed:?}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL: scripts/with-postgres cargo test -p countersign-store -- --ignored"]
async fn so_does_one_whose_family_had_a_transaction_of_its_own() {
    let world = World::<PostgresHarness>::new().await;
    let alice = world.register("alice").await;
    let hung = world.sign_in(alice.id).await;
    world.advance(MOMENT);
    hang_commits(&world).await;
    // A longer lifetime than any before is noted first.
    let living = |times| {
        let mut longer = world.presentation(&hung.token);
        longer.lifetimes.access_token *= times;
        longer
    };
    let unknown = rotated(&*world.store(), living(2)).await;
    assert!(matches!(unknown, Err(StoreError::Unavailable(_))), "{unknown:?}");
    go_on(&world).await;
    world.advance(OVERLAP * 2);
    let retried = rotated(&*world.store(), living(3)).await.unwrap();
    assert!(matches!(retried, RotatedIn::Reissued(..)), "{retried:?}");
}

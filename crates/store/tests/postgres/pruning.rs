//! Pruning beside what clients do with sessions that are long dead.

use std::time::Duration;

use countersign_store::verbs::{Pruned, Sweep};
use tokio::time::timeout;

use crate::postgres_harness::PostgresHarness;
use crate::world::{STRANGER, World};

const DAY: Duration = Duration::from_secs(24 * 3600);
const SWEEP: Sweep =
    Sweep { after: None, limit: 100, keep_sessions: DAY, keep_events: Duration::from_secs(365 * 24 * 3600) };

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL: scripts/with-postgres cargo test -p countersign-store -- --ignored"]
async fn what_somebody_holds_is_left_for_the_next_sweep() {
    let world = World::<PostgresHarness>::new().await;
    let alice = world.register("alice").await;
    let sessions = world.sign_in_often(alice.id, 5).await;
    world.store().revoke_everyone(STRANGER).await.unwrap();
    world.advance(DAY * 2);
    let mut client = world.harness.connect().await;
    let holding = client.transaction().await.unwrap();
    for held in [&sessions[1], &sessions[3]].map(|held| held.token.family.as_uuid()) {
        holding.query("SELECT 1 FROM countersign.families WHERE id = $1 FOR UPDATE", &[&held]).await.unwrap();
    }

    let (store, pruned) = (world.store(), |sessions| Pruned { sessions, events: 0, throttles: 0, next: None });
    let swept = timeout(Duration::from_secs(1), store.prune(SWEEP)).await;
    assert_eq!(swept.expect("it waits for nobody").unwrap(), pruned(3));
    holding.rollback().await.unwrap();
    assert_eq!(store.prune(SWEEP).await.unwrap(), pruned(2));
    let left = "SELECT (SELECT count(*) FROM countersign.families) + (SELECT count(*) FROM countersign.sessions)";
    assert_eq!(world.harness.connect().await.query_one(left, &[]).await.unwrap().get::<_, i64>(0), 0);
}

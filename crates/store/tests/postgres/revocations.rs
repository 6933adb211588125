//! Revocations beside what other nodes do at the same moment.

use std::time::Duration;

use countersign_store::Store as _;
use countersign_store::verbs::REVOCATION_MARGIN;

use crate::postgres_harness::PostgresHarness;
use crate::world::{STRANGER, World};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL: scripts/with-postgres cargo test -p countersign-store -- --ignored"]
async fn a_revocation_is_told_for_as_long_as_tokens_live_that_another_node_has_issued_meanwhile() {
    let world = World::<PostgresHarness>::new().await;
    let other = world.harness.node().await;
    let alice = world.register("alice").await;
    let mut client = world.harness.connect().await;
    let holding = client.transaction().await.unwrap();
    holding.execute("SELECT 1 FROM countersign.accounts FOR UPDATE", &[]).await.unwrap();
    let store = world.store();
    let revoking = store.revoke_account(alice.id, STRANGER);
    let meanwhile = async {
        // It has begun, and waits for the account.
        world.harness.until_somebody_waits_for_a_lock().await;
        other.note_access_lifetime(Duration::from_secs(7200)).await.unwrap();
        holding.rollback().await.unwrap();
    };
    let (revoked, ()) = tokio::join!(revoking, meanwhile);
    revoked.unwrap().unwrap();
    let feed = store.revocations(0, 10).await.unwrap();
    assert_eq!(feed[0].expires_at, world.now() + Duration::from_secs(7200) + REVOCATION_MARGIN);
}

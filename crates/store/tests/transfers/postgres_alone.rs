//! What only a database that several nodes share can get wrong.

use std::time::Duration;

use countersign_store::database::OpenMode;
use countersign_store::transfer::TransferError;
use tokio_postgres::NoTls;

use crate::house::{House, Site};
use crate::world::World;

/// A transaction that looked before the mark was set may still commit: the copy must not begin before it has.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL: scripts/with-postgres cargo test -p countersign-store -- --ignored"]
async fn a_transaction_that_began_before_is_waited_for() {
    let world = World::<House<true>>::new().await;
    let alice = world.register("alice").await;
    let site = Site::new(false).await;
    let (client, connection) = tokio_postgres::connect(&world.harness.site.url_text(), NoTls).await.unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(async move { connection.await.unwrap() });
    client
        .batch_execute(
            "BEGIN; INSERT INTO countersign.lanes VALUES ('00000000-0000-4000-8000-000000000001', 0, 1); \
             UPDATE countersign.accounts SET claims_version = claims_version + 1",
        )
        .await
        .unwrap();
    let transferring = async { world.harness.transfer(&site).await };
    let writing = async {
        let waits = "SELECT 1 FROM pg_locks WHERE mode = 'ShareLock' AND NOT granted AND relation = 'lanes'::regclass";
        while world.harness.site.rows(waits).await.is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        world.store().feed_position().await.unwrap();
        client.batch_execute("COMMIT").await.unwrap();
    };
    let (transferred, ()) = tokio::join!(transferring, writing);
    transferred.unwrap();
    let claims = site.rows("SELECT CAST(claims_version AS text) FROM accounts").await;
    assert_eq!(claims, [[Some((alice.claims_version.get() + 1).to_string())]]);
}

/// A node that comes back to PostgreSQL after a stay in SQLite remembers what it had committed.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL: scripts/with-postgres cargo test -p countersign-store -- --ignored"]
async fn a_node_that_remembers_an_earlier_stay_does_not_object() {
    let mut world = World::<House<true>>::new().await;
    let alice = world.register("alice").await;
    let signed_in = world.sign_in(alice.id).await;
    let first = std::sync::Arc::clone(&world.harness.site);
    world.harness.move_to(Site::new(false).await).await;
    let token = world.successor(&signed_in.token).await;
    // Its history ends there and another one begins, so that the node remembers one that was left.
    let elsewhere = Site::new(true).await;
    std::fs::copy(first.witness(), elsewhere.witness()).unwrap();
    world.harness.move_to(std::sync::Arc::clone(&elsewhere)).await;
    world.successor(&token).await;
    assert!(matches!(world.harness.open(&first, OpenMode::Serve).await, Err(countersign_store::StoreError::Moved(_))));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL: scripts/with-postgres cargo test -p countersign-store -- --ignored"]
async fn a_database_is_known_by_every_name_of_its_server() {
    let world = World::<House<true>>::new().await;
    world.register("alice").await;
    let refused = world.harness.transfer(&world.harness.site.by_another_name()).await.unwrap_err();
    assert!(matches!(refused, TransferError::Same(_)), "{refused}");
    world.register("bob").await;
}

//! Connections that break, and what other nodes are told.

use std::time::Duration;

use countersign_store::Store as _;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::postgres_harness::PostgresHarness;
use crate::world::{STRANGER, World};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL: scripts/with-postgres cargo test -p countersign-store -- --ignored"]
async fn verbs_go_on_after_every_connection_was_broken() {
    let world = World::<PostgresHarness>::new().await;
    let alice = world.register("alice").await;
    let mut token = world.sign_in(alice.id).await.token;
    for _ in 0..5 {
        let kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                    WHERE datname = current_database() AND pid <> pg_backend_pid()";
        world.harness.sql(kill).await;
        token = world.successor(&token).await;
        assert!(world.store().account(alice.id).await.unwrap().is_some());
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL: scripts/with-postgres cargo test -p countersign-store -- --ignored"]
async fn another_node_is_woken_by_a_revocation() {
    let world = World::<PostgresHarness>::new().await;
    let other = world.harness.node().await;
    let alice = world.register("alice").await;
    let mut signal = other.feed_signal();
    // It may not listen yet: a revocation is repeated until one arrives without a poll.
    for seq in 1.. {
        world.store().revoke_account(alice.id, STRANGER).await.unwrap();
        if timeout(Duration::from_millis(200), signal.changed()).await.is_ok() {
            assert_eq!(other.feed_position().await.unwrap().seq, seq);
            break;
        }
        assert!(seq < 50, "it was never woken");
    }
    // What anybody may call for is heard, and its number is not believed.
    signal.mark_unchanged();
    let known = *signal.borrow();
    world.harness.sql("NOTIFY countersign, '18446744073709551615'").await;
    timeout(Duration::from_secs(5), signal.changed()).await.unwrap().unwrap();
    assert_eq!(*signal.borrow_and_update(), known);
    let position = world.store().revoke_everyone(STRANGER).await.unwrap().position;
    timeout(Duration::from_secs(5), signal.changed()).await.unwrap().unwrap();
    assert_eq!(other.feed_position().await.unwrap(), position);
    assert_eq!(*signal.borrow(), position.seq);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL: scripts/with-postgres cargo test -p countersign-store -- --ignored"]
async fn a_verb_that_nobody_waits_for_leaves_nothing_behind() {
    let world = World::<PostgresHarness>::new().await;
    let alice = world.register("alice").await;
    for step in 0..200 {
        let store = world.store();
        let begin = world.begin(alice.id);
        // Dropped at another moment each time: somewhere between the request for a connection and the answer to COMMIT.
        let _ = timeout(Duration::from_micros(step * 25), store.begin_session(begin, STRANGER)).await;
    }
    let listed = world.store().sessions(alice.id, 1000).await.unwrap().len();
    let signed_in = world.kinds().await.iter().filter(|kind| kind.as_str() == "signed_in").count();
    assert_eq!(listed, signed_in, "each was begun whole or not at all");
    assert!((1..200).contains(&listed), "some were dropped in time and some were not: {listed}");
    let left = world.harness.connect().await;
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in transaction%'";
    let idle: i64 = left.query_one(sql, &[]).await.unwrap().get(0);
    assert_eq!(idle, 0, "no transaction was left open");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL: scripts/with-postgres cargo test -p countersign-store -- --ignored"]
async fn a_read_that_was_given_up_does_not_hold_up_the_next() {
    let world = World::<PostgresHarness>::new().await;
    let mut client = world.harness.connect().await;
    let store = world.store();
    // So that there are several to choose from.
    let [one, two, three] = [0; 3].map(|_| store.accounts(None, 10));
    tokio::try_join!(one, two, three).unwrap();
    let holding = client.transaction().await.unwrap();
    holding.batch_execute("LOCK TABLE countersign.readers IN ACCESS EXCLUSIVE MODE").await.unwrap();
    for patience in [800, 300] {
        let readers = timeout(Duration::from_millis(patience), store.readers()).await;
        assert!(readers.is_err(), "it waits for the table");
        let accounts = timeout(Duration::from_millis(150), store.accounts(None, 10)).await;
        assert!(accounts.is_ok_and(|accounts| accounts.is_ok()), "it has a connection to itself");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL: scripts/with-postgres cargo test -p countersign-store -- --ignored"]
async fn what_a_connection_cannot_do_is_tried_again_on_another() {
    let world = World::<PostgresHarness>::new().await;
    // On more connections than it is tried.
    let mut reading = JoinSet::new();
    for _ in 0..12 {
        let store = world.store();
        reading.spawn(async move { store.readers().await.unwrap() });
    }
    assert!(reading.join_all().await.iter().all(Vec::is_empty));
    // Whoever has prepared a statement for the column before cannot run it any more.
    world.harness.sql("ALTER TABLE countersign.readers ALTER COLUMN name TYPE varchar(200)").await;
    assert_eq!(world.store().readers().await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL: scripts/with-postgres cargo test -p countersign-store -- --ignored"]
async fn where_the_row_of_a_lane_is_held_another_lane_is_taken() {
    let world = World::<PostgresHarness>::new().await;
    world.register("alice").await;
    let mut client = world.harness.connect().await;
    let holding = client.transaction().await.unwrap();
    holding.execute("SELECT 1 FROM countersign.lanes FOR UPDATE", &[]).await.unwrap();
    // After a wait, and then without one: the lane rests.
    world.register("bob").await;
    assert!(timeout(Duration::from_millis(500), world.register("carol")).await.is_ok());
}

//! Tables: made once, recognised, refused.

use std::sync::Arc;
use std::time::{Duration, Instant};

use countersign_core::ids::ClientId;
use countersign_core::sessions::rotation::Refusal;
use countersign_core::sessions::state::{Dead, EndReason};
use countersign_store::database::{OpenMode, SchemaVersion};
use countersign_store::error::SchemaError;
use countersign_store::postgres::{PostgresStore, schema_version};
use countersign_store::verbs::RotatedIn;
use countersign_store::{Clock, Store as _, StoreError};
use tokio::task::JoinSet;

use crate::postgres_harness::{PostgresHarness, TestDatabase};
use crate::world::{World, rotated};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL: scripts/with-postgres cargo test -p countersign-store -- --ignored"]
async fn of_many_nodes_that_start_at_once_one_makes_the_tables() {
    let database = TestDatabase::make().await;
    let folder = Arc::new(tempfile::tempdir().unwrap());
    assert_eq!(schema_version(&database.url()).await.unwrap().applied, 0);
    let mut starting = JoinSet::new();
    for number in 0..8 {
        let (url, folder) = (database.url(), Arc::clone(&folder));
        starting.spawn(async move {
            let witness = folder.path().join(number.to_string());
            PostgresStore::open(&url, &witness, OpenMode::Serve, Clock::System).await
        });
    }
    let mut incarnations = vec![];
    for store in starting.join_all().await {
        incarnations.push(store.unwrap().feed_position().await.unwrap().incarnation);
    }
    incarnations.dedup();
    assert_eq!(incarnations.len(), 1);
    let SchemaVersion { applied, known } = schema_version(&database.url()).await.unwrap();
    assert_eq!(applied, known);
}

/// Takes back what the newest migration did.
const AS_IT_WAS_BEFORE: &str = "ALTER TABLE countersign.sessions ADD COLUMN born_global bigint, ADD COLUMN born_session bigint, \
    ADD COLUMN expires_at bigint, ADD COLUMN ended_at bigint, ADD COLUMN end_reason text; \
    UPDATE countersign.sessions s SET born_global = f.born_global, born_session = f.born_session, \
    expires_at = f.session_expires_at, ended_at = f.ended_at, end_reason = f.end_reason \
    FROM countersign.families f WHERE f.session = s.id; \
    UPDATE countersign.families SET client = 'first-party' WHERE client IS NULL; ALTER TABLE countersign.families ALTER COLUMN client SET NOT NULL, \
    DROP COLUMN account, DROP COLUMN born_global, DROP COLUMN born_session, \
    DROP COLUMN session_expires_at, DROP COLUMN ended_at, DROP COLUMN end_reason; \
    DELETE FROM countersign.migrations WHERE version = 4";

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL: scripts/with-postgres cargo test -p countersign-store -- --ignored"]
async fn a_migration_beside_a_long_reader_holds_up_nobody_for_long() {
    let world = World::<PostgresHarness>::new().await;
    let alice = world.register("alice").await;
    let (living, ended) = (world.sign_in(alice.id).await, world.sign_in(alice.id).await);
    let mut begin = world.begin(alice.id);
    begin.client = ClientId::parse("other").unwrap();
    let of_another_client = world.sign_in_with(begin).await;
    world.end(alice.id, ended.session).await.unwrap();
    world.store().close().await.unwrap();
    world.harness.sql(AS_IT_WAS_BEFORE).await;
    let mut dump = world.harness.connect().await;
    let dumping = dump.transaction().await.unwrap();
    dumping.query("SELECT 1 FROM countersign.families", &[]).await.unwrap();

    let beside = async {
        let client = world.harness.connect().await;
        let (began, mut longest) = (Instant::now(), Duration::ZERO);
        // More than one attempt at the migration.
        while began.elapsed() < Duration::from_secs(5) {
            let asked = Instant::now();
            client.query("SELECT 1 FROM countersign.families", &[]).await.unwrap();
            longest = longest.max(asked.elapsed());
        }
        dumping.rollback().await.unwrap();
        longest
    };
    let (migrated, longest) = tokio::join!(world.harness.start(), beside);
    let migrated = migrated.unwrap();
    assert!(longest > Duration::from_millis(500), "nobody migrated meanwhile: {longest:?}");
    assert!(longest < Duration::from_millis(1500), "it held up others for {longest:?}");
    let SchemaVersion { applied, known } = schema_version(&world.harness.url()).await.unwrap();
    assert_eq!(applied, known);
    assert!(matches!(rotated(&migrated, world.presentation(&living.token)).await.unwrap(), RotatedIn::Rotated(..)));
    let mut own = world.presentation(&of_another_client.token);
    own.presented.client = ClientId::parse("other").unwrap();
    assert!(matches!(rotated(&migrated, own).await.unwrap(), RotatedIn::Rotated(..)));
    let signed_out = Refusal::Dead(Dead::Ended(EndReason::SignedOut));
    assert_eq!(rotated(&migrated, world.presentation(&ended.token)).await.unwrap(), RotatedIn::Refused(signed_out));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL: scripts/with-postgres cargo test -p countersign-store -- --ignored"]
async fn the_migration_of_another_node_is_waited_for() {
    let world = World::<PostgresHarness>::new().await;
    world.store().close().await.unwrap();
    world.harness.sql(AS_IT_WAS_BEFORE).await;
    let mut other = world.harness.connect().await;
    let migrating = other.transaction().await.unwrap();
    migrating.query("SELECT 1 FROM countersign.migrations WHERE version = 0 FOR UPDATE", &[]).await.unwrap();
    let mut started = Box::pin(world.harness.start());
    assert!(tokio::time::timeout(Duration::from_secs(3), &mut started).await.is_err(), "it is not its turn");
    migrating.rollback().await.unwrap();
    started.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL: scripts/with-postgres cargo test -p countersign-store -- --ignored"]
async fn tables_on_which_older_nodes_are_at_work_are_not_taken_from_them() {
    let world = World::<PostgresHarness>::new().await;
    world.store().close().await.unwrap();
    world.harness.sql(AS_IT_WAS_BEFORE).await;
    let older = world.harness.connect().await;
    older.batch_execute("LISTEN countersign").await.unwrap();
    let refused = world.harness.start().await.unwrap_err();
    assert!(matches!(refused, StoreError::Schema(SchemaError::InUse { found: 3, known: 4, .. })), "{refused:?}");
    assert_eq!(schema_version(&world.harness.url()).await.unwrap().applied, 3);

    let mut starting = Box::pin(world.harness.start());
    assert!(tokio::time::timeout(Duration::from_secs(1), &mut starting).await.is_err(), "it may be about to stop");
    drop(older);
    starting.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL: scripts/with-postgres cargo test -p countersign-store -- --ignored"]
async fn tables_of_a_newer_program_and_of_others_are_refused() {
    let world = World::<PostgresHarness>::new().await;
    let insert =
        "INSERT INTO countersign.migrations (version, name, checksum, applied_at) VALUES (99, 'later', ''::bytea, 0)";
    world.harness.sql(insert).await;
    let refused = world.harness.start().await.unwrap_err();
    assert!(matches!(refused, StoreError::Schema(SchemaError::Newer { found: 99, .. })), "{refused:?}");
    world
        .harness
        .sql(
            "DELETE FROM countersign.migrations WHERE version = 99; \
                       UPDATE countersign.migrations SET checksum = ''::bytea WHERE version = 1",
        )
        .await;
    let refused = world.harness.start().await.unwrap_err();
    assert!(matches!(refused, StoreError::Schema(SchemaError::Altered { .. })), "{refused:?}");
    world.harness.sql("DROP TABLE countersign.migrations").await;
    let refused = world.harness.start().await.unwrap_err();
    assert!(matches!(refused, StoreError::Schema(SchemaError::Foreign)), "{refused:?}");
}

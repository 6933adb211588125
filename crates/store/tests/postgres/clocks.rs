//! The clock of the database and that of the machine: where they differ, the database's counts.

use countersign_store::database::OpenMode;
use countersign_store::postgres::PostgresStore;
use countersign_store::{Clock, Store as _};

use crate::postgres_harness::{TestDatabase, run};

/// How far a node takes the database to be ahead of this machine, in milliseconds.
fn ahead(node: &PostgresStore) -> i64 {
    node.now().get() - Clock::System.now().get()
}

/// Sets the clock of a database: what PostgreSQL's own function tells is overridden.
fn setting(by: &str) -> String {
    format!(
        "CREATE SCHEMA IF NOT EXISTS another; CREATE OR REPLACE FUNCTION another.clock_timestamp() RETURNS timestamptz \
         LANGUAGE sql VOLATILE AS $$ SELECT pg_catalog.clock_timestamp() + interval '{by}' $$"
    )
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL: scripts/with-postgres cargo test -p countersign-store -- --ignored"]
async fn a_node_tells_the_time_of_its_database() {
    let (database, folder) = (TestDatabase::make().await, tempfile::tempdir().unwrap());
    let url = database.url_text();
    run(&url, &setting("1 hour")).await;
    run(&url, "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET search_path = another, pg_catalog', current_database()); END $$")
        .await;
    let witness = folder.path().join("witness");
    let node = PostgresStore::open(&database.url(), &witness, OpenMode::Serve, Clock::System).await.unwrap();
    for (by, expected) in [("1 hour", 3_600_000), ("-20 minutes", -1_200_000), ("0", 0)] {
        run(&url, &setting(by)).await;
        node.feed_position().await.unwrap();
        assert!((ahead(&node) - expected).abs() < 2000, "{by}: {} ms", ahead(&node));
    }
}

//! What these tests do to a database behind the back of its store.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use countersign_store::database::OpenMode;
use countersign_store::postgres::{PostgresStore, PostgresUrl};
use countersign_store::{Clock, StoreError};

use crate::postgres_harness::{PostgresHarness, run};

impl PostgresHarness {
    /// Runs statements on the database, past the store.
    pub(crate) async fn sql(&self, sql: &str) {
        run(&self.database.url_text(), sql).await;
    }

    /// A connection past the store.
    pub(crate) async fn connect(&self) -> tokio_postgres::Client {
        let url = self.database.url_text();
        let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
        // It ends with its client.
        drop(tokio::task::spawn_blocking(move || tokio::runtime::Handle::current().block_on(connection)));
        client
    }

    /// Waits until a transaction on the database waits for a lock that another one has.
    pub(crate) async fn until_somebody_waits_for_a_lock(&self) {
        let client = self.connect().await;
        let sql =
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
        let deadline = Instant::now() + Duration::from_secs(10);
        while client.query_one(sql, &[]).await.unwrap().get::<_, i64>(0) == 0 {
            assert!(Instant::now() < deadline, "nobody waits for a lock");
        }
    }

    pub(crate) fn url(&self) -> PostgresUrl {
        self.database.url()
    }

    pub(crate) fn first_witness(&self) -> PathBuf {
        self.folder.path().join("first.witness")
    }

    /// Opens the database as a start of the first node would.
    pub(crate) async fn start(&self) -> Result<PostgresStore, StoreError> {
        let clock = Clock::Manual(Arc::clone(&self.clock));
        PostgresStore::open(&self.url(), &self.first_witness(), OpenMode::Serve, clock).await
    }
}

//! What these tests do to a database behind the back of its store.

use std::path::PathBuf;
use std::sync::Arc;

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

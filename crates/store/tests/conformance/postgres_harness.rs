//! PostgreSQL, as the suite runs on it: a database of its own for each test, on a server that somebody has started.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use std::thread;

use countersign_store::database::OpenMode;
use countersign_store::postgres::{PostgresStore, PostgresUrl};
use countersign_store::{Clock, Store};
use tempfile::TempDir;

use crate::harness::{BEGINNING, Harness};

/// A database on the server that `COUNTERSIGN_TEST_POSTGRES_URL` names; it is dropped afterwards.
pub(crate) struct PostgresHarness {
    pub(crate) database: TestDatabase,
    pub(crate) folder: TempDir,
    nodes: AtomicU32,
    pub(crate) clock: Arc<AtomicI64>,
    store: Arc<PostgresStore>,
}

pub(crate) struct TestDatabase {
    server: String,
    name: String,
}

#[expect(clippy::disallowed_methods, reason = "a test is told by the environment where the server is")]
fn server() -> String {
    std::env::var("COUNTERSIGN_TEST_POSTGRES_URL")
        .expect("COUNTERSIGN_TEST_POSTGRES_URL names a server: scripts/with-postgres starts one")
}

impl TestDatabase {
    pub(crate) async fn make() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("conformance_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let database = Self { server: server(), name };
        run(&database.server, &format!("CREATE DATABASE {}", database.name)).await;
        database
    }

    pub(crate) fn url_text(&self) -> String {
        let (base, parameters) = self.server.split_once('?').unwrap_or((&self.server, ""));
        let (host, _) = base.rsplit_once('/').expect("the URL names a database");
        format!("{host}/{}?{parameters}", self.name)
    }

    pub(crate) fn url(&self) -> PostgresUrl {
        PostgresUrl::parse(&self.url_text()).unwrap()
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let (server, drop) = (self.server.clone(), format!("DROP DATABASE {} WITH (FORCE)", self.name));
        let dropping = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(run(&server, &drop));
        });
        let _ = dropping.join();
    }
}

pub(crate) async fn run(server: &str, sql: &str) {
    let (client, connection) = tokio_postgres::connect(server, tokio_postgres::NoTls).await.unwrap();
    tokio::select! {
        done = client.batch_execute(sql) => done.unwrap(),
        ended = connection => panic!("the connection ended: {ended:?}"),
    }
}

impl PostgresHarness {
    /// Another node, of which the test sees more than its verbs.
    pub(crate) async fn node(&self) -> Arc<PostgresStore> {
        let number = self.nodes.fetch_add(1, Ordering::Relaxed);
        self.open(&format!("{number}.witness")).await
    }

    async fn open(&self, witness: &str) -> Arc<PostgresStore> {
        Self::open_at(&self.database, &self.folder, &self.clock, witness).await
    }

    async fn open_at(
        database: &TestDatabase,
        folder: &TempDir,
        clock: &Arc<AtomicI64>,
        witness: &str,
    ) -> Arc<PostgresStore> {
        let (witness, clock) = (folder.path().join(witness), Clock::Manual(Arc::clone(clock)));
        Arc::new(PostgresStore::open(&database.url(), &witness, OpenMode::Serve, clock).await.unwrap())
    }
}

impl Harness for PostgresHarness {
    async fn fresh() -> Self {
        let (database, folder) = (TestDatabase::make().await, tempfile::tempdir().unwrap());
        let clock = Arc::new(AtomicI64::new(BEGINNING));
        let store = Self::open_at(&database, &folder, &clock, "first.witness").await;
        Self { database, folder, nodes: AtomicU32::new(0), clock, store }
    }

    fn store(&self) -> Arc<dyn Store> {
        Arc::<PostgresStore>::clone(&self.store)
    }

    fn clock(&self) -> &Arc<AtomicI64> {
        &self.clock
    }

    async fn another(&self) -> Arc<dyn Store> {
        self.node().await
    }

    async fn restart(&mut self) {
        self.store = self.open("first.witness").await;
    }
}

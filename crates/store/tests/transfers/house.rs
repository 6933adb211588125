//! A database that can be left for another one, and the store on it.

use std::sync::Arc;
use std::sync::atomic::AtomicI64;

use countersign_store::database::{Database, OpenMode};
use countersign_store::postgres::PostgresUrl;
use countersign_store::transfer::{Progress, TransferError, Transferred, abandon, transfer};
use countersign_store::{Clock, Store, StoreResult};
use tempfile::TempDir;
use tokio_postgres::NoTls;

use crate::harness::{BEGINNING, Harness};
use crate::postgres_harness::TestDatabase;

/// Where a test lives; it begins in PostgreSQL or in SQLite.
pub(crate) struct House<const POSTGRES: bool> {
    pub(crate) site: Arc<Site>,
    clock: Arc<AtomicI64>,
    store: Arc<dyn Store>,
}

/// A place for a database, which is dropped afterwards.
pub(crate) struct Site {
    pub(crate) database: Database,
    folder: TempDir,
    server: Option<TestDatabase>,
}

impl Site {
    pub(crate) async fn new(postgres: bool) -> Arc<Self> {
        let folder = tempfile::tempdir().unwrap();
        let server = if postgres { Some(TestDatabase::make().await) } else { None };
        let database = match &server {
            Some(server) => {
                Database::Postgres { url: Box::new(server.url()), witness: folder.path().join("node.witness") }
            }
            None => Database::Sqlite(folder.path().join("store.db")),
        };
        Arc::new(Self { database, folder, server })
    }

    pub(crate) fn witness(&self) -> std::path::PathBuf {
        self.folder.path().join(if self.server.is_some() { "node.witness" } else { "store.db.witness" })
    }

    /// The URL of a place in PostgreSQL.
    pub(crate) fn url_text(&self) -> String {
        self.server.as_ref().unwrap().url_text()
    }

    /// The same place, with its server under another name.
    pub(crate) fn by_another_name(&self) -> Self {
        let url = PostgresUrl::parse(&self.url_text().replace("127.0.0.1", "localhost")).unwrap();
        let database = Database::Postgres { url: Box::new(url), witness: self.witness() };
        Self { database, folder: tempfile::tempdir().unwrap(), server: None }
    }

    /// Runs statements past the store, in which every table is named without its schema.
    pub(crate) async fn sql(&self, sql: &str) {
        match (&self.database, &self.server) {
            (Database::Sqlite(path), _) => rusqlite::Connection::open(path).unwrap().execute_batch(sql).unwrap(),
            (Database::Postgres { .. }, Some(server)) => {
                crate::postgres_harness::run(&server.url_text(), &format!("SET search_path = countersign; {sql}"))
                    .await;
            }
            _ => unreachable!("a site in PostgreSQL has a server"),
        }
    }

    /// The rows that a statement gives, every value as text.
    pub(crate) async fn rows(&self, sql: &str) -> Vec<Vec<Option<String>>> {
        match (&self.database, &self.server) {
            (Database::Sqlite(path), _) => {
                let connection = rusqlite::Connection::open(path).unwrap();
                let mut statement = connection.prepare(sql).unwrap();
                let count = statement.column_count();
                let rows = statement.query_map([], |row| (0..count).map(|column| row.get(column)).collect()).unwrap();
                rows.collect::<Result<_, _>>().unwrap()
            }
            (Database::Postgres { .. }, Some(server)) => {
                let (client, connection) = tokio_postgres::connect(&server.url_text(), NoTls).await.unwrap();
                let sql = format!("SET search_path = countersign; {sql}");
                let messages = tokio::select! {
                    messages = client.simple_query(&sql) => messages.unwrap(),
                    ended = connection => panic!("the connection ended: {ended:?}"),
                };
                let row = |message| match message {
                    tokio_postgres::SimpleQueryMessage::Row(row) => {
                        Some((0..row.len()).map(|column| row.get(column).map(str::to_owned)).collect())
                    }
                    _ => None,
                };
                messages.into_iter().filter_map(row).collect()
            }
            _ => unreachable!("a site in PostgreSQL has a server"),
        }
    }
}

impl<const POSTGRES: bool> House<POSTGRES> {
    fn time(&self) -> Clock {
        Clock::Manual(Arc::clone(&self.clock))
    }

    pub(crate) async fn open(&self, site: &Site, mode: OpenMode) -> StoreResult<Arc<dyn Store>> {
        site.database.open(mode, self.time()).await
    }

    /// Moves everything to another site, where the store is opened again.
    pub(crate) async fn move_to(&mut self, site: Arc<Site>) -> Transferred {
        let transferred = self.transfer(&site).await.unwrap();
        self.store.close().await.unwrap();
        self.store = self.open(&site, OpenMode::Serve).await.unwrap();
        self.site = site;
        transferred
    }

    pub(crate) async fn transfer(&self, to: &Site) -> Result<Transferred, TransferError> {
        transfer(&self.site.database, &to.database, &self.time(), |_| {}).await
    }

    /// Begins a transfer and breaks it off after a number of steps: what it had come to then, and `None` where it ended before.
    /// Breaks a transfer off after so many steps; the last of them, or `None` where it came to its end before.
    pub(crate) async fn break_off_after(&self, steps: usize, to: &Site) -> Option<Progress> {
        let mut left = steps;
        let enough = move |_: &Progress| {
            left -= 1;
            left == 0
        };
        self.break_off_when(enough, to).await
    }

    /// Breaks a transfer off right after the decision that it is not taken back.
    pub(crate) async fn break_off_after_the_decision(&self, to: &Site) -> Option<Progress> {
        self.break_off_when(|step| *step == Progress::Decided, to).await
    }

    async fn break_off_when(
        &self,
        mut enough: impl FnMut(&Progress) -> bool + Send + 'static,
        to: &Site,
    ) -> Option<Progress> {
        let (from, to, time) = (self.site.database.clone(), to.database.clone(), self.time());
        let (last, mut seen) = tokio::sync::mpsc::unbounded_channel();
        let transferring = tokio::task::spawn_blocking(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let progress = |step| {
                if enough(&step) {
                    last.send(step).unwrap();
                    panic!("this test breaks the transfer off");
                }
            };
            runtime.block_on(transfer(&from, &to, &time, progress)).unwrap();
        });
        let ended = transferring.await;
        let last = seen.recv().await;
        assert!(ended.is_ok() || last.is_some(), "it failed by itself");
        last
    }

    pub(crate) async fn abandon(&self) -> Result<String, TransferError> {
        abandon(&self.site.database, &self.time()).await
    }
}

impl<const POSTGRES: bool> Harness for House<POSTGRES> {
    async fn fresh() -> Self {
        let (site, clock) = (Site::new(POSTGRES).await, Arc::new(AtomicI64::new(BEGINNING)));
        let store = site.database.open(OpenMode::Serve, Clock::Manual(Arc::clone(&clock))).await.unwrap();
        Self { site, clock, store }
    }

    fn store(&self) -> Arc<dyn Store> {
        Arc::clone(&self.store)
    }

    fn clock(&self) -> &Arc<AtomicI64> {
        &self.clock
    }

    async fn another(&self) -> Arc<dyn Store> {
        self.open(&self.site, OpenMode::Serve).await.unwrap()
    }

    async fn restart(&mut self) {
        self.store = self.another().await;
    }
}

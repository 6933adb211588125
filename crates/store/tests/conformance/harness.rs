//! What a back-end brings along so that the suite can run on it.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;

use countersign_store::database::OpenMode;
use countersign_store::sqlite::SqliteStore;
use countersign_store::{Clock, Store};
use tempfile::TempDir;

/// The time at which every test begins.
pub(crate) const BEGINNING: i64 = 1_800_000_000_000;

/// A back-end with an empty database of its own.
pub(crate) trait Harness: Sized + Send {
    /// A fresh database and a store on it.
    fn fresh() -> impl Future<Output = Self> + Send;
    /// The store.
    fn store(&self) -> Arc<dyn Store>;
    /// The clock that the store follows.
    fn clock(&self) -> &Arc<AtomicI64>;
    /// A store in another process on the same database.
    fn another(&self) -> impl Future<Output = Arc<dyn Store>> + Send;
    /// Opens the database again, as after a crash: nothing was closed in order.
    fn restart(&mut self) -> impl Future<Output = ()> + Send;
}

/// SQLite in a folder that is removed afterwards.
pub(crate) struct SqliteHarness {
    folder: TempDir,
    clock: Arc<AtomicI64>,
    store: Arc<SqliteStore>,
}

impl SqliteHarness {
    fn open(folder: &TempDir, clock: &Arc<AtomicI64>) -> Arc<SqliteStore> {
        let path = folder.path().join("store.db");
        Arc::new(SqliteStore::open(path, OpenMode::Serve, Clock::Manual(Arc::clone(clock))).unwrap())
    }
}

impl Harness for SqliteHarness {
    async fn fresh() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(AtomicI64::new(BEGINNING));
        let store = Self::open(&folder, &clock);
        Self { folder, clock, store }
    }

    fn store(&self) -> Arc<dyn Store> {
        Arc::<SqliteStore>::clone(&self.store)
    }

    fn clock(&self) -> &Arc<AtomicI64> {
        &self.clock
    }

    async fn another(&self) -> Arc<dyn Store> {
        Self::open(&self.folder, &self.clock)
    }

    async fn restart(&mut self) {
        self.store = Self::open(&self.folder, &self.clock);
    }
}

//! The embedded back-end: one SQLite file, one writer that commits in groups, a few readers.

mod access;
mod accounts;
mod backup;
mod connection;
mod copier;
mod disk;
mod ending;
mod events;
mod failures;
mod families;
mod flushing;
mod job;
mod keeper;
mod keys;
mod log;
mod migrate;
mod passwords;
mod prune;
mod queue;
mod readers;
mod revocations;
mod rotation;
mod rows;
mod sessions;
mod state;
mod throttles;
mod transfer;
mod verbs;
mod witness;
mod writer;
mod writing;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;

use tokio::sync::watch;

pub use backup::{BackupProgress, backup};
pub(crate) use transfer::SqlitePlace;

use crate::error::{RestoredError, StoreError};
pub use crate::opening::OpenMode;
use crate::opening::SchemaVersion;
use crate::sqlite::connection::{Access, connect, create, locate};
use crate::sqlite::disk::Disk;
use crate::sqlite::keeper::Keeper;
use crate::sqlite::log::Log;
use crate::sqlite::readers::Readers;
use crate::sqlite::witness::Witness;
use crate::sqlite::writer::Writer;
use crate::{Clock, StoreResult};

/// How many reads are made at the same time.
const READERS: usize = 4;

/// A store in a SQLite file.
pub struct SqliteStore {
    writer: Writer,
    readers: Readers,
    disk: Disk,
    feed: watch::Receiver<u64>,
    clock: Clock,
    path: PathBuf,
    /// Those of the readers first: the writer is to close last, since the last connection tidies the log away.
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl SqliteStore {
    /// Opens the database in this file; where it is missing, it and its folder are made, readable by their owner alone.
    ///
    /// # Errors
    /// [`StoreError::Schema`], [`StoreError::Restored`], or why the file cannot be used.
    pub fn open(path: impl AsRef<Path>, mode: OpenMode, clock: Clock) -> StoreResult<Self> {
        let path = locate(path.as_ref())?;
        let witness = Witness::beside(&path);
        let disk = Disk::default();
        let (connection, log) = match mode {
            OpenMode::Inspect => {
                let connection = connect(&path, Access::Read)?;
                migrate::verify(&connection)?;
                (connection, None)
            }
            OpenMode::Serve | OpenMode::Maintain => {
                create(&path)?;
                let mut connection = connect(&path, Access::Write)?;
                migrate::run(&mut connection, &clock)?;
                if mode == OpenMode::Serve {
                    state::stays(&connection)?;
                    witness.check(&mut connection)?;
                }
                let log = Log::of(path.clone(), &mut connection, disk.clone())?;
                (connection, Some(log))
            }
        };
        let (feed, feed_signal) = watch::channel(state::position(&connection)?.seq);
        let reading = (0..READERS).map(|_| connect(&path, Access::Read)).collect::<StoreResult<Vec<_>>>()?;
        let (readers, mut threads) = Readers::start(reading, disk.clone(), mode == OpenMode::Serve)?;
        let keeper = Keeper::new(witness, disk.clone(), mode == OpenMode::Serve);
        let (writer, thread) = Writer::start(connection, log, disk.clone(), clock.clone(), feed, keeper)?;
        threads.push(thread);
        Ok(Self { writer, readers, disk, feed: feed_signal, clock, path, threads: Mutex::new(threads) })
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Ends the threads, and with them the connections: [`StoreError::Internal`] where one had died, and the failure of the disk.
    async fn end(&self) -> StoreResult<()> {
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        let (end_readers, end_writer) = (self.readers.closing(), self.writer.closing());
        let closed = tokio::task::spawn_blocking(move || {
            end_readers();
            let mut threads = threads;
            let writer = threads.pop();
            // Each of them, whatever became of another.
            let readers: Vec<_> = threads.into_iter().map(JoinHandle::join).collect();
            end_writer();
            writer.is_none_or(|thread| thread.join().is_ok()) && readers.iter().all(Result::is_ok)
        });
        match closed.await {
            Ok(true) => self.disk.holds(),
            Ok(false) | Err(_) => Err(StoreError::Internal("a thread of the store had died".to_owned())),
        }
    }
}

impl std::fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SqliteStore({})", self.path.display())
    }
}

/// Why the database in this file would be refused as restored; `None`: it is the one that was served last. Nothing is changed.
///
/// # Errors
/// Why the file cannot be read.
pub fn objection(path: &Path) -> StoreResult<Option<RestoredError>> {
    let path = locate(path)?;
    Witness::beside(&path).objection(&connect(&path, Access::Read)?)
}

/// The place of a database file, made absolute.
pub(crate) fn located(path: &Path) -> StoreResult<PathBuf> {
    locate(path)
}

/// How far the schema of the database in this file has come: `migrate --check`. Nothing is changed.
///
/// # Errors
/// [`StoreError::Schema`], or why the file cannot be read.
pub fn schema_version(path: &Path) -> StoreResult<SchemaVersion> {
    migrate::version(&connect(&locate(path)?, Access::Read)?)
}

//! The thread that copies the log of the database back.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread::{Builder, JoinHandle};

use rusqlite::Connection;
use rusqlite::ffi::SQLITE_IOERR_FSYNC;

use crate::StoreResult;
use crate::error::StoreError;
use crate::sqlite::connection::{Access, connect};
use crate::sqlite::disk::Disk;
use crate::sqlite::flushing::Database;

/// So few pages may be left for the writer to copy and to flush.
const FEW: i32 = 100;
/// How often it copies what was written while it did, before it leaves that to the writer.
const ROUNDS: usize = 4;

/// Why something was not copied.
pub(super) enum Failure {
    /// It may be tried again.
    Passing(StoreError),
    /// It was copied and could not be flushed. It must not be tried again: after such a failure the system takes the pages for written.
    Lost(StoreError),
}

pub(super) struct Copier {
    asked: SyncSender<()>,
    done: Receiver<Result<(), Failure>>,
    handle: JoinHandle<()>,
}

impl Copier {
    /// Starts the thread. The writer counts in `pages` how long the log is.
    pub(super) fn start(path: &Path, pages: Arc<AtomicI32>, disk: Disk) -> StoreResult<Self> {
        Self::with(path, Database::open(path)?, pages, disk)
    }

    fn with(path: &Path, database: Database, pages: Arc<AtomicI32>, disk: Disk) -> StoreResult<Self> {
        let connection = connect(path, Access::Read)?;
        let (asked, asks) = sync_channel(1);
        let (dones, done) = sync_channel(1);
        let work = Work { connection, database, pages };
        let handle = Builder::new()
            .name("store-log".to_owned())
            .spawn(move || {
                while let Ok(()) = asks.recv() {
                    let copied = work.copy_nearly_all();
                    if let Err(Failure::Lost(error)) = &copied {
                        // At once: the writer, who closes the log, may have nothing to do for long.
                        disk.failed(error);
                    }
                    if dones.send(copied).is_err() {
                        return;
                    }
                }
            })
            .map_err(|error| StoreError::Unavailable(format!("cannot start a thread: {error}")))?;
        Ok(Self { asked, done, handle })
    }

    pub(super) fn ask(&self) {
        // It fails where the thread has ended, which is seen when its answer is looked for.
        let _ = self.asked.try_send(());
    }

    /// What became of it; `None`: it is still copying.
    pub(super) fn answer(&self) -> Option<Result<(), Failure>> {
        match self.done.try_recv() {
            Ok(copied) => Some(copied),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => Some(Err(died())),
        }
    }

    /// Waits for what it is doing, and ends it.
    pub(super) fn end(self) -> Result<(), Failure> {
        drop(self.asked);
        // There is no answer where it was not asked for anything.
        let copied = self.done.recv().unwrap_or(Ok(()));
        self.handle.join().map_err(|_| died())?;
        copied
    }
}

fn died() -> Failure {
    Failure::Passing(StoreError::Internal("the thread that copies the log has died".to_owned()))
}

/// What the thread has.
struct Work {
    connection: Connection,
    database: Database,
    pages: Arc<AtomicI32>,
}

impl Work {
    /// Copies and flushes until there is little that was written meanwhile.
    fn copy_nearly_all(&self) -> Result<(), Failure> {
        let mut before = 0;
        for _ in 0..ROUNDS {
            let copied = copy(&self.connection)?;
            if copied <= before {
                // Somebody reads what has to stay as it is, or copies.
                break;
            }
            self.database.flush().map_err(Failure::Lost)?;
            if self.pages.load(Ordering::Relaxed) - copied <= FEW {
                break;
            }
            before = copied;
        }
        Ok(())
    }
}

/// Copies what can be copied without anybody waiting, and flushes the database where that is all of it. How many pages of the log
/// are copied now.
pub(super) fn copy(connection: &Connection) -> Result<i32, Failure> {
    // What others are in the way of is copied the next time.
    connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| row.get(2)).map_err(|error| {
        let is_lost = error.sqlite_error().is_some_and(|error| error.extended_code == SQLITE_IOERR_FSYNC);
        let error = StoreError::from(error);
        if is_lost { Failure::Lost(error) } else { Failure::Passing(error) }
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
impl Copier {
    /// One whose thread has ended.
    pub(super) fn dead() -> Self {
        let ((asked, _), (_, done)) = (sync_channel(1), sync_channel(1));
        Self { asked, done, handle: std::thread::spawn(|| {}) }
    }

    /// One that copies, and whose flushes fail.
    pub(super) fn that_cannot_flush(path: &Path, pages: Arc<AtomicI32>, disk: Disk) -> Self {
        // Nothing can be flushed there: it is no file.
        Self::with(path, Database::open(Path::new("/dev/null")).unwrap(), pages, disk).unwrap()
    }
}

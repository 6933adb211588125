//! The write-ahead log: its pages are written back into the database by a thread of its own, so that no refresh waits for a thousand
//! of them.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread::{Builder, JoinHandle};

use rusqlite::Connection;

use crate::StoreResult;
use crate::error::StoreError;
use crate::sqlite::connection::{Access, connect};
use crate::sqlite::flushing::Database;

/// From how many pages on the log is copied back: as SQLite does it by itself.
const LONG: i32 = 1000;
/// So few pages may be left for the writer to copy and to flush.
const FEW: i32 = 100;
/// How often the copier copies what was written while it did, before it leaves that to the writer.
const ROUNDS: usize = 4;

/// What the writer knows of the log.
///
/// A log starts from its beginning again once all of it was copied. A copier that works beside a writer is never at the end of it, so
/// the writer copies the rest, which is what was written while the copier worked. SQLite flushes the database for whoever reaches the
/// end, and for nobody else: the copier flushes what it has copied, so that the writer waits for its few pages and not for a thousand.
pub(super) struct Log {
    path: PathBuf,
    /// The pages in it, as of the last commit.
    pages: Arc<AtomicI32>,
    copier: Copier,
    failing: bool,
}

/// The thread that copies. It starts when it has something to do for the first time.
enum Copier {
    Absent,
    Idle(Thread),
    Copying(Thread),
}

struct Thread {
    asked: SyncSender<()>,
    done: Receiver<StoreResult<()>>,
    handle: JoinHandle<()>,
}

impl Log {
    /// The log of the database in this file, which nobody but this connection writes to in this process.
    pub(super) fn of(path: PathBuf, writer: &mut Connection) -> StoreResult<Self> {
        let pages = Arc::new(AtomicI32::new(0));
        let counted = Arc::clone(&pages);
        // It takes the place of SQLite's own, which copies within the commit.
        writer.wal_hook(Some(move |_: &mut rusqlite::hooks::Wal, pages| {
            counted.store(pages, Ordering::Relaxed);
            Ok(())
        }))?;
        Ok(Self { path, pages, copier: Copier::Absent, failing: false })
    }

    /// To be called between two transactions of the writer.
    pub(super) fn tend(&mut self, writer: &Connection) {
        self.copier = match std::mem::replace(&mut self.copier, Copier::Absent) {
            Copier::Copying(thread) => self.look_after(thread, writer),
            idle if self.pages.load(Ordering::Relaxed) < LONG => idle,
            Copier::Idle(thread) => ask(thread),
            Copier::Absent => match Thread::start(self.path.clone()) {
                Ok(thread) => ask(thread),
                Err(error) => {
                    self.tell(copy(writer).and(Err(error)));
                    Copier::Absent
                }
            },
        };
    }

    /// Ends the thread, and with it its connection.
    pub(super) fn close(self) {
        if let Copier::Idle(thread) | Copier::Copying(thread) = self.copier {
            drop(thread.asked);
            // Where it panicked, SQLite's copy at the end tells whether anything is wrong.
            let _ = thread.handle.join();
        }
    }

    fn look_after(&mut self, thread: Thread, writer: &Connection) -> Copier {
        let copied = match thread.done.try_recv() {
            Ok(copied) => copied,
            Err(TryRecvError::Empty) => return Copier::Copying(thread),
            Err(TryRecvError::Disconnected) => {
                Err(StoreError::Internal("the thread that copies it has died".to_owned()))
            }
        };
        // Where the thread failed, the writer copies all of it, and the next time another thread is started.
        let next = if copied.is_ok() { Copier::Idle(thread) } else { Copier::Absent };
        let rest = copy(writer);
        self.tell(copied.and(rest).map(|_| ()));
        // Until the next commit says how long it is.
        self.pages.store(0, Ordering::Relaxed);
        next
    }

    /// Once, and not at every commit.
    fn tell(&mut self, copied: StoreResult<()>) {
        if let (Err(error), false) = (&copied, self.failing) {
            tracing::warn!(%error, "the log of the database cannot be copied back and grows; it will be tried again");
        }
        self.failing = copied.is_err();
    }
}

fn ask(thread: Thread) -> Copier {
    // It fails where the thread has ended, which is seen when its answer is looked for.
    let _ = thread.asked.try_send(());
    Copier::Copying(thread)
}

impl Thread {
    fn start(path: PathBuf) -> StoreResult<Self> {
        let connection = connect(&path, Access::Read)?;
        let database = Database::open(&path)?;
        let (asked, asks) = sync_channel(1);
        let (dones, done) = sync_channel(1);
        let handle = Builder::new()
            .name("store-log".to_owned())
            .spawn(move || {
                while let Ok(()) = asks.recv() {
                    if dones.send(copy_nearly_all(&connection, database)).is_err() {
                        return;
                    }
                }
            })
            .map_err(|error| StoreError::Unavailable(format!("cannot start a thread: {error}")))?;
        Ok(Self { asked, done, handle })
    }
}

/// Copies and flushes until there is little that was written meanwhile.
fn copy_nearly_all(connection: &Connection, database: Database) -> StoreResult<()> {
    let mut before = 0;
    for _ in 0..ROUNDS {
        let copied = copy(connection)?;
        database.flush()?;
        if copied - before <= FEW {
            break;
        }
        before = copied;
    }
    Ok(())
}

/// Copies what can be copied without anybody waiting, and flushes the database where that is all of it. How many pages of the log
/// are copied now.
fn copy(connection: &Connection) -> StoreResult<i32> {
    // What others are in the way of is copied the next time.
    Ok(connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| row.get(2))?)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// A database with a log, and one row that is written again and again.
    fn place() -> (tempfile::TempDir, PathBuf, Connection) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        let connection = Connection::open(&path).unwrap();
        let mode: String = connection.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0)).unwrap();
        assert_eq!(mode, "wal");
        connection.execute_batch("CREATE TABLE t (v); INSERT INTO t VALUES (0)").unwrap();
        (folder, path, connection)
    }

    fn pages_of(path: &std::path::Path) -> u64 {
        std::fs::metadata(path.with_extension("db-wal")).unwrap().len() / 4096
    }

    #[test]
    fn a_log_is_copied_beside_the_writer_and_starts_again() {
        let (_folder, path, mut connection) = place();
        let mut log = Log::of(path.clone(), &mut connection).unwrap();
        for number in 0..20 * LONG {
            connection.execute("UPDATE t SET v = ?1", [number]).unwrap();
            log.tend(&connection);
        }
        assert!(pages_of(&path) < 10 * u64::from(LONG.unsigned_abs()), "{}", pages_of(&path));
        log.close();
        drop(connection);
        assert!(!path.with_extension("db-wal").exists(), "the last connection tidies up");
        let kept: i32 = Connection::open(&path).unwrap().query_row("SELECT v FROM t", [], |row| row.get(0)).unwrap();
        assert_eq!(kept, 20 * LONG - 1);
    }

    #[test]
    fn a_short_log_needs_no_thread() {
        let (_folder, path, mut connection) = place();
        let mut log = Log::of(path, &mut connection).unwrap();
        for number in 0..LONG / 2 {
            connection.execute("UPDATE t SET v = ?1", [number]).unwrap();
            log.tend(&connection);
        }
        assert!(matches!(log.copier, Copier::Absent));
    }

    #[test]
    fn where_no_thread_can_start_the_writer_copies_itself() {
        let (_folder, path, mut connection) = place();
        let mut log = Log::of(path.with_extension("gone"), &mut connection).unwrap();
        for number in 0..5 * LONG {
            connection.execute("UPDATE t SET v = ?1", [number]).unwrap();
            log.tend(&connection);
        }
        assert!(log.failing);
        assert!(pages_of(&path) < 2 * u64::from(LONG.unsigned_abs()), "{}", pages_of(&path));
    }

    #[test]
    fn a_thread_that_died_is_replaced() {
        let (_folder, path, mut connection) = place();
        let mut log = Log::of(path.clone(), &mut connection).unwrap();
        let ((asked, _), (_, done)) = (sync_channel(1), sync_channel(1));
        log.copier = Copier::Copying(Thread { asked, done, handle: std::thread::spawn(|| {}) });
        log.tend(&connection);
        assert!(log.failing && matches!(log.copier, Copier::Absent));
        for number in 0..5 * LONG {
            connection.execute("UPDATE t SET v = ?1", [number]).unwrap();
            log.tend(&connection);
        }
        assert!(!log.failing && !matches!(log.copier, Copier::Absent));
        log.close();
    }

    #[test]
    fn a_reader_that_stays_only_puts_it_off() {
        let (_folder, path, mut connection) = place();
        let reader = Connection::open(&path).unwrap();
        reader.execute_batch("BEGIN; SELECT * FROM t").unwrap();
        let mut log = Log::of(path.clone(), &mut connection).unwrap();
        let mut number = 0;
        let mut write = |times: i32| {
            for _ in 0..times {
                number += 1;
                connection.execute("UPDATE t SET v = ?1", [number]).unwrap();
                log.tend(&connection);
            }
        };
        write(3 * LONG);
        let grown = pages_of(&path);
        assert!(grown >= 3 * u64::from(LONG.unsigned_abs()), "{grown}");
        reader.execute_batch("COMMIT").unwrap();
        write(6 * LONG);
        assert!(pages_of(&path) < 2 * grown, "{}", pages_of(&path));
    }
}

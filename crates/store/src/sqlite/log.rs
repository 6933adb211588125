//! The write-ahead log: its pages are written back into the database by a thread of its own, so that no refresh waits for a thousand
//! of them.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

use rusqlite::Connection;
use rusqlite::config::DbConfig;

use crate::StoreResult;
use crate::error::StoreError;
use crate::sqlite::copier::{Copier, Failure, copy};
use crate::sqlite::disk::Disk;

/// From how many pages on the log is copied back: as SQLite does it by itself.
const LONG: i32 = 1000;
/// So long a log is worth a word: 64 MB.
const VERY_LONG: i32 = 16 * LONG;

/// What the writer knows of the log.
///
/// A log starts from its beginning again once all of it was copied. A copier that works beside a writer is never at the end of it, so
/// the writer copies the rest, which is what was written while the copier worked. SQLite flushes the database for whoever reaches the
/// end, and for nobody else: the copier flushes what it has copied, so that the writer waits for its few pages and not for a thousand.
pub(super) struct Log {
    path: PathBuf,
    /// The pages in it, as of the last commit.
    pages: Arc<AtomicI32>,
    copying: Copying,
    disk: Disk,
    failing: bool,
    said_that_it_is_long: bool,
}

/// Who copies. The thread starts when it has something to do for the first time.
enum Copying {
    NotYet,
    Idle(Copier),
    UnderWay(Copier),
    /// What was copied is not on disk: the log is all that there is, and stays.
    GivenUp,
}

impl Log {
    /// The log of the database in this file, which nobody but this connection writes to in this process.
    pub(super) fn of(path: PathBuf, writer: &mut Connection, disk: Disk) -> StoreResult<Self> {
        let pages = Arc::new(AtomicI32::new(0));
        let counted = Arc::clone(&pages);
        // It takes the place of SQLite's own, which copies within the commit.
        writer.wal_hook(Some(move |_: &mut rusqlite::hooks::Wal, pages| {
            counted.store(pages, Ordering::Relaxed);
            Ok(())
        }))?;
        Ok(Self { path, pages, copying: Copying::NotYet, disk, failing: false, said_that_it_is_long: false })
    }

    /// To be called between two transactions of the writer.
    pub(super) fn tend(&mut self, writer: &Connection) {
        let pages = self.pages.load(Ordering::Relaxed);
        self.say_whether_it_is_long(pages);
        match std::mem::replace(&mut self.copying, Copying::NotYet) {
            Copying::UnderWay(copier) => self.look_after(copier, writer),
            as_it_is if pages < LONG => self.copying = as_it_is,
            Copying::GivenUp => self.copying = Copying::GivenUp,
            Copying::Idle(copier) => self.ask(copier),
            Copying::NotYet => match Copier::start(&self.path, Arc::clone(&self.pages), self.disk.clone()) {
                Ok(copier) => self.ask(copier),
                Err(error) => self.copy_instead(Failure::Passing(error), writer),
            },
        }
    }

    /// Ends the thread, and with it its connection.
    pub(super) fn close(mut self, writer: &Connection) {
        if let Copying::Idle(copier) | Copying::UnderWay(copier) = std::mem::replace(&mut self.copying, Copying::NotYet)
        {
            self.tell(copier.end(), writer);
        }
    }

    fn ask(&mut self, copier: Copier) {
        copier.ask();
        self.copying = Copying::UnderWay(copier);
    }

    fn look_after(&mut self, copier: Copier, writer: &Connection) {
        let Some(copied) = copier.answer() else {
            self.copying = Copying::UnderWay(copier);
            return;
        };
        match copied {
            Ok(()) => {
                self.copying = Copying::Idle(copier);
                let rest = self.copy(writer);
                self.tell(rest, writer);
            }
            Err(failure) => {
                // It is idle; the next time another thread is started.
                let _ = copier.end();
                self.copy_instead(failure, writer);
            }
        }
    }

    /// The writer copies all of it where the thread could not, and may.
    fn copy_instead(&mut self, failure: Failure, writer: &Connection) {
        let may = matches!(failure, Failure::Passing(_));
        self.tell(Err(failure), writer);
        if may && let Err(Failure::Lost(error)) = self.copy(writer) {
            self.give_up(&error, writer);
        }
    }

    fn copy(&self, writer: &Connection) -> Result<(), Failure> {
        let copied = copy(writer).map(drop);
        // Until the next commit says how long it is.
        self.pages.store(0, Ordering::Relaxed);
        copied
    }

    /// A failure that may pass is told once, and not at every commit.
    fn tell(&mut self, copied: Result<(), Failure>, writer: &Connection) {
        match copied {
            Ok(()) => self.failing = false,
            Err(Failure::Lost(error)) => self.give_up(&error, writer),
            Err(Failure::Passing(error)) => {
                if !self.failing {
                    tracing::warn!(%error, "copying the log of the database back failed; it will be tried again");
                }
                self.failing = true;
            }
        }
    }

    /// The pages are on disk in the log and nowhere else, and asked once more the system would say that all is well. So the log has to
    /// stay, at the end too.
    fn give_up(&mut self, error: &StoreError, writer: &Connection) {
        if let Copying::Idle(copier) = std::mem::replace(&mut self.copying, Copying::GivenUp) {
            // Its connection is to be closed before the writer's.
            let _ = copier.end();
        }
        if let Err(error) = writer.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true) {
            tracing::error!(%error, "the log of the database may be tidied away at the end");
        }
        self.disk.failed(error);
    }

    fn say_whether_it_is_long(&mut self, pages: i32) {
        // Zero: nobody has counted since it was copied.
        if (1..LONG).contains(&pages) {
            self.said_that_it_is_long = false;
        }
        if pages >= VERY_LONG && !self.said_that_it_is_long {
            self.said_that_it_is_long = true;
            tracing::warn!(
                pages,
                "the log of the database has grown long: somebody has been reading for long, or the disk is slow"
            );
        }
    }
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
        let mut log = Log::of(path.clone(), &mut connection, Disk::default()).unwrap();
        for number in 0..20 * LONG {
            connection.execute("UPDATE t SET v = ?1", [number]).unwrap();
            log.tend(&connection);
        }
        assert!(pages_of(&path) < 10 * u64::from(LONG.unsigned_abs()), "{}", pages_of(&path));
        log.close(&connection);
        drop(connection);
        assert!(!path.with_extension("db-wal").exists(), "the last connection tidies up");
        let kept: i32 = Connection::open(&path).unwrap().query_row("SELECT v FROM t", [], |row| row.get(0)).unwrap();
        assert_eq!(kept, 20 * LONG - 1);
    }

    #[test]
    fn a_short_log_needs_no_thread() {
        let (_folder, path, mut connection) = place();
        let mut log = Log::of(path, &mut connection, Disk::default()).unwrap();
        for number in 0..LONG / 2 {
            connection.execute("UPDATE t SET v = ?1", [number]).unwrap();
            log.tend(&connection);
        }
        assert!(matches!(log.copying, Copying::NotYet));
    }

    #[test]
    fn where_no_thread_can_start_the_writer_copies_itself() {
        let (_folder, path, mut connection) = place();
        let mut log = Log::of(path.with_extension("gone"), &mut connection, Disk::default()).unwrap();
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
        let mut log = Log::of(path.clone(), &mut connection, Disk::default()).unwrap();
        log.copying = Copying::UnderWay(Copier::dead());
        log.tend(&connection);
        assert!(log.failing && matches!(log.copying, Copying::NotYet));
        for number in 0..5 * LONG {
            connection.execute("UPDATE t SET v = ?1", [number]).unwrap();
            log.tend(&connection);
        }
        assert!(!log.failing && !matches!(log.copying, Copying::NotYet));
        log.close(&connection);
    }

    #[test]
    fn where_the_disk_did_not_take_the_pages_the_log_is_kept() {
        let (_folder, path, mut connection) = place();
        let mut log = Log::of(path.clone(), &mut connection, Disk::default()).unwrap();
        log.copying = Copying::Idle(Copier::that_cannot_flush(&path, Arc::clone(&log.pages), log.disk.clone()));
        let before = std::fs::read(&path).unwrap();
        // While it reads, the copier is never at the end of the log: there SQLite flushes by itself, and may begin the log anew.
        let reader = Connection::open(&path).unwrap();
        reader.execute_batch("BEGIN; SELECT * FROM t").unwrap();
        let mut number = 0;
        while !matches!(log.copying, Copying::GivenUp) {
            number += 1;
            assert!(number < 100 * LONG, "nobody noticed");
            connection.execute("UPDATE t SET v = ?1", [number]).unwrap();
            log.tend(&connection);
        }
        assert!(log.disk.holds().unwrap_err().to_string().contains("cannot flush the database file"));
        drop(reader);
        log.close(&connection);
        drop(connection);
        assert!(pages_of(&path) >= u64::from(LONG.unsigned_abs()), "nobody has tidied it away");
        // The database as it would be after the pages that were copied are lost.
        std::fs::write(&path, before).unwrap();
        let kept: i32 = Connection::open(&path).unwrap().query_row("SELECT v FROM t", [], |row| row.get(0)).unwrap();
        assert_eq!(kept, number);
    }

    #[test]
    fn a_reader_that_stays_only_puts_it_off() {
        let (_folder, path, mut connection) = place();
        let reader = Connection::open(&path).unwrap();
        reader.execute_batch("BEGIN; SELECT * FROM t").unwrap();
        let mut log = Log::of(path.clone(), &mut connection, Disk::default()).unwrap();
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

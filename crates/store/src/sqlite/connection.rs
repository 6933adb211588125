//! Opening the database file: where it is, who may read it, and how SQLite is to treat it.

use std::fs::{DirBuilder, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use crate::StoreResult;
use crate::error::StoreError;

/// How long a statement waits for another process that writes.
const BUSY_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a start waits for another process that starts.
const START_TIMEOUT: Duration = Duration::from_secs(5);
/// How many prepared statements a connection keeps: more than there are verbs.
const STATEMENTS: usize = 128;
/// The log is cut back to this many bytes once it was larger.
const LOG_BYTES: i64 = 64 << 20;

/// What a connection is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// Reads and writes.
    Write,
    /// Reads; a statement that writes fails.
    Read,
}

/// The place of a database file, made absolute.
pub(super) fn locate(path: &Path) -> StoreResult<PathBuf> {
    let text = path.to_string_lossy();
    if text.is_empty() || text.contains(":memory:") {
        return Err(StoreError::Unavailable(
            "the database has to be a file: several connections share it, and it has to outlive this process"
                .to_owned(),
        ));
    }
    std::path::absolute(path).map_err(|error| cannot("find", path, &error))
}

/// Makes the file and its folder where they are missing, readable by their owner alone.
pub(super) fn create(path: &Path) -> StoreResult<()> {
    if let Some(folder) = path.parent() {
        create_folder(folder).map_err(|error| cannot("make the folder of", path, &error))?;
    }
    match private_file().create_new(true).open(path) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(cannot("make", path, &error)),
    }
}

fn create_folder(folder: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

/// Options for a file that its owner alone may read.
pub(super) fn private_file() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// Opens the file, which must be there. Nothing is written to it.
pub(super) fn connect(path: &Path, access: Access) -> StoreResult<Connection> {
    if !path.exists() {
        return Err(StoreError::Unavailable(format!("there is no database at {}", path.display())));
    }
    // A reader opens for writing as well: the shared index of the log has to be written by everyone.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    // Plans are made from the statement alone. Else a join is planned anew whenever another value is bound to it, which takes
    // several times as long as running it.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "temp_store", "memory")?;
    // A commit that was answered survives the loss of power.
    connection.pragma_update(None, "synchronous", "full")?;
    if access == Access::Read {
        connection.pragma_update(None, "query_only", true)?;
    }
    Ok(connection)
}

/// Turns to the write-ahead log, in which readers and the writer do not wait for one another.
pub(super) fn use_write_ahead_log(connection: &Connection) -> StoreResult<()> {
    // Two processes that start at once get in each other's way here without the busy timeout helping.
    let began = Instant::now();
    loop {
        let mode = connection.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get::<_, String>(0));
        match mode.map_err(StoreError::from) {
            Ok(mode) if mode == "wal" => break,
            Ok(mode) => {
                return Err(StoreError::Unavailable(format!(
                    "the database cannot use a write-ahead log (journal mode {mode}): is it on a network file system?"
                )));
            }
            Err(StoreError::Unavailable(_)) if began.elapsed() < START_TIMEOUT => {
                std::thread::sleep(Duration::from_millis(20));
            }
            Err(error) => return Err(error),
        }
    }
    connection.pragma_update(None, "journal_size_limit", LOG_BYTES)?;
    Ok(())
}

fn cannot(what: &str, path: &Path, error: &io::Error) -> StoreError {
    StoreError::Unavailable(format!("cannot {what} the database file {}: {error}", path.display()))
}

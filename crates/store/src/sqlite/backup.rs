//! Backup: a copy of the database while it is served.

use std::fs;
use std::io;
use std::path::Path;

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};

use crate::StoreResult;
use crate::error::StoreError;
use crate::sqlite::connection::{Access, connect, locate, private_file};
use crate::sqlite::migrate;
use crate::sqlite::rows::{corrupt, one};

/// How many pages are copied at once: 4 MiB.
const STEP: i32 = 1024;

/// How far a backup has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackupProgress {
    /// The pages that were copied.
    pub copied: u64,
    /// All pages.
    pub total: u64,
}

/// Copies the database in `path`, served or not, to a new file that only its owner may read, as it is at one moment. Writers
/// do not wait for it. The copy is checked before it counts.
///
/// # Errors
/// [`StoreError::Unavailable`] where `destination` exists or cannot be written; those of a database that cannot be read. No copy
/// is left then.
pub fn backup(path: &Path, destination: &Path, mut progress: impl FnMut(BackupProgress)) -> StoreResult<()> {
    let source = connect(&locate(path)?, Access::Read)?;
    migrate::version(&source)?;
    private_file().create_new(true).open(destination).map_err(|error| refused(destination, &error))?;
    let copied = copy(&source, destination, &mut progress).and_then(|()| {
        fs::File::open(destination).and_then(|file| file.sync_all()).map_err(|error| refused(destination, &error))
    });
    copied.inspect_err(|_| {
        // The error that is told is the one that came first.
        let _ = fs::remove_file(destination);
    })
}

fn copy(source: &Connection, destination: &Path, progress: &mut impl FnMut(BackupProgress)) -> StoreResult<()> {
    let mut target = Connection::open_with_flags(destination, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    // One view of the source from the first page to the last, whoever writes meanwhile.
    source.execute_batch("BEGIN")?;
    one(source, "SELECT 1 FROM sqlite_schema", [], |_| Ok(()))?;
    {
        let steps = Backup::new(source, &mut target)?;
        loop {
            let step = steps.step(STEP)?;
            let pages = steps.progress();
            let count = |pages: i32| u64::try_from(pages).unwrap_or(0);
            progress(BackupProgress {
                copied: count(pages.pagecount - pages.remaining),
                total: count(pages.pagecount),
            });
            match step {
                StepResult::Done => break,
                StepResult::More => {}
                _ => return Err(StoreError::Unavailable("the database is locked by another program".to_owned())),
            }
        }
    }
    source.execute_batch("ROLLBACK")?;
    // A copy is one file: without this, reading it would make a log beside it.
    target.pragma_update_and_check(None, "journal_mode", "delete", |row| row.get::<_, String>(0))?;
    let verdict = target.pragma_query_value(None, "quick_check", |row| row.get::<_, String>(0))?;
    if verdict != "ok" {
        return Err(corrupt(&format!("the copy is damaged: {verdict}")));
    }
    target.close().map_err(|(_, error)| error.into())
}

fn refused(destination: &Path, error: &io::Error) -> StoreError {
    StoreError::Unavailable(format!("cannot write the backup {}: {error}", destination.display()))
}

//! Flushing the database beside SQLite, which does it for nobody but whoever copies the end of the log.

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use crate::error::StoreError;
use crate::{StoreResult, fail_points};

/// A handle of our own of a database file. What it flushes SQLite has not to wait for later.
///
/// It is never closed, and there is one for each file, however often a store is opened: when a process closes any handle of a file,
/// POSIX takes from it all locks that it has on that file, SQLite's among them (<https://sqlite.org/howtocorrupt.html>, section 2.2).
/// So a file that another took the place of keeps its room on the disk until the process ends.
#[derive(Clone, Copy)]
pub(super) struct Database(&'static File);

static OPENED: Mutex<Vec<(Id, Database)>> = Mutex::new(Vec::new());

impl Database {
    pub(super) fn open(path: &Path) -> StoreResult<Self> {
        Self::find(path).map_err(|error| cannot("open", &error))
    }

    fn find(path: &Path) -> io::Result<Self> {
        let mut opened = OPENED.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = id(path, &path.metadata()?);
        if let Some((_, database)) = opened.iter().find(|(id, _)| *id == wanted) {
            return Ok(*database);
        }
        let file: &'static File = Box::leak(Box::new(OpenOptions::new().write(true).open(path)?));
        opened.push((id(path, &file.metadata()?), Self(file)));
        Ok(Self(file))
    }

    /// Waits until everything that was written to it is on disk.
    pub(super) fn flush(self) -> StoreResult<()> {
        fail_points::flush().and_then(|()| self.0.sync_data()).map_err(|error| cannot("flush", &error))
    }
}

fn cannot(what: &str, error: &io::Error) -> StoreError {
    StoreError::Unavailable(format!("cannot {what} the database file: {error}"))
}

/// Which file it is, whatever its name. No other file gets it while a handle is open.
#[cfg(unix)]
type Id = (u64, u64);
#[cfg(not(unix))]
type Id = std::path::PathBuf;

#[cfg(unix)]
fn id(_: &Path, metadata: &Metadata) -> Id {
    use std::os::unix::fs::MetadataExt;
    (metadata.dev(), metadata.ino())
}

#[cfg(not(unix))]
fn id(path: &Path, _: &Metadata) -> Id {
    path.to_path_buf()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;

    use super::*;

    fn opened(path: &Path) -> *const File {
        Database::open(path).unwrap().0
    }

    #[cfg(unix)]
    #[test]
    fn a_file_is_opened_once_whatever_its_name_and_one_that_took_its_place_anew() {
        let folder = tempfile::tempdir().unwrap();
        let (path, other) = (folder.path().join("a.db"), folder.path().join("b.db"));
        fs::write(&path, "one").unwrap();
        let first = opened(&path);
        assert_eq!(opened(&path), first);
        fs::hard_link(&path, &other).unwrap();
        assert_eq!(opened(&other), first);
        fs::remove_file(&path).unwrap();
        fs::write(&path, "two").unwrap();
        assert_ne!(opened(&path), first);
        assert_eq!(opened(&other), first);
    }

    #[test]
    fn a_file_that_is_not_there_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let Err(error) = Database::open(&folder.path().join("a.db")) else { panic!("it was opened") };
        assert!(error.to_string().contains("cannot open the database file"), "{error}");
    }
}

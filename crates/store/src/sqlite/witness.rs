//! The witness: a small file beside the database that remembers how far the database had come, so that a copy that was
//! restored over it is noticed.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use countersign_core::ids::Incarnation;
use rusqlite::{Connection, TransactionBehavior};
use serde::{Deserialize, Serialize};

use crate::StoreResult;
use crate::error::{RestoredError, StoreError};
use crate::sqlite::connection::private_file;
use crate::sqlite::rows::{corrupt, one};

/// What is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Testimony {
    incarnation: Incarnation,
    commit_seq: u64,
}

/// The file.
#[derive(Clone, Debug)]
pub(super) struct Witness {
    path: PathBuf,
}

impl Witness {
    /// The witness of the database in this file.
    pub(super) fn beside(database: &Path) -> Self {
        let mut path = OsString::from(database);
        path.push(".witness");
        Self { path: path.into() }
    }

    /// Refuses a database that is not the one that was served before, or not as far on. One that was never served gets its
    /// witness here.
    pub(super) fn check(&self, connection: &mut Connection) -> StoreResult<()> {
        // While the lock is held nobody moves the database on, so no witness can be ahead of what is read here.
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let (found, served) = state(&transaction)?;
        // Read for its faults: what cannot be read is told as such, with what to do.
        self.read()?;
        if let Some(objection) = self.objection(&transaction)? {
            return Err(objection.into());
        }
        if !served {
            // The file first: a database that counts as served and has no witness would be refused.
            self.write(found)?;
            transaction.execute("UPDATE auth_state SET served = 1", [])?;
            transaction.commit()?;
        }
        Ok(())
    }

    /// Why the database would be refused, without changing anything; `None`: it would be served.
    pub(super) fn objection(&self, connection: &Connection) -> StoreResult<Option<RestoredError>> {
        let (found, served) = state(connection)?;
        let witness = self.path.display().to_string();
        let seen = match self.read() {
            Ok(seen) => seen,
            // A testimony that nobody can read says nothing.
            Err(StoreError::Corrupt(_)) => return Ok(Some(RestoredError::Unwitnessed { witness })),
            Err(error) => return Err(error),
        };
        Ok(match seen {
            None if served => Some(RestoredError::Unwitnessed { witness }),
            Some(seen) if seen.incarnation != found.incarnation => Some(RestoredError::Swapped { witness }),
            Some(seen) if seen.commit_seq > found.commit_seq => {
                Some(RestoredError::WentBack { found: found.commit_seq, seen: seen.commit_seq, witness })
            }
            _ => None,
        })
    }

    /// Writes down how far the database has come.
    pub(super) fn follow(&self, connection: &Connection) -> StoreResult<()> {
        let (found, _) = state(connection)?;
        self.write(found)
    }

    fn read(&self) -> StoreResult<Option<Testimony>> {
        let mut text = String::new();
        match File::open(&self.path).and_then(|file| file.take(4096).read_to_string(&mut text)) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.unusable(&error)),
        }
        serde_json::from_str(&text).map(Some).map_err(|_| {
            StoreError::Corrupt(format!(
                "the witness file {} is unreadable, so the database cannot be told from a restored copy. Put it back, or run \
                 `countersign accept-restore`: everybody has to sign in again",
                self.path.display()
            ))
        })
    }

    /// Whoever reads at the same time sees the old testimony or the new one, whole.
    fn write(&self, testimony: Testimony) -> StoreResult<()> {
        static TURN: AtomicU32 = AtomicU32::new(0);
        let text = serde_json::to_string(&testimony).map_err(|error| StoreError::Internal(error.to_string()))?;
        let mut beside = self.path.clone().into_os_string();
        beside.push(format!(".{}-{}", std::process::id(), TURN.fetch_add(1, Ordering::Relaxed)));
        let beside = PathBuf::from(beside);
        let written = private_file()
            .create(true)
            .truncate(true)
            .open(&beside)
            .and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()))
            .and_then(|()| fs::rename(&beside, &self.path));
        written.map_err(|error| {
            let _ = fs::remove_file(&beside);
            self.unusable(&error)
        })
    }

    fn unusable(&self, error: &io::Error) -> StoreError {
        StoreError::Unavailable(format!("cannot use the witness file {}: {error}", self.path.display()))
    }
}

/// Where the database stands, and whether it was ever served.
fn state(connection: &Connection) -> StoreResult<(Testimony, bool)> {
    let sql = "SELECT incarnation, commit_seq, served FROM auth_state";
    one(connection, sql, [], |columns| {
        let incarnation = Incarnation::from_bytes(columns.value()?);
        Ok((Testimony { incarnation, commit_seq: columns.counter()? }, columns.value()?))
    })?
    .ok_or_else(|| corrupt("auth_state is empty"))
}

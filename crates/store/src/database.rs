//! Databases of every kind, by one name: what each is opened for, and how far its schema has come.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use crate::error::RestoredError;
use crate::postgres::{self, PostgresStore, PostgresUrl};
use crate::sqlite::{self, SqliteStore};
use crate::{Clock, Store, StoreResult};

pub use crate::opening::{OpenMode, SchemaVersion};

/// Where a database is.
#[derive(Clone, PartialEq, Eq)]
pub enum Database {
    /// A SQLite file; its witness stands beside it.
    Sqlite(PathBuf),
    /// A PostgreSQL database, which several servers may share.
    Postgres {
        /// Where it is.
        url: Box<PostgresUrl>,
        /// The witness of this server: a file of its own.
        witness: PathBuf,
    },
}

impl Database {
    /// Opens it. What is missing is made, but to look ([`OpenMode::Inspect`]).
    ///
    /// # Errors
    /// [`StoreError::Schema`](crate::StoreError::Schema), [`StoreError::Restored`](crate::StoreError::Restored), or why it cannot be
    /// used.
    pub async fn open(&self, mode: OpenMode, clock: Clock) -> StoreResult<Arc<dyn Store>> {
        match self {
            Self::Sqlite(path) => Ok(Arc::new(SqliteStore::open(path, mode, clock)?)),
            Self::Postgres { url, witness } => Ok(Arc::new(PostgresStore::open(url, witness, mode, clock).await?)),
        }
    }

    /// How far the schema has come, without changing anything; `None`: there is no database yet.
    ///
    /// # Errors
    /// [`StoreError::Schema`](crate::StoreError::Schema), or why it cannot be read.
    pub async fn schema_version(&self) -> StoreResult<Option<SchemaVersion>> {
        match self {
            Self::Sqlite(path) if !path.exists() => Ok(None),
            Self::Sqlite(path) => sqlite::schema_version(path).map(Some),
            Self::Postgres { url, .. } => {
                let version = postgres::schema_version(url).await?;
                Ok((version.applied > 0).then_some(version))
            }
        }
    }

    /// The same, wherever a path begins.
    ///
    /// # Errors
    /// A path leads nowhere.
    pub(crate) fn located(&self) -> StoreResult<Self> {
        Ok(match self {
            Self::Sqlite(path) => Self::Sqlite(sqlite::located(path)?),
            Self::Postgres { .. } => self.clone(),
        })
    }

    /// Whether both are the same as far as their names tell.
    pub(crate) fn is_the_same_as(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Sqlite(one), Self::Sqlite(other)) => match (one.canonicalize(), other.canonicalize()) {
                (Ok(one), Ok(other)) => one == other,
                _ => one == other,
            },
            (Self::Postgres { url: one, .. }, Self::Postgres { url: other, .. }) => {
                one.to_string() == other.to_string()
            }
            _ => false,
        }
    }

    /// Why it would be refused as restored, without changing anything; `None`: it is the one that was served last.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub async fn objection(&self) -> StoreResult<Option<RestoredError>> {
        match self {
            Self::Sqlite(path) => sqlite::objection(path),
            Self::Postgres { url, witness } => postgres::objection(url, witness).await,
        }
    }
}

/// Without the password of a URL, as messages and logs may show it.
impl fmt::Display for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => path.display().fmt(f),
            Self::Postgres { url, .. } => url.fmt(f),
        }
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Database({self})")
    }
}

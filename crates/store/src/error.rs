//! What can go wrong in a store. What can be refused is no error: it is part of a verb's answer.

/// Why a verb could not be carried out. Nothing of it was written.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// The database cannot be reached, is full, or is overloaded; the same call may succeed later.
    #[error("the database is unavailable: {0}")]
    Unavailable(String),
    /// The database answers, and lets this server do nothing: the user, the password, the rights or the name of the database are wrong.
    /// The same call succeeds once somebody has mended that.
    #[error("the database refuses this server: {0}")]
    Refused(String),
    /// A constraint that no verb answers for was violated: two writers disagree about an identity.
    #[error("the database refused a conflicting row: {0:?}")]
    Conflict(Constraint),
    /// The database holds what no version of this program writes.
    #[error("the database holds something unreadable: {0}")]
    Corrupt(String),
    /// The schema is not the one of this version.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// The database went back in time, or was swapped for another.
    #[error(transparent)]
    Restored(#[from] RestoredError),
    /// The database is not to be served, since it has moved or is about to.
    #[error(transparent)]
    Moved(#[from] MovedError),
    /// A fault of this program.
    #[error("the store failed: {0}")]
    Internal(String),
}

/// Which constraint was violated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Constraint {
    /// An id that was drawn at random is taken.
    Identity,
    /// A reference points nowhere.
    Reference,
}

/// Why the schema of a database cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SchemaError {
    /// A later version of this program wrote it.
    #[error("the database has schema version {found}, this program knows up to {known}: start a newer countersign")]
    Newer {
        /// The version found.
        found: u32,
        /// The newest version known.
        known: u32,
    },
    /// An earlier version of this program wrote it, and it was opened without bringing it up to date.
    #[error("the database has schema version {found}, this program needs {known}: run `countersign migrate`")]
    Older {
        /// The version found.
        found: u32,
        /// The version needed.
        known: u32,
    },
    /// Nodes of an earlier version of this program are at work on it, which could not go on if it were brought up to date.
    #[error(
        "the database has schema version {found}, and nodes of an older countersign are at work on it, which cannot go on with version {known}: stop all of them first (processes of PostgreSQL: {nodes})"
    )]
    InUse {
        /// The version found.
        found: u32,
        /// The version needed.
        known: u32,
        /// The processes of PostgreSQL that serve them.
        nodes: String,
    },
    /// It is not what the migrations of this program make.
    #[error("the schema of the database was altered, or belongs to another build: {what}")]
    Altered {
        /// What differs.
        what: String,
    },
    /// The tables are those of something else.
    #[error(
        "the database belongs to another program: it has tables, but no Countersign migrations. Name another one (database_url)"
    )]
    Foreign,
}

impl StoreError {
    /// Nobody is there any more to do what was asked.
    pub(crate) fn closed() -> Self {
        Self::Unavailable("the store is closed".to_owned())
    }

    /// Nobody waits any longer.
    pub(crate) fn late() -> Self {
        Self::Unavailable("the database did not answer in time".to_owned())
    }
}

/// Why a database is not the one that was served before.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RestoredError {
    /// The database is older than what was served last.
    #[error(
        "the database is older than what was served last (position {found}, the witness file {witness} says {seen}): it was restored \
         from a copy, or a standby took over without its last changes. Sessions that were ended and refresh tokens that were used \
         since would work again. Run `countersign accept-restore` to go on with it as it is: everybody has to sign in again"
    )]
    WentBack {
        /// The position of the database.
        found: u64,
        /// The position in the witness.
        seen: u64,
        /// The path of the witness.
        witness: String,
    },
    /// The database lost what this server was told that it had committed.
    #[error(
        "the database has lost commits that this server was told of: of {seen} that it had counted there are {found}"
    )]
    LostCommits {
        /// What it has.
        found: u64,
        /// What it had.
        seen: u64,
    },
    /// The database that is being served is another one than before.
    #[error("the database is another one than this server has served until now, and not one that followed it")]
    AnotherHistory,
    /// The database is another one.
    #[error(
        "the database is not the one that was served last (the witness file {witness} names another incarnation): it was restored \
         from an older copy, or database_url names another one. Name the right one, or run `countersign accept-restore` to go on \
         with this one: everybody has to sign in again"
    )]
    Swapped {
        /// The path of the witness.
        witness: String,
    },
    /// The database has been served, but its witness is gone.
    #[error(
        "the database has been served before, but its witness file {witness} is missing: it cannot be told from a restored copy. \
         Put the file back, or run `countersign accept-restore` to go on with the database as it is: everybody has to sign in again"
    )]
    Unwitnessed {
        /// The path where the witness was expected.
        witness: String,
    },
}

/// Why a database is not to be served, though nothing is wrong with it: `countersign transfer` has to do with it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MovedError {
    /// Another one has taken its place, or will.
    #[error("the database has moved to {to} (countersign transfer): name that one (database_url)")]
    Away {
        /// Where it is now, without a password.
        to: String,
    },
    /// It is to take the place of another one, and not everything has come over.
    #[error(
        "the database is not complete: `countersign transfer` is filling it. Wait until it has finished; where it was interrupted, \
         the same command goes on"
    )]
    Arriving,
}

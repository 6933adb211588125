//! What a database is opened for, and how far its schema has come.

/// What a database is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// To serve, or for a command that writes: the schema is brought up to date, a database that went back in time is
    /// refused, and the witness is kept.
    Serve,
    /// For `migrate` and `accept-restore`: the schema is brought up to date, and no witness is asked or kept until a restore is
    /// accepted.
    Maintain,
    /// To look: nothing is made, changed or asked. The schema must be the one of this program.
    Inspect,
}

/// How far the schema of a database has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SchemaVersion {
    /// The newest migration that was applied; 0: none.
    pub applied: u32,
    /// The newest that this program has.
    pub known: u32,
}

impl SchemaVersion {
    /// True where no migration is left to apply.
    #[must_use]
    pub const fn is_current(self) -> bool {
        self.applied == self.known
    }
}

//! What PostgreSQL says went wrong, in the words of the store.

use std::error::Error as _;
use std::fmt::Write as _;

use deadpool_postgres::PoolError;
use tokio_postgres::error::{DbError, Severity, SqlState};

use crate::error::{Constraint, StoreError};

/// Why a transaction came to nothing. Nothing of it was written, unless it is [`Unknown`](Self::Unknown) whether it was.
#[derive(Debug)]
pub(super) enum Fault {
    /// It may work when the whole transaction is tried again at once; the error is for the case that it never does.
    Again(StoreError),
    /// Somebody else held a row for longer than one waits for it.
    Held(StoreError),
    /// It is as it is.
    Final(StoreError),
    /// The connection ended while it was committed, or what was answered does not settle it: nobody knows whether it was.
    Unknown(StoreError),
}

/// The result of a step of a transaction.
pub(super) type Outcome<T> = Result<T, Fault>;

impl Fault {
    pub(super) fn into_error(self) -> StoreError {
        match self {
            Self::Again(error) | Self::Held(error) | Self::Final(error) | Self::Unknown(error) => error,
        }
    }
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        Self::Final(error)
    }
}

impl From<tokio_postgres::Error> for Fault {
    fn from(error: tokio_postgres::Error) -> Self {
        match error.as_db_error() {
            Some(refusal) => from_refusal(refusal),
            // The connection broke before anything was committed: another one may work.
            None if error.is_closed() || is_input_output(&error) => Self::Again(StoreError::Unavailable(told(&error))),
            None => match told(&error) {
                text if text.contains("password missing") => Self::Final(StoreError::Refused(text)),
                text => Self::Final(StoreError::Internal(text)),
            },
        }
    }
}

impl From<PoolError> for Fault {
    fn from(error: PoolError) -> Self {
        match error {
            PoolError::Backend(error) => match Self::from(error) {
                // To make a connection at once again helps nobody.
                Self::Again(error) => Self::Final(error),
                Self::Final(StoreError::Refused(reason)) => Self::Final(StoreError::Refused(reason)),
                // Not even a connection: whatever the reason, the database cannot be used now.
                Self::Held(error) | Self::Final(error) | Self::Unknown(error) => {
                    Self::Final(StoreError::Unavailable(reason(error)))
                }
            },
            PoolError::Timeout(_) => Self::Final(StoreError::Unavailable(
                "no connection to the database was free or answered in time".to_owned(),
            )),
            PoolError::Closed => Self::Final(StoreError::closed()),
            PoolError::NoRuntimeSpecified | PoolError::PostCreateHook(_) => {
                Self::Final(StoreError::Internal("the pool of connections is not set up".to_owned()))
            }
        }
    }
}

fn reason(error: StoreError) -> String {
    match error {
        StoreError::Unavailable(reason) | StoreError::Internal(reason) | StoreError::Corrupt(reason) => reason,
        other => other.to_string(),
    }
}

/// True where the statement was refused before it did anything, and another connection may do better: after a failover one may lead to a server
/// that only reads, and after a migration to plans of another schema. The latter has no code of its own, and its message may be in any language.
pub(super) fn is_not_run(refusal: &DbError) -> bool {
    let outdated =
        *refusal.code() == SqlState::FEATURE_NOT_SUPPORTED && refusal.routine() == Some("RevalidateCachedQuery");
    *refusal.code() == SqlState::READ_ONLY_SQL_TRANSACTION || outdated
}

/// True where this answer to a commit says that it was not made.
pub(super) fn is_not_committed(refusal: &DbError) -> bool {
    // Servers before PostgreSQL 9.6, and some poolers, name it in one language alone.
    let is_error =
        refusal.parsed_severity().map_or(refusal.severity() == "ERROR", |severity| severity == Severity::Error);
    settles(is_error, refusal.code())
}

/// What ends the connection does not: a pooler says that of a server which may have committed before it was lost.
fn settles(is_error: bool, state: &SqlState) -> bool {
    let of_the_connection = matches!(state.code().get(..2), Some("57" | "08")) && *state != SqlState::QUERY_CANCELED;
    is_error && !of_the_connection && *state != SqlState::T_R_STATEMENT_COMPLETION_UNKNOWN
}

fn from_refusal(refusal: &DbError) -> Fault {
    let state = refusal.code();
    let text = refused(refusal);
    if *state == SqlState::T_R_SERIALIZATION_FAILURE || *state == SqlState::T_R_DEADLOCK_DETECTED {
        return Fault::Again(StoreError::Unavailable(text));
    }
    if is_not_run(refusal) {
        return Fault::Again(StoreError::Unavailable(text));
    }
    // Two nodes that make the same table at once.
    if [SqlState::DUPLICATE_OBJECT, SqlState::DUPLICATE_TABLE, SqlState::DUPLICATE_SCHEMA].contains(state) {
        return Fault::Again(StoreError::Internal(text));
    }
    if *state == SqlState::INVALID_SQL_STATEMENT_NAME
        || *state == SqlState::DUPLICATE_PSTATEMENT
        || text.contains("unsupported startup parameter")
    {
        let hint =
            "behind a pooler that hands every transaction to another connection, add pgbouncer=true to database_url";
        return Fault::Final(StoreError::Unavailable(format!("{text}: {hint}")));
    }
    if *state == SqlState::UNIQUE_VIOLATION {
        return Fault::Final(StoreError::Conflict(Constraint::Identity));
    }
    if *state == SqlState::FOREIGN_KEY_VIOLATION {
        return Fault::Final(StoreError::Conflict(Constraint::Reference));
    }
    if *state == SqlState::INSUFFICIENT_PRIVILEGE {
        let hint = "the role needs CONNECT on the database, and CREATE on it or the schema countersign for its own";
        return Fault::Final(StoreError::Refused(format!("{text}: {hint}")));
    }
    if *state == SqlState::LOCK_NOT_AVAILABLE {
        return Fault::Held(StoreError::Unavailable(text));
    }
    if *state == SqlState::QUERY_CANCELED {
        return Fault::Final(StoreError::Unavailable(text));
    }
    match state.code().get(..2) {
        // A server that shuts down or crashed ends its connections in the middle.
        Some("57" | "08") => Fault::Again(StoreError::Unavailable(text)),
        Some("28" | "3D") => Fault::Final(StoreError::Refused(text)),
        Some("53" | "54" | "58" | "25") => Fault::Final(StoreError::Unavailable(text)),
        Some("XX") => Fault::Final(StoreError::Corrupt(text)),
        _ => Fault::Final(StoreError::Internal(text)),
    }
}

/// What the server says, without the values of rows that its detail may show.
fn refused(refusal: &DbError) -> String {
    let mut text = format!("PostgreSQL says: {} ({})", refusal.message(), refusal.code().code());
    if let Some(hint) = refusal.hint() {
        let _ = write!(text, "; {hint}");
    }
    text
}

fn is_input_output(error: &tokio_postgres::Error) -> bool {
    error.source().is_some_and(|source| source.is::<std::io::Error>())
}

/// An error of the driver with its causes.
pub(super) fn told(error: &tokio_postgres::Error) -> String {
    if let Some(refusal) = error.as_db_error() {
        return refused(refusal);
    }
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            let _ = write!(text, ": {more}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_is_undone_where_the_database_says_so_and_unknown_where_a_connection_ends() {
        for code in ["23505", "40001", "40P01", "25006", "53100", "57014", "0A000", "XX000"] {
            assert!(settles(true, &SqlState::from_code(code)), "{code}");
            assert!(!settles(false, &SqlState::from_code(code)), "{code} that ends the connection");
        }
        for code in ["57P01", "57P02", "08006", "08P01", "40003"] {
            assert!(!settles(true, &SqlState::from_code(code)), "{code}");
        }
    }
}

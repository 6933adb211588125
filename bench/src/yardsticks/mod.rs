//! The limits of the machine, taken in the same run.

pub(crate) mod bare;
pub(crate) mod crypto;
pub(crate) mod hello;
pub(crate) mod pgbench;
pub(crate) mod sqlite;

/// Bytes of a row that is updated, of about the size of the row that a refresh changes.
const ROW_BYTES: usize = 150;

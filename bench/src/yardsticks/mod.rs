//! The limits of the machine, taken in the same run.

pub(crate) mod bare;
pub(crate) mod crypto;
pub(crate) mod hello;
pub(crate) mod pgbench;
pub(crate) mod sqlite;

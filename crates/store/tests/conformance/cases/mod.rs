//! The cases, by slice.

pub(crate) mod accounts;
pub(crate) mod events;
pub(crate) mod keys;
pub(crate) mod model;
pub(crate) mod passwords;
pub(crate) mod random;
pub(crate) mod readers;
pub(crate) mod revocations;
pub(crate) mod rotation;
pub(crate) mod sessions;
pub(crate) mod throttles;
pub(crate) mod upkeep;

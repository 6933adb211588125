//! What is allowed: the rules of Countersign, written once.
//!
//! Everything here is a pure function of its arguments. There is no clock, no randomness, no I/O and no async, so that
//! each rule can be read alone, tested by property and asked by every store within its atomic verbs.
//!
//! The heart is [`sessions::rotation::decide`].

pub mod accounts;
pub mod epochs;
pub mod events;
pub mod ids;
pub mod keys;
pub mod passwords;
pub mod roles;
pub mod secret;
pub mod sessions;
pub mod throttles;
pub mod time;

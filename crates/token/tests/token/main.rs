//! The crate from outside: what it signs, what it refuses, and what others make of it.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod fixtures;
mod key_set;
mod oracle;
mod refusals;
mod revocation;
mod round_trip;
mod signing_keys;
mod wycheproof;

#![doc = include_str!("../README.md")]

mod algorithm;
mod audience;
mod base64;
mod claims;
mod der;
mod error;
mod json;
mod jwk;
pub mod jws;
mod key_set;
mod pem;
pub mod revocation;
mod roca;
mod signing_key;
mod verify;
mod verifying_key;

pub use algorithm::{Algorithm, UnknownAlgorithm};
pub use audience::{Audience, InvalidAudience, MAX_AUDIENCES};
pub use claims::AccessClaims;
pub use error::{KeyError, SignError, VerifyError};
pub use key_set::{KeySet, MAX_KEYS};
pub use signing_key::{SigningKey, gather_entropy};
pub use verify::{Expected, MAX_LEEWAY_SECONDS, verify};
pub use verifying_key::VerifyingKey;

/// The longest token that is read or made, in bytes: it must fit, with room, in one HTTP header.
pub const MAX_TOKEN_BYTES: usize = 8 * 1024;

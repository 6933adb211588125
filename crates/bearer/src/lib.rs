#![doc = include_str!("../README.md")]

mod builder;
mod cache;
mod clock;
mod extract;
mod header;
mod layer;
mod metrics;
mod refusal;
mod remote;
mod roles;
mod source;
mod tasks;
mod trusted;
mod verifier;

pub use builder::{BuildError, Builder};
pub use extract::{AccessToken, Claims, OptionalClaims};
pub use layer::{Bearer, BearerService, ResponseFuture};
pub use refusal::Refusal;
pub use remote::AuthorityError;
pub use roles::{RequireRole, RequireRoleService};
pub use source::{Stale, TrustSource};

/// What a token says, and why it is refused: the types of countersign-token that this crate's own speak of.
pub use countersign_token::{AccessClaims, KeySet, VerifyError, revocation::RevokedReason};

//! The layer against an issuer of the tests' own, over real sockets.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod discovery;
mod feed;
mod issuer;
mod keys;
mod layer;
mod local;
mod metrics;
mod status;

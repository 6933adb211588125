//! Access tokens that have been verified.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use countersign_token::{AccessClaims, MAX_TOKEN_BYTES};
use quick_cache::sync::Cache;

/// How many are remembered: about 5 MB of memory once there have been so many.
const REMEMBERED: usize = 10_000;

/// Tokens that were genuine by the keys that this belongs to, by their SHA-256: none lies in memory longer than its request. It saves
/// the signature alone; time is looked at, and the store is asked, for every request.
pub(crate) struct Genuine(Cache<[u8; 32], Arc<AccessClaims>>);

impl Default for Genuine {
    fn default() -> Self {
        Self(Cache::new(REMEMBERED))
    }
}

impl Genuine {
    pub(crate) fn find(&self, token: &str) -> Option<Arc<AccessClaims>> {
        if token.len() > MAX_TOKEN_BYTES {
            return None;
        }
        self.0.get(&sha256(token))
    }

    pub(crate) fn keep(&self, token: &str, claims: &Arc<AccessClaims>) {
        self.0.insert(sha256(token), Arc::clone(claims));
    }
}

fn sha256(token: &str) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
    hash
}

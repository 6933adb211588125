//! Tokens whose signature was verified before.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use countersign_token::AccessClaims;
use quick_cache::sync::Cache;

/// A token by its SHA-256, so that no token lies in memory longer than its request.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct TokenHash([u8; 32]);

impl TokenHash {
    pub(crate) fn of(token: &str) -> Self {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
        Self(hash)
    }
}

#[derive(Clone)]
struct Entry {
    /// Which issuer and keys it was verified against.
    generation: u64,
    claims: Arc<AccessClaims>,
}

/// What was verified before. It saves the signature alone: time and revocation are asked for every request.
pub(crate) struct Verified(Option<Cache<TokenHash, Entry>>);

impl Verified {
    /// At most `capacity` tokens; none where it is 0.
    pub(crate) fn new(capacity: usize) -> Self {
        Self((capacity > 0).then(|| Cache::new(capacity)))
    }

    /// The claims of a token, where it was verified against these very keys.
    pub(crate) fn find(&self, token: TokenHash, generation: u64) -> Option<Arc<AccessClaims>> {
        let entry = self.0.as_ref()?.get(&token)?;
        (entry.generation == generation).then_some(entry.claims)
    }

    pub(crate) fn keep(&self, token: TokenHash, generation: u64, claims: &Arc<AccessClaims>) {
        if let Some(cache) = &self.0 {
            cache.insert(token, Entry { generation, claims: Arc::clone(claims) });
        }
    }

    pub(crate) fn forget(&self, token: TokenHash) {
        if let Some(cache) = &self.0 {
            cache.remove(&token);
        }
    }
}

//! One issuer and its keys, as they are at one moment.

use std::sync::Arc;

use countersign_token::{Expected, KeySet};

/// What tokens are verified against.
pub(crate) struct Trusted {
    pub(crate) expected: Expected,
    pub(crate) keys: Arc<KeySet>,
    /// Grows whenever issuer or keys change, and ends everything that was verified before: a key that is gone, or another key
    /// under its old name, must not live on in a cache.
    pub(crate) generation: u64,
}

impl Trusted {
    /// The successor of `before`, or `None` where nothing has changed.
    pub(crate) fn succeed(before: Option<&Self>, expected: &Expected, keys: &Arc<KeySet>) -> Option<Self> {
        let unchanged = before.is_some_and(|before| before.expected == *expected && same_keys(&before.keys, keys));
        if unchanged {
            return None;
        }
        let generation = before.map_or(0, |before| before.generation + 1);
        Some(Self { expected: expected.clone(), keys: Arc::clone(keys), generation })
    }
}

/// A secret has no public half, and its `kid` is made from it; a public key is compared in full.
fn same_keys(one: &KeySet, other: &KeySet) -> bool {
    one.iter().map(|key| (key.kid(), key.algorithm())).eq(other.iter().map(|key| (key.kid(), key.algorithm())))
        && one.to_jwks() == other.to_jwks()
}

//! The keys that may have signed a token.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::{KeyError, VerifyingKey, jwk};

/// The most keys that a published set may hold.
pub const MAX_KEYS: usize = 64;

const MAX_JWKS_BYTES: usize = 64 * 1024;

/// Keys by their `kid`, each parsed once.
#[derive(Clone, Debug, Default)]
pub struct KeySet {
    keys: Vec<VerifyingKey>,
}

#[derive(Deserialize)]
struct Jwks {
    keys: Vec<Value>,
}

impl KeySet {
    /// A set of these keys; of several with one `kid` the first is kept.
    pub fn new(keys: impl IntoIterator<Item = VerifyingKey>) -> Self {
        let mut set = Self::default();
        for key in keys {
            if set.find(key.kid()).is_none() {
                set.keys.push(key);
            }
        }
        set
    }

    /// Reads a published JWK set (RFC 7517 §5) of at most 64 KiB and [`MAX_KEYS`] entries.
    ///
    /// An entry of another type, use or algorithm is ignored, and so is one that is damaged, holds a private key or a shared
    /// secret: the set may well be newer than this reader. A key without `kid` goes by its RFC 7638 thumbprint.
    ///
    /// # Errors
    ///
    /// [`KeyError::TooLong`], [`KeyError::JwksMalformed`], [`KeyError::TooManyKeys`], or [`KeyError::DuplicateKid`] where two
    /// usable keys have one name.
    pub fn from_jwks(json: &str) -> Result<Self, KeyError> {
        if json.len() > MAX_JWKS_BYTES {
            return Err(KeyError::TooLong);
        }
        let jwks: Jwks = serde_json::from_str(json).map_err(|_| KeyError::JwksMalformed)?;
        if jwks.keys.len() > MAX_KEYS {
            return Err(KeyError::TooManyKeys);
        }
        let mut set = Self::default();
        for key in jwks.keys.into_iter().filter_map(jwk::parse) {
            if set.find(key.kid()).is_some() {
                return Err(KeyError::DuplicateKid);
            }
            set.keys.push(key);
        }
        Ok(set)
    }

    /// The set as a JWK set: public keys only. The secret of HS256 is never published, so a set of such keys has no entry.
    pub fn to_jwks(&self) -> Value {
        json!({ "keys": self.keys.iter().filter_map(jwk::publish).collect::<Vec<_>>() })
    }

    /// The key with this id.
    pub fn find(&self, kid: &str) -> Option<&VerifyingKey> {
        self.keys.iter().find(|key| key.kid() == kid)
    }

    /// The key of a token: by its `kid`, or the only key of the set where the token names none.
    pub(crate) fn select(&self, kid: Option<&str>) -> Option<&VerifyingKey> {
        match (kid, self.keys.as_slice()) {
            (Some(kid), _) => self.find(kid),
            (None, [only]) => Some(only),
            (None, _) => None,
        }
    }

    /// The keys in their order.
    pub fn iter(&self) -> impl Iterator<Item = &VerifyingKey> {
        self.keys.iter()
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }
}

impl FromIterator<VerifyingKey> for KeySet {
    fn from_iter<I: IntoIterator<Item = VerifyingKey>>(keys: I) -> Self {
        Self::new(keys)
    }
}

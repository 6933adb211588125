//! Keys: what each is for, and at which time it does what.

use std::fmt;

use crate::time::Millis;

/// What a key in the store is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyUse {
    /// Signs access tokens.
    Signing,
    /// Tags refresh tokens.
    RefreshTag,
}

impl KeyUse {
    /// The name under which stores know it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Signing => "signing",
            Self::RefreshTag => "refresh_tag",
        }
    }

    /// The reverse of [`Self::as_str`].
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Signing, Self::RefreshTag].into_iter().find(|key_use| key_use.as_str() == name)
    }
}

/// A key as the store holds it. The private part is sealed with a key that is not in the store.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredKey {
    /// Its id: `kid` of a signing key; the number in the ring of a tag key.
    pub kid: String,
    /// What it is for.
    pub key_use: KeyUse,
    /// The JOSE name of its algorithm.
    pub algorithm: String,
    /// The sealed private part.
    pub sealed: Vec<u8>,
    /// When it was made.
    pub created_at: Millis,
    /// From when it is used for new tokens. Before that it is only published, so that every verifier has seen it.
    pub active_from: Millis,
    /// Until when it verifies; `None` while no newer key has taken its place.
    pub verifies_until: Option<Millis>,
}

impl fmt::Debug for StoredKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StoredKey({} {} {}, sealed)", self.key_use.as_str(), self.algorithm, self.kid)
    }
}

/// What a key does at a given time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyPhase {
    /// Published, and not used yet.
    Published,
    /// Used for new tokens, unless a newer key is.
    Active,
    /// Verifies what it has signed, and signs nothing new.
    Verifying,
    /// Of no use any more.
    Retired,
}

impl StoredKey {
    /// What the key does at `now`.
    #[must_use]
    pub fn phase(&self, successor_active_from: Option<Millis>, now: Millis) -> KeyPhase {
        if self.verifies_until.is_some_and(|until| now >= until) {
            return KeyPhase::Retired;
        }
        if now < self.active_from {
            return KeyPhase::Published;
        }
        if successor_active_from.is_some_and(|from| now >= from) { KeyPhase::Verifying } else { KeyPhase::Active }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(verifies_until: Option<i64>) -> StoredKey {
        StoredKey {
            kid: "k".to_owned(),
            key_use: KeyUse::Signing,
            algorithm: "ES256".to_owned(),
            sealed: vec![1, 2, 3],
            created_at: Millis::new(0),
            active_from: Millis::new(100),
            verifies_until: verifies_until.map(Millis::new),
        }
    }

    #[test]
    fn a_key_passes_through_its_phases_in_order() {
        let successor = Some(Millis::new(200));
        let phase = |now| key(Some(300)).phase(successor, Millis::new(now));
        assert_eq!(phase(99), KeyPhase::Published);
        assert_eq!(phase(100), KeyPhase::Active);
        assert_eq!(phase(199), KeyPhase::Active);
        assert_eq!(phase(200), KeyPhase::Verifying);
        assert_eq!(phase(300), KeyPhase::Retired);
        assert_eq!(key(None).phase(None, Millis::new(10_000)), KeyPhase::Active);
    }

    #[test]
    fn debug_shows_no_private_part() {
        assert_eq!(format!("{:?}", key(None)), "StoredKey(signing ES256 k, sealed)");
    }
}

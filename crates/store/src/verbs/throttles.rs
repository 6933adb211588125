//! What the verbs of throttles take.

use countersign_core::throttles::Quota;

/// What an allowance for guesses is about, as a keyed hash: whoever reads the database learns no name from it, and no password that
/// was typed where a name belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bucket([u8; 16]);

impl Bucket {
    /// From the bytes that stand for it.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The bytes that stand for it.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

/// One attempt to take out of an allowance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Charge {
    /// Which.
    pub bucket: Bucket,
    /// How large it is, and how fast it grows back.
    pub quota: Quota,
}

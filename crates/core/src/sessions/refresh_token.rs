//! The refresh token: its bytes, its tag, and the ratchet that makes a retry recomputable.
//!
//! ```text
//! cs_rt_ + base64url( ver(1)=1 | kid(1) | family(16) | generation(4) | secret(32) | tag(16) )
//! ```
//!
//! The tag proves that we made the token, so guesses cost no database read and knowing a session id is not enough to end
//! that session. The secret of a successor follows from its parent's secret and a stored nonce: whoever holds the parent
//! and presents it again gets the same successor, and a dump of the database is of no use to anyone.

use std::fmt;

use aws_lc_rs::{digest, hmac};
use base64ct::{Base64UrlUnpadded, Encoding};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::ids::FamilyId;
use crate::secret::Secret;

/// What every refresh token begins with, so that secret scanners can find a leaked one.
pub const PREFIX: &str = "cs_rt_";

const VERSION: u8 = 1;
const TAG_BYTES: usize = 16;
const BODY_BYTES: usize = 1 + 1 + 16 + 4 + 32;
const TOKEN_BYTES: usize = BODY_BYTES + TAG_BYTES;
/// 70 bytes in base64 without padding.
const ENCODED_CHARS: usize = 94;

/// The nonce that one rotation drew: with the parent's secret it gives the successor's.
pub type Nonce = [u8; 16];

/// A refresh token whose tag was found genuine, or that was just made.
#[derive(Clone, PartialEq, Eq)]
pub struct RefreshToken {
    /// The chain that the token belongs to.
    pub family: FamilyId,
    /// Its position in that chain; the first token of a session has 0.
    pub generation: u32,
    secret: Secret<32>,
}

/// What a store keeps of a refresh token: `SHA-256("cs/rt/id/1" ‖ family ‖ generation ‖ secret)`.
#[derive(Clone, Copy)]
pub struct TokenHash([u8; 32]);

/// A text that is no refresh token of ours: wrong shape, unknown tag key or forged tag. Which of these is not told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a refresh token issued here")]
pub struct Malformed;

impl RefreshToken {
    /// The first token of a family; `secret` is 32 random bytes.
    #[must_use]
    pub const fn first(family: FamilyId, secret: Secret<32>) -> Self {
        Self { family, generation: 0, secret }
    }

    /// The hash that a store keeps.
    #[must_use]
    pub fn hash(&self) -> TokenHash {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(b"cs/rt/id/1");
        context.update(self.family.as_bytes());
        context.update(&self.generation.to_be_bytes());
        context.update(self.secret.expose());
        TokenHash(bytes_of(context.finish().as_ref()))
    }

    /// The token of the next generation, recomputable by whoever holds this one and the nonce.
    ///
    /// `None` where the generation is the last that fits four bytes: such a session has to end.
    #[must_use]
    pub fn successor(&self, nonce: &Nonce) -> Option<Self> {
        let generation = self.generation.checked_add(1)?;
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.secret.expose());
        let mut context = hmac::Context::with_key(&key);
        context.update(b"cs/rt/next/1");
        context.update(self.family.as_bytes());
        context.update(&generation.to_be_bytes());
        context.update(nonce);
        Some(Self { family: self.family, generation, secret: Secret::new(bytes_of(context.sign().as_ref())) })
    }
}

impl fmt::Debug for RefreshToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RefreshToken({}, generation {}, redacted)", self.family, self.generation)
    }
}

impl TokenHash {
    /// A hash as a store holds it.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes that a store keeps.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl PartialEq for TokenHash {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for TokenHash {}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenHash(redacted)")
    }
}

/// The keys that tag refresh tokens: the newest signs, the older ones still verify.
#[derive(Clone)]
pub struct TagKeys {
    newest: TagKey,
    older: Vec<TagKey>,
}

/// One tag key: its number in the ring and its 32 bytes, prepared for use.
#[derive(Clone)]
pub struct TagKey {
    id: u8,
    key: hmac::Key,
}

impl TagKey {
    /// Prepares a key; `id` is its number in the ring.
    #[must_use]
    pub fn new(id: u8, secret: &Secret<32>) -> Self {
        Self { id, key: hmac::Key::new(hmac::HMAC_SHA256, secret.expose()) }
    }

    fn tag(&self, body: &[u8]) -> [u8; TAG_BYTES] {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(b"cs/rt/tag/1");
        context.update(body);
        bytes_of(&context.sign().as_ref()[..TAG_BYTES])
    }
}

impl fmt::Debug for TagKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TagKey({}, redacted)", self.id)
    }
}

impl TagKeys {
    /// A ring whose `newest` key tags what is made from now on.
    #[must_use]
    pub const fn new(newest: TagKey, older: Vec<TagKey>) -> Self {
        Self { newest, older }
    }

    /// Writes a token down for its holder.
    #[must_use]
    pub fn seal(&self, token: &RefreshToken) -> Zeroizing<String> {
        let mut bytes = Zeroizing::new([0u8; TOKEN_BYTES]);
        bytes[0] = VERSION;
        bytes[1] = self.newest.id;
        bytes[2..18].copy_from_slice(token.family.as_bytes());
        bytes[18..22].copy_from_slice(&token.generation.to_be_bytes());
        bytes[22..BODY_BYTES].copy_from_slice(token.secret.expose());
        let tag = self.newest.tag(&bytes[..BODY_BYTES]);
        bytes[BODY_BYTES..].copy_from_slice(&tag);

        let mut text = Zeroizing::new(String::with_capacity(PREFIX.len() + ENCODED_CHARS));
        text.push_str(PREFIX);
        text.push_str(&Zeroizing::new(Base64UrlUnpadded::encode_string(&*bytes)));
        text
    }

    /// Reads a token that somebody presents.
    ///
    /// # Errors
    /// [`Malformed`] where it is not of the exact form (canonical base64url, no padding) or its tag is not ours.
    pub fn open(&self, text: &str) -> Result<RefreshToken, Malformed> {
        let encoded = text.strip_prefix(PREFIX).ok_or(Malformed)?;
        if encoded.len() != ENCODED_CHARS {
            return Err(Malformed);
        }
        let mut bytes = Zeroizing::new([0u8; TOKEN_BYTES]);
        Base64UrlUnpadded::decode(encoded, &mut *bytes).map_err(|_| Malformed)?;
        if bytes[0] != VERSION {
            return Err(Malformed);
        }
        let key = self.find(bytes[1]).ok_or(Malformed)?;
        let genuine: bool = key.tag(&bytes[..BODY_BYTES]).ct_eq(&bytes[BODY_BYTES..]).into();
        if !genuine {
            return Err(Malformed);
        }
        Ok(RefreshToken {
            family: FamilyId::from_bytes(bytes_of(&bytes[2..18])),
            generation: u32::from_be_bytes(bytes_of(&bytes[18..22])),
            secret: Secret::new(bytes_of(&bytes[22..BODY_BYTES])),
        })
    }

    /// True where the text has the form of a token and names a key that is not here: another server may have made the key since
    /// these were read.
    #[must_use]
    pub fn lack_the_key_of(&self, text: &str) -> bool {
        let encoded = text.strip_prefix(PREFIX).filter(|encoded| encoded.len() == ENCODED_CHARS);
        // Four characters hold the first three bytes: version, key and one of the family.
        let mut head = [0; 3];
        let head = encoded.and_then(|encoded| Base64UrlUnpadded::decode(encoded.get(..4)?, &mut head).ok());
        head.is_some_and(|head| head[0] == VERSION && self.find(head[1]).is_none())
    }

    fn find(&self, id: u8) -> Option<&TagKey> {
        std::iter::once(&self.newest).chain(&self.older).find(|key| key.id == id)
    }
}

impl fmt::Debug for TagKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TagKeys(newest {}, {} older)", self.newest.id, self.older.len())
    }
}

/// What an honest retry repeats and a thief cannot know: 16–64 bytes that the client chose for one refresh token.
#[derive(Clone, zeroize::ZeroizeOnDrop)]
pub struct RetryKey(String);

/// A text is too short or too long for a retry key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a retry key has 16 to 64 bytes")]
pub struct InvalidRetryKey;

/// What a store keeps of a retry key; see [`RetryKey::hash`].
#[derive(Clone, Copy)]
pub struct RetryHash([u8; 16]);

impl RetryKey {
    /// Reads a retry key.
    ///
    /// # Errors
    /// [`InvalidRetryKey`] outside 16–64 bytes.
    pub fn parse(text: &str) -> Result<Self, InvalidRetryKey> {
        if matches!(text.len(), 16..=64) { Ok(Self(text.to_owned())) } else { Err(InvalidRetryKey) }
    }

    /// `SHA-256("cs/rt/rk/1" ‖ family ‖ generation ‖ retry key)`, its first 16 bytes.
    #[must_use]
    pub fn hash(&self, family: FamilyId, generation: u32) -> RetryHash {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(b"cs/rt/rk/1");
        context.update(family.as_bytes());
        context.update(&generation.to_be_bytes());
        context.update(self.0.as_bytes());
        RetryHash(bytes_of(&context.finish().as_ref()[..16]))
    }
}

impl fmt::Debug for RetryKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RetryKey(redacted)")
    }
}

impl RetryHash {
    /// A hash as a store holds it.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The bytes that a store keeps.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl PartialEq for RetryHash {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for RetryHash {}

impl fmt::Debug for RetryHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RetryHash(redacted)")
    }
}

/// The slice as an array; every caller slices exactly `N` bytes.
fn bytes_of<const N: usize>(slice: &[u8]) -> [u8; N] {
    let mut bytes = [0; N];
    bytes.copy_from_slice(slice);
    bytes
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ring() -> TagKeys {
        TagKeys::new(TagKey::new(1, &Secret::new([1; 32])), vec![])
    }

    fn token(generation: u32) -> RefreshToken {
        RefreshToken { family: FamilyId::from_bytes([9; 16]), generation, secret: Secret::new([3; 32]) }
    }

    #[test]
    fn what_is_sealed_opens_again() {
        let text = ring().seal(&token(7));
        assert!(text.starts_with(PREFIX) && text.len() == 100, "{}", text.len());
        assert_eq!(ring().open(&text), Ok(token(7)));
    }

    #[test]
    fn an_older_key_still_opens_and_a_forgotten_one_does_not() {
        let text = ring().seal(&token(0));
        let newer = TagKey::new(2, &Secret::new([2; 32]));
        let both = TagKeys::new(newer.clone(), vec![TagKey::new(1, &Secret::new([1; 32]))]);
        assert!(both.open(&text).is_ok());
        assert_eq!(TagKeys::new(newer, vec![]).open(&text), Err(Malformed));
    }

    #[test]
    fn a_key_that_is_not_here_is_told_from_what_is_no_token() {
        let text = ring().seal(&token(0)).to_string();
        let other = TagKeys::new(TagKey::new(200, &Secret::new([9; 32])), vec![]);
        assert!(!ring().lack_the_key_of(&text) && other.lack_the_key_of(&text));
        for no_token in ["", PREFIX, &text[1..], &text[..text.len() - 1], &text.replacen("cs_rt_A", "cs_rt_B", 1)] {
            assert!(!other.lack_the_key_of(no_token), "{no_token}");
        }
    }

    #[test]
    fn every_changed_character_is_refused() {
        let text = ring().seal(&token(0)).to_string();
        for at in 0..text.len() {
            let mut forged = text.clone().into_bytes();
            forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
            assert_eq!(ring().open(&String::from_utf8(forged).unwrap()), Err(Malformed), "character {at}");
        }
    }

    #[test]
    fn the_last_character_has_one_spelling() {
        // 70 bytes leave four unused bits in the last character: 15 of its 16 spellings are not canonical.
        let text = ring().seal(&token(0)).to_string();
        let (head, last) = text.split_at(text.len() - 1);
        let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let opened = alphabet.chars().filter(|c| ring().open(&format!("{head}{c}")).is_ok()).count();
        assert_eq!(opened, 1, "{last}");
    }

    #[test]
    fn the_successor_depends_on_secret_generation_and_nonce() {
        let parent = token(4);
        let next = parent.successor(&[5; 16]).unwrap();
        assert_eq!(next.generation, 5);
        assert_eq!(next, parent.successor(&[5; 16]).unwrap());
        assert_ne!(next, parent.successor(&[6; 16]).unwrap());
        assert_ne!(next.hash(), token(5).hash());
        assert!(token(u32::MAX).successor(&[0; 16]).is_none());
    }

    #[test]
    fn debug_shows_no_secret() {
        let shown = format!("{:?} {:?} {:?} {:?}", token(1), ring(), token(1).hash(), RetryKey("k".repeat(16)));
        assert!(!shown.contains("kkkk") && !shown.contains("3, 3"), "{shown}");
    }

    proptest! {
        #[test]
        fn hostile_text_is_refused_without_panic(text in "\\PC{0,120}") {
            prop_assert_eq!(ring().open(&text), Err(Malformed));
            prop_assert_eq!(ring().open(&format!("{PREFIX}{text}")), Err(Malformed));
        }

        #[test]
        fn hostile_bytes_of_the_right_length_are_refused(bytes in proptest::collection::vec(any::<u8>(), TOKEN_BYTES)) {
            let text = format!("{PREFIX}{}", Base64UrlUnpadded::encode_string(&bytes));
            prop_assert_eq!(ring().open(&text), Err(Malformed));
        }
    }
}

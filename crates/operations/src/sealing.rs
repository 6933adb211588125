//! Private keys at rest: AES-256-GCM with a key that is not in the database; and what else follows from that key.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hmac;
use countersign_core::keys::KeyUse;
use zeroize::Zeroizing;

use crate::random;

/// The key that private keys are encrypted with before they are stored.
pub struct KeyEncryptionKey {
    sealing: LessSafeKey,
    throttles: hmac::Key,
}

/// What the key that names throttles is derived for.
const THROTTLES: &[u8] = b"cs/throttle/1";

/// What could not be opened: another key sealed it, or it was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotOurs;

impl KeyEncryptionKey {
    /// The length in bytes.
    pub const BYTES: usize = 32;

    /// Takes 32 random bytes that are kept outside of the database.
    #[must_use]
    #[expect(clippy::expect_used, reason = "the length is right by its type")]
    pub fn new(bytes: &[u8; Self::BYTES]) -> Self {
        let sealing = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, bytes).expect("AES-256 takes 32 bytes"));
        let derived = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, bytes), THROTTLES);
        Self { sealing, throttles: hmac::Key::new(hmac::HMAC_SHA256, derived.as_ref()) }
    }

    /// The key under which throttles are named in the store: the same on every server that shares this one.
    pub(crate) fn throttles(&self) -> hmac::Key {
        self.throttles.clone()
    }

    /// Draws a new one: what a first start writes to its key file.
    #[must_use]
    pub fn draw() -> Zeroizing<[u8; Self::BYTES]> {
        Zeroizing::new(random::bytes())
    }

    /// `nonce ‖ ciphertext ‖ tag`, bound to the use and the id of the key. The nonce is random: few keys are ever sealed.
    pub(crate) fn seal(&self, key_use: KeyUse, kid: &str, secret: &[u8]) -> Result<Vec<u8>, NotOurs> {
        let nonce: [u8; NONCE_LEN] = random::bytes();
        let mut sealed = secret.to_vec();
        self.sealing
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(context(key_use, kid)),
                &mut sealed,
            )
            .map_err(|_| NotOurs)?;
        Ok([nonce.as_slice(), &sealed].concat())
    }

    pub(crate) fn open(&self, key_use: KeyUse, kid: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, NotOurs> {
        let (nonce, ciphertext) = sealed.split_first_chunk::<NONCE_LEN>().ok_or(NotOurs)?;
        let mut opened = Zeroizing::new(ciphertext.to_vec());
        let length = self
            .sealing
            .open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(context(key_use, kid)), &mut opened)
            .map_err(|_| NotOurs)?
            .len();
        opened.truncate(length);
        Ok(opened)
    }
}

impl fmt::Debug for KeyEncryptionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyEncryptionKey(redacted)")
    }
}

fn context(key_use: KeyUse, kid: &str) -> Vec<u8> {
    format!("cs/key/1 {} {kid}", key_use.as_str()).into_bytes()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn opens_only_what_was_sealed_for_the_same_key() {
        let kek = KeyEncryptionKey::new(&[1; 32]);
        let sealed = kek.seal(KeyUse::Signing, "a", b"private").unwrap();
        assert!(!sealed.windows(7).any(|window| window == b"private"));
        assert_eq!(&**kek.open(KeyUse::Signing, "a", &sealed).unwrap(), b"private");
        assert_eq!(kek.open(KeyUse::Signing, "b", &sealed), Err(NotOurs));
        assert_eq!(kek.open(KeyUse::RefreshTag, "a", &sealed), Err(NotOurs));
        assert_eq!(KeyEncryptionKey::new(&[2; 32]).open(KeyUse::Signing, "a", &sealed), Err(NotOurs));
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert_eq!(kek.open(KeyUse::Signing, "a", &changed), Err(NotOurs), "byte {at}");
        }
        assert_eq!(kek.open(KeyUse::Signing, "a", &[]), Err(NotOurs));
    }
}

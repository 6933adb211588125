//! The public half of a key, parsed once.

use std::{fmt, sync::Arc};

use aws_lc_rs::{
    digest, hmac,
    signature::{
        ECDSA_P256_SHA256_FIXED, ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents,
    },
};

use crate::{Algorithm, KeyError, VerifyError, base64, der, roca};

/// A shared secret of fewer bytes than the hash would be its weakest part (RFC 7518 §3.2).
const MIN_SECRET_BYTES: usize = 32;
const MAX_SECRET_BYTES: usize = 1024;

/// What verifies signatures: a public key or, for HS256, the shared secret. Cheap to clone; its `Debug` shows no secret.
#[derive(Clone)]
pub struct VerifyingKey(Arc<Inner>);

struct Inner {
    kid: String,
    algorithm: Algorithm,
    verifier: Verifier,
    public: Option<PublicParts>,
}

enum Verifier {
    Public(ParsedPublicKey),
    Shared(Box<hmac::Key>),
}

/// The members of a public JWK that carry the key, in base64url (RFC 7518 §6, RFC 8037 §2).
pub(crate) enum PublicParts {
    Ec { x: String, y: String },
    Okp { x: String },
    Rsa { n: String, e: String },
}

impl VerifyingKey {
    /// The shared secret of HS256, of 32 to 1024 bytes.
    ///
    /// # Errors
    ///
    /// [`KeyError::SecretTooShort`] or [`KeyError::SecretTooLong`].
    pub fn from_secret(secret: &[u8]) -> Result<Self, KeyError> {
        if secret.len() < MIN_SECRET_BYTES {
            return Err(KeyError::SecretTooShort { bytes: secret.len() });
        }
        if secret.len() > MAX_SECRET_BYTES {
            return Err(KeyError::SecretTooLong { bytes: secret.len() });
        }
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
        let kid = secret_kid(&key);
        Ok(Self::new(kid, Algorithm::Hs256, Verifier::Shared(Box::new(key)), None))
    }

    /// The affine coordinates of a point of P-256, 32 bytes each.
    pub(crate) fn from_p256(x: &[u8], y: &[u8]) -> Result<Self, KeyError> {
        if x.len() != 32 || y.len() != 32 {
            return Err(KeyError::PublicKeyMalformed);
        }
        let point = [&[4], x, y].concat();
        let key = ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &point).map_err(|_| KeyError::PublicKeyMalformed)?;
        let parts = PublicParts::Ec { x: base64::encode(x), y: base64::encode(y) };
        Ok(Self::public(Algorithm::Es256, key, parts))
    }

    pub(crate) fn from_ed25519(x: &[u8]) -> Result<Self, KeyError> {
        if x.len() != 32 {
            return Err(KeyError::PublicKeyMalformed);
        }
        let key = ParsedPublicKey::new(&ED25519, x).map_err(|_| KeyError::PublicKeyMalformed)?;
        Ok(Self::public(Algorithm::EdDsa, key, PublicParts::Okp { x: base64::encode(x) }))
    }

    /// Modulus and exponent, big-endian and without leading zeros (RFC 7518 §6.3.1).
    pub(crate) fn from_rsa(n: &[u8], e: &[u8]) -> Result<Self, KeyError> {
        let odd = |number: &[u8]| number.last().is_some_and(|last| last & 1 == 1);
        let minimal = |number: &[u8]| number.first().is_some_and(|first| *first != 0);
        // An exponent of 1 would make every padded message its own signature; more than 32 bits only cost time.
        if !odd(n) || !odd(e) || !minimal(n) || !minimal(e) || e == [1] || der::bits(e) > 32 {
            return Err(KeyError::PublicKeyMalformed);
        }
        let bits = der::bits(n);
        if !(2048..=8192).contains(&bits) {
            return Err(KeyError::RsaSize { bits });
        }
        if roca::has_fingerprint(n) {
            return Err(KeyError::RsaWeak);
        }
        let key = RsaPublicKeyComponents { n, e }
            .to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA256)
            .map_err(|_| KeyError::PublicKeyMalformed)?;
        let parts = PublicParts::Rsa { n: base64::encode(n), e: base64::encode(e) };
        Ok(Self::public(Algorithm::Rs256, key, parts))
    }

    fn public(algorithm: Algorithm, key: ParsedPublicKey, parts: PublicParts) -> Self {
        Self::new(parts.thumbprint(), algorithm, Verifier::Public(key), Some(parts))
    }

    fn new(kid: String, algorithm: Algorithm, verifier: Verifier, public: Option<PublicParts>) -> Self {
        Self(Arc::new(Inner { kid, algorithm, verifier, public }))
    }

    /// The same key under the name that its publisher gave it.
    pub(crate) fn named(self, kid: String) -> Self {
        match Arc::try_unwrap(self.0) {
            Ok(inner) => Self(Arc::new(Inner { kid, ..inner })),
            Err(shared) => Self(shared),
        }
    }

    /// The key's id: of a key of a Countersign its RFC 7638 thumbprint, of a key from a key set the `kid` given there.
    pub fn kid(&self) -> &str {
        &self.0.kid
    }

    /// The one algorithm that this key verifies.
    pub fn algorithm(&self) -> Algorithm {
        self.0.algorithm
    }

    pub(crate) fn public_parts(&self) -> Option<&PublicParts> {
        self.0.public.as_ref()
    }

    /// Checks a raw signature: for ES256 the 64 bytes of r and s (RFC 7518 §3.4), for HS256 the 32 bytes of the tag, compared in
    /// constant time.
    ///
    /// # Errors
    ///
    /// [`VerifyError::SignatureInvalid`].
    pub fn verify_signature(&self, message: &[u8], signature: &[u8]) -> Result<(), VerifyError> {
        match &self.0.verifier {
            Verifier::Public(key) => key.verify_sig(message, signature),
            Verifier::Shared(key) => hmac::verify(key, message, signature),
        }
        .map_err(|_| VerifyError::SignatureInvalid)
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifyingKey")
            .field("kid", &self.0.kid)
            .field("algorithm", &self.0.algorithm)
            .finish_non_exhaustive()
    }
}

impl PublicParts {
    /// RFC 7638 §3: the required members in the order of their names, without white space, hashed.
    fn thumbprint(&self) -> String {
        let canonical = match self {
            Self::Ec { x, y } => format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#),
            Self::Okp { x } => format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#),
            Self::Rsa { n, e } => format!(r#"{{"e":"{e}","kty":"RSA","n":"{n}"}}"#),
        };
        base64::encode(digest::digest(&digest::SHA256, canonical.as_bytes()).as_ref())
    }
}

/// A name for a secret that reveals nothing of it: a hash of a tag under the secret, cut to 16 bytes. A thumbprint would not
/// do, since it is a plain hash with which guesses could be tested across keys.
fn secret_kid(key: &hmac::Key) -> String {
    let tag = hmac::sign(key, b"countersign/hs256/kid/1");
    let hash = digest::digest(&digest::SHA256, tag.as_ref());
    base64::encode(&hash.as_ref()[..16])
}

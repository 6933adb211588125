//! The private half of a key: made, read, kept, and signed with.

use std::fmt;

use aws_lc_rs::{
    encoding::AsDer,
    hmac, rand,
    rsa::KeySize,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair},
};
use zeroize::Zeroizing;

use crate::{
    AccessClaims, Algorithm, KeyError, MAX_TOKEN_BYTES, SignError, VerifyingKey, base64,
    der::{self, Kind},
    pem,
};

/// A key that signs access tokens. Its `Debug` shows no secret, and its memory is cleared when it is dropped.
///
/// ```
/// use countersign_token::{Algorithm, KeySet, SigningKey};
///
/// let key = SigningKey::generate(Algorithm::EdDsa)?;
/// let stored = key.to_secret_bytes()?; // to be sealed before it is written anywhere
/// let again = SigningKey::from_secret_bytes(Algorithm::EdDsa, &stored)?;
/// assert_eq!(again.kid(), key.kid());
/// # Ok::<(), countersign_token::KeyError>(())
/// ```
pub struct SigningKey {
    signer: Signer,
    verifying_key: VerifyingKey,
    /// `base64url(header).`: the same for every token of the key.
    encoded_header: String,
}

enum Signer {
    Es256(EcdsaKeyPair),
    EdDsa(Ed25519KeyPair),
    Rs256(RsaKeyPair),
    Hs256 { key: Box<hmac::Key>, secret: Zeroizing<Vec<u8>> },
}

impl SigningKey {
    /// A new key: P-256, Ed25519, RSA of 3072 bits (which may take a second), or 32 random bytes.
    ///
    /// # Errors
    ///
    /// [`KeyError::Failed`] where the system has no randomness to give.
    pub fn generate(algorithm: Algorithm) -> Result<Self, KeyError> {
        let signer = match algorithm {
            Algorithm::Es256 => Signer::Es256(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)?),
            Algorithm::EdDsa => Signer::EdDsa(Ed25519KeyPair::generate()?),
            Algorithm::Rs256 => Signer::Rs256(RsaKeyPair::generate(KeySize::Rsa3072)?),
            Algorithm::Hs256 => return Self::from_secret(&*random_secret()?),
        };
        Self::new(signer)
    }

    /// Reads the DER of an unencrypted PKCS#8 private key (RFC 5958). The key decides the algorithm: P-256 signs ES256, Ed25519
    /// EdDSA, and RSA of 2048 to 8192 bits RS256.
    ///
    /// # Errors
    ///
    /// [`KeyError`], which says what would be right.
    pub fn from_pkcs8_der(der: &[u8]) -> Result<Self, KeyError> {
        let damaged = |_| KeyError::Pkcs8Malformed;
        let signer = match der::pkcs8_kind(der).ok_or(KeyError::Pkcs8Malformed)? {
            Kind::P256 => {
                EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der).map(Signer::Es256).map_err(damaged)?
            }
            Kind::Ed25519 => Ed25519KeyPair::from_pkcs8(der).map(Signer::EdDsa).map_err(damaged)?,
            Kind::Rsa(bits) if !(2048..=8192).contains(&bits) => return Err(KeyError::RsaSize { bits }),
            Kind::Rsa(_) => RsaKeyPair::from_pkcs8(der).map(Signer::Rs256).map_err(damaged)?,
            Kind::OtherCurve => return Err(KeyError::UnsupportedCurve),
            Kind::Other => return Err(KeyError::UnsupportedKey),
        };
        Self::new(signer)
    }

    /// Reads the one `-----BEGIN PRIVATE KEY-----` block (PKCS#8, unencrypted) of a PEM text of at most 64 KiB.
    ///
    /// # Errors
    ///
    /// [`KeyError`], which names the form found and the command that converts it.
    pub fn from_pem(text: &str) -> Result<Self, KeyError> {
        Self::from_pkcs8_der(&pem::private_key(text)?)
    }

    /// A shared secret of 32 to 1024 bytes for HS256. The bytes are used as they are: strip a file's newline first.
    ///
    /// # Errors
    ///
    /// [`KeyError::SecretTooShort`] or [`KeyError::SecretTooLong`].
    pub fn from_secret(secret: &[u8]) -> Result<Self, KeyError> {
        let verifying_key = VerifyingKey::from_secret(secret)?;
        let key = Box::new(hmac::Key::new(hmac::HMAC_SHA256, secret));
        Ok(Self::with_verifying_key(Signer::Hs256 { key, secret: Zeroizing::new(secret.to_vec()) }, verifying_key))
    }

    /// Reads what [`to_secret_bytes`](Self::to_secret_bytes) gave.
    ///
    /// # Errors
    ///
    /// [`KeyError`]; [`KeyError::AlgorithmMismatch`] where the bytes are a key of another algorithm.
    pub fn from_secret_bytes(algorithm: Algorithm, bytes: &[u8]) -> Result<Self, KeyError> {
        if algorithm == Algorithm::Hs256 {
            return Self::from_secret(bytes);
        }
        let key = Self::from_pkcs8_der(bytes)?;
        if key.algorithm() != algorithm {
            return Err(KeyError::AlgorithmMismatch { expected: algorithm, found: key.algorithm() });
        }
        Ok(key)
    }

    /// The private key, to be sealed and stored: PKCS#8 DER or, for HS256, the secret itself.
    ///
    /// # Errors
    ///
    /// [`KeyError::Failed`] where the library cannot write the key.
    pub fn to_secret_bytes(&self) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        let bytes = match &self.signer {
            Signer::Es256(pair) => pair.to_pkcs8v1()?.as_ref().to_vec(),
            Signer::EdDsa(pair) => pair.to_pkcs8v1()?.as_ref().to_vec(),
            Signer::Rs256(pair) => pair.as_der()?.as_ref().to_vec(),
            Signer::Hs256 { secret, .. } => return Ok(secret.clone()),
        };
        Ok(Zeroizing::new(bytes))
    }

    fn new(signer: Signer) -> Result<Self, KeyError> {
        let verifying_key = match &signer {
            Signer::Es256(pair) => match pair.public_key().as_ref() {
                [4, point @ ..] if point.len() == 64 => VerifyingKey::from_p256(&point[..32], &point[32..])?,
                _ => return Err(KeyError::PublicKeyMalformed),
            },
            Signer::EdDsa(pair) => VerifyingKey::from_ed25519(pair.public_key().as_ref())?,
            Signer::Rs256(pair) => {
                let (n, e) = der::rsa_public_key(pair.public_key().as_ref()).ok_or(KeyError::PublicKeyMalformed)?;
                VerifyingKey::from_rsa(n, e)?
            }
            Signer::Hs256 { secret, .. } => VerifyingKey::from_secret(secret)?,
        };
        Ok(Self::with_verifying_key(signer, verifying_key))
    }

    fn with_verifying_key(signer: Signer, verifying_key: VerifyingKey) -> Self {
        // A kid of ours is base64url and an algorithm's name is plain, so nothing here needs escaping.
        let header =
            format!(r#"{{"alg":"{}","kid":"{}","typ":"at+jwt"}}"#, verifying_key.algorithm(), verifying_key.kid());
        let encoded_header = base64::encode(header.as_bytes()) + ".";
        Self { signer, verifying_key, encoded_header }
    }

    /// The key's id: the RFC 7638 thumbprint of the public key or, for HS256, a name that reveals nothing of the secret.
    pub fn kid(&self) -> &str {
        self.verifying_key.kid()
    }

    /// The algorithm that the key signs with.
    pub fn algorithm(&self) -> Algorithm {
        self.verifying_key.algorithm()
    }

    /// What verifies this key's tokens.
    pub fn verifying_key(&self) -> VerifyingKey {
        self.verifying_key.clone()
    }

    /// Signs an access token: a compact JWS with `alg`, `kid` and `typ: at+jwt` (RFC 9068 §2.1).
    ///
    /// # Errors
    ///
    /// [`SignError`].
    pub fn sign(&self, claims: &AccessClaims) -> Result<String, SignError> {
        if !claims.times_in_range() {
            return Err(SignError::TimeOutOfRange);
        }
        let payload = serde_json::to_vec(claims).map_err(|_| SignError::Failed)?;
        let mut token = self.encoded_header.clone() + &base64::encode(&payload);
        let signature = self.raw_signature(token.as_bytes())?;
        token.push('.');
        token.push_str(&signature);
        if token.len() > MAX_TOKEN_BYTES {
            return Err(SignError::TooLong);
        }
        Ok(token)
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "signing wants a source for its blinding, and the library draws it itself"
    )]
    fn raw_signature(&self, message: &[u8]) -> Result<String, SignError> {
        let random = rand::SystemRandom::new();
        match &self.signer {
            Signer::Es256(pair) => pair
                .sign(&random, message)
                .map(|signature| base64::encode(signature.as_ref()))
                .map_err(|_| SignError::Failed),
            Signer::EdDsa(pair) => Ok(base64::encode(pair.sign(message).as_ref())),
            Signer::Rs256(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).map_err(|_| SignError::Failed)?;
                Ok(base64::encode(&signature))
            }
            Signer::Hs256 { key, .. } => Ok(base64::encode(hmac::sign(key, message).as_ref())),
        }
    }
}

/// Lets the cryptographic library gather its first entropy, for some 25 ms, so that the first signature has not to wait for it.
///
/// # Errors
/// [`KeyError`], where the operating system has none to give.
///
/// ```
/// std::thread::spawn(countersign_token::gather_entropy);
/// ```
pub fn gather_entropy() -> Result<(), KeyError> {
    random_secret().map(drop)
}

#[expect(
    clippy::disallowed_methods,
    reason = "keys are made here and nowhere else, from the library that makes the others"
)]
fn random_secret() -> Result<Zeroizing<[u8; 32]>, KeyError> {
    let mut secret = Zeroizing::new([0; 32]);
    rand::fill(secret.as_mut())?;
    Ok(secret)
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey")
            .field("kid", &self.kid())
            .field("algorithm", &self.algorithm())
            .finish_non_exhaustive()
    }
}

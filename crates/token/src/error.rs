//! What can be refused, as values.

use crate::Algorithm;

/// Why a token is refused. Small and free of the token's content, so it may be logged and told to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum VerifyError {
    /// Not three parts of canonical unpadded base64url with a JSON object as header (RFC 7515 §7.1).
    #[error("the token is not a compact JWS")]
    Malformed,
    /// Longer than [`MAX_TOKEN_BYTES`](crate::MAX_TOKEN_BYTES).
    #[error("the token is too long")]
    TooLong,
    /// The `alg` header is unknown, `none`, or not the algorithm of the key.
    #[error("the token's algorithm is not allowed for its key")]
    UnsupportedAlgorithm,
    /// The header has a `crit` member (RFC 7515 §4.1.11); no extension is understood here.
    #[error("the token's header demands an extension that is not supported")]
    UnsupportedHeader,
    /// The signature is genuine, but `typ` is not `at+jwt` (RFC 9068 §4): another kind of token.
    #[error("the token is not an access token")]
    WrongType,
    /// No key of the set has the token's `kid`, or there is no `kid` and more than one key.
    #[error("the token's key is not known")]
    UnknownKey,
    /// The signature was not made by the key over these bytes.
    #[error("the token's signature is not valid")]
    SignatureInvalid,
    /// `iss` is not the expected issuer.
    #[error("the token was issued by another issuer")]
    IssuerMismatch,
    /// `aud` does not name the expected audience.
    #[error("the token is meant for another audience")]
    AudienceMismatch,
    /// `exp` has passed.
    #[error("the token has expired")]
    Expired,
    /// `nbf` is still to come.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// The signature is genuine, but the claims are not those of a Countersign's access token.
    #[error("the token's claims are not those of an access token")]
    ClaimsMalformed,
}

impl VerifyError {
    /// The stable code on the wire, for problem+json and metrics.
    pub fn code(self) -> &'static str {
        match self {
            Self::Malformed | Self::TooLong | Self::UnsupportedHeader | Self::ClaimsMalformed => "token_malformed",
            Self::UnsupportedAlgorithm => "algorithm_not_allowed",
            Self::WrongType => "token_type_wrong",
            Self::UnknownKey => "key_unknown",
            Self::SignatureInvalid => "signature_invalid",
            Self::IssuerMismatch => "issuer_mismatch",
            Self::AudienceMismatch => "audience_mismatch",
            Self::Expired => "token_expired",
            Self::NotYetValid => "token_not_yet_valid",
        }
    }
}

/// Why a token could not be signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// The token would be longer than [`MAX_TOKEN_BYTES`](crate::MAX_TOKEN_BYTES): too many roles or audiences.
    #[error("the claims make a token longer than 8192 bytes")]
    TooLong,
    /// A time is negative or beyond the year 9999, or `exp` is before `iat`.
    #[error("a time of the claims is out of range")]
    TimeOutOfRange,
    /// The cryptographic library refused to sign.
    #[error("the key could not sign")]
    Failed,
}

/// Why a key or a key set is refused. The messages say what would be right and hold no key material.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// There is no `-----BEGIN PRIVATE KEY-----` block.
    #[error(
        "no PEM private key found: a block between `-----BEGIN PRIVATE KEY-----` and `-----END PRIVATE KEY-----` is \
         expected; `openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256` makes one"
    )]
    NotPem,
    /// More than one private key in one PEM text: it would be unclear which one signs.
    #[error("more than one private key in one PEM text; put each key in its own file")]
    SeveralKeys,
    /// A PEM block is cut short or its body is not base64.
    #[error("the PEM block is cut short or is not base64")]
    PemMalformed,
    /// `EC PRIVATE KEY`: SEC 1 rather than PKCS#8.
    #[error("the key is in SEC 1 form (`EC PRIVATE KEY`); convert it with `openssl pkcs8 -topk8 -nocrypt -in KEY`")]
    Sec1,
    /// `RSA PRIVATE KEY`: PKCS#1 rather than PKCS#8.
    #[error("the key is in PKCS#1 form (`RSA PRIVATE KEY`); convert it with `openssl pkcs8 -topk8 -nocrypt -in KEY`")]
    Pkcs1,
    /// `ENCRYPTED PRIVATE KEY`: a passphrase would be needed.
    #[error("the key is encrypted; decrypt it with `openssl pkcs8 -topk8 -nocrypt -in KEY` and guard the file instead")]
    Encrypted,
    /// Another kind of PEM private key, such as `DSA PRIVATE KEY` or `OPENSSH PRIVATE KEY`.
    #[error("this kind of PEM private key is not supported; a PKCS#8 `PRIVATE KEY` is expected")]
    UnsupportedPem,
    /// Not the DER of a PKCS#8 private key, or its numbers contradict one another.
    #[error("the private key is damaged or is not PKCS#8 (RFC 5958)")]
    Pkcs8Malformed,
    /// PKCS#8 with an algorithm other than EC, Ed25519 and RSA.
    #[error("this kind of key cannot sign here; use EC P-256 (ES256), Ed25519 (EdDSA) or RSA (RS256)")]
    UnsupportedKey,
    /// An elliptic curve other than P-256.
    #[error(
        "the key's elliptic curve is not P-256; \
         `openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256` makes a key for ES256"
    )]
    UnsupportedCurve,
    /// An RSA modulus outside 2048 to 8192 bits.
    #[error(
        "the RSA key has {bits} bits, and 2048 to 8192 are allowed; \
         `openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:3072` makes one"
    )]
    RsaSize {
        /// The bits of the key's modulus.
        bits: usize,
    },
    /// An RSA key that carries the fingerprint of ROCA (CVE-2017-15361): its private half can be computed.
    #[error("the RSA key was made by a faulty generator (ROCA, CVE-2017-15361) and can be broken; make a new one")]
    RsaWeak,
    /// A public key whose numbers are out of range or not on the curve.
    #[error("the public key is damaged")]
    PublicKeyMalformed,
    /// A shared secret shorter than 32 bytes (RFC 7518 §3.2).
    #[error("the shared secret has {bytes} bytes; HS256 needs at least 32 random bytes")]
    SecretTooShort {
        /// The bytes of the secret.
        bytes: usize,
    },
    /// A shared secret longer than 1024 bytes: more likely the wrong file than a secret.
    #[error("the shared secret has {bytes} bytes, and at most 1024 are allowed")]
    SecretTooLong {
        /// The bytes of the secret.
        bytes: usize,
    },
    /// The key is of another algorithm than asked for.
    #[error("the key is for {found}, not for {expected}")]
    AlgorithmMismatch {
        /// What was asked for.
        expected: Algorithm,
        /// What the key is for.
        found: Algorithm,
    },
    /// A text longer than 64 KiB, whether PEM or a key set.
    #[error("the key text is longer than 64 KiB")]
    TooLong,
    /// The key set is not a JSON object with an array `keys` (RFC 7517 §5).
    #[error("not a JWK set: a JSON object with an array `keys` is expected (RFC 7517)")]
    JwksMalformed,
    /// More than 64 keys in one set.
    #[error("the key set has more than 64 keys")]
    TooManyKeys,
    /// Two keys of one set share a `kid`: a token would have two possible signers.
    #[error("two keys of the set have the same kid")]
    DuplicateKid,
    /// The cryptographic library could not make or export a key.
    #[error("the cryptographic library could not make the key")]
    Failed,
}

impl From<aws_lc_rs::error::Unspecified> for KeyError {
    fn from(_: aws_lc_rs::error::Unspecified) -> Self {
        Self::Failed
    }
}

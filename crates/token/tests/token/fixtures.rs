//! Keys, claims and expectations that the tests share.

use std::sync::LazyLock;

use base64ct::{Base64UrlUnpadded, Encoding};
use countersign_token::{AccessClaims, Algorithm, Audience, Expected, KeySet, SigningKey};
use uuid::Uuid;

pub(crate) const NOW: i64 = 1_700_000_000;
pub(crate) const ISSUER: &str = "https://login.example";
pub(crate) const AUDIENCE: &str = "https://api.example";
pub(crate) const ALGORITHMS: [Algorithm; 4] = [Algorithm::Es256, Algorithm::EdDsa, Algorithm::Rs256, Algorithm::Hs256];

static KEYS: LazyLock<[SigningKey; 4]> =
    LazyLock::new(|| ALGORITHMS.map(|algorithm| SigningKey::generate(algorithm).unwrap()));

/// A key of this algorithm, made once for all tests.
pub(crate) fn key(algorithm: Algorithm) -> &'static SigningKey {
    KEYS.iter().find(|key| key.algorithm() == algorithm).unwrap()
}

/// A set with that key alone.
pub(crate) fn keys(algorithm: Algorithm) -> KeySet {
    KeySet::new([key(algorithm).verifying_key()])
}

pub(crate) fn expected() -> Expected {
    Expected::new(ISSUER, AUDIENCE)
}

pub(crate) fn claims() -> AccessClaims {
    AccessClaims {
        iss: ISSUER.into(),
        aud: Audience::try_from(AUDIENCE).unwrap(),
        sub: Uuid::from_u128(1),
        client_id: "web".into(),
        iat: NOW,
        exp: NOW + 300,
        jti: Uuid::from_u128(2),
        nbf: None,
        sid: Uuid::from_u128(3),
        name: "ada".into(),
        roles: vec!["User".into()],
        ver: [7, 9],
    }
}

pub(crate) fn encode(bytes: impl AsRef<[u8]>) -> String {
    Base64UrlUnpadded::encode_string(bytes.as_ref())
}

/// The members of a token's header.
pub(crate) fn header(token: &str) -> serde_json::Value {
    let header = Base64UrlUnpadded::decode_vec(token.split('.').next().unwrap()).unwrap();
    serde_json::from_slice(&header).unwrap()
}

/// A token with any header and payload, genuinely signed with the HS256 key.
pub(crate) fn signed(header: &str, payload: &[u8]) -> String {
    let secret = key(Algorithm::Hs256).to_secret_bytes().unwrap();
    let input = format!("{}.{}", encode(header), encode(payload));
    let hmac = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &secret);
    let tag = aws_lc_rs::hmac::sign(&hmac, input.as_bytes());
    format!("{input}.{}", encode(tag.as_ref()))
}

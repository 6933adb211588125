//! One entry of a JWK set (RFC 7517 §4).

use serde::Deserialize;
use serde_json::{Value, json};

use crate::{Algorithm, VerifyingKey, base64, verifying_key::PublicParts};

/// A `kid` is an opaque name; a longer one than this is not a name.
const MAX_KID_BYTES: usize = 256;

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    #[serde(rename = "use")]
    public_key_use: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    kid: Option<String>,
    crv: Option<String>,
    x: Option<String>,
    y: Option<String>,
    n: Option<String>,
    e: Option<String>,
    /// The private half of any key. A published one is known to the world, so the key is not used.
    d: Option<serde::de::IgnoredAny>,
}

/// The key of a set's entry, or `None` where RFC 7517 §5 says to ignore the entry: another type, use or algorithm, or values
/// that make no key. A shared secret (`oct`) does not belong in a set that is published and is ignored as well.
pub(crate) fn parse(entry: Value) -> Option<VerifyingKey> {
    let jwk: Jwk = serde_json::from_value(entry).ok()?;
    let verifies = jwk.public_key_use.is_none_or(|usage| usage == "sig")
        && jwk.key_ops.is_none_or(|operations| operations.iter().any(|operation| operation == "verify"));
    if !verifies || jwk.d.is_some() {
        return None;
    }
    let bytes = |member: Option<String>| member.as_deref().and_then(base64::decode);
    let key = match (jwk.kty.as_str(), jwk.crv.as_deref()) {
        ("EC", Some("P-256")) => VerifyingKey::from_p256(&bytes(jwk.x)?, &bytes(jwk.y)?).ok()?,
        ("OKP", Some("Ed25519")) => VerifyingKey::from_ed25519(&bytes(jwk.x)?).ok()?,
        ("RSA", None) => VerifyingKey::from_rsa(&bytes(jwk.n)?, &bytes(jwk.e)?).ok()?,
        _ => return None,
    };
    if jwk.alg.is_some_and(|alg| alg.parse::<Algorithm>() != Ok(key.algorithm())) {
        return None;
    }
    match jwk.kid {
        Some(kid) if kid.is_empty() || kid.len() > MAX_KID_BYTES => None,
        Some(kid) => Some(key.named(kid)),
        None => Some(key),
    }
}

/// The entry that publishes a key, or `None` for a shared secret.
pub(crate) fn publish(key: &VerifyingKey) -> Option<Value> {
    let mut entry = match key.public_parts()? {
        PublicParts::Ec { x, y } => json!({ "kty": "EC", "crv": "P-256", "x": x, "y": y }),
        PublicParts::Okp { x } => json!({ "kty": "OKP", "crv": "Ed25519", "x": x }),
        PublicParts::Rsa { n, e } => json!({ "kty": "RSA", "n": n, "e": e }),
    };
    entry["use"] = "sig".into();
    entry["alg"] = key.algorithm().as_str().into();
    entry["kid"] = key.kid().into();
    Some(entry)
}

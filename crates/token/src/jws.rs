//! JWS in compact form (RFC 7515 §7.1), beneath the claims of an access token.

use serde::{Deserialize, Deserializer, de::IgnoredAny};

use crate::{Algorithm, MAX_TOKEN_BYTES, VerifyError, VerifyingKey, base64, json::from_unique_object};

/// Checks a compact JWS against one key and returns its payload, whatever that is.
///
/// The header must be a JSON object without duplicate names and without `crit`; its `alg` must be the key's. `kid` and `typ` are
/// not looked at: the caller has chosen the key. `jku`, `jwk`, `x5u` and `x5c` are never looked at.
///
/// For an access token use [`verify`](crate::verify) instead.
///
/// # Errors
///
/// [`VerifyError`] of the form, the algorithm or the signature.
pub fn verify_compact(token: &str, key: &VerifyingKey) -> Result<Vec<u8>, VerifyError> {
    let jws = Compact::parse(token)?;
    jws.verify(key)
}

#[derive(Deserialize)]
struct RawHeader {
    alg: String,
    kid: Option<String>,
    typ: Option<String>,
    #[serde(default, deserialize_with = "is_there")]
    crit: bool,
}

fn is_there<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(deserializer).map(|_| true)
}

/// A token taken apart; nothing in it is trusted before [`verify`](Self::verify).
pub(crate) struct Compact<'a> {
    pub(crate) kid: Option<String>,
    pub(crate) typ: Option<String>,
    algorithm: Algorithm,
    signing_input: &'a str,
    payload: &'a str,
    signature: Vec<u8>,
}

impl<'a> Compact<'a> {
    pub(crate) fn parse(token: &'a str) -> Result<Self, VerifyError> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(VerifyError::TooLong);
        }
        let (signing_input, signature) = token.rsplit_once('.').ok_or(VerifyError::Malformed)?;
        let (header, payload) = signing_input.split_once('.').ok_or(VerifyError::Malformed)?;
        if payload.contains('.') {
            return Err(VerifyError::Malformed);
        }
        let header = base64::decode(header).ok_or(VerifyError::Malformed)?;
        let header: RawHeader = from_unique_object(&header).map_err(|_| VerifyError::Malformed)?;
        if header.crit {
            return Err(VerifyError::UnsupportedHeader);
        }
        let algorithm = header.alg.parse().map_err(|_| VerifyError::UnsupportedAlgorithm)?;
        let signature = base64::decode(signature).ok_or(VerifyError::Malformed)?;
        Ok(Self { kid: header.kid, typ: header.typ, algorithm, signing_input, payload, signature })
    }

    /// The payload, if the key's own algorithm made the signature.
    pub(crate) fn verify(&self, key: &VerifyingKey) -> Result<Vec<u8>, VerifyError> {
        if self.algorithm != key.algorithm() {
            return Err(VerifyError::UnsupportedAlgorithm);
        }
        key.verify_signature(self.signing_input.as_bytes(), &self.signature)?;
        base64::decode(self.payload).ok_or(VerifyError::Malformed)
    }
}

//! The signature algorithms that an access token may carry.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// A JWS signature algorithm, named as in RFC 7518 §3.1 and RFC 8037 §3.1.
///
/// `none` and every algorithm not listed here cannot be expressed, so neither can a mistake with them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Algorithm {
    /// ECDSA on P-256 with SHA-256; the default of a Countersign.
    #[serde(rename = "ES256")]
    Es256,
    /// Ed25519 (RFC 8037).
    #[serde(rename = "EdDSA")]
    EdDsa,
    /// RSASSA-PKCS1-v1_5 with SHA-256, keys of 2048 to 8192 bits.
    #[serde(rename = "RS256")]
    Rs256,
    /// HMAC with SHA-256: one shared secret signs and verifies, and is never published.
    #[serde(rename = "HS256")]
    Hs256,
}

impl Algorithm {
    /// The name on the wire, for example `ES256`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
            Self::Rs256 => "RS256",
            Self::Hs256 => "HS256",
        }
    }

    /// Whether one shared secret both signs and verifies.
    pub fn is_symmetric(self) -> bool {
        self == Self::Hs256
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The name is none of `ES256`, `EdDSA`, `RS256` and `HS256` (names are case-sensitive, RFC 7515 §4.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a supported signature algorithm; use ES256, EdDSA, RS256 or HS256")]
pub struct UnknownAlgorithm;

impl FromStr for Algorithm {
    type Err = UnknownAlgorithm;

    fn from_str(name: &str) -> Result<Self, UnknownAlgorithm> {
        match name {
            "ES256" => Ok(Self::Es256),
            "EdDSA" => Ok(Self::EdDsa),
            "RS256" => Ok(Self::Rs256),
            "HS256" => Ok(Self::Hs256),
            _ => Err(UnknownAlgorithm),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn the_name_on_the_wire_is_the_same_everywhere() {
        for algorithm in [Algorithm::Es256, Algorithm::EdDsa, Algorithm::Rs256, Algorithm::Hs256] {
            assert_eq!(algorithm.as_str().parse(), Ok(algorithm));
            assert_eq!(serde_json::to_value(algorithm).unwrap(), algorithm.to_string());
        }
    }

    #[test]
    fn other_names_are_refused() {
        for name in ["none", "None", "es256", "ES384", "PS256", "ES256 ", "", "Ed25519"] {
            assert_eq!(name.parse::<Algorithm>(), Err(UnknownAlgorithm), "{name}");
        }
    }
}

//! What an access token says.

use std::fmt;

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{self, Visitor},
};
use uuid::Uuid;

use crate::{Audience, VerifyError, json::from_unique_object};

/// The latest time that a claim may hold: the last second of the year 9999.
const MAX_NUMERIC_DATE: i64 = 253_402_300_799;

/// The claims of an access token, as in RFC 9068 §2.2, with those that a Countersign adds.
///
/// Times are whole seconds since 1970-01-01T00:00:00Z (`NumericDate`, RFC 7519 §2). Unknown claims are ignored; a missing,
/// duplicate or wrongly typed claim is refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessClaims {
    /// The issuer's URL.
    pub iss: String,
    /// For whom the token is meant.
    pub aud: Audience,
    /// The account.
    pub sub: Uuid,
    /// The client that asked for the token.
    pub client_id: String,
    /// When the token was issued.
    #[serde(deserialize_with = "numeric_date")]
    pub iat: i64,
    /// When the token ceases to be valid; at this second it is expired.
    #[serde(deserialize_with = "numeric_date")]
    pub exp: i64,
    /// The token's own id.
    pub jti: Uuid,
    /// Before this second the token is not valid, if present.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "some_numeric_date")]
    pub nbf: Option<i64>,
    /// The session: one sign-in on one device.
    pub sid: Uuid,
    /// The account's user name.
    pub name: String,
    /// The account's roles when the token was issued.
    pub roles: Vec<String>,
    /// `[global_epoch, claims_version]`: the state of revocation that the token was issued under; see
    /// [`RevocationView`](crate::revocation::RevocationView).
    pub ver: [i64; 2],
}

impl AccessClaims {
    /// Whether `role` is among the token's roles; compared byte by byte.
    pub fn has_role(&self, role: &str) -> bool {
        self.roles.iter().any(|held| held == role)
    }

    /// Checks `exp` and `nbf` at `now` (seconds since 1970), as [`verify`](crate::verify) does: for claims that were verified
    /// before and kept. `leeway_seconds` is cut to 0 to [`MAX_LEEWAY_SECONDS`](crate::MAX_LEEWAY_SECONDS).
    ///
    /// # Errors
    ///
    /// [`VerifyError::Expired`] or [`VerifyError::NotYetValid`].
    pub fn check_time(&self, now: i64, leeway_seconds: i64) -> Result<(), VerifyError> {
        let leeway = leeway_seconds.clamp(0, crate::MAX_LEEWAY_SECONDS);
        if now.saturating_sub(leeway) >= self.exp {
            return Err(VerifyError::Expired);
        }
        self.check_not_before(now, leeway)
    }

    pub(crate) fn check_not_before(&self, now: i64, leeway: i64) -> Result<(), VerifyError> {
        match self.nbf {
            Some(nbf) if now.saturating_add(leeway) < nbf => Err(VerifyError::NotYetValid),
            _ => Ok(()),
        }
    }

    pub(crate) fn from_json(payload: &[u8]) -> Result<Self, VerifyError> {
        from_unique_object(payload).map_err(|_| VerifyError::ClaimsMalformed)
    }

    /// Whether a verifier would take the times: signing anything else would make a token that nobody accepts.
    pub(crate) fn times_in_range(&self) -> bool {
        let in_range = |time: i64| (0..=MAX_NUMERIC_DATE).contains(&time);
        in_range(self.iat) && in_range(self.exp) && self.nbf.is_none_or(in_range) && self.iat <= self.exp
    }
}

fn numeric_date<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    deserializer.deserialize_any(NumericDate)
}

fn some_numeric_date<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    numeric_date(deserializer).map(Some)
}

struct NumericDate;

impl Visitor<'_> for NumericDate {
    type Value = i64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("whole seconds since 1970, up to the year 9999")
    }

    fn visit_u64<E: de::Error>(self, seconds: u64) -> Result<i64, E> {
        i64::try_from(seconds)
            .ok()
            .filter(|seconds| *seconds <= MAX_NUMERIC_DATE)
            .ok_or_else(|| E::invalid_value(de::Unexpected::Unsigned(seconds), &self))
    }

    // Some issuers write 1700000000.0, which RFC 7519 §2 allows.
    fn visit_f64<E: de::Error>(self, seconds: f64) -> Result<i64, E> {
        if seconds.fract() == 0.0 && (0.0..=MAX_NUMERIC_DATE as f64).contains(&seconds) {
            return Ok(seconds as i64);
        }
        Err(E::invalid_value(de::Unexpected::Float(seconds), &self))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use serde_json::{Value, json};

    use super::*;

    fn wire() -> Value {
        json!({
            "iss": "https://login.example", "aud": "https://api.example",
            "sub": "0198a8a6-0000-7000-8000-000000000001", "client_id": "web", "iat": 1_700_000_000, "exp": 1_700_000_300,
            "jti": "0198a8a6-0000-7000-8000-000000000002", "sid": "0198a8a6-0000-7000-8000-000000000003",
            "name": "ada", "roles": ["User"], "ver": [7, 9],
        })
    }

    fn parse(value: &Value) -> Result<AccessClaims, VerifyError> {
        AccessClaims::from_json(value.to_string().as_bytes())
    }

    #[test]
    fn the_wire_form_is_the_claims_and_nothing_else() {
        let claims = parse(&wire()).unwrap();
        assert_eq!(serde_json::to_value(&claims).unwrap(), wire());
        assert!(claims.has_role("User"));
        assert!(!claims.has_role("user"));
    }

    #[test]
    fn every_claim_but_nbf_is_required_and_typed() {
        for claim in wire().as_object().unwrap().keys() {
            let mut missing = wire();
            missing.as_object_mut().unwrap().remove(claim);
            assert_eq!(parse(&missing), Err(VerifyError::ClaimsMalformed), "{claim} missing");
            for wrong in [Value::Null, json!(true), json!({}), json!([[]]), json!(-1)] {
                let mut other = wire();
                other[claim] = wrong.clone();
                assert_eq!(parse(&other), Err(VerifyError::ClaimsMalformed), "{claim} as {wrong}");
            }
        }
        let mut with_null = wire();
        with_null["nbf"] = Value::Null;
        assert_eq!(parse(&with_null), Err(VerifyError::ClaimsMalformed));
    }

    #[test]
    fn a_claim_twice_is_refused_known_or_not() {
        let text = wire().to_string();
        for twice in [r#","ver":[7,9]}"#, r#","x":1,"x":1}"#, r#","s\u0075b":"0198a8a6-0000-7000-8000-000000000001"}"#]
        {
            let text = text.strip_suffix('}').unwrap().to_owned() + twice;
            assert_eq!(AccessClaims::from_json(text.as_bytes()), Err(VerifyError::ClaimsMalformed), "{twice}");
        }
    }

    #[test]
    fn times_are_whole_seconds_of_this_era() {
        for (time, accepted) in [
            ("1700000000.0", true),
            ("17e8", true),
            ("253402300799", true),
            ("0", true),
            ("1700000000.5", false),
            ("253402300800", false),
            ("1e300", false),
            ("18446744073709551616", false),
            ("-0.5", false),
            (r#""1700000000""#, false),
        ] {
            let text = wire().to_string().replace("1700000300", time);
            assert_eq!(AccessClaims::from_json(text.as_bytes()).is_ok(), accepted, "{time}");
        }
    }

    #[test]
    fn expiry_is_the_first_second_past_the_lifetime() {
        let claims = AccessClaims { nbf: Some(1_700_000_010), ..parse(&wire()).unwrap() };
        assert_eq!(claims.check_time(1_700_000_009, 0), Err(VerifyError::NotYetValid));
        assert_eq!(claims.check_time(1_700_000_010, 0), Ok(()));
        assert_eq!(claims.check_time(1_700_000_005, 5), Ok(()));
        assert_eq!(claims.check_time(1_700_000_299, 0), Ok(()));
        assert_eq!(claims.check_time(1_700_000_300, 0), Err(VerifyError::Expired));
        assert_eq!(claims.check_time(1_700_000_304, 5), Ok(()));
        assert_eq!(claims.check_time(1_700_000_305, 5), Err(VerifyError::Expired));
        assert_eq!(claims.check_time(1_700_000_360, 1_000), Err(VerifyError::Expired), "the leeway has a limit");
        assert_eq!(claims.check_time(i64::MAX, i64::MAX), Err(VerifyError::Expired));
        assert_eq!(claims.check_time(i64::MIN, i64::MIN), Err(VerifyError::NotYetValid));
    }
}

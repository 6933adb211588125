//! An access token: whole, genuine, ours, and in time.

use crate::{AccessClaims, KeySet, VerifyError, jws::Compact};

/// The most seconds that [`Expected::leeway_seconds`] may be; more is cut.
pub const MAX_LEEWAY_SECONDS: i64 = 60;

const DEFAULT_LEEWAY_SECONDS: i64 = 5;

/// What a token must say to be accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    /// The one issuer whose tokens are accepted; compared byte by byte.
    pub issuer: String,
    /// The audience that the token must name; compared byte by byte.
    pub audience: String,
    /// How far, in seconds, the clocks of issuer and verifier may be apart; cut to 0 to [`MAX_LEEWAY_SECONDS`].
    pub leeway_seconds: i64,
    /// Accept a token whose `exp` has passed, with all else checked: for the refresh call, which only asks whose it was.
    pub allow_expired: bool,
}

impl Expected {
    /// This issuer and audience, with 5 seconds of leeway, and not expired.
    pub fn new(issuer: impl Into<String>, audience: impl Into<String>) -> Self {
        Self {
            issuer: issuer.into(),
            audience: audience.into(),
            leeway_seconds: DEFAULT_LEEWAY_SECONDS,
            allow_expired: false,
        }
    }
}

/// Verifies an access token (RFC 9068 §4) at `now`, in seconds since 1970, and returns what it says.
///
/// The signature is checked first, by the key that `kid` names and with that key's own algorithm. A token without `kid` is
/// accepted only where `keys` holds exactly one key. Then `typ`, the form of the claims, `iss`, `aud`, `exp` and `nbf`.
///
/// Revocation is the next question: [`RevocationView::check`](crate::revocation::RevocationView::check).
///
/// # Errors
///
/// [`VerifyError`], the first that applies.
pub fn verify(token: &str, keys: &KeySet, expected: &Expected, now: i64) -> Result<AccessClaims, VerifyError> {
    let jws = Compact::parse(token)?;
    let key = keys.select(jws.kid.as_deref()).ok_or(VerifyError::UnknownKey)?;
    let payload = jws.verify(key)?;
    if !jws.typ.as_deref().is_some_and(is_access_token) {
        return Err(VerifyError::WrongType);
    }
    let claims = AccessClaims::from_json(&payload)?;
    if claims.iss != expected.issuer {
        return Err(VerifyError::IssuerMismatch);
    }
    if !claims.aud.contains(&expected.audience) {
        return Err(VerifyError::AudienceMismatch);
    }
    let leeway = expected.leeway_seconds.clamp(0, MAX_LEEWAY_SECONDS);
    if expected.allow_expired {
        claims.check_not_before(now, leeway)?;
    } else {
        claims.check_time(now, leeway)?;
    }
    Ok(claims)
}

/// RFC 9068 §4; a media type is compared without case (RFC 7515 §4.1.9).
fn is_access_token(typ: &str) -> bool {
    typ.eq_ignore_ascii_case("at+jwt") || typ.eq_ignore_ascii_case("application/at+jwt")
}

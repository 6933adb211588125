//! The credentials of a request (RFC 6750 §2.1).

use countersign_token::{MAX_TOKEN_BYTES, VerifyError};
use http::HeaderMap;
use http::header::AUTHORIZATION;

use crate::Refusal;

/// The access token of the one `Authorization: Bearer` header, or `None` where there are no bearer credentials.
///
/// The scheme is compared without case (RFC 9110 §11.1). Tokens in a query or a form are never looked at.
pub(crate) fn presented(headers: &HeaderMap) -> Result<Option<&str>, Refusal> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Refusal::RequestInvalid);
    }
    let Some((scheme, credentials)) = value.as_bytes().split_at_checked(SCHEME.len()) else { return Ok(None) };
    if !scheme.eq_ignore_ascii_case(SCHEME) || !matches!(credentials.first(), None | Some(b' ')) {
        return Ok(None);
    }
    let token = credentials.trim_ascii();
    if token.is_empty() {
        return Ok(None);
    }
    if token.len() > MAX_TOKEN_BYTES {
        return Err(VerifyError::TooLong.into());
    }
    match str::from_utf8(token) {
        Ok(text) if token.iter().all(|byte| TOKEN68[usize::from(*byte)]) => Ok(Some(text)),
        _ => Err(VerifyError::Malformed.into()),
    }
}

const SCHEME: &[u8] = b"Bearer";

/// What credentials may be made of (RFC 9110 §11.2). In a table, since every byte of every request's token is looked up.
const TOKEN68: [bool; 256] = {
    let mut table = [false; 256];
    let allowed = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+/=";
    let mut at = 0;
    while at < allowed.len() {
        table[allowed[at] as usize] = true;
        at += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use http::HeaderValue;

    use super::*;

    fn of(values: &[&[u8]]) -> Result<Option<String>, Refusal> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, HeaderValue::from_bytes(value).unwrap());
        }
        presented(&headers).map(|token| token.map(str::to_owned))
    }

    #[test]
    fn the_scheme_is_written_in_any_case() {
        for value in ["Bearer a.b-c_~+/=", "bearer a.b-c_~+/=", "BEARER   a.b-c_~+/=", "bEaReR a.b-c_~+/= "] {
            assert_eq!(of(&[value.as_bytes()]), Ok(Some("a.b-c_~+/=".to_owned())), "{value}");
        }
    }

    #[test]
    fn no_bearer_credentials_are_no_token() {
        assert_eq!(of(&[]), Ok(None));
        for value in ["", "Bearer", "Bearer ", "Basic YTpi", "Bearertoken", "Bear", "a.b.c"] {
            assert_eq!(of(&[value.as_bytes()]), Ok(None), "{value:?}");
        }
    }

    #[test]
    fn two_headers_are_no_request() {
        assert_eq!(of(&[b"Bearer a", b"Bearer a"]), Err(Refusal::RequestInvalid));
        assert_eq!(of(&[b"Bearer a", b"Basic YTpi"]), Err(Refusal::RequestInvalid));
    }

    #[test]
    fn what_no_token_may_hold_is_malformed() {
        for value in
            [&b"Bearer a b"[..], b"Bearer a,b", b"Bearer \"a\"", b"Bearer a\tb", b"Bearer \xff", b"Bearer a\xc3\xa9"]
        {
            assert_eq!(of(&[value]), Err(VerifyError::Malformed.into()), "{value:?}");
        }
    }

    #[test]
    fn the_longest_token_passes_and_a_longer_one_does_not() {
        let longest = format!("Bearer {}", "a".repeat(MAX_TOKEN_BYTES));
        assert_eq!(of(&[longest.as_bytes()]).unwrap().unwrap().len(), MAX_TOKEN_BYTES);
        assert_eq!(of(&[format!("{longest}a").as_bytes()]), Err(VerifyError::TooLong.into()));
    }
}

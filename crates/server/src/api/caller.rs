//! The bearer of an access token, as a handler asks for it.

use axum::extract::FromRequestParts;
use countersign_operations::callers::{self, Caller};
use http::header::AUTHORIZATION;
use http::request::Parts;

use super::Api;
use crate::problem::{Code, Problem};

/// Whoever holds the access token of the request (RFC 6750 §2.1).
pub(crate) struct Bearer(pub(crate) Caller);

impl FromRequestParts<Api> for Bearer {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Problem> {
        let token = bearer_token(parts).ok_or(Code::TokenMissing)?;
        Ok(Self(callers::authenticate(&api.operations, token).await?))
    }
}

/// The credentials of the one `Authorization: Bearer` header; the scheme is written in any case (RFC 9110 §11.1).
pub(crate) fn bearer_token(parts: &Parts) -> Option<&str> {
    let mut values = parts.headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return None;
    };
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim_matches(' ')).filter(|token| !token.is_empty())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use http::Request;

    use super::*;

    fn token(headers: &[&str]) -> Option<String> {
        let mut request = Request::builder();
        for header in headers {
            request = request.header(AUTHORIZATION, *header);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        bearer_token(&parts).map(str::to_owned)
    }

    #[test]
    fn one_bearer_header_is_a_token() {
        assert_eq!(token(&["Bearer abc"]).as_deref(), Some("abc"));
        assert_eq!(token(&["bEARER  abc "]).as_deref(), Some("abc"));
        for headers in [&[][..], &["abc"], &["Basic abc"], &["Bearer"], &["Bearer "], &["Bearer a", "Bearer b"]] {
            assert_eq!(token(headers), None, "{headers:?}");
        }
    }
}

//! Why a request is refused, and how that looks on the wire (RFC 6750 §3, RFC 9457).

use axum_core::body::Body;
use axum_core::response::{IntoResponse, Response};
use countersign_token::VerifyError;
use countersign_token::revocation::RevokedReason;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use serde::Serialize;

/// Why a request is refused. As a response it is `application/problem+json` with a stable `code`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Refusal {
    /// No `Authorization: Bearer` header.
    #[error("no access token was sent")]
    TokenMissing,
    /// More than one `Authorization` header.
    #[error("the request has more than one Authorization header")]
    RequestInvalid,
    /// The token is not genuine, not in time, or not meant for this service.
    #[error(transparent)]
    Token(#[from] VerifyError),
    /// The token was revoked.
    #[error(transparent)]
    Revoked(#[from] RevokedReason),
    /// The issuer says that the token's session has reached its end.
    #[error("the token's session has reached its end")]
    SessionEnded,
    /// The issuer says that the token's account is disabled.
    #[error("the token's account is disabled")]
    AccountDisabled,
    /// The issuer does not accept the token, for a reason that this crate does not know.
    #[error("the issuer does not accept the token")]
    RefusedByIssuer,
    /// The token lacks the role that the route wants.
    #[error("the token lacks a role that is needed here")]
    Forbidden,
    /// The issuer's keys have not been read yet.
    #[error("the keys of the issuer are not known yet")]
    KeysUnavailable,
    /// Whether the token was revoked cannot be known at present, and the route does not accept that.
    #[error("it cannot be known at present whether the token was revoked")]
    RevocationsUnavailable,
    /// A handler or a role guard asks for claims on a route without a [`Bearer`](crate::Bearer) layer around it: a fault of the
    /// program.
    #[error("no bearer layer is around this route")]
    LayerMissing,
}

struct Meaning {
    code: &'static str,
    status: StatusCode,
    title: &'static str,
    detail: &'static str,
}

/// What `WWW-Authenticate` names.
enum Challenge {
    None,
    Plain,
    Error(&'static str),
}

const NOT_VALID: &str = "The access token is not valid";

impl Refusal {
    /// The stable code on the wire and in the metrics.
    #[must_use]
    pub fn code(self) -> &'static str {
        self.meaning().code
    }

    /// The HTTP status.
    #[must_use]
    pub fn status(self) -> StatusCode {
        self.meaning().status
    }

    fn meaning(self) -> Meaning {
        let unauthorized = |code, title, detail| Meaning { code, status: StatusCode::UNAUTHORIZED, title, detail };
        let unavailable =
            |code, title, detail| Meaning { code, status: StatusCode::SERVICE_UNAVAILABLE, title, detail };
        match self {
            Self::TokenMissing => unauthorized(
                "token_missing",
                "An access token is needed",
                "Send an access token as `Authorization: Bearer`.",
            ),
            Self::RequestInvalid => Meaning {
                code: "invalid_request",
                status: StatusCode::BAD_REQUEST,
                title: "The request is not valid",
                detail: "Send one Authorization header.",
            },
            Self::Token(error) => token_meaning(error),
            Self::Revoked(reason) => {
                let (title, detail) = match reason {
                    RevokedReason::Session => {
                        ("The session has ended", "The token's session has ended; sign in again.")
                    }
                    RevokedReason::Account => (
                        "The account's tokens were revoked",
                        "The account was revoked or its roles changed; refresh or sign in again.",
                    ),
                    RevokedReason::Everyone => {
                        ("All tokens were revoked", "All tokens issued before were revoked; sign in again.")
                    }
                };
                unauthorized(reason.code(), title, detail)
            }
            Self::SessionEnded => unauthorized(
                "session_ended",
                "The session has ended",
                "The session has reached its end; sign in again.",
            ),
            Self::AccountDisabled => {
                unauthorized("account_disabled", "The account is disabled", "The account is disabled.")
            }
            Self::RefusedByIssuer => {
                unauthorized("token_refused", NOT_VALID, "The issuer of the token does not accept it.")
            }
            Self::Forbidden => Meaning {
                code: "forbidden",
                status: StatusCode::FORBIDDEN,
                title: "You may not do this",
                detail: "The account of this token may not do this.",
            },
            Self::KeysUnavailable => unavailable(
                "keys_unavailable",
                "Tokens cannot be verified at present",
                "The keys of the issuer have not been read yet; try again soon.",
            ),
            Self::RevocationsUnavailable => unavailable(
                "revocations_unavailable",
                "Tokens cannot be verified at present",
                "It cannot be known at present whether the token was revoked; try again soon.",
            ),
            Self::LayerMissing => Meaning {
                code: "internal",
                status: StatusCode::INTERNAL_SERVER_ERROR,
                title: "Something went wrong here",
                detail: "The fault is with this service.",
            },
        }
    }

    fn challenge(self) -> Challenge {
        match self {
            Self::TokenMissing => Challenge::Plain,
            Self::RequestInvalid => Challenge::Error("invalid_request"),
            Self::Forbidden => Challenge::Error("insufficient_scope"),
            Self::Token(_) | Self::Revoked(_) | Self::SessionEnded | Self::AccountDisabled | Self::RefusedByIssuer => {
                Challenge::Error("invalid_token")
            }
            Self::KeysUnavailable | Self::RevocationsUnavailable | Self::LayerMissing => Challenge::None,
        }
    }

    fn challenge_header(self) -> Option<HeaderValue> {
        match self.challenge() {
            Challenge::None => None,
            // RFC 6750 §3.1: without a token nothing is said about an error; §3: but the scheme wants a parameter.
            Challenge::Plain => Some(HeaderValue::from_static(r#"Bearer realm="countersign""#)),
            Challenge::Error(error) => {
                let detail = self.meaning().detail;
                HeaderValue::try_from(format!(r#"Bearer error="{error}", error_description="{detail}""#)).ok()
            }
        }
    }

    pub(crate) fn body(self) -> Vec<u8> {
        let Meaning { code, status, title, detail } = self.meaning();
        let kind = format!("urn:countersign:problem:{code}");
        let problem = Problem { kind: &kind, title, status: status.as_u16(), detail, code };
        // Strings and a number serialise; should that ever fail, the status still tells what happened.
        serde_json::to_vec(&problem).unwrap_or_default()
    }
}

fn token_meaning(error: VerifyError) -> Meaning {
    let (title, detail) = match error {
        VerifyError::Malformed
        | VerifyError::TooLong
        | VerifyError::UnsupportedHeader
        | VerifyError::ClaimsMalformed => (NOT_VALID, "The token is not a well-formed access token."),
        VerifyError::UnsupportedAlgorithm => (NOT_VALID, "The token's algorithm is not allowed for its key."),
        VerifyError::WrongType => (NOT_VALID, "The token is not an access token."),
        VerifyError::UnknownKey => (NOT_VALID, "The token's key is not known here."),
        VerifyError::SignatureInvalid => (NOT_VALID, "The token's signature is not valid."),
        VerifyError::IssuerMismatch => (NOT_VALID, "The token was issued by another issuer."),
        VerifyError::AudienceMismatch => (NOT_VALID, "The token is meant for another audience."),
        VerifyError::Expired => ("The access token has expired", "The token has expired; refresh it."),
        VerifyError::NotYetValid => ("The access token is not valid yet", "The token is not valid yet."),
    };
    Meaning { code: error.code(), status: StatusCode::UNAUTHORIZED, title, detail }
}

/// RFC 9457 §3.1.
#[derive(Serialize)]
struct Problem<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    title: &'a str,
    status: u16,
    detail: &'a str,
    code: &'a str,
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(self.body()));
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(challenge) = self.challenge_header() {
            headers.insert(WWW_AUTHENTICATE, challenge);
        }
        if self.status() == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const ALL: &[Refusal] = &[
        Refusal::TokenMissing,
        Refusal::RequestInvalid,
        Refusal::Token(VerifyError::Malformed),
        Refusal::Token(VerifyError::TooLong),
        Refusal::Token(VerifyError::UnsupportedAlgorithm),
        Refusal::Token(VerifyError::UnsupportedHeader),
        Refusal::Token(VerifyError::WrongType),
        Refusal::Token(VerifyError::UnknownKey),
        Refusal::Token(VerifyError::SignatureInvalid),
        Refusal::Token(VerifyError::IssuerMismatch),
        Refusal::Token(VerifyError::AudienceMismatch),
        Refusal::Token(VerifyError::Expired),
        Refusal::Token(VerifyError::NotYetValid),
        Refusal::Token(VerifyError::ClaimsMalformed),
        Refusal::Revoked(RevokedReason::Session),
        Refusal::Revoked(RevokedReason::Account),
        Refusal::Revoked(RevokedReason::Everyone),
        Refusal::SessionEnded,
        Refusal::AccountDisabled,
        Refusal::RefusedByIssuer,
        Refusal::Forbidden,
        Refusal::KeysUnavailable,
        Refusal::RevocationsUnavailable,
        Refusal::LayerMissing,
    ];

    fn header(refusal: Refusal, name: http::HeaderName) -> Option<String> {
        refusal.into_response().headers().get(name).map(|value| value.to_str().unwrap().to_owned())
    }

    #[test]
    fn the_body_is_a_problem_with_a_code() {
        let body: serde_json::Value = serde_json::from_slice(&Refusal::Token(VerifyError::Expired).body()).unwrap();
        let expected = serde_json::json!({
            "type": "urn:countersign:problem:token_expired",
            "title": "The access token has expired",
            "status": 401,
            "detail": "The token has expired; refresh it.",
            "code": "token_expired",
        });
        assert_eq!(body, expected);
    }

    #[test]
    fn every_refusal_is_a_problem_that_nobody_keeps() {
        for refusal in ALL {
            assert_eq!(header(*refusal, CONTENT_TYPE).unwrap(), "application/problem+json");
            assert_eq!(header(*refusal, CACHE_CONTROL).unwrap(), "no-store");
            let passes = refusal.status() == 503;
            assert_eq!(header(*refusal, RETRY_AFTER).is_some(), passes, "{refusal:?}");
        }
    }

    #[test]
    fn the_challenge_says_why_and_nothing_where_there_was_no_token() {
        let challenge = |refusal| header(refusal, WWW_AUTHENTICATE);
        assert_eq!(challenge(Refusal::TokenMissing).unwrap(), r#"Bearer realm="countersign""#);
        assert_eq!(
            challenge(Refusal::Token(VerifyError::Expired)).unwrap(),
            r#"Bearer error="invalid_token", error_description="The token has expired; refresh it.""#
        );
        assert!(challenge(Refusal::RequestInvalid).unwrap().starts_with(r#"Bearer error="invalid_request""#));
        assert!(challenge(Refusal::Forbidden).unwrap().starts_with(r#"Bearer error="insufficient_scope""#));
        for refusal in ALL {
            let wanted = matches!(refusal.status().as_u16(), 400 | 401 | 403);
            assert_eq!(challenge(*refusal).is_some(), wanted, "{refusal:?}");
        }
    }

    #[test]
    fn a_detail_fits_into_a_challenge() {
        // RFC 6750 §3: %x20-21 / %x23-5B / %x5D-7E.
        let fits = |byte: u8| (0x20..=0x7e).contains(&byte) && byte != b'"' && byte != b'\\';
        for refusal in ALL {
            assert!(refusal.meaning().detail.bytes().all(fits), "{refusal:?}");
        }
    }
}

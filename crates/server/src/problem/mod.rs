//! How a refusal or a failure looks on the wire: RFC 9457, `application/problem+json`.

mod code;
mod fields;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONNECTION, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue};
use serde::Serialize;

use code::Challenge;
pub use code::Code;
pub use fields::FieldErrors;

/// The media type of problems (RFC 9457 §3).
pub const PROBLEM_JSON: HeaderValue = HeaderValue::from_static("application/problem+json");

/// A refusal or a failure, told to the client. It holds nothing that the client may not know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    code: Code,
    detail: Cow<'static, str>,
    errors: FieldErrors,
    retry_after: Option<Duration>,
    closes: bool,
}

impl Problem {
    /// A problem with the detail that its code has.
    #[must_use]
    pub fn new(code: Code) -> Self {
        let detail = Cow::Borrowed(code.detail());
        Self { code, detail, errors: FieldErrors::default(), retry_after: code.retry_after(), closes: false }
    }

    /// Fields that are missing or not valid.
    #[must_use]
    pub fn validation(errors: FieldErrors) -> Self {
        Self { errors, ..Self::new(Code::ValidationFailed) }
    }

    /// A closer explanation than the code's own. It must not repeat what the client sent, nor tell internals.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<Cow<'static, str>>) -> Self {
        self.detail = detail.into();
        self
    }

    /// When to try again, rounded up to whole seconds and at least one.
    #[must_use]
    pub fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// Tells the client that the connection ends with this answer, as its request was not read to the end.
    pub(crate) fn closing(mut self) -> Self {
        self.closes = true;
        self
    }

    /// The code.
    #[must_use]
    pub fn code(&self) -> Code {
        self.code
    }

    /// The body, with the id of the request where it is known.
    #[must_use]
    pub fn document<'a>(&'a self, trace_id: Option<&'a str>) -> ProblemDocument<'a> {
        ProblemDocument {
            kind: format!("urn:countersign:problem:{}", self.code.as_str()),
            title: self.code.title(),
            status: self.code.status().as_u16(),
            detail: &self.detail,
            code: self.code.as_str(),
            trace_id,
            errors: self.errors.as_map(),
        }
    }

    /// The body as bytes.
    pub(crate) fn render(&self, trace_id: Option<&str>) -> Vec<u8> {
        // Strings and a number serialise; should that ever fail, the status still tells what happened.
        serde_json::to_vec(&self.document(trace_id)).unwrap_or_default()
    }

    fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::with_capacity(8);
        headers.insert(CONTENT_TYPE, PROBLEM_JSON);
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(wait) = self.retry_after {
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds.max(1)));
        }
        if let Some(challenge) = self.challenge() {
            headers.insert(WWW_AUTHENTICATE, challenge);
        }
        if self.closes {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        headers
    }

    /// RFC 6750 §3. The scheme must be followed by a parameter, so where there is no error to name there is a realm.
    fn challenge(&self) -> Option<HeaderValue> {
        match self.code.challenge() {
            Challenge::None => None,
            Challenge::Plain => Some(HeaderValue::from_static(r#"Bearer realm="countersign""#)),
            Challenge::Error(error) => {
                // The code's own detail, never the closer one: only that is known to fit into a quoted string.
                let description = self.code.detail();
                HeaderValue::try_from(format!(r#"Bearer error="{error}", error_description="{description}""#)).ok()
            }
        }
    }
}

impl From<Code> for Problem {
    fn from(code: Code) -> Self {
        Self::new(code)
    }
}

/// The answer. The middleware that knows the request's id finds the problem in the extensions and writes the id into it.
impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = (self.code.status(), self.headers(), self.render(None)).into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// A problem as it stands in the body (RFC 9457 §3.1).
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Problem)]
pub struct ProblemDocument<'a> {
    /// Names the kind of problem; it ends with the code.
    #[serde(rename = "type")]
    #[schema(example = "urn:countersign:problem:token_expired")]
    kind: String,
    /// What every problem of this kind is called.
    #[schema(example = "The access token has expired")]
    title: &'a str,
    /// The HTTP status.
    #[schema(example = 401, minimum = 400, maximum = 599)]
    status: u16,
    /// What went wrong this time.
    #[schema(example = "The token has expired; refresh it.")]
    detail: &'a str,
    /// The kind of problem, for programs.
    #[schema(example = "token_expired")]
    code: &'a str,
    /// The id under which the server's log knows this request.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "019e2f0c-7a52-7b3e-9d4f-2f6a5b1c8d7e")]
    trace_id: Option<&'a str>,
    /// For `validation_failed`: what is wrong with each field.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    errors: &'a BTreeMap<String, Vec<String>>,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn header<'a>(response: &'a Response, name: &http::HeaderName) -> &'a str {
        response.headers().get(name).map_or("", |value| value.to_str().unwrap())
    }

    async fn body(response: Response) -> serde_json::Value {
        let bytes = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
        serde_json::from_slice(&bytes).unwrap()
    }

    #[tokio::test]
    async fn a_problem_has_every_member_of_the_contract() {
        let mut errors = FieldErrors::default();
        errors.add("password", "is too short");
        let problem = Problem::validation(errors);
        let response = problem.clone().into_response();
        assert_eq!(response.status(), 400);
        assert_eq!(header(&response, &CONTENT_TYPE), "application/problem+json");
        assert_eq!(header(&response, &CACHE_CONTROL), "no-store");
        let expected = serde_json::json!({
            "type": "urn:countersign:problem:validation_failed",
            "title": "The request is not valid",
            "status": 400,
            "detail": "At least one field is missing or not valid; `errors` names them.",
            "code": "validation_failed",
            "errors": { "password": ["is too short"] },
        });
        assert_eq!(body(response).await, expected);
        let rendered: serde_json::Value = serde_json::from_slice(&problem.render(Some("an-id"))).unwrap();
        assert_eq!(rendered["traceId"], "an-id");
    }

    #[tokio::test]
    async fn other_problems_have_no_errors_member() {
        let body = body(Problem::new(Code::NotFound).into_response()).await;
        assert!(body.get("errors").is_none() && body.get("traceId").is_none());
    }

    #[test]
    fn a_bearer_401_says_why_and_a_missing_token_is_no_error() {
        let challenge = |code| {
            let response = Problem::new(code).detail("said \"more\" than fits\n").into_response();
            header(&response, &WWW_AUTHENTICATE).to_owned()
        };
        assert_eq!(
            challenge(Code::TokenExpired),
            r#"Bearer error="invalid_token", error_description="The token has expired; refresh it.""#
        );
        assert!(challenge(Code::Forbidden).starts_with(r#"Bearer error="insufficient_scope""#));
        assert_eq!(challenge(Code::TokenMissing), r#"Bearer realm="countersign""#);
        assert_eq!(challenge(Code::InvalidCredentials), r#"Bearer realm="countersign""#);
        assert_eq!(challenge(Code::NotFound), "");
    }

    #[test]
    fn what_passes_says_when_to_try_again() {
        for code in Code::ALL {
            let response = Problem::new(*code).into_response();
            let passes = matches!(response.status().as_u16(), 429 | 503);
            assert_eq!(response.headers().contains_key(RETRY_AFTER), passes, "{code:?}");
        }
    }

    #[test]
    fn waits_are_rounded_up_to_at_least_a_second() {
        for (wait, seconds) in [(0, "1"), (1, "1"), (1000, "1"), (1001, "2"), (90_000, "90")] {
            let response = Problem::new(Code::ServerBusy).retry_after(Duration::from_millis(wait)).into_response();
            assert_eq!(header(&response, &RETRY_AFTER), seconds);
        }
    }
}

//! The id of a request: in the answer's header, in a problem's `traceId`, on every log line of the request.

use std::fmt;

use http::{HeaderName, HeaderValue};
use uuid::Uuid;

/// The header that carries the id in the answer. One that a client sends is ignored: an id that others can choose
/// could be made to point at another request's log lines.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The id of one request; an extension of the request.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RequestId(Uuid);

impl RequestId {
    /// An id that no other request has; later ones sort behind earlier ones.
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that makes request ids; nothing depends on their time"
    )]
    pub(super) fn new() -> Self {
        Self(Uuid::now_v7())
    }

    pub(super) fn header(self) -> HeaderValue {
        let mut text = Uuid::encode_buffer();
        // Hexadecimal digits and dashes fit into a header.
        HeaderValue::from_str(self.0.hyphenated().encode_lower(&mut text)).unwrap_or(HeaderValue::from_static(""))
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

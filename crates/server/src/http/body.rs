//! Reading the whole body before the handler starts, so that no handler waits for a slow client while it holds anything,
//! and so that a client that sends too much gets an answer and not a broken connection.

use axum::body::{Body, HttpBody as _};
use bytes::{Bytes, BytesMut};
use http::Version;
use http::header::{CONTENT_LENGTH, EXPECT};
use http::request::Parts;
use http_body_util::BodyExt as _;
use tokio::time::timeout;

use super::Limits;
use crate::problem::{Code, Problem};

/// The whole body, within the limits.
pub(super) async fn read(parts: &Parts, body: Body, limits: &Limits) -> Result<Bytes, Problem> {
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    let declared = parts.headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    // A client that asks first has sent nothing yet (RFC 9110 §10.1.1), so the answer alone will do.
    let most = if parts.headers.contains_key(EXPECT) { limits.body_bytes as u64 } else { limits.discarded_bytes };
    if declared.is_some_and(|length| length > most) {
        return Err(unread(parts, Code::BodyTooLarge));
    }
    match timeout(limits.body_time, collect(body, limits)).await {
        Ok(Collected::Whole(bytes)) => Ok(bytes),
        Ok(Collected::Discarded) => Err(Problem::new(Code::BodyTooLarge)),
        Ok(Collected::Endless) => Err(unread(parts, Code::BodyTooLarge)),
        Ok(Collected::Broken) => Err(unread(parts, Code::BodyUnreadable)),
        Err(_) => Err(unread(parts, Code::RequestTimeout)),
    }
}

/// What became of a body.
enum Collected {
    Whole(Bytes),
    /// Too large, and read to its end.
    Discarded,
    /// So large that it was not read to its end.
    Endless,
    /// It broke off, or its framing was not valid.
    Broken,
}

async fn collect(mut body: Body, limits: &Limits) -> Collected {
    let mut first = Bytes::new();
    let mut joined = BytesMut::new();
    let mut total: u64 = 0;
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return Collected::Broken };
        let Ok(data) = frame.into_data() else { continue };
        total = total.saturating_add(data.len() as u64);
        if total > limits.discarded_bytes {
            return Collected::Endless;
        }
        if total > limits.body_bytes as u64 {
            (first, joined) = (Bytes::new(), BytesMut::new());
        } else if first.is_empty() {
            // Nearly every body arrives in one piece and is never copied.
            first = data;
        } else {
            if joined.is_empty() {
                joined.extend_from_slice(&first);
            }
            joined.extend_from_slice(&data);
        }
    }
    if total > limits.body_bytes as u64 {
        return Collected::Discarded;
    }
    Collected::Whole(if joined.is_empty() { first } else { joined.freeze() })
}

/// A refusal of a body that was not read to its end: over HTTP/1 nothing can follow on this connection.
fn unread(parts: &Parts, code: Code) -> Problem {
    let problem = Problem::new(code);
    if parts.version < Version::HTTP_2 { problem.closing() } else { problem }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::Duration;

    use axum::response::IntoResponse as _;
    use http::Request;
    use http::header::CONNECTION;
    use http_body_util::channel::Channel;

    use super::*;

    const LIMITS: Limits = Limits {
        body_bytes: 8,
        discarded_bytes: 32,
        body_time: Duration::from_secs(15),
        handler_time: Duration::from_secs(30),
    };

    /// Reads a body that comes in pieces, with the given headers, over HTTP/1.1.
    async fn outcome(pieces: &[&'static str], headers: &[(&str, &str)]) -> Result<Bytes, (Code, bool)> {
        let (mut sender, body) = Channel::<Bytes, axum::Error>::new(pieces.len() + 1);
        for piece in pieces {
            sender.send_data(Bytes::from_static(piece.as_bytes())).await.unwrap();
        }
        drop(sender);
        let mut request = Request::builder();
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        read(&parts, Body::new(body), &LIMITS).await.map_err(summary)
    }

    fn summary(problem: Problem) -> (Code, bool) {
        let code = problem.code();
        (code, problem.into_response().headers().contains_key(CONNECTION))
    }

    #[tokio::test]
    async fn bodies_up_to_the_limit_arrive_whole() {
        assert_eq!(outcome(&[], &[]).await.unwrap(), "");
        assert_eq!(outcome(&["12345678"], &[]).await.unwrap(), "12345678");
        assert_eq!(outcome(&["", "123", "", "45", "678"], &[]).await.unwrap(), "12345678");
    }

    #[tokio::test]
    async fn larger_ones_are_read_to_their_end_and_the_connection_lives() {
        assert_eq!(outcome(&["123456789"], &[]).await, Err((Code::BodyTooLarge, false)));
        assert_eq!(outcome(&["12345678"; 4], &[("content-length", "32")]).await, Err((Code::BodyTooLarge, false)));
    }

    #[tokio::test]
    async fn the_largest_end_the_connection() {
        assert_eq!(outcome(&["12345678"; 5], &[]).await, Err((Code::BodyTooLarge, true)));
        assert_eq!(outcome(&["1"], &[("content-length", "33")]).await, Err((Code::BodyTooLarge, true)));
        let asks_first = [("content-length", "9"), ("expect", "100-continue")];
        assert_eq!(outcome(&["1"], &asks_first).await, Err((Code::BodyTooLarge, true)));
    }

    #[tokio::test]
    async fn a_body_that_breaks_off_is_no_body() {
        let (mut sender, body) = Channel::<Bytes, axum::Error>::new(2);
        sender.send_data(Bytes::from_static(b"12")).await.unwrap();
        sender.abort(axum::Error::new(std::io::Error::other("reset")));
        let (parts, ()) = Request::new(()).into_parts();
        let problem = read(&parts, Body::new(body), &LIMITS).await.unwrap_err();
        assert_eq!(summary(problem), (Code::BodyUnreadable, true));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_come_is_not_waited_for() {
        let (_sender, body) = Channel::<Bytes, axum::Error>::new(1);
        let (parts, ()) = Request::new(()).into_parts();
        let problem = read(&parts, Body::new(body), &LIMITS).await.unwrap_err();
        assert_eq!(summary(problem), (Code::RequestTimeout, true));
    }

    #[tokio::test(start_paused = true)]
    async fn http_2_has_no_connection_header() {
        let (_sender, body) = Channel::<Bytes, axum::Error>::new(1);
        let (parts, ()) = Request::builder().version(Version::HTTP_2).body(()).unwrap().into_parts();
        let problem = read(&parts, Body::new(body), &LIMITS).await.unwrap_err();
        assert_eq!(summary(problem), (Code::RequestTimeout, false));
    }
}

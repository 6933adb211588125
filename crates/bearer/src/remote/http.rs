//! Asking the issuer: bounded in time and size, never following it elsewhere.

use std::error::Error;
use std::time::Duration;

use http::header::{AUTHORIZATION, CACHE_CONTROL};
use http::{HeaderMap, HeaderValue, StatusCode};
use reqwest::{Client, Url, redirect};

use super::Authority;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Servers close a connection that is idle for some time; a request that meets the closing would fail.
const IDLE_TIMEOUT: Duration = Duration::from_secs(4);

#[derive(Clone)]
pub(crate) struct Http(Client);

/// An answer, whatever its status.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    /// How long it may be kept, where it says so (RFC 9111 §5.2.2.1).
    pub(crate) max_age: Option<Duration>,
    pub(crate) body: Vec<u8>,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoAnswer {
    #[error("{0}")]
    Failed(String),
    #[error("the answer of {0} is longer than {1} bytes")]
    TooLong(String, usize),
}

impl Http {
    pub(crate) fn new(authority: &Authority) -> Result<Self, String> {
        let mut builder = Client::builder()
            .user_agent(concat!("countersign-bearer/", env!("CARGO_PKG_VERSION")))
            .redirect(redirect::Policy::none())
            .referer(false)
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_idle_timeout(IDLE_TIMEOUT);
        if authority.is_loopback() {
            builder = builder.no_proxy();
        }
        if !authority.is_https() {
            // Without this a machine that has no root certificates could not even speak plain http.
            builder = builder.tls_certs_only([]);
        }
        builder.build().map(Self).map_err(|error| reason(&error))
    }

    /// Fetches a URL with at most `limit` bytes in at most `time`.
    pub(crate) async fn get(
        &self,
        url: Url,
        credentials: Option<HeaderValue>,
        time: Duration,
        limit: usize,
    ) -> Result<Answer, NoAnswer> {
        let failed = |error: reqwest::Error| NoAnswer::Failed(reason(&error));
        let mut request = self.0.get(url.clone()).timeout(time);
        if let Some(credentials) = credentials {
            request = request.header(AUTHORIZATION, credentials);
        }
        let mut response = request.send().await.map_err(failed)?;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            if body.len() + chunk.len() > limit {
                return Err(NoAnswer::TooLong(url.to_string(), limit));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Answer { status: response.status(), max_age: max_age(response.headers()), body })
    }
}

fn max_age(headers: &HeaderMap) -> Option<Duration> {
    let directives = headers.get_all(CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
    let mut ages = directives.flat_map(|value| value.split(',')).filter_map(|directive| {
        let (name, seconds) = directive.trim().split_once('=')?;
        name.eq_ignore_ascii_case("max-age").then(|| seconds.trim_matches('"').parse().ok())?
    });
    ages.next().map(Duration::from_secs)
}

/// An error with its causes: the first alone says little more than that something failed.
fn reason(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn max_age_is_found_among_other_directives() {
        let of = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(CACHE_CONTROL, HeaderValue::from_str(value).unwrap());
            }
            max_age(&headers).map(|age| age.as_secs())
        };
        assert_eq!(of(&["public, max-age=300"]), Some(300));
        assert_eq!(of(&["Max-Age=\"7\""]), Some(7));
        assert_eq!(of(&["no-cache", "public,max-age=0"]), Some(0));
        for none in [&[][..], &["no-store"], &["s-maxage=300"], &["max-age=-1"], &["max-age=soon"], &["max-age"]] {
            assert_eq!(of(none), None, "{none:?}");
        }
    }
}

//! Who the issuer is, what its keys are, and keeping both up to date.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use countersign_token::{Expected, KeyError, KeySet};
use http::StatusCode;
use parking_lot::Mutex;
use reqwest::Url;
use serde::Deserialize;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, timeout};

use super::authority::{Authority, EndpointElsewhere, IssuerMismatch};
use super::backoff::Backoff;
use super::http::{Answer, Http, NoAnswer};
use super::trouble::Trouble;
use crate::metrics;
use crate::trusted::Trusted;

const FETCH_TIME: Duration = Duration::from_secs(5);
const FETCH_BYTES: usize = 64 * 1024;

/// How long keys are kept where the issuer does not say, and the bounds of what it may say: a key that it has withdrawn must
/// not be trusted for long, and it must not be asked all the time.
const DEFAULT_MAX_AGE: Duration = Duration::from_secs(300);
const LONGEST_MAX_AGE: Duration = Duration::from_secs(900);
const SHORTEST_MAX_AGE: Duration = Duration::from_secs(30);

const FIRST_RETRY: Duration = Duration::from_millis(200);
const LONGEST_RETRY: Duration = Duration::from_secs(15);

/// Between two fetches for the sake of unknown keys: anybody can make up a `kid`.
pub(crate) const UNKNOWN_KEY_COOLDOWN: Duration = Duration::from_secs(5);

/// How long a request waits for a key that it brought news of.
const UNKNOWN_KEY_WAIT: Duration = Duration::from_secs(5);

/// The metadata of an issuer (RFC 8414 §2), as far as it is needed here.
#[derive(Deserialize)]
struct Metadata {
    issuer: String,
    jwks_uri: Option<String>,
    countersign_revocations_endpoint: Option<String>,
    countersign_token_status_endpoint: Option<String>,
}

/// Where the issuer answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoints {
    pub(crate) revocations: Option<Url>,
    pub(crate) token_status: Option<Url>,
}

/// Why keys could not be read this time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum FetchError {
    #[error(transparent)]
    NoAnswer(#[from] NoAnswer),
    #[error("{0} answers {1}")]
    Status(Url, StatusCode),
    #[error("{0} is not the metadata of an issuer: {1}")]
    NotMetadata(Url, String),
    #[error(transparent)]
    Issuer(#[from] IssuerMismatch),
    #[error(transparent)]
    Endpoint(#[from] EndpointElsewhere),
    #[error("{0}: {1}")]
    Keys(Url, KeyError),
    #[error(
        "the key set of the issuer has no key that could verify a token: if it signs with HS256, the shared secret must be given here"
    )]
    NoKeys,
}

/// The keys of the issuer. One task reads them, requests look at them and may ask for newer ones.
pub(crate) struct Keys {
    authority: Authority,
    http: Http,
    /// What tokens must say, without the issuer's name.
    expected: Expected,
    /// The secret of HS256, instead of a published key set.
    shared: Option<Arc<KeySet>>,
    trusted: ArcSwapOption<Trusted>,
    endpoints: watch::Sender<Option<Endpoints>>,
    asked: Mutex<Asked>,
    wanted: Notify,
    /// How many attempts to read the keys have ended.
    attempts: watch::Sender<u64>,
}

/// What requests have asked of the task.
#[derive(Default)]
struct Asked {
    /// An attempt is under way.
    busy: bool,
    ended: u64,
    /// The attempt that requests wait for; none where it has ended.
    waited_for: u64,
    not_before: Option<Instant>,
}

impl Keys {
    pub(crate) fn new(authority: Authority, http: Http, expected: Expected, shared: Option<Arc<KeySet>>) -> Self {
        Self {
            authority,
            http,
            expected,
            shared,
            trusted: ArcSwapOption::empty(),
            endpoints: watch::Sender::new(None),
            asked: Mutex::default(),
            wanted: Notify::new(),
            attempts: watch::Sender::new(0),
        }
    }

    /// The issuer and its keys, once they are known. They are kept while the issuer is away.
    pub(crate) fn trusted(&self) -> Option<Arc<Trusted>> {
        self.trusted.load_full()
    }

    /// Where the issuer answers, once it is known.
    pub(crate) fn endpoints(&self) -> watch::Receiver<Option<Endpoints>> {
        self.endpoints.subscribe()
    }

    /// Reads the keys for as long as it is polled.
    pub(crate) async fn run(&self) {
        let mut backoff = Backoff::new(FIRST_RETRY, LONGEST_RETRY);
        let mut trouble = Trouble::default();
        loop {
            self.asked.lock().busy = true;
            let outcome = self.read().await;
            self.attempt_ended();
            let pause = match outcome {
                Ok(max_age) => {
                    metrics::keys_fetched("ok");
                    if trouble.ended() {
                        tracing::info!(authority = self.authority.as_str(), "the issuer's keys are read again");
                    }
                    backoff.succeeded();
                    backoff.spread(max_age)
                }
                Err(error) => {
                    metrics::keys_fetched("failed");
                    if trouble.is_new(&error) {
                        self.tell(&error);
                    }
                    backoff.failed()
                }
            };
            tokio::select! {
                () = sleep(pause) => {}
                () = self.wanted.notified() => {}
            }
        }
    }

    fn tell(&self, error: &FetchError) {
        let authority = self.authority.as_str();
        let passes = matches!(error, FetchError::NoAnswer(_) | FetchError::Status(..));
        match (self.trusted.load().is_some(), passes) {
            (true, _) => {
                tracing::warn!(authority, %error, "the issuer's keys cannot be read again: the known ones are kept")
            }
            (false, true) => {
                tracing::warn!(authority, %error, "the issuer's keys cannot be read yet: requests get 503")
            }
            (false, false) => {
                tracing::error!(authority, %error, "the issuer cannot be trusted as it is: requests get 503")
            }
        }
    }

    fn attempt_ended(&self) {
        let mut asked = self.asked.lock();
        asked.busy = false;
        asked.ended += 1;
        if asked.ended == asked.waited_for {
            asked.not_before = Some(Instant::now() + UNKNOWN_KEY_COOLDOWN);
        }
        self.attempts.send_replace(asked.ended);
    }

    /// Keys that are newer than those of `generation`. Of all requests that ask at once one causes an attempt to read them, and
    /// after it nobody does for [`UNKNOWN_KEY_COOLDOWN`].
    pub(crate) async fn newer_than(&self, generation: u64) -> Option<Arc<Trusted>> {
        let newer = || self.trusted().filter(|trusted| trusted.generation != generation);
        if let Some(newer) = newer() {
            return Some(newer);
        }
        let mut attempts = self.attempts.subscribe();
        let attempt = self.ask_for_an_attempt()?;
        // It makes no difference why the wait is over: what counts is what is known then.
        let _ = timeout(UNKNOWN_KEY_WAIT, attempts.wait_for(|ended| *ended >= attempt)).await;
        newer()
    }

    /// The number of the attempt to wait for, or `None` where it is too soon for another.
    fn ask_for_an_attempt(&self) -> Option<u64> {
        let mut asked = self.asked.lock();
        if asked.waited_for > asked.ended {
            return Some(asked.waited_for);
        }
        if asked.not_before.is_some_and(|not_before| Instant::now() < not_before) {
            return None;
        }
        // An attempt that is under way may have been answered before the key was there.
        asked.waited_for = asked.ended + if asked.busy { 2 } else { 1 };
        self.wanted.notify_one();
        Some(asked.waited_for)
    }

    /// One attempt. How long what was read may be kept.
    async fn read(&self) -> Result<Duration, FetchError> {
        let (metadata, mut max_age) = self.discover().await?;
        let locate = |endpoint: &String| self.authority.locate(&metadata.issuer, endpoint);
        let endpoints = Endpoints {
            revocations: metadata.countersign_revocations_endpoint.as_ref().map(locate).transpose()?,
            token_status: metadata.countersign_token_status_endpoint.as_ref().map(locate).transpose()?,
        };
        let keys = match (&self.shared, &metadata.jwks_uri) {
            (Some(shared), _) => Arc::clone(shared),
            (None, None) => return Err(FetchError::NoKeys),
            (None, Some(jwks_uri)) => {
                let (keys, keys_max_age) = self.fetch_keys(locate(jwks_uri)?).await?;
                max_age = keys_max_age;
                Arc::new(keys)
            }
        };
        self.trust(metadata.issuer, &keys, endpoints);
        Ok(kept_for(max_age))
    }

    async fn discover(&self) -> Result<(Metadata, Option<Duration>), FetchError> {
        let mut url = self.authority.below("/.well-known/openid-configuration");
        let mut answer = self.get(&url).await?;
        if answer.status == StatusCode::NOT_FOUND {
            url = self.authority.below("/.well-known/oauth-authorization-server");
            answer = self.get(&url).await?;
        }
        if answer.status != StatusCode::OK {
            return Err(FetchError::Status(url, answer.status));
        }
        let metadata: Metadata =
            serde_json::from_slice(&answer.body).map_err(|error| FetchError::NotMetadata(url, error.to_string()))?;
        self.authority.speaks_for(&metadata.issuer)?;
        Ok((metadata, answer.max_age))
    }

    async fn fetch_keys(&self, url: Url) -> Result<(KeySet, Option<Duration>), FetchError> {
        let answer = self.get(&url).await?;
        if answer.status != StatusCode::OK {
            return Err(FetchError::Status(url, answer.status));
        }
        let text = str::from_utf8(&answer.body).map_err(|_| FetchError::Keys(url.clone(), KeyError::JwksMalformed))?;
        let keys = KeySet::from_jwks(text).map_err(|error| FetchError::Keys(url, error))?;
        if keys.is_empty() {
            return Err(FetchError::NoKeys);
        }
        Ok((keys, answer.max_age))
    }

    async fn get(&self, url: &Url) -> Result<Answer, FetchError> {
        Ok(self.http.get(url.clone(), None, FETCH_TIME, FETCH_BYTES).await?)
    }

    fn trust(&self, issuer: String, keys: &Arc<KeySet>, endpoints: Endpoints) {
        let expected = Expected { issuer, ..self.expected.clone() };
        let before = self.trusted.load();
        if let Some(next) = Trusted::succeed(before.as_deref(), &expected, keys) {
            let kids: Vec<&str> = keys.iter().map(|key| key.kid()).collect();
            tracing::info!(
                authority = self.authority.as_str(),
                issuer = expected.issuer,
                ?kids,
                "read the issuer's keys"
            );
            self.trusted.store(Some(Arc::new(next)));
        }
        self.endpoints.send_if_modified(|known| {
            let changed = known.as_ref() != Some(&endpoints);
            if changed {
                *known = Some(endpoints);
            }
            changed
        });
    }
}

fn kept_for(max_age: Option<Duration>) -> Duration {
    max_age.unwrap_or(DEFAULT_MAX_AGE).clamp(SHORTEST_MAX_AGE, LONGEST_MAX_AGE)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use countersign_token::{Algorithm, SigningKey};
    use tokio::time::advance;

    use super::*;

    fn keys() -> Keys {
        let authority = Authority::parse("http://localhost:5000").unwrap();
        let http = Http::new(&authority).unwrap();
        Keys::new(authority, http, Expected::new("", "a"), None)
    }

    fn attempt(keys: &Keys) {
        keys.asked.lock().busy = true;
        keys.attempt_ended();
    }

    #[test]
    fn keys_are_asked_for_again_neither_all_the_time_nor_never() {
        for (max_age, kept) in [(None, 300), (Some(0), 30), (Some(60), 60), (Some(86_400), 900), (Some(u64::MAX), 900)]
        {
            assert_eq!(kept_for(max_age.map(Duration::from_secs)), Duration::from_secs(kept));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn unknown_keys_cause_one_attempt_and_then_none_for_a_while() {
        let keys = keys();
        attempt(&keys);
        assert_eq!(keys.ask_for_an_attempt(), Some(2));
        assert_eq!(keys.ask_for_an_attempt(), Some(2), "joins the one that is wanted");
        attempt(&keys);
        assert_eq!(keys.ask_for_an_attempt(), None);
        advance(UNKNOWN_KEY_COOLDOWN - Duration::from_millis(1)).await;
        assert_eq!(keys.ask_for_an_attempt(), None);
        // One that the calendar wanted does not begin the pause anew.
        attempt(&keys);
        advance(Duration::from_millis(1)).await;
        assert_eq!(keys.ask_for_an_attempt(), Some(4));
    }

    #[tokio::test(start_paused = true)]
    async fn an_attempt_that_is_under_way_does_not_count() {
        let keys = keys();
        keys.asked.lock().busy = true;
        assert_eq!(keys.ask_for_an_attempt(), Some(2));
        keys.attempt_ended();
        assert_eq!(keys.ask_for_an_attempt(), Some(2));
        attempt(&keys);
        assert_eq!(keys.ask_for_an_attempt(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_does_not_wait_for_ever_for_a_key() {
        let began = Instant::now();
        assert!(keys().newer_than(0).await.is_none());
        assert_eq!(began.elapsed().as_secs(), UNKNOWN_KEY_WAIT.as_secs());
    }

    #[test]
    fn only_a_change_begins_a_new_generation() {
        let [one, other] = [Algorithm::Es256, Algorithm::EdDsa].map(|algorithm| {
            let key = SigningKey::generate(algorithm).unwrap();
            Arc::new(KeySet::new([key.verifying_key()]))
        });
        let expected = Expected::new("i", "a");
        let first = Trusted::succeed(None, &expected, &one).unwrap();
        let again = Arc::new(KeySet::from_jwks(&one.to_jwks().to_string()).unwrap());
        assert!(Trusted::succeed(Some(&first), &expected, &again).is_none());
        assert_eq!(Trusted::succeed(Some(&first), &expected, &other).unwrap().generation, first.generation + 1);
        assert!(Trusted::succeed(Some(&first), &Expected::new("other", "a"), &one).is_some());

        // Another key under the old name.
        let mut renamed = other.to_jwks();
        renamed["keys"][0]["kid"] = one.iter().next().unwrap().kid().into();
        let renamed = Arc::new(KeySet::from_jwks(&renamed.to_string()).unwrap());
        assert!(Trusted::succeed(Some(&first), &expected, &renamed).is_some());
    }
}

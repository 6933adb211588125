//! An issuer elsewhere: its keys and what it has revoked, kept up to date in the background.

mod authority;
mod backoff;
mod feed;
mod http;
mod keys;
mod status;
mod trouble;

use std::sync::Arc;
use std::time::Duration;

use ::http::HeaderValue;
use countersign_token::{AccessClaims, Expected, KeySet};

pub(crate) use authority::Authority;
pub use authority::AuthorityError;
use feed::{Feed, Freshness};
pub(crate) use http::Http;
use keys::Keys;
use status::{Standing, Status};

use crate::cache::TokenHash;
use crate::clock::Clock;
use crate::tasks::Running;
use crate::trusted::Trusted;
use crate::{Refusal, Stale};

/// What a [`Remote`] is made of.
pub(crate) struct Wiring {
    pub(crate) authority: Authority,
    pub(crate) http: Http,
    pub(crate) expected: Expected,
    pub(crate) shared_keys: Option<Arc<KeySet>>,
    pub(crate) reader_key: Option<HeaderValue>,
    pub(crate) max_stale: Duration,
    /// How many tokens' answers are remembered where there is no reader key.
    pub(crate) questions: usize,
    pub(crate) clock: Clock,
}

/// An issuer elsewhere. Reading stops when this is dropped.
pub(crate) struct Remote {
    keys: Arc<Keys>,
    revocations: Revocations,
    max_stale: Duration,
    clock: Clock,
    _running: Running,
}

/// How one learns of revocations.
enum Revocations {
    Feed(Arc<Feed>),
    Status(Status),
}

impl Remote {
    /// Starts to read. Call it within a Tokio runtime.
    pub(crate) fn start(wiring: Wiring) -> Self {
        let Wiring { authority, http, expected, shared_keys, reader_key, max_stale, questions, clock } = wiring;
        let name = authority.to_string();
        let keys = Arc::new(Keys::new(authority, http.clone(), expected, shared_keys));
        let (revocations, running) = match reader_key {
            Some(reader_key) => {
                let feed = Arc::new(Feed::new(&name, http, reader_key, max_stale, clock.clone()));
                let (keys, reading) = (Arc::clone(&keys), Arc::clone(&feed));
                let running = Running::start(async move {
                    tokio::join!(keys.run(), reading.run(keys.endpoints()));
                });
                (Revocations::Feed(feed), running)
            }
            None => {
                let status = Status::new(&name, http, keys.endpoints(), questions);
                let keys = Arc::clone(&keys);
                (Revocations::Status(status), Running::start(async move { keys.run().await }))
            }
        };
        Self { keys, revocations, max_stale, clock, _running: running }
    }

    pub(crate) fn now(&self) -> i64 {
        self.clock.now()
    }

    pub(crate) fn trusted(&self) -> Option<Arc<Trusted>> {
        self.keys.trusted()
    }

    pub(crate) async fn newer_keys(&self, generation: u64) -> Option<Arc<Trusted>> {
        self.keys.newer_than(generation).await
    }

    pub(crate) async fn not_revoked(
        &self,
        token: &str,
        hash: TokenHash,
        claims: &AccessClaims,
        stale: Stale,
    ) -> Result<(), Refusal> {
        match &self.revocations {
            Revocations::Feed(feed) => {
                feed.check(claims)?;
                match (feed.freshness(self.max_stale), stale) {
                    (Freshness::Fresh, _) | (Freshness::Stale, Stale::AcceptUntilExpiry) => Ok(()),
                    (Freshness::Stale, Stale::FailClosed) | (Freshness::Rejected, _) => {
                        Err(Refusal::RevocationsUnavailable)
                    }
                }
            }
            Revocations::Status(status) => match (status.of(token, hash, claims).await, stale) {
                (Standing::Good, _) | (Standing::Unknown, Stale::AcceptUntilExpiry) => Ok(()),
                (Standing::Refused(refusal), _) => Err(refusal),
                (Standing::Unknown, Stale::FailClosed) => Err(Refusal::RevocationsUnavailable),
            },
        }
    }

    pub(crate) fn is_ready(&self) -> bool {
        let feed_read = match &self.revocations {
            Revocations::Feed(feed) => *feed.was_read().borrow(),
            Revocations::Status(_) => true,
        };
        feed_read && self.keys.trusted().is_some()
    }

    pub(crate) async fn ready(&self) {
        // The senders live as long as this does.
        let _ = self.keys.endpoints().wait_for(Option::is_some).await;
        if let Revocations::Feed(feed) = &self.revocations {
            let _ = feed.was_read().wait_for(|read| *read).await;
        }
    }
}

//! The revocation feed, read by long poll into memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use countersign_token::AccessClaims;
use countersign_token::revocation::{ApplyError, FeedPage, RevocationView, RevokedReason};
use http::{HeaderValue, StatusCode};
use reqwest::Url;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use super::backoff::Backoff;
use super::http::{Http, NoAnswer};
use super::keys::Endpoints;
use super::trouble::Trouble;
use crate::clock::Clock;
use crate::metrics;

/// Room for a snapshot of half a million revocations.
const PAGE_BYTES: usize = 64 * 1024 * 1024;

/// The longest that the issuer is asked to wait, in seconds.
const LONGEST_WAIT: u64 = 25;

/// The longest that an answer may take beyond that.
const LONGEST_GRACE: Duration = Duration::from_secs(10);

/// What a snapshot, which may be long, may take.
const SNAPSHOT_TIME: Duration = Duration::from_secs(15);

const FIRST_RETRY: Duration = Duration::from_millis(100);
const LONGEST_RETRY: Duration = Duration::from_secs(4);
/// A key that was rejected is not accepted again within seconds.
const REJECTED_RETRY: Duration = Duration::from_secs(30);

/// Between two questions where the issuer does not wait although it was asked to.
const PACE: Duration = Duration::from_millis(200);

const FORGET_EVERY: Duration = Duration::from_secs(60);

/// What is known of revocations. One task reads, requests look: without a lock.
pub(crate) struct Feed {
    authority: String,
    http: Http,
    reader_key: HeaderValue,
    clock: Clock,
    /// How long the issuer is asked to wait, in seconds. An answer, even an empty one, must come well before the feed counts as
    /// stale.
    wait: u64,
    /// What an answer may take beyond that, so that there is time to ask once more where it does not come.
    grace: Duration,
    view: ArcSwap<RevocationView>,
    began: Instant,
    /// When the last page was applied, in milliseconds since `began`, plus one; 0 for never.
    applied: AtomicU64,
    rejected: AtomicBool,
    was_read: watch::Sender<bool>,
}

/// How far what is known may be relied upon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Freshness {
    Fresh,
    Stale,
    /// Stale, and the issuer rejects the reader key: it will not get better by itself.
    Rejected,
}

/// Why a page could not be read.
#[derive(Debug, thiserror::Error)]
enum ReadError {
    #[error(transparent)]
    NoAnswer(#[from] NoAnswer),
    #[error("the issuer rejects the reader key ({0})")]
    Rejected(StatusCode),
    #[error("the issuer answers {0}")]
    Status(StatusCode),
    #[error("not a page of the feed: {0}")]
    NotAPage(serde_json::Error),
    #[error(transparent)]
    Apply(#[from] ApplyError),
    #[error("the issuer's metadata names no countersign_revocations_endpoint: it is no Countersign")]
    NoEndpoint,
}

/// What the issuer is asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Question {
    /// What comes after the last page, or all that is in force where there was none.
    Next,
    /// What came after the last page, at once: how long nothing was read is enough to wait.
    Missed,
    /// All that is in force.
    Everything,
}

impl Feed {
    pub(crate) fn new(authority: &str, http: Http, reader_key: HeaderValue, max_stale: Duration, clock: Clock) -> Self {
        let wait = (max_stale.as_secs() * 2 / 5).clamp(1, LONGEST_WAIT);
        Self {
            authority: authority.to_owned(),
            http,
            reader_key,
            clock,
            wait,
            grace: (max_stale.saturating_sub(Duration::from_secs(wait)) / 2).min(LONGEST_GRACE),
            view: ArcSwap::default(),
            began: Instant::now(),
            applied: AtomicU64::new(0),
            rejected: AtomicBool::new(false),
            was_read: watch::Sender::new(false),
        }
    }

    /// Whether a token is known to be revoked, in memory and without a lock.
    pub(crate) fn check(&self, claims: &AccessClaims) -> Result<(), RevokedReason> {
        self.view.load().check(claims)
    }

    pub(crate) fn freshness(&self, max_stale: Duration) -> Freshness {
        if self.age().is_some_and(|age| age <= max_stale) {
            return Freshness::Fresh;
        }
        if self.rejected.load(Ordering::Acquire) { Freshness::Rejected } else { Freshness::Stale }
    }

    /// The time since the last page, or `None` before the first.
    fn age(&self) -> Option<Duration> {
        let applied = self.applied.load(Ordering::Acquire).checked_sub(1)?;
        Some(self.began.elapsed().saturating_sub(Duration::from_millis(applied)))
    }

    /// Whether the feed was read at least once.
    pub(crate) fn was_read(&self) -> watch::Receiver<bool> {
        self.was_read.subscribe()
    }

    /// Reads the feed for as long as it is polled.
    pub(crate) async fn run(&self, endpoints: watch::Receiver<Option<Endpoints>>) {
        metrics::feed_connected(&self.authority, false);
        tokio::join!(self.read(endpoints), self.measure());
    }

    async fn measure(&self) {
        let mut second = interval(Duration::from_secs(1));
        second.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            second.tick().await;
            metrics::feed_lag(&self.authority, self.age().map_or(f64::INFINITY, |age| age.as_secs_f64()));
        }
    }

    async fn read(&self, mut endpoints: watch::Receiver<Option<Endpoints>>) {
        let mut backoff = Backoff::new(FIRST_RETRY, LONGEST_RETRY);
        let mut rejections = Backoff::new(FIRST_RETRY, REJECTED_RETRY);
        let mut trouble = Trouble::default();
        let mut question = Question::Next;
        let mut forget = Instant::now() + FORGET_EVERY;
        loop {
            // The sender lives in the same task, so there is always one.
            let Ok(known) = endpoints.wait_for(Option::is_some).await.map(|known| known.clone()) else { return };
            let began = Instant::now();
            let pause = match self.poll(known.and_then(|endpoints| endpoints.revocations), question).await {
                Ok(events) => {
                    if trouble.ended() {
                        tracing::info!(authority = self.authority, "the revocation feed is read again");
                    }
                    metrics::feed_connected(&self.authority, true);
                    backoff.succeeded();
                    rejections.succeeded();
                    let hurried = question == Question::Next && events == 0 && began.elapsed() < PACE;
                    question = Question::Next;
                    if hurried { PACE } else { Duration::ZERO }
                }
                Err(error) => {
                    metrics::feed_connected(&self.authority, false);
                    if trouble.is_new(&error) {
                        self.tell(&error);
                    }
                    // Pages that contradict what is known: it is kept, grows stale, and gives way to the next snapshot alone.
                    let contradicts = matches!(error, ReadError::Apply(_)) || question == Question::Everything;
                    question = if contradicts { Question::Everything } else { Question::Missed };
                    if matches!(error, ReadError::Rejected(_)) { rejections.failed() } else { backoff.failed() }
                }
            };
            if Instant::now() >= forget {
                self.forget_expired();
                forget = Instant::now() + FORGET_EVERY;
            }
            sleep(pause).await;
        }
    }

    fn tell(&self, error: &ReadError) {
        let authority = self.authority.as_str();
        match error {
            ReadError::NoAnswer(_) | ReadError::Status(_) | ReadError::Apply(_) => {
                tracing::warn!(authority, %error, "the revocation feed cannot be read");
            }
            ReadError::Rejected(_) | ReadError::NoEndpoint | ReadError::NotAPage(_) => {
                tracing::error!(authority, %error, "the revocation feed cannot be read, and that does not pass by itself");
            }
        }
    }

    /// Asks once. The number of events.
    async fn poll(&self, endpoint: Option<Url>, question: Question) -> Result<usize, ReadError> {
        let mut url = endpoint.ok_or(ReadError::NoEndpoint)?;
        let view = self.view.load_full();
        let mut time = SNAPSHOT_TIME;
        if let (Some((incarnation, after)), Question::Next | Question::Missed) = (view.cursor(), question) {
            let wait = if question == Question::Next { self.wait } else { 0 };
            url.query_pairs_mut()
                .append_pair("incarnation", incarnation)
                .append_pair("after", &after.to_string())
                .append_pair("wait", &wait.to_string());
            time = Duration::from_secs(wait) + self.grace;
        }
        let answer = self.http.get(url, Some(self.reader_key.clone()), time, PAGE_BYTES).await?;
        let rejected = matches!(answer.status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
        self.rejected.store(rejected, Ordering::Release);
        match answer.status {
            StatusCode::OK => {}
            status if rejected => return Err(ReadError::Rejected(status)),
            status => return Err(ReadError::Status(status)),
        }
        let page = serde_json::from_slice(&answer.body).map_err(ReadError::NotAPage)?;
        self.apply(&view, &page)?;
        Ok(page.events.len())
    }

    fn apply(&self, view: &Arc<RevocationView>, page: &FeedPage) -> Result<(), ApplyError> {
        let nothing_new =
            !page.snapshot && page.events.is_empty() && view.cursor() == Some((page.incarnation.as_str(), page.seq));
        if !nothing_new {
            let mut next = RevocationView::clone(view);
            next.apply(page)?;
            metrics::feed_entries(&self.authority, next.len());
            self.view.store(Arc::new(next));
        }
        let since = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX - 1);
        self.applied.store(since.saturating_add(1), Ordering::Release);
        self.was_read.send_if_modified(|read| !std::mem::replace(read, true));
        Ok(())
    }

    fn forget_expired(&self) {
        let mut next = RevocationView::clone(&self.view.load());
        next.forget_expired(self.clock.now());
        metrics::feed_entries(&self.authority, next.len());
        self.view.store(Arc::new(next));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::atomic::AtomicI64;

    use countersign_token::revocation::{FeedEvent, Revocation};
    use tokio::time::advance;
    use uuid::Uuid;

    use super::*;
    use crate::remote::Authority;

    const MAX_STALE: Duration = Duration::from_secs(10);

    fn feed(clock: Clock) -> Feed {
        let authority = Authority::parse("http://localhost:5000").unwrap();
        let http = Http::new(&authority).unwrap();
        Feed::new("http://localhost:5000", http, HeaderValue::from_static("Bearer x"), MAX_STALE, clock)
    }

    fn page(seq: u64, snapshot: bool, events: Vec<FeedEvent>) -> FeedPage {
        FeedPage { incarnation: "one".into(), seq, snapshot, events }
    }

    fn apply(feed: &Feed, page: &FeedPage) -> Result<(), ApplyError> {
        feed.apply(&feed.view.load_full(), page)
    }

    #[tokio::test(start_paused = true)]
    async fn every_page_even_an_empty_one_makes_the_feed_fresh_until_it_is_too_old() {
        let feed = feed(Clock::System);
        assert_eq!(feed.freshness(MAX_STALE), Freshness::Stale, "nothing was read");
        assert!(!*feed.was_read().borrow());
        for (seq, snapshot) in [(0, true), (0, false), (3, false)] {
            apply(&feed, &page(seq, snapshot, vec![])).unwrap();
            assert!(*feed.was_read().borrow());
            advance(MAX_STALE).await;
            assert_eq!(feed.freshness(MAX_STALE), Freshness::Fresh);
            advance(Duration::from_millis(1)).await;
            assert_eq!(feed.freshness(MAX_STALE), Freshness::Stale);
        }
        assert_eq!(feed.view.load().cursor(), Some(("one", 3)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_page_that_does_not_follow_makes_nothing_fresh() {
        let feed = feed(Clock::System);
        assert_eq!(apply(&feed, &page(5, false, vec![])), Err(ApplyError::SnapshotNeeded));
        assert_eq!(feed.freshness(MAX_STALE), Freshness::Stale);
        apply(&feed, &page(5, true, vec![])).unwrap();
        advance(MAX_STALE * 2).await;
        for snapshot in [true, false] {
            assert_eq!(apply(&feed, &page(4, snapshot, vec![])), Err(ApplyError::WentBack));
        }
        assert_eq!(feed.freshness(MAX_STALE), Freshness::Stale);
    }

    #[tokio::test(start_paused = true)]
    async fn a_rejected_key_counts_once_the_feed_is_stale() {
        let feed = feed(Clock::System);
        apply(&feed, &page(0, true, vec![])).unwrap();
        feed.rejected.store(true, Ordering::Release);
        assert_eq!(feed.freshness(MAX_STALE), Freshness::Fresh);
        advance(MAX_STALE * 2).await;
        assert_eq!(feed.freshness(MAX_STALE), Freshness::Rejected);
    }

    #[tokio::test(start_paused = true)]
    async fn what_concerns_no_living_token_is_forgotten() {
        let now = Arc::new(AtomicI64::new(1_000));
        let hands = Arc::clone(&now);
        let feed = feed(Clock::Given(Arc::new(move || hands.load(Ordering::SeqCst))));
        let ended = |seq, expires| FeedEvent {
            seq,
            revocation: Revocation::Session { sid: Uuid::from_u128(seq.into()), expires },
        };
        apply(&feed, &page(2, true, vec![ended(1, 1_100), ended(2, 1_300)])).unwrap();
        feed.forget_expired();
        assert_eq!(feed.view.load().len(), 2);
        now.store(1_200, Ordering::SeqCst);
        feed.forget_expired();
        assert_eq!(feed.view.load().len(), 1);
        assert_eq!(feed.view.load().cursor(), Some(("one", 2)));
    }

    #[test]
    fn the_issuer_is_asked_to_wait_no_longer_than_the_feed_stays_fresh() {
        for (max_stale, wait, grace) in [(2, 1, 500), (10, 4, 3_000), (60, 24, 10_000), (3600, 25, 10_000)] {
            let authority = Authority::parse("http://localhost:5000").unwrap();
            let http = Http::new(&authority).unwrap();
            let key = HeaderValue::from_static("Bearer x");
            let feed = Feed::new("", http, key, Duration::from_secs(max_stale), Clock::System);
            assert_eq!((feed.wait, feed.grace), (wait, Duration::from_millis(grace)));
        }
    }
}

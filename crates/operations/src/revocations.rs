//! The revocation feed: kept in memory, and served to resource servers.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use countersign_core::events::{Revocation, RevocationScope};
use countersign_core::ids::{Incarnation, ReaderId};
use countersign_core::time::Millis;
use countersign_store::verbs::FeedPosition;
use countersign_store::{Store, StoreError};
use countersign_token::AccessClaims;
use countersign_token::revocation::{self as wire, FeedEvent, FeedPage, RevocationView, RevokedReason};
use parking_lot::RwLock;
use tokio::sync::{Mutex, watch};
use tokio::time::timeout;

use crate::Operations;

/// The longest that a reader may ask to wait.
pub const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// For how long the feed is served from memory while the database is away: a short outage must not shut the resource servers, and a
/// server that is cut off alone must not tell them for long that nothing was revoked.
const VOUCHED: Duration = Duration::from_secs(45);

/// How old the knowledge of a database counts as that is served elsewhere.
const LONG_AGO: Duration = Duration::from_secs(24 * 3600);

/// How many revocations are read from the store at once.
const PAGE: u32 = 1000;

/// The revocations that may still matter, in memory.
pub(crate) struct Feed {
    state: RwLock<State>,
    /// One reader of the store at a time, so that pages are applied in order.
    reading: Mutex<()>,
    /// When the store was last read, which tells how old the knowledge is.
    read_at: parking_lot::Mutex<Instant>,
    moved: watch::Sender<u64>,
    /// The readers who came with their keys, for while the store cannot be asked about them.
    pub(crate) admitted: parking_lot::Mutex<HashMap<ReaderId, [u8; 32]>>,
}

#[derive(Default)]
struct State {
    incarnation: Option<Incarnation>,
    seq: u64,
    /// Revocations up to this number may have been forgotten: a cursor before it needs a snapshot.
    floor: u64,
    everyone: i64,
    events: Vec<(FeedEvent, Millis)>,
    view: RevocationView,
}

impl Default for Feed {
    fn default() -> Self {
        Self {
            state: RwLock::default(),
            reading: Mutex::new(()),
            read_at: parking_lot::Mutex::new(Instant::now()),
            moved: watch::channel(0).0,
            admitted: parking_lot::Mutex::default(),
        }
    }
}

impl Feed {
    /// Reads what the store knows and this process does not.
    pub(crate) async fn catch_up(&self, store: &dyn Store) -> Result<(), StoreError> {
        let _reading = self.reading.lock().await;
        let asked_at = Instant::now();
        let position = store.feed_position().await.inspect_err(|error| self.withdraw_if_moved(error))?;
        let known = {
            let state = self.state.read();
            let goes_on = state.incarnation == Some(position.incarnation) && position.seq >= state.seq;
            goes_on.then_some(state.seq)
        };
        let fresh = known.is_none();
        let mut after = match known {
            Some(seq) => seq,
            // Events are kept for longer than they matter here.
            None => store.feed_beginning().await?,
        };
        let beginning = after;
        let mut revocations = vec![];
        while fresh || after < position.seq {
            let page = store.revocations(after, PAGE).await?;
            let Some(last) = page.last() else {
                break;
            };
            after = last.feed_seq;
            let full = page.len() >= PAGE as usize;
            revocations.extend(page);
            if !full {
                break;
            }
        }
        let seq = after.max(position.seq);
        if fresh || seq > self.state.read().seq {
            self.state.write().apply(position, seq, fresh.then_some(beginning), &revocations);
        }
        self.moved.send_if_modified(|told| std::mem::replace(told, seq) != seq);
        *self.read_at.lock() = asked_at;
        Ok(())
    }

    /// Others revoke where the database is now: what is known here is handed on no longer, not even to those who wait.
    fn withdraw_if_moved(&self, error: &StoreError) {
        if !matches!(error, StoreError::Moved(_)) {
            return;
        }
        if let Some(long_ago) = Instant::now().checked_sub(LONG_AGO) {
            *self.read_at.lock() = long_ago;
        }
        self.moved.send_replace(u64::MAX);
    }

    fn is_behind(&self, (incarnation, after): (Incarnation, u64)) -> bool {
        let state = self.state.read();
        state.incarnation == Some(incarnation) && after > state.seq
    }

    fn page(&self, cursor: Option<(Incarnation, u64)>, now: Millis) -> FeedPage {
        let state = self.state.read();
        let follows = cursor.filter(|(incarnation, after)| {
            Some(*incarnation) == state.incarnation && (state.floor..=state.seq).contains(after)
        });
        let incarnation = state.incarnation.map_or_else(String::new, |incarnation| incarnation.to_string());
        let Some((_, after)) = follows else {
            let everyone =
                FeedEvent { seq: state.seq, revocation: wire::Revocation::Everyone { epoch: state.everyone } };
            let in_force = state.events.iter().filter(|(_, kept_until)| now < *kept_until);
            let events = in_force.map(|(event, _)| *event).chain([everyone]).collect();
            return FeedPage { incarnation, seq: state.seq, snapshot: true, events };
        };
        let from = state.events.partition_point(|(event, _)| event.seq <= after);
        let events = state.events[from..].iter().map(|(event, _)| *event).collect();
        FeedPage { incarnation, seq: state.seq, snapshot: false, events }
    }

    /// Forgets revocations whose access tokens have all expired.
    pub(crate) fn forget_expired(&self, now: Millis) {
        let mut state = self.state.write();
        // Only a leading run is dropped, so that what is left has no gaps above the floor.
        let leading = state.events.iter().take_while(|(_, expires)| *expires <= now).count();
        if let Some((event, _)) = leading.checked_sub(1).and_then(|last| state.events.get(last)) {
            state.floor = event.seq;
        }
        state.events.drain(..leading);
        state.view.forget_expired(now.unix_seconds());
    }
}

impl State {
    /// `beginning`: nothing that was known counts any more, and what came before this number is not known.
    fn apply(&mut self, position: FeedPosition, seq: u64, beginning: Option<u64>, revocations: &[Revocation]) {
        let fresh = beginning.is_some();
        if let Some(floor) = beginning {
            *self = Self { floor, ..Self::default() };
        }
        self.incarnation = Some(position.incarnation);
        self.seq = seq;
        self.everyone = self.everyone.max(position.global_epoch.get());
        let mut events: Vec<FeedEvent> = revocations.iter().map(on_the_wire).collect();
        self.events.extend(events.iter().copied().zip(revocations.iter().map(kept_until)));
        events.push(FeedEvent { seq, revocation: wire::Revocation::Everyone { epoch: self.everyone } });
        let page = FeedPage { incarnation: position.incarnation.to_string(), seq, snapshot: fresh, events };
        if let Err(error) = self.view.apply(&page) {
            tracing::error!(%error, "the revocation feed of the store contradicts itself");
        }
    }
}

fn on_the_wire(revocation: &Revocation) -> FeedEvent {
    // Rounded up: a token lives through the second in which it expires.
    let expires = revocation.expires_at.unix_seconds() + 1;
    let said = match revocation.scope {
        RevocationScope::Session(session) => wire::Revocation::Session { sid: session.as_uuid(), expires },
        RevocationScope::Account(account, version) => {
            wire::Revocation::Account { sub: account.as_uuid(), version: version.get(), expires }
        }
        RevocationScope::Everyone(epoch) => wire::Revocation::Everyone { epoch: epoch.get() },
    };
    FeedEvent { seq: revocation.feed_seq, revocation: said }
}

/// Kept a little longer than its tokens live, for readers whose clocks are behind.
fn kept_until(revocation: &Revocation) -> Millis {
    revocation.expires_at + Duration::from_secs(countersign_token::MAX_LEEWAY_SECONDS.unsigned_abs())
}

/// Where a reader of the feed stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// The history that its number belongs to.
    pub incarnation: Incarnation,
    /// The last number that it has.
    pub after: u64,
}

/// What is known of the feed is too old to be handed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the revocation feed could not be read from the database for {} seconds", VOUCHED.as_secs())]
pub struct Outdated;

/// The revocations after a reader's cursor; where there are none, it waits for one for as long as the reader wants.
///
/// Without a cursor, with one of another history, or with one that is too old, the answer is a snapshot.
///
/// # Errors
/// [`Outdated`]: a reader has to know when it cannot know, since another server may reach the database and revoke.
pub async fn read(operations: &Operations, cursor: Option<Cursor>, wait: Duration) -> Result<FeedPage, Outdated> {
    let cursor = cursor.map(|cursor| (cursor.incarnation, cursor.after));
    if cursor.is_some_and(|cursor| operations.feed.is_behind(cursor)) {
        // Another server has told the reader more than this one has read. Where that cannot be read now, what is known has to do.
        let _ = operations.feed.catch_up(&*operations.store).await;
    }
    let mut moved = operations.feed.moved.subscribe();
    let mut page = operations.feed.page(cursor, operations.now());
    if !page.snapshot && page.events.is_empty() {
        let moved = timeout(wait.min(LONGEST_WAIT), moved.wait_for(|seq| *seq != page.seq)).await;
        if moved.is_ok() {
            page = operations.feed.page(cursor, operations.now());
        }
    }
    vouched(page, operations.revocations_age())
}

fn vouched(page: FeedPage, age: Duration) -> Result<FeedPage, Outdated> {
    if age > VOUCHED { Err(Outdated) } else { Ok(page) }
}

impl Operations {
    /// Whether an access token that verified is revoked, from memory.
    ///
    /// # Errors
    /// Why it is.
    pub fn check_revoked(&self, claims: &AccessClaims) -> Result<(), RevokedReason> {
        self.feed.state.read().view.check(claims)
    }

    /// How old the knowledge behind [`Self::check_revoked`] is.
    #[must_use]
    pub fn revocations_age(&self) -> Duration {
        self.feed.read_at.lock().elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_handed_on_for_a_while_without_the_database() {
        let page = FeedPage { incarnation: String::new(), seq: 7, snapshot: false, events: vec![] };
        assert_eq!(vouched(page.clone(), VOUCHED), Ok(page.clone()));
        assert_eq!(vouched(page, VOUCHED + Duration::from_millis(1)), Err(Outdated));
    }
}

//! What one node remembers of the database, so that it notices when the database loses what it had promised.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use countersign_core::ids::Incarnation;
use tokio::sync::watch;
use uuid::Uuid;

use crate::StoreResult;
use crate::error::{MovedError, RestoredError};
use crate::verbs::FeedPosition;

/// How long a lane rests whose row may be held: a server that is asked nothing any more ends a transaction after half of that.
const REST: Duration = Duration::from_secs(10);

/// The memory of a node.
///
/// Each transaction that writes counts up one row, that of a lane which it has for itself. A server that was promoted without the
/// last commits of its predecessor has a smaller number there than the node was told, whatever the commit was about.
pub(super) struct Node {
    pub(super) id: Uuid,
    known: Mutex<Known>,
    unused: Mutex<Unused>,
    feed: watch::Sender<u64>,
}

/// The lanes that no transaction has at the moment.
#[derive(Default)]
struct Unused {
    free: VecDeque<usize>,
    /// Those whose rows the server may still hold for a transaction that was given up, and since when.
    resting: VecDeque<(Instant, usize)>,
}

#[derive(Clone)]
struct Known {
    position: FeedPosition,
    /// The last number that was committed in each lane.
    lanes: Vec<u64>,
    /// Histories that were left behind: none of them may come back.
    past: HashSet<Incarnation>,
    broken: Option<RestoredError>,
    moved: Option<MovedError>,
}

/// What a node remembers, in the form in which its witness keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Memory {
    pub(super) position: FeedPosition,
    pub(super) lanes: Vec<u64>,
}

/// How what was read compares with what is remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    /// It goes on from there.
    Continues,
    /// Another history has begun: whether it is a successor of the one that is remembered, the database tells.
    OtherHistory,
    /// Something that was committed is gone.
    WentBack(RestoredError),
}

impl Unused {
    fn take(&mut self, now: Instant) -> Option<usize> {
        while let Some((since, lane)) = self.resting.front().copied()
            && now.duration_since(since) >= REST
        {
            self.resting.pop_front();
            self.free.push_back(lane);
        }
        self.free.pop_front()
    }
}

impl Node {
    pub(super) fn new(id: Uuid, position: FeedPosition) -> Self {
        let feed = watch::Sender::new(position.seq);
        let known = Known { position, lanes: vec![], past: HashSet::new(), broken: None, moved: None };
        Self { id, known: Mutex::new(known), unused: Mutex::default(), feed }
    }

    /// A lane that nobody else uses. There are about as many as connections: where all are in use a further one is opened.
    pub(super) fn lane(self: &Arc<Self>) -> Lane {
        let unused = lock(&self.unused).take(Instant::now());
        let number = unused.unwrap_or_else(|| {
            let lanes = &mut lock(&self.known).lanes;
            lanes.push(0);
            lanes.len() - 1
        });
        Lane { node: Arc::clone(self), number, held: false }
    }

    /// What the database has to be at least as far as, if it is read from now on.
    pub(super) fn position(&self) -> FeedPosition {
        lock(&self.known).position
    }

    pub(super) fn memory(&self) -> Memory {
        let known = lock(&self.known);
        Memory { position: known.position, lanes: known.lanes.clone() }
    }

    /// Fails from the moment at which the database was found to have lost something until that is accepted.
    pub(super) fn check(&self) -> Result<(), RestoredError> {
        lock(&self.known).broken.clone().map_or(Ok(()), Err)
    }

    /// Fails from the moment at which the database was found to be served no more until it is again.
    pub(super) fn stays(&self) -> Result<(), MovedError> {
        lock(&self.known).moved.clone().map_or(Ok(()), Err)
    }

    /// Notes whether the database is served, as it was just read.
    pub(super) fn stays_unless(&self, moved: Option<MovedError>) -> StoreResult<()> {
        lock(&self.known).moved.clone_from(&moved);
        moved.map_or(Ok(()), |moved| Err(moved.into()))
    }

    /// Compares what was read with what was remembered before it was read.
    pub(super) fn compare(&self, before: &FeedPosition, found: &FeedPosition) -> Comparison {
        if found.incarnation != before.incarnation {
            let past = lock(&self.known).past.contains(&found.incarnation);
            return if past { Comparison::WentBack(RestoredError::AnotherHistory) } else { Comparison::OtherHistory };
        }
        if found.seq < before.seq {
            return Comparison::WentBack(RestoredError::LostCommits { found: found.seq, seen: before.seq });
        }
        Comparison::Continues
    }

    /// Notes that the database has lost something: every verb is refused from now on.
    pub(super) fn lost(&self, error: RestoredError) -> RestoredError {
        let mut known = lock(&self.known);
        if known.broken.is_none() {
            tracing::error!(%error, "the database has lost commits that were acknowledged: nothing is answered until every session has ended");
            known.broken = Some(error.clone());
        }
        error
    }

    /// Notes how far the feed has come.
    pub(super) fn saw(&self, position: FeedPosition) {
        let mut known = lock(&self.known);
        if known.position.incarnation == position.incarnation && known.position.seq <= position.seq {
            known.position = position;
            self.announce(position.seq);
        }
    }

    /// Goes over to the history that has followed: what was committed before it has no meaning any more.
    pub(super) fn adopt(&self, position: FeedPosition) {
        let mut known = lock(&self.known);
        if known.position.incarnation != position.incarnation {
            let left = known.position.incarnation;
            known.past.insert(left);
        }
        known.position = position;
        known.lanes.fill(0);
        known.broken = None;
        self.feed.send_replace(position.seq);
    }

    /// Wakes whoever follows the feed, so that they ask the database. Anybody who may connect to it can have called for that: nothing else
    /// of what was said is believed.
    pub(super) fn wake(&self) {
        self.feed.send_modify(|_| ());
    }

    /// Wakes whoever follows the feed, where it has moved.
    fn announce(&self, seq: u64) {
        self.feed.send_if_modified(|known| {
            let moved = seq > *known;
            *known = seq.max(*known);
            moved
        });
    }

    pub(super) fn feed(&self) -> watch::Receiver<u64> {
        self.feed.subscribe()
    }
}

/// The right to count up one row, for as long as a transaction lasts.
pub(super) struct Lane {
    node: Arc<Node>,
    number: usize,
    held: bool,
}

impl Lane {
    /// To be called where somebody may hold the row.
    pub(super) fn rest(&mut self) {
        self.held = true;
    }

    pub(super) fn number(&self) -> i64 {
        self.number as i64
    }

    /// Whether the number that the database would give next follows the last one that was committed.
    pub(super) fn follows(&self, next: u64) -> Result<(), RestoredError> {
        let committed = lock(&self.node.known).lanes[self.number];
        if next > committed {
            Ok(())
        } else {
            Err(RestoredError::LostCommits { found: next.saturating_sub(1), seen: committed })
        }
    }

    /// Notes what was committed.
    pub(super) fn committed(&self, seq: u64, incarnation: Incarnation) {
        let mut known = lock(&self.node.known);
        if known.position.incarnation == incarnation {
            known.lanes[self.number] = seq;
        }
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        let mut unused = lock(&self.node.unused);
        if self.held {
            unused.resting.push_back((Instant::now(), self.number));
        } else {
            unused.free.push_back(self.number);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_whose_row_may_be_held_rests_before_it_is_used_again() {
        let began = Instant::now();
        let mut unused = Unused { free: VecDeque::from([4]), resting: VecDeque::from([(began, 7)]) };
        assert_eq!([unused.take(began), unused.take(began + REST / 2)], [Some(4), None]);
        assert_eq!(unused.take(began + REST), Some(7));
    }
}

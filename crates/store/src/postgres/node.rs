//! What one node remembers of the database, so that it notices when the database loses what it had promised.

use std::collections::{HashSet, VecDeque};
use std::sync::Mutex;
use std::sync::{Arc, PoisonError};

use countersign_core::ids::Incarnation;
use tokio::sync::watch;
use uuid::Uuid;

use crate::StoreResult;
use crate::error::{MovedError, RestoredError};
use crate::verbs::FeedPosition;

/// The memory of a node.
///
/// Each transaction that writes counts up one row, that of a lane which it has for itself. A server that was promoted without the
/// last commits of its predecessor has a smaller number there than the node was told, whatever the commit was about.
pub(super) struct Node {
    pub(super) id: Uuid,
    known: Mutex<Known>,
    free: Mutex<VecDeque<usize>>,
    feed: watch::Sender<u64>,
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

impl Node {
    pub(super) fn new(id: Uuid, memory: Memory) -> Self {
        let feed = watch::Sender::new(memory.position.seq);
        let free = (0..memory.lanes.len()).collect();
        let known =
            Known { position: memory.position, lanes: memory.lanes, past: HashSet::new(), broken: None, moved: None };
        Self { id, known: Mutex::new(known), free: Mutex::new(free), feed }
    }

    /// A lane that nobody else uses. There are about as many as connections: where all are in use a further one is opened.
    pub(super) fn lane(self: &Arc<Self>) -> Lane {
        let free = lock(&self.free).pop_front();
        let number = free.unwrap_or_else(|| {
            let lanes = &mut lock(&self.known).lanes;
            lanes.push(0);
            lanes.len() - 1
        });
        Lane { node: Arc::clone(self), number }
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

    /// Wakes whoever follows the feed, where it has moved.
    pub(super) fn announce(&self, seq: u64) {
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
}

impl Lane {
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
        // At the end: one whose row is stuck must not be the next.
        lock(&self.node.free).push_back(self.number);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

//! Refreshes that arrive together are read by one statement and written by one, with one flush to disk.
//!
//! A family always goes the same way, so that no two transactions of a node wait for each other over it. What cannot be answered in
//! the company of others is answered in a transaction for its family alone, of which only a few are under way: a client that
//! presents one token again and again takes nothing from the rest.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use countersign_core::events::Origin;
use countersign_core::ids::FamilyId;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::StoreResult;
use crate::committing::{Committing, Reply, reply};
use crate::error::StoreError;
use crate::postgres::attempts::{PATIENCE, again, patiently, transact};
use crate::postgres::base::Base;
use crate::postgres::failures::Fault;
use crate::postgres::family_rows::Presentation;
use crate::postgres::pool::BATCHES;
use crate::postgres::rotation::rotate_in_turn;
use crate::postgres::together::{Batch, BatchAnswer};
use crate::verbs::{Rotate, RotatedIn};

/// How many may wait on each way. More than that is a pile-up: the callers are told at once.
const QUEUE: usize = 4096;
/// How many share a transaction at the most.
const BATCH: usize = 256;
/// How many processors share a way. Measured on two: a second way took more of PostgreSQL's time, since fewer refreshes share a statement then,
/// and made no more of them.
const PROCESSORS: usize = 4;
/// How many transactions for a family alone are under way at once.
const ALONE: usize = 4;

/// Hands refreshes to the transactions.
pub(super) struct Batches {
    ways: Vec<mpsc::Sender<Waiting>>,
}

struct Waiting {
    presentation: Presentation,
    reply: Reply<RotatedIn>,
}

impl Batches {
    pub(super) fn start(base: &Arc<Base>, tasks: &mut JoinSet<()>) -> Self {
        let turns = Arc::new(Semaphore::new(ALONE));
        let processors = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let mut ways = Vec::new();
        for _ in 0..processors.div_ceil(PROCESSORS).min(BATCHES) {
            let (way, waiting) = mpsc::channel(QUEUE);
            let alone =
                Arc::new(Alone { base: Arc::clone(base), turns: Arc::clone(&turns), waiting: Mutex::default() });
            tasks.spawn(drain(Arc::clone(base), waiting, alone));
            ways.push(way);
        }
        Self { ways }
    }

    pub(super) async fn rotate(&self, rotate: Rotate, origin: Origin) -> StoreResult<Committing<RotatedIn>> {
        let until = Instant::now() + PATIENCE;
        let (reply, answer) = reply();
        let presentation = Presentation { rotate, origin };
        let way = way(presentation.family(), self.ways.len());
        self.ways[way].try_send(Waiting { presentation, reply }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => StoreError::Unavailable("too many writes are waiting".to_owned()),
            mpsc::error::TrySendError::Closed(_) => StoreError::closed(),
        })?;
        let decided = patiently(PATIENCE, answer.decided()).await?;
        Ok(decided.until(until))
    }
}

/// Of so many, the way that a family goes. An id begins with the time at which it was drawn, so that only its end tells families apart.
fn way(family: FamilyId, ways: usize) -> usize {
    let [.., last] = *family.as_bytes();
    usize::from(last) % ways
}

/// Takes whatever waits into one transaction, again and again.
async fn drain(base: Arc<Base>, mut queue: mpsc::Receiver<Waiting>, alone: Arc<Alone>) {
    let mut taken = Vec::with_capacity(BATCH);
    let mut families = JoinSet::new();
    while queue.recv_many(&mut taken, BATCH).await > 0 {
        while families.try_join_next().is_some() {}
        let mut together: Vec<Waiting> = taken.drain(..).filter_map(|waiting| alone.join(waiting)).collect();
        let presented = presentations(&together);
        if presented.is_empty() {
            continue;
        }
        let outcome = again!(PATIENCE, async {
            let mut batch = match Batch::read(&base, &presented).await {
                // Somebody holds a whole table. Each alone waits for longer.
                Err(Fault::Held(_)) => return Ok(vec![false; presented.len()]),
                batch => batch?,
            };
            let told = tell(&mut together, batch.answer(&presented));
            let left = batch.commit().await?;
            let stands = |presentation: &Presentation| !left.contains(&presentation.family());
            Ok(presented.iter().zip(told).map(|(presentation, told)| told && stands(presentation)).collect())
        });
        for waiting in reply_to_settled(together, outcome) {
            if let Some(family) = alone.leave(waiting) {
                families.spawn(Arc::clone(&alone).serve(family));
            }
        }
    }
}

fn presentations(waiting: &[Waiting]) -> Vec<Presentation> {
    waiting.iter().map(|waiting| waiting.presentation.clone()).collect()
}

/// Tells the callers before the commit; which of them there was something to tell.
fn tell(together: &mut [Waiting], answers: Vec<BatchAnswer>) -> Vec<bool> {
    let told =
        together.iter_mut().zip(answers).map(|(waiting, answer)| answer.map(|answer| waiting.reply.decided(answer)));
    told.map(|told| told.is_some()).collect()
}

/// Answers those of whom it is settled: they were told, and that stands. Who is left.
fn reply_to_settled(together: Vec<Waiting>, outcome: StoreResult<Vec<bool>>) -> Vec<Waiting> {
    match outcome {
        Ok(settled) => {
            let mut left = Vec::new();
            for (waiting, settled) in together.into_iter().zip(settled) {
                if settled {
                    waiting.reply.committed();
                } else {
                    left.push(waiting);
                }
            }
            left
        }
        Err(
            error @ (StoreError::Unavailable(_)
            | StoreError::Refused(_)
            | StoreError::Restored(_)
            | StoreError::Moved(_)),
        ) => {
            together.into_iter().for_each(|waiting| waiting.reply.failed(error.clone()));
            Vec::new()
        }
        // One of them has a row that cannot be read or written: each alone shows which.
        Err(_) => together,
    }
}

/// What waits for a transaction for its family alone.
struct Alone {
    base: Arc<Base>,
    turns: Arc<Semaphore>,
    waiting: Mutex<HashMap<FamilyId, Vec<Waiting>>>,
}

impl Alone {
    fn waiting(&self) -> MutexGuard<'_, HashMap<FamilyId, Vec<Waiting>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts it with the others of its family where there are some; else it may go with whoever comes along. Whoever has gone needs
    /// no answer: what is written for nobody would be lost.
    fn join(&self, waiting: Waiting) -> Option<Waiting> {
        if waiting.reply.is_closed() {
            return None;
        }
        match self.waiting().get_mut(&waiting.presentation.family()) {
            None => Some(waiting),
            Some(others) => {
                others.push(waiting);
                None
            }
        }
    }

    /// Leaves it for a transaction for its family alone; the family, where nobody has begun with that.
    fn leave(&self, waiting: Waiting) -> Option<FamilyId> {
        let family = waiting.presentation.family();
        match self.waiting().entry(family) {
            Entry::Occupied(mut others) => {
                others.get_mut().push(waiting);
                None
            }
            Entry::Vacant(first) => {
                first.insert(vec![waiting]);
                Some(family)
            }
        }
    }

    /// Answers whatever waits of a family, and what joins it meanwhile.
    async fn serve(self: Arc<Self>, family: FamilyId) {
        // Nobody closes the semaphore: the task ends with the store.
        while let Ok(_turn) = self.turns.acquire().await
            && let Some(waiting) = self.next(family)
        {
            let presented = presentations(&waiting);
            let outcome = transact!(&self.base, |writing| rotate_in_turn(&mut writing, family, &presented));
            match outcome {
                Ok(answers) => {
                    waiting.into_iter().zip(answers).for_each(|(waiting, answer)| waiting.reply.done(answer));
                }
                Err(error) => waiting.into_iter().for_each(|waiting| waiting.reply.failed(error.clone())),
            }
        }
    }

    fn next(&self, family: FamilyId) -> Option<Vec<Waiting>> {
        let mut families = self.waiting();
        let mut waiting = families.get_mut(&family).map(std::mem::take).unwrap_or_default();
        waiting.retain(|waiting| !waiting.reply.is_closed());
        if waiting.is_empty() {
            families.remove(&family);
            return None;
        }
        Some(waiting)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn families_that_began_at_the_same_time_go_every_way() {
        let drawn = |number: u8| {
            let id = uuid::Builder::from_unix_timestamp_millis(1_764_000_000_000, &[number; 10]).into_uuid();
            FamilyId::new(id)
        };
        for ways in 1..=BATCHES {
            let met: HashSet<usize> = (0..=u8::MAX).map(|number| way(drawn(number), ways)).collect();
            assert_eq!(met.len(), ways);
        }
    }
}

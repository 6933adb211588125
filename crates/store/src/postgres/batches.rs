//! Refreshes that arrive together share a transaction and one flush to disk.

use std::sync::Arc;

use countersign_core::events::Origin;
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::task::JoinSet;

use crate::StoreResult;
use crate::error::StoreError;
use crate::postgres::rotation::{Answer, rotate_alone, rotate_together};
use crate::postgres::writing::{Base, PATIENCE, patiently, transact};
use crate::verbs::{Rotate, RotatedIn};

/// How many may wait. More than that is a pile-up: the callers are told at once.
const QUEUE: usize = 4096;
/// How many share a transaction at the most.
const BATCH: usize = 256;
/// How many transactions are under way at the same time: while one is flushed, the next is gathered.
const UNDER_WAY: usize = 2;

/// Hands refreshes to the transactions.
pub(super) struct Batches {
    queue: mpsc::Sender<Waiting>,
}

struct Waiting {
    rotate: Rotate,
    reply: oneshot::Sender<StoreResult<Answer>>,
}

impl Batches {
    pub(super) fn start(base: &Arc<Base>, tasks: &mut JoinSet<()>) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE);
        let waiting = Arc::new(Mutex::new(waiting));
        for _ in 0..UNDER_WAY {
            tasks.spawn(drain(Arc::clone(base), Arc::clone(&waiting)));
        }
        Self { queue }
    }

    pub(super) async fn rotate(&self, base: &Arc<Base>, rotate: Rotate, origin: Origin) -> StoreResult<RotatedIn> {
        let (reply, answer) = oneshot::channel();
        let waiting = Waiting { rotate: rotate.clone(), reply };
        self.queue.try_send(waiting).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => StoreError::Unavailable("too many writes are waiting".to_owned()),
            mpsc::error::TrySendError::Closed(_) => closed(),
        })?;
        let answer = patiently(PATIENCE, async { answer.await.unwrap_or_else(|_| Err(closed())) }).await?;
        match answer {
            Some(answer) => Ok(answer),
            None => transact!(base, |writing| rotate_alone(&mut writing, &rotate, origin)),
        }
    }
}

fn closed() -> StoreError {
    StoreError::Unavailable("the store is closed".to_owned())
}

/// Takes whatever waits into one transaction, again and again.
async fn drain(base: Arc<Base>, waiting: Arc<Mutex<mpsc::Receiver<Waiting>>>) {
    let mut batch = Vec::with_capacity(BATCH);
    loop {
        if waiting.lock().await.recv_many(&mut batch, BATCH).await == 0 {
            return;
        }
        // Whoever has gone needs no answer; what is written for nobody would be lost.
        batch.retain(|waiting: &Waiting| !waiting.reply.is_closed());
        if batch.is_empty() {
            continue;
        }
        let presented: Vec<Rotate> = batch.iter().map(|waiting| waiting.rotate.clone()).collect();
        let outcome = transact!(&base, |writing| rotate_together(&writing, &presented));
        answer(batch.drain(..), outcome);
    }
}

fn answer(batch: impl Iterator<Item = Waiting>, outcome: StoreResult<Vec<Answer>>) {
    match outcome {
        Ok(answers) => {
            for (waiting, answer) in batch.zip(answers) {
                // It fails where nobody waits any more.
                let _ = waiting.reply.send(Ok(answer));
            }
        }
        Err(error @ (StoreError::Unavailable(_) | StoreError::Restored(_) | StoreError::Moved(_))) => {
            for waiting in batch {
                let _ = waiting.reply.send(Err(error.clone()));
            }
        }
        // One of them has a row that cannot be read or written: each alone shows which.
        Err(_) => {
            for waiting in batch {
                let _ = waiting.reply.send(Ok(None));
            }
        }
    }
}

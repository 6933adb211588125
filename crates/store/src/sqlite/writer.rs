//! The writer: one thread, one transaction for everything that waits, one flush to disk for all of it.

use std::collections::VecDeque;
use std::mem;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use countersign_core::sessions::stall::Stall;
use rusqlite::Connection;
use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};
use tokio::task;

use crate::committing::{Committing, reply};
use crate::error::StoreError;
use crate::fail_points::{after_commit, before_commit};
use crate::sqlite::disk::Disk;
use crate::sqlite::job::{Job, Manner, job};
use crate::sqlite::keeper::Keeper;
use crate::sqlite::log::Log;
use crate::sqlite::queue::{Bell, Next, Receiver, Refused, Sender, queue};
use crate::sqlite::rows::execute;
use crate::sqlite::state;
use crate::sqlite::writing::Writing;
use crate::stalls::Stalls;
use crate::{Clock, StoreResult};

/// How many jobs share a transaction at the most.
const BATCH: usize = 256;

/// From how long on a transaction hangs: callers that wait for it may have given up.
const HANGING: Duration = Duration::from_secs(1);

/// Hands jobs to the writer's thread.
pub(super) struct Writer {
    queue: Sender<Message>,
}

enum Message {
    Job(Box<dyn Job>),
    /// Write the witness now, and keep it from now on.
    Witness(oneshot::Sender<StoreResult<()>>),
    Close,
}

impl Writer {
    /// Starts the thread.
    pub(super) fn start(
        connection: Connection,
        log: Option<Log>,
        disk: Disk,
        clock: Clock,
        feed: watch::Sender<u64>,
        keeper: Keeper,
    ) -> StoreResult<(Self, JoinHandle<()>)> {
        let (queue, messages) = queue(BATCH);
        let thread = Thread { connection, log, disk, clock, feed, keeper, stalls: Stalls::default() };
        let handle = Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || thread.serve(&messages))
            .map_err(|error| StoreError::Unavailable(format!("cannot start the writer: {error}")))?;
        Ok((Self { queue }, handle))
    }

    /// Does `work` in a transaction that it may share with others, and answers once that is on disk.
    pub(super) async fn run<T, F>(&self, work: F) -> StoreResult<T>
    where
        T: Send + 'static,
        F: FnOnce(&Writing<'_>) -> StoreResult<T> + Send + 'static,
    {
        self.submit(work, Manner::Whole).await?.committed().await
    }

    /// The same for a verb whose answer is worked on while it is committed. It mostly writes one statement, after all that can fail, and
    /// leaves nothing to be taken back; where it writes more, it has to ask for the [`guard`](Writing::guard) first.
    pub(super) async fn decide<T, F>(&self, work: F) -> StoreResult<Committing<T>>
    where
        T: Send + 'static,
        F: FnOnce(&Writing<'_>) -> StoreResult<T> + Send + 'static,
    {
        self.submit(work, Manner::Decision).await
    }

    async fn submit<T, F>(&self, work: F, manner: Manner) -> StoreResult<Committing<T>>
    where
        T: Send + 'static,
        F: FnOnce(&Writing<'_>) -> StoreResult<T> + Send + 'static,
    {
        let (reply, answer) = reply();
        if let Some(bell) = self.queue.put(Message::Job(job(work, manner, reply)))? {
            ring_soon(bell);
        }
        answer.decided().await
    }

    /// Writes the witness now, and keeps it from now on.
    pub(super) async fn witness(&self) -> StoreResult<()> {
        let (reply, answer) = oneshot::channel();
        drop(self.queue.put(Message::Witness(reply))?);
        answer.await.unwrap_or_else(|_| Err(StoreError::closed()))
    }

    /// The message that ends the thread after what was sent before it.
    pub(super) fn closing(&self) -> impl FnOnce() + Send + 'static {
        let queue = self.queue.clone();
        move || queue.put_last(Message::Close)
    }
}

impl From<Refused> for StoreError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Full => Self::Unavailable("too many writes are waiting".to_owned()),
            Refused::Closed => StoreError::closed(),
        }
    }
}

/// Rings after whatever is ready to run in this thread of the runtime: that may have something to write as well, and shares the transaction
/// then.
///
/// A task does it, and not the caller: who is not polled any more would keep everybody waiting.
#[expect(clippy::disallowed_methods, reason = "it has nothing to wait for, and rings when it is dropped too")]
fn ring_soon(bell: Bell<Message>) {
    let runtime = Handle::try_current();
    // Outside a task it is not sure that anybody runs what is spawned.
    let (Ok(runtime), Some(_)) = (runtime, task::try_id()) else {
        return drop(bell);
    };
    runtime.spawn(async move {
        task::yield_now().await;
        drop(bell);
    });
}

/// What the jobs of one transaction have done.
#[derive(Default)]
struct Done {
    changed: bool,
    feed_seq: Option<u64>,
    rotated: bool,
}

struct Thread {
    connection: Connection,
    /// None where nothing is written.
    log: Option<Log>,
    disk: Disk,
    clock: Clock,
    feed: watch::Sender<u64>,
    keeper: Keeper,
    /// When commits hung lately.
    stalls: Stalls,
}

impl Thread {
    fn serve(mut self, messages: &Receiver<Message>) {
        loop {
            match messages.next(self.keeper.due_in()) {
                Next::Messages(messages) => {
                    if self.attend(messages).is_break() {
                        break;
                    }
                }
                Next::Nothing => {}
                Next::End => break,
            }
            self.keeper.follow_if_due(&self.connection);
        }
        self.keeper.follow_at_last(&self.connection);
        // This connection is to close last.
        if let Some(log) = self.log.take() {
            log.close(&self.connection);
        }
    }

    /// Does what has come, jobs that follow one another in one transaction.
    fn attend(&mut self, messages: VecDeque<Message>) -> ControlFlow<()> {
        let mut jobs = vec![];
        for message in messages {
            match message {
                Message::Job(job) => jobs.push(job),
                Message::Witness(reply) => {
                    self.write(mem::take(&mut jobs));
                    let _ = reply.send(self.keeper.start(&self.connection));
                }
                Message::Close => {
                    self.write(jobs);
                    return ControlFlow::Break(());
                }
            }
        }
        self.write(jobs);
        ControlFlow::Continue(())
    }

    fn write(&mut self, jobs: Vec<Box<dyn Job>>) {
        self.commit(jobs);
        if let Some(log) = &mut self.log {
            log.tend(&self.connection);
        }
    }

    fn commit(&mut self, mut jobs: Vec<Box<dyn Job>>) {
        if jobs.is_empty() {
            return;
        }
        if let Err(error) = self.disk.holds() {
            // It was told when it failed.
            jobs.into_iter().for_each(|job| job.answer(Some(&error)));
            return;
        }
        let (from, since) = (self.clock.now(), Instant::now());
        let outcome = self.transact(&mut jobs);
        let took = self.clock.took(from, since);
        if took >= HANGING {
            self.stalls.push(Stall { from, until: from + took });
        }
        if outcome.is_err() && !self.connection.is_autocommit() {
            // Where even this fails the next BEGIN will tell.
            let _ = self.connection.execute_batch("ROLLBACK");
        }
        if let Ok(done) = &outcome
            && done.changed
        {
            self.keeper.fell_behind();
            if let Some(seq) = done.feed_seq {
                self.feed.send_replace(seq);
            }
        }
        match &outcome {
            // Whoever asked for it tells it.
            Ok(_) | Err(StoreError::Moved(_)) => {}
            Err(error) => tracing::error!(%error, jobs = jobs.len(), "could not commit"),
        }
        for job in jobs {
            job.answer(outcome.as_ref().err());
        }
    }

    fn transact(&self, jobs: &mut [Box<dyn Job>]) -> StoreResult<Done> {
        execute(&self.connection, "BEGIN IMMEDIATE", [])?;
        // No transfer can mark the database as moved from here on, and of one that is marked this fails. Not even a refusal may come from a
        // database that others have gone on without.
        let longest_access_lifetime = state::longest_access_lifetime(&self.connection)?;
        let mut done = Done::default();
        for job in jobs.iter_mut() {
            self.attempt(job.as_mut(), longest_access_lifetime, &mut done)?;
        }
        if !done.changed {
            execute(&self.connection, "ROLLBACK", [])?;
            return Ok(done);
        }
        execute(&self.connection, "UPDATE auth_state SET commit_seq = commit_seq + 1", [])?;
        jobs.iter_mut().for_each(|job| job.tell());
        before_commit();
        execute(&self.connection, "COMMIT", [])?;
        after_commit(done.rotated);
        Ok(done)
    }

    /// A job that fails takes back what it did, and not what its neighbours did. One that had written without a guard takes all of them
    /// with it: nothing half done may be committed.
    fn attempt(&self, job: &mut dyn Job, longest_access_lifetime: i64, done: &mut Done) -> StoreResult<()> {
        let connection = &self.connection;
        let now = self.clock.now();
        let writing = Writing::new(connection, now, self.stalls.as_slice(), longest_access_lifetime);
        if job.guarded_from_the_start() {
            writing.guard()?;
        }
        let kept = catch_unwind(AssertUnwindSafe(|| job.run(&writing))).unwrap_or_else(|_| {
            tracing::error!("a verb panicked; nothing of it is kept");
            false
        });
        if connection.is_autocommit() {
            // A full disk or a failing one: SQLite has rolled back everything by itself.
            return Err(StoreError::Unavailable("the database rolled back the whole transaction".to_owned()));
        }
        let guarded = writing.is_guarded();
        if !kept && !guarded && writing.has_changed() {
            return Err(StoreError::Internal("a verb failed after it had written, without a guard".to_owned()));
        }
        if !kept && guarded {
            execute(connection, "ROLLBACK TO job", [])?;
        }
        if guarded {
            execute(connection, "RELEASE job", [])?;
        }
        if kept {
            done.changed |= writing.has_changed();
            done.feed_seq = writing.feed_seq().or(done.feed_seq);
            done.rotated |= writing.has_rotated();
        }
        Ok(())
    }
}

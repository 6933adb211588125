//! Upkeep: what runs beside the requests for as long as a server lives.

use std::sync::Arc;
use std::time::{Duration, Instant};

use countersign_core::events::Origin;
use countersign_store::StoreError;
use countersign_store::error::RestoredError;
use countersign_store::verbs::Sweep;
use tokio::time::{MissedTickBehavior, interval_at};

use crate::Operations;
use crate::keys::KeyError;

/// How often the feed is read where nothing told that it moved: other processes may have written.
const FEED_POLL: Duration = Duration::from_millis(250);
/// How long lies between two lines of the log about the same trouble.
const TOLD_AGAIN: Duration = Duration::from_secs(10);
/// How often keys are read again.
const KEYS_POLL: Duration = Duration::from_secs(1);
/// How often charges of throttles are written: for so long at the most, other servers do not know of them.
const THROTTLES_WRITTEN: Duration = Duration::from_millis(250);
/// How often a step of pruning is made while a sweep is under way.
const PRUNE_STEP: Duration = Duration::from_secs(1);
/// How many steps are left out between two sweeps.
const STEPS_BETWEEN_SWEEPS: u32 = 600;
/// How many sessions a step looks at, and how many events and throttles it removes at the most.
const ROWS_A_STEP: u32 = 500;

/// Follows the feed, the keys and the passage of time until it is dropped.
///
/// Whatever fails is logged and tried again: a database that is away must not end it.
pub async fn run(operations: Arc<Operations>) {
    tokio::join!(follow_feed(&operations), follow_keys(&operations), write_throttles(&operations), prune(&operations));
}

/// Writes what [`run`], which has been dropped, had still to write.
///
/// # Errors
/// [`StoreError`].
pub async fn finish(operations: &Operations) -> Result<(), StoreError> {
    operations.throttles.write(&*operations.store).await
}

async fn follow_feed(operations: &Operations) {
    let mut moved = operations.store.feed_signal();
    let mut poll = ticks(FEED_POLL);
    let mut trouble = Trouble::none("read the revocation feed");
    loop {
        tokio::select! {
            _ = poll.tick() => {}
            signalled = moved.changed() => if signalled.is_err() {
                // The store has closed: only the poll is left, and it will tell.
                poll.tick().await;
            },
        }
        match operations.feed.catch_up(&*operations.store).await {
            Err(StoreError::Restored(lost)) => trouble.report(end_what_was_lost(operations, &lost).await),
            outcome => trouble.report(outcome),
        }
        metrics::gauge!("countersign_revocations_age_seconds").set(operations.revocations_age().as_secs_f64());
        operations.feed.forget_expired(operations.store.now());
    }
}

/// The database that is served has lost commits that were acknowledged, as after a failover to a server that lagged behind: what was
/// revoked or used since would be good again. So everything that was issued before ends, on all nodes at once.
async fn end_what_was_lost(operations: &Operations, lost: &RestoredError) -> Result<(), StoreError> {
    operations.store.accept_restore(Origin::SERVER).await?;
    tracing::error!(%lost, "every session has ended, since it cannot be known which of them were revoked; everybody signs in again");
    operations.feed.catch_up(&*operations.store).await
}

async fn follow_keys(operations: &Operations) {
    let mut poll = ticks(KEYS_POLL);
    // The ones in memory stay in use.
    let mut trouble = Trouble::none("read the keys");
    loop {
        poll.tick().await;
        trouble.report(reload_keys(operations).await);
    }
}

/// Reads the keys again, as [`run`] does every second.
///
/// # Errors
/// See [`KeyError`].
pub async fn reload_keys(operations: &Operations) -> Result<(), KeyError> {
    operations.keys.reload(&*operations.store).await
}

async fn write_throttles(operations: &Operations) {
    let mut poll = ticks(THROTTLES_WRITTEN);
    let mut trouble = Trouble::none("write what throttles have charged");
    loop {
        poll.tick().await;
        trouble.report(finish(operations).await);
    }
}

async fn prune(operations: &Operations) {
    let mut step = ticks(PRUNE_STEP);
    let mut after = None;
    let mut pause = 0;
    let mut trouble = Trouble::none("prune");
    loop {
        step.tick().await;
        if pause > 0 {
            pause -= 1;
            continue;
        }
        let policy = &operations.policy;
        let sweep = Sweep {
            after,
            limit: ROWS_A_STEP,
            keep_sessions: policy.lifetimes.refresh_token_idle,
            keep_events: policy.event_retention,
        };
        let outcome = operations.store.prune(sweep).await;
        trouble.report(outcome.as_ref().map(|_| ()));
        let Ok(pruned) = outcome else { continue };
        metrics::counter!("countersign_pruned_sessions_total").increment(pruned.sessions);
        metrics::counter!("countersign_pruned_events_total").increment(pruned.events);
        metrics::counter!("countersign_pruned_throttles_total").increment(pruned.throttles);
        after = pruned.next;
        // Old events and throttles may be many where sessions are few.
        if after.is_none() && pruned.events.max(pruned.throttles) < u64::from(ROWS_A_STEP) {
            pause = STEPS_BETWEEN_SWEEPS;
        }
    }
}

/// The first one after a period: what opened has just read everything, and the first requests come now.
fn ticks(period: Duration) -> tokio::time::Interval {
    let mut ticks = interval_at(tokio::time::Instant::now() + period, period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// What fails again and again, told now and then: a database that is away for long must not fill the log.
struct Trouble {
    what: &'static str,
    since: Option<Instant>,
    told: Option<Instant>,
}

impl Trouble {
    const fn none(what: &'static str) -> Self {
        Self { what, since: None, told: None }
    }

    fn report<E: std::fmt::Display>(&mut self, outcome: Result<(), E>) {
        let Err(error) = outcome else {
            if let Some(since) = self.since.take() {
                tracing::info!(after_seconds = since.elapsed().as_secs(), "could {} again", self.what);
                self.told = None;
            }
            return;
        };
        self.since.get_or_insert_with(Instant::now);
        if self.told.is_none_or(|told| told.elapsed() >= TOLD_AGAIN) {
            tracing::error!(%error, "could not {}; it is tried again and again", self.what);
            self.told = Some(Instant::now());
        }
    }
}

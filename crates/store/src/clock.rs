//! The one place that reads the time of day for a store.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use countersign_core::time::Millis;

/// Where a store takes the time from.
#[derive(Clone, Debug)]
pub enum Clock {
    /// The clock of the machine.
    System,
    /// A clock that tests set, in milliseconds since the Unix epoch.
    Manual(Arc<AtomicI64>),
}

impl Clock {
    /// The present.
    #[must_use]
    pub fn now(&self) -> Millis {
        match self {
            Self::System => system_now(),
            Self::Manual(milliseconds) => Millis::new(milliseconds.load(Ordering::SeqCst)),
        }
    }
}

impl Clock {
    /// How long something took that began then: a clock that is set meanwhile makes it no longer.
    pub(crate) fn took(&self, began: Millis, since: Instant) -> Duration {
        match self {
            Self::System => since.elapsed(),
            Self::Manual(_) => Duration::from_millis(u64::try_from(self.now().get() - began.get()).unwrap_or(0)),
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the one place where the store reads the clock")]
fn system_now() -> Millis {
    // A clock before 1970 counts as 1970: epochs still grow, since they count as well.
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Millis::new(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
}

/// From how far on an operator is told that the clock of this machine is off.
const FAR: Duration = Duration::from_secs(5);
/// How long lies between two lines of the log about that.
const TOLD_AGAIN: Duration = Duration::from_secs(600);

/// How far the clock of a database is ahead of that of this machine, as far as its answers have shown: what the time is where the
/// database is not asked.
#[derive(Debug, Default)]
pub(crate) struct Offset {
    milliseconds: AtomicI64,
    told: Mutex<Option<Instant>>,
}

impl Offset {
    /// The time of the database, or the one that a test sets.
    pub(crate) fn now(&self, clock: &Clock) -> Millis {
        let now = clock.now();
        match clock {
            Clock::System => Millis::new(now.get().saturating_add(self.milliseconds.load(Ordering::Relaxed))),
            Clock::Manual(_) => now,
        }
    }

    /// Learns from the time that the database has told just now, `took` after it was asked.
    pub(crate) fn learn(&self, clock: &Clock, told: Millis, took: Duration) {
        let Clock::System = clock else { return };
        let known = self.milliseconds.load(Ordering::Relaxed);
        let learned = corrected(known, clock.now(), told, took);
        self.milliseconds.store(learned, Ordering::Relaxed);
        metrics::gauge!("countersign_database_clock_offset_seconds").set(learned as f64 / 1000.0);
        if Duration::from_millis(learned.unsigned_abs()) > FAR {
            self.warn(learned);
        }
    }

    fn warn(&self, milliseconds: i64) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.is_some_and(|told| told.elapsed() < TOLD_AGAIN) {
            return;
        }
        *told = Some(Instant::now());
        tracing::warn!(
            seconds = milliseconds / 1000,
            "the clock of the database and that of this machine differ; the database's counts, but others that verify access tokens go \
             by their own: set both by NTP"
        );
    }
}

/// The database has told its time somewhere between the question and the answer, so one answer shows two bounds. What was known moves
/// only as far as they ask for: an answer that was slow moves it no further than it proves.
fn corrected(known: i64, answered_at: Millis, told: Millis, took: Duration) -> i64 {
    let least = told.get().saturating_sub(answered_at.get());
    let most = least.saturating_add(i64::try_from(took.as_millis()).unwrap_or(i64::MAX)).saturating_add(1);
    known.clamp(least, most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_moves_the_offset_no_further_than_it_proves() {
        let (answered_at, took) = (Millis::new(1_000_000), Duration::from_millis(40));
        let corrected = |known, told| corrected(known, answered_at, Millis::new(told), took);
        // Told somewhere between 999,960 and 1,000,000 by the clock of the machine.
        assert_eq!([corrected(0, 1_000_000), corrected(0, 999_970), corrected(0, 999_960)], [0, 0, 0]);
        assert_eq!(
            [corrected(0, 1_003_000), corrected(3020, 1_003_000), corrected(9000, 1_003_000)],
            [3000, 3020, 3041]
        );
        assert_eq!([corrected(0, 400_000), corrected(-700_000, 400_000)], [-599_959, -600_000]);
        assert_eq!(corrected(0, i64::MIN), i64::MIN + 41, "whatever a database tells");
        assert_eq!(corrected(0, i64::MAX), i64::MAX - 1_000_000);
    }

    #[test]
    fn a_clock_that_a_test_sets_needs_no_correction() {
        let (offset, clock) = (Offset::default(), Clock::Manual(Arc::new(AtomicI64::new(7))));
        offset.learn(&clock, Millis::new(1_000_000), Duration::ZERO);
        assert_eq!((offset.now(&clock), offset.milliseconds.into_inner()), (Millis::new(7), 0));
    }
}

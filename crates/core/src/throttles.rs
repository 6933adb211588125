//! Throttles: how fast guesses may come. Pure arithmetic; the memory of it is the caller's.

use std::time::Duration;

use crate::time::Millis;

/// How many attempts may fail at once, and how fast the allowance grows back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Attempts that may fail in a row without waiting.
    pub burst: u32,
    /// The time after which one more attempt is allowed.
    pub refill: Duration,
}

/// Nobody waits longer than this for the next attempt, whatever others have done in their name.
pub const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// No usage lies further ahead than this, however generous the quota. One that does was charged by a clock that was ahead: it counts
/// for nothing, and whoever remembers usages may forget it.
pub const LONGEST_USAGE: Duration = Duration::from_secs(24 * 3600);

/// How much of a quota is used: the instant at which all of it will have grown back.
///
/// This is the "theoretical arrival time" of the generic cell rate algorithm: one number an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Usage(Millis);

impl Usage {
    /// Nothing used yet.
    pub const NONE: Self = Self(Millis::new(0));

    /// The usage of an allowance that has grown back by then.
    #[must_use]
    pub const fn until(instant: Millis) -> Self {
        Self(instant)
    }

    /// When the whole allowance has grown back.
    #[must_use]
    pub const fn grown_back_at(self) -> Millis {
        self.0
    }

    /// Whether one more attempt is allowed.
    ///
    /// # Errors
    /// How long to wait where nothing is left.
    pub fn allows(self, quota: Quota, now: Millis) -> Result<(), Duration> {
        if self.0 > now + LONGEST_USAGE {
            return Ok(());
        }
        let excess = self.after_one_more(quota, now).get().saturating_sub(full(quota, now).get());
        match u64::try_from(excess) {
            Ok(wait) if wait > 0 => Err(Duration::from_millis(wait)),
            _ => Ok(()),
        }
    }

    /// Takes one attempt out of the quota. Attempts that were allowed side by side may all be taken, and each has to be waited for:
    /// guessing in parallel gains nothing over time.
    #[must_use]
    pub fn spend(self, quota: Quota, now: Millis) -> Self {
        Self(self.after_one_more(quota, now).min(full(quota, now) + LONGEST_WAIT).min(now + LONGEST_USAGE))
    }

    fn after_one_more(self, quota: Quota, now: Millis) -> Millis {
        self.0.max(now) + quota.refill
    }
}

/// The usage at which nothing is left.
fn full(quota: Quota, now: Millis) -> Millis {
    now + quota.refill * quota.burst.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUOTA: Quota = Quota { burst: 3, refill: Duration::from_secs(10) };
    const NOW: Millis = Millis::new(1_000_000);

    #[test]
    fn a_burst_then_one_at_a_time() {
        let mut usage = Usage::NONE;
        for _ in 0..3 {
            assert_eq!(usage.allows(QUOTA, NOW), Ok(()));
            usage = usage.spend(QUOTA, NOW);
        }
        assert_eq!(usage.allows(QUOTA, NOW), Err(Duration::from_secs(10)));
        assert_eq!(usage.allows(QUOTA, NOW + Duration::from_secs(4)), Err(Duration::from_secs(6)));
        assert_eq!(usage.allows(QUOTA, NOW + Duration::from_secs(10)), Ok(()));
    }

    #[test]
    fn each_that_failed_side_by_side_is_waited_for() {
        let failed = |times: u32| (0..times).fold(Usage::NONE, |usage, _| usage.spend(QUOTA, NOW));
        assert_eq!(failed(23).allows(QUOTA, NOW), Err(QUOTA.refill * 21));
        assert_eq!(failed(10_000).allows(QUOTA, NOW), Err(QUOTA.refill + LONGEST_WAIT));
    }

    #[test]
    fn no_usage_lies_further_ahead_than_a_day() {
        let generous = Quota { burst: 1000, refill: Duration::from_secs(24 * 3600) };
        let usage = (0..5).fold(Usage::NONE, |usage, _| usage.spend(generous, NOW));
        assert_eq!(usage, Usage::until(NOW + LONGEST_USAGE));
    }

    #[test]
    fn what_a_clock_that_was_ahead_has_charged_locks_nobody_out() {
        let ahead = Usage::NONE.spend(QUOTA, NOW + LONGEST_USAGE * 400);
        assert_eq!(ahead.allows(QUOTA, NOW), Ok(()));
        assert_eq!(ahead.spend(QUOTA, NOW).allows(QUOTA, NOW), Err(QUOTA.refill + LONGEST_WAIT));
    }
}

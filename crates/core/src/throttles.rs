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

/// How much of a quota is used: the instant at which all of it will have grown back.
///
/// This is the "theoretical arrival time" of the generic cell rate algorithm: one number an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage(Millis);

impl Usage {
    /// Nothing used yet.
    pub const NONE: Self = Self(Millis::new(0));

    /// Takes one attempt out of the quota before its outcome is known, so that attempts side by side count too.
    ///
    /// # Errors
    /// How long to wait where nothing is left; nothing is taken then.
    pub fn take(self, quota: Quota, now: Millis) -> Result<Self, Duration> {
        let next = self.0.max(now) + quota.refill;
        let full = now + quota.refill * quota.burst.max(1);
        if next <= full {
            return Ok(Self(next));
        }
        let wait = u64::try_from(next.get().saturating_sub(full.get())).unwrap_or(0);
        Err(Duration::from_millis(wait))
    }

    /// Puts one attempt back: it succeeded.
    #[must_use]
    pub fn give_back(self, quota: Quota) -> Self {
        Self(self.0 - quota.refill)
    }

    /// True where all of the quota has grown back and the record can be forgotten.
    #[must_use]
    pub fn is_over(self, now: Millis) -> bool {
        self.0 <= now
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const QUOTA: Quota = Quota { burst: 3, refill: Duration::from_secs(10) };

    #[test]
    fn a_burst_then_one_at_a_time() {
        let now = Millis::new(1_000_000);
        let mut usage = Usage::NONE;
        for _ in 0..3 {
            usage = usage.take(QUOTA, now).unwrap();
        }
        assert_eq!(usage.take(QUOTA, now), Err(Duration::from_secs(10)));
        assert_eq!(usage.take(QUOTA, now + Duration::from_secs(4)), Err(Duration::from_secs(6)));
        assert!(usage.take(QUOTA, now + Duration::from_secs(10)).is_ok());
    }

    #[test]
    fn a_success_costs_nothing() {
        let now = Millis::new(1_000_000);
        let mut usage = Usage::NONE;
        for _ in 0..100 {
            usage = usage.take(QUOTA, now).unwrap().give_back(QUOTA);
        }
        assert!(usage.take(QUOTA, now).is_ok());
    }
}

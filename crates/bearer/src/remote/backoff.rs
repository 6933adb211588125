//! Waiting longer after each failure, and not all at once.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// Waits that double from a first one to a longest one, each shortened by up to half, so that the readers of one issuer do
/// not come back in step.
pub(crate) struct Backoff {
    first: Duration,
    longest: Duration,
    failures: u32,
    random: RandomState,
    drawn: u64,
}

impl Backoff {
    pub(crate) fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, failures: 0, random: RandomState::new(), drawn: 0 }
    }

    pub(crate) fn succeeded(&mut self) {
        self.failures = 0;
    }

    /// The wait after one more failure.
    pub(crate) fn failed(&mut self) -> Duration {
        let wait = self.first.saturating_mul(1 << self.failures.min(16)).min(self.longest);
        self.failures = self.failures.saturating_add(1);
        self.spread(wait)
    }

    /// A time from half of `wait` to all of it. The standard library's hash keys are random enough for that.
    pub(crate) fn spread(&mut self, wait: Duration) -> Duration {
        self.drawn = self.drawn.wrapping_add(1);
        let part = f64::from(u32::try_from(self.random.hash_one(self.drawn) >> 32).unwrap_or_default());
        wait.mul_f64(0.5 + 0.5 * part / f64::from(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_begin_anew_after_a_success() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));
        for _ in 0..2 {
            for most in [100, 200, 400, 800, 1000, 1000] {
                let wait = backoff.failed();
                let most = Duration::from_millis(most);
                assert!(most / 2 <= wait && wait <= most, "{wait:?} of {most:?}");
            }
            backoff.succeeded();
        }
    }

    #[test]
    fn a_thousand_failures_do_not_overflow() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));
        assert!((0..1000).all(|_| backoff.failed() <= Duration::from_secs(60)));
    }

    #[test]
    fn two_readers_do_not_wait_in_step() {
        let waits = || {
            let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));
            std::array::from_fn::<_, 8, _>(|_| backoff.failed())
        };
        assert_ne!(waits(), waits());
    }
}

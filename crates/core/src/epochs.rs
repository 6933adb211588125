//! Revocation epochs: a hybrid of a counter and a clock.
//!
//! A session or access token remembers the epochs it was born under and is dead as soon as one of them has moved on. No
//! rule compares the time at which a token was issued with the time of a revocation: two events in one second, or
//! two machines with different clocks, would make that comparison lie.

use serde::{Deserialize, Serialize};

use crate::time::Millis;

/// An epoch: grows with every revocation of what it covers and never repeats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(i64);

impl Epoch {
    /// An epoch as a store or a token holds it.
    #[must_use]
    pub const fn new(value: i64) -> Self {
        Self(value)
    }

    /// The number that a store or a token holds.
    #[must_use]
    pub const fn get(self) -> i64 {
        self.0
    }

    /// The next epoch: `max(old + 1, now)`.
    ///
    /// The counter makes two revocations in one millisecond differ. The clock makes an epoch taken after a restore exceed
    /// those of the history that the restore has lost.
    #[must_use]
    pub fn next(self, now: Millis) -> Self {
        Self(self.0.saturating_add(1).max(now.get()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn always_grows_and_is_never_behind_the_clock(old in 0..i64::MAX - 1, now in 0..i64::MAX) {
            let next = Epoch::new(old).next(Millis::new(now));
            prop_assert!(next > Epoch::new(old));
            prop_assert!(next.get() >= now);
        }
    }
}

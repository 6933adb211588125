//! Which generations became ancestors so lately that a late duplicate of their request may still be under way.

use std::time::Duration;

use crate::time::Millis;

/// A rotation that began a stretch of rotations: the generation that it made an ancestor, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The first generation that became an ancestor in the stretch.
    pub generation: u32,
    /// When that happened.
    pub at: Millis,
}

/// The two latest stretches of rotations, each at most `overlap` long.
///
/// An ancestor counts as late from when it became one, not from when it was rotated: as long as it was the parent it was
/// answered, and so may have been sent.
///
/// One time per generation would be exact and would grow. Measuring from the last rotation alone would let a thief who
/// refreshes often keep the owner's ancestor "late" for ever, so that the theft is never noticed. Two marks bound
/// both: an honest duplicate is recognised for at least `overlap`, an ancestor is tolerated for at most twice `overlap`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recent {
    /// The stretch before the newest.
    pub older: Option<Mark>,
    /// The stretch that rotations extend now.
    pub newer: Option<Mark>,
}

impl Recent {
    /// Records that `ancestor` was the parent until `now`.
    #[must_use]
    pub fn advance(self, ancestor: u32, now: Millis, overlap: Duration) -> Self {
        // Within the overlap in both directions: a clock that was ahead and is set back must not extend the stretch until
        // time has caught up with it.
        let extends = self.newer.is_some_and(|mark| now < mark.at + overlap && mark.at < now + overlap);
        if extends {
            return self;
        }
        Self { older: self.newer, newer: Some(Mark { generation: ancestor, at: now }) }
    }

    /// True where a duplicate of a request with this generation's token may honestly still arrive.
    #[must_use]
    pub fn covers(self, generation: u32, rotated_at: Millis, now: Millis, overlap: Duration) -> bool {
        if now >= rotated_at + overlap {
            return false;
        }
        // The newer stretch needs no bound of its own: its last rotation was less than an overlap ago.
        let in_newer = self.newer.is_some_and(|mark| generation >= mark.generation);
        let in_older =
            self.older.is_some_and(|mark| generation >= mark.generation && now < mark.at + overlap + overlap);
        in_newer || in_older
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OVERLAP: Duration = Duration::from_secs(60);

    proptest! {
        /// Rotations with arbitrary pauses; one of the ancestors is asked about at an arbitrary later moment.
        #[test]
        fn covers_for_at_least_overlap_and_at_most_twice(
            pauses in proptest::collection::vec(0i64..90_000, 3..40), wait in 0i64..200_000, pick in any::<prop::sample::Index>(),
        ) {
            let mut now = Millis::new(0);
            let mut recent = Recent::default();
            let mut since = vec![];
            for (generation, pause) in pauses.iter().enumerate() {
                now = Millis::new(now.get() + pause);
                recent = recent.advance(u32::try_from(generation).unwrap_or(0), now, OVERLAP);
                since.push(now);
            }
            let rotated_at = now;
            let now = Millis::new(now.get() + wait);
            let generation = pick.index(since.len());
            let age = now.get() - since[generation].get();
            let covered = recent.covers(u32::try_from(generation).unwrap_or(0), rotated_at, now, OVERLAP);
            if age < 60_000 {
                prop_assert!(covered, "an honest duplicate {age} ms after its generation became an ancestor");
            }
            if age >= 120_000 {
                prop_assert!(!covered, "an ancestor for {age} ms");
            }
        }
    }

    #[test]
    fn a_clock_that_was_ahead_and_is_set_back_does_not_keep_an_ancestor_late() {
        let second = Duration::from_secs(1);
        let corrected = Millis::new(0);
        let mut recent = Recent::default().advance(0, corrected + 86_400 * second, OVERLAP);
        for generation in 1..=120 {
            recent = recent.advance(generation, corrected + generation * second, OVERLAP);
        }
        let now = corrected + 121 * second;
        assert!(!recent.covers(0, corrected + 120 * second, now, OVERLAP));
        assert!(recent.covers(119, corrected + 120 * second, now, OVERLAP));
    }

    #[test]
    fn a_clock_that_steps_back_a_little_begins_no_new_stretch() {
        let at = Millis::new(1_000_000);
        let first = Recent::default().advance(0, at, OVERLAP);
        assert_eq!(first.advance(1, at - Duration::from_secs(59), OVERLAP), first);
        assert_ne!(first.advance(1, at - OVERLAP, OVERLAP), first);
    }

    #[test]
    fn without_overlap_nothing_is_recent() {
        let now = Millis::new(5);
        let recent = Recent::default().advance(0, now, Duration::ZERO);
        assert!(!recent.covers(0, now, now, Duration::ZERO));
    }
}

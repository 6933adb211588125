//! Times in which a database committed nothing.

use std::time::Duration;

use crate::time::Millis;

/// Two that follow one another within this time are one: a database that comes and goes has not come back.
const APART: Duration = Duration::from_secs(60);

/// A time of which it is not known whether anything was committed: a disk that hangs, a standby that is waited for.
///
/// What was to be committed then may have been at any moment of it, and nobody was told. So the overlap of such a rotation begins
/// when it is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stall {
    /// The last moment before it to which something was committed.
    pub from: Millis,
    /// The first one afterwards; the present while it lasts.
    pub until: Millis,
}

impl Stall {
    /// One that comes after `former`, and goes on with it where there was hardly anything between the two.
    #[must_use]
    pub fn after(former: Option<Self>, from: Millis, until: Millis) -> Self {
        let from = match former {
            Some(former) if from < former.until + APART => former.from.min(from),
            _ => from,
        };
        Self { from, until }
    }

    /// When a rotation can have been committed at the latest that was decided at `rotated_at`.
    #[must_use]
    pub fn latest_commit(stall: Option<Self>, rotated_at: Millis) -> Millis {
        match stall {
            Some(stall) if stall.from <= rotated_at && rotated_at < stall.until => stall.until,
            _ => rotated_at,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stall(from: i64, until: i64) -> Stall {
        Stall { from: Millis::new(from), until: Millis::new(until) }
    }

    #[test]
    fn what_was_decided_meanwhile_may_have_been_committed_at_its_end() {
        let latest = |rotated_at| Stall::latest_commit(Some(stall(1000, 5000)), Millis::new(rotated_at)).get();
        assert_eq!([999, 1000, 4999, 5000, 5001].map(latest), [999, 5000, 5000, 5000, 5001]);
        assert_eq!(Stall::latest_commit(None, Millis::new(3000)), Millis::new(3000));
    }

    #[test]
    fn two_with_hardly_anything_between_them_are_one() {
        let next = |former, from| Stall::after(former, Millis::new(from), Millis::new(from + 1000));
        let former = Some(stall(1000, 5000));
        assert_eq!(next(former, 64_999), stall(1000, 65_999));
        assert_eq!(next(former, 65_000), stall(65_000, 66_000));
        assert_eq!(next(former, 500), stall(500, 1500));
        assert_eq!(next(None, 500), stall(500, 1500));
    }
}

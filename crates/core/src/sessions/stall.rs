//! Times in which a database committed nothing.

use crate::time::Millis;

/// A time of which it is not known whether anything was committed: a disk that hangs, a standby that is waited for.
///
/// What was to be committed then may have been at any moment of it, and nobody was told. So the overlap of such a rotation begins
/// when it is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stall {
    /// Its first moment.
    pub from: Millis,
    /// The first one afterwards; the present while it lasts.
    pub until: Millis,
}

impl Stall {
    /// When a rotation that was decided at `rotated_at` can have been committed at the latest. A stall that ends in the future is one of a
    /// clock that was set back: it counts for nothing.
    #[must_use]
    pub fn latest_commit(stalls: &[Self], rotated_at: Millis, now: Millis) -> Millis {
        let covers = |stall: &&Self| stall.from <= rotated_at && rotated_at < stall.until && stall.until <= now;
        stalls.iter().filter(covers).map(|stall| stall.until).fold(rotated_at, Ord::max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stall(from: i64, until: i64) -> Stall {
        Stall { from: Millis::new(from), until: Millis::new(until) }
    }

    fn latest(stalls: &[Stall], rotated_at: i64, now: i64) -> i64 {
        Stall::latest_commit(stalls, Millis::new(rotated_at), Millis::new(now)).get()
    }

    #[test]
    fn what_was_decided_meanwhile_may_have_been_committed_at_its_end() {
        let stalls = [stall(1000, 5000)];
        let at = [999, 1000, 4999, 5000, 5001].map(|rotated_at| latest(&stalls, rotated_at, 5000));
        assert_eq!(at, [999, 5000, 4999 + 1, 5000, 5001]);
        assert_eq!(latest(&[], 3000, 5000), 3000);
    }

    #[test]
    fn of_several_the_one_that_ended_last_counts_and_none_that_has_not_ended() {
        let stalls = [stall(1000, 9000), stall(2000, 5000), stall(1000, 9002)];
        assert_eq!(latest(&stalls, 3000, 9001), 9000);
        assert_eq!(latest(&stalls, 3000, 4999), 3000);
    }
}

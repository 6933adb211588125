//! How many sessions of one account may live at the same time, and which of them make room for a further one.

use std::num::NonZeroU32;

use crate::ids::SessionId;
use crate::sessions::state::{Session, Standing, alive};
use crate::time::Millis;

/// A session, and what tells how it is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Used {
    /// The session.
    pub session: Session,
    /// When it was last refreshed, or began.
    pub last_used_at: Millis,
    /// When the idle lifetime of its refresh token ends.
    pub idle_expires_at: Millis,
}

/// The sessions of an account that have to end so that no more than `limit` of them live once another one has begun: those that were
/// not used for the longest time, and of several last used at the same moment the ones with the lower ids. What is dead does not
/// count. They are given in the order of their ids.
#[must_use]
pub fn making_room(sessions: Vec<Used>, standing: &Standing, limit: NonZeroU32, now: Millis) -> Vec<SessionId> {
    let is_alive = |used: &Used| alive(&used.session, used.idle_expires_at, standing, now).is_ok();
    let mut living: Vec<Used> = sessions.into_iter().filter(is_alive).collect();
    living.sort_unstable_by_key(|used| (used.last_used_at, used.session.id));
    let others = usize::try_from(limit.get() - 1).unwrap_or(usize::MAX);
    living.truncate(living.len().saturating_sub(others));
    let mut ending: Vec<SessionId> = living.into_iter().map(|used| used.session.id).collect();
    ending.sort_unstable();
    ending
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::epochs::Epoch;
    use crate::ids::AccountId;
    use crate::sessions::state::{EndReason, Ended, Epochs};

    const NOW: Millis = Millis::new(1000);

    const fn epochs(both: i64) -> Epochs {
        Epochs { global: Epoch::new(both), session: Epoch::new(both) }
    }

    fn used(id: u8, last_used_at: i64) -> Used {
        let session = Session {
            id: SessionId::from_bytes([id; 16]),
            account: AccountId::from_bytes([9; 16]),
            expires_at: Millis::new(5000),
            ended: None,
            born: epochs(1),
        };
        Used { session, last_used_at: Millis::new(last_used_at), idle_expires_at: Millis::new(4000) }
    }

    fn ending(sessions: &[Used], limit: u32) -> Vec<u8> {
        let standing = Standing { account_disabled: false, epochs: epochs(1) };
        let ids = making_room(sessions.to_vec(), &standing, NonZeroU32::new(limit).unwrap(), NOW);
        ids.into_iter().map(|id| id.as_uuid().as_bytes()[0]).collect()
    }

    #[test]
    fn the_least_recently_used_make_room() {
        let sessions = [used(1, 30), used(2, 20), used(3, 40), used(4, 10)];
        assert_eq!(ending(&sessions, 5), []);
        assert_eq!(ending(&sessions, 4), [4]);
        assert_eq!(ending(&sessions, 3), [2, 4], "by id, not by use");
        assert_eq!(ending(&sessions, 1), [1, 2, 3, 4]);
        assert_eq!(ending(&[], 1), []);
        assert_eq!(ending(&sessions, u32::MAX), []);
    }

    #[test]
    fn of_those_used_at_the_same_moment_the_lower_id_goes() {
        assert_eq!(ending(&[used(3, 10), used(1, 10), used(2, 10)], 2), [1, 2]);
    }

    #[test]
    fn what_is_dead_takes_no_room() {
        let ended = Ended { at: Millis::new(500), reason: EndReason::SignedOut };
        let mut sessions = vec![used(1, 10), used(2, 20), used(3, 30), used(4, 40), used(5, 50)];
        sessions[0].session.ended = Some(ended);
        sessions[1].idle_expires_at = NOW;
        sessions[2].session.expires_at = NOW;
        sessions[3].session.born = epochs(0);
        assert_eq!(ending(&sessions, 2), []);
        assert_eq!(ending(&sessions, 1), [5]);
    }
}

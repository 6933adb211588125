//! When a session is of no more use to anybody.

use crate::epochs::Epoch;
use crate::sessions::state::{Session, Standing};
use crate::time::Millis;

/// The first moment at which nothing could be done with the session any more; it may be to come. What is dead stays dead.
///
/// `idle_at` is when the idle lifetime of its refresh token and the life of its newest access token are both over.
#[must_use]
pub fn dead_since(session: &Session, standing: &Standing, disabled_at: Option<Millis>, idle_at: Millis) -> Millis {
    // An epoch is never behind the clock by which it was taken, so it tells when at the latest the revocation was.
    let behind = |born: Epoch, now: Epoch| (born < now).then(|| Millis::new(now.get()));
    [
        session.ended.map(|ended| ended.at),
        disabled_at,
        behind(session.born.session, standing.epochs.session),
        behind(session.born.global, standing.epochs.global),
        Some(idle_at),
    ]
    .into_iter()
    .flatten()
    .fold(session.expires_at, Ord::min)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{AccountId, SessionId};
    use crate::sessions::state::{EndReason, Ended, Epochs};

    #[test]
    fn whatever_comes_first_counts() {
        let epochs = |global, session| Epochs { global: Epoch::new(global), session: Epoch::new(session) };
        let session = Session {
            id: SessionId::from_bytes([1; 16]),
            account: AccountId::from_bytes([2; 16]),
            expires_at: Millis::new(900),
            ended: None,
            born: epochs(1, 1),
        };
        let since = |session: &Session, epochs, disabled_at: Option<i64>, idle_at| {
            let standing = Standing { account_disabled: disabled_at.is_some(), epochs };
            dead_since(session, &standing, disabled_at.map(Millis::new), Millis::new(idle_at)).get()
        };
        assert_eq!(since(&session, epochs(1, 1), None, 2000), 900, "its absolute end");
        assert_eq!(since(&session, epochs(1, 1), None, 800), 800, "idleness");
        assert_eq!(since(&session, epochs(1, 1), Some(700), 800), 700, "its account was disabled");
        assert_eq!(since(&session, epochs(1, 600), Some(700), 800), 600, "its account was revoked");
        assert_eq!(since(&session, epochs(500, 600), Some(700), 800), 500, "everyone was");
        let ended = Some(Ended { at: Millis::new(400), reason: EndReason::SignedOut });
        assert_eq!(since(&Session { ended, ..session }, epochs(500, 600), Some(700), 800), 400, "it was ended");
    }
}

//! I4, I10, I11, as far as they are rules: what kills a session, and how epochs grow and compare.

use std::time::Duration;

use countersign_core::epochs::Epoch;
use countersign_core::sessions::rotation::{Decision, Refusal};
use countersign_core::sessions::state::{Dead, Epochs, Session, Standing, alive};
use countersign_core::time::Millis;
use proptest::prelude::*;

use crate::story::{BEGAN, DAY, World, config, overlap, story};
use crate::support;

/// What a resource server asks of an access token: `ver[0] ≥ everyone && ver[1] ≥ account`.
fn passes(token: Epochs, seen: Epochs) -> bool {
    token.global >= seen.global && token.session >= seen.session
}

proptest! {
    #![proptest_config(config())]

    /// The store sees to it that a refresh that starts later finds the rows that the revocation wrote.
    #[test]
    fn i4_after_a_revocation_no_refresh_succeeds(story in story(), overlap in overlap()) {
        for step in World::new(overlap).tell(&story).into_iter().filter(|step| step.revoked) {
            let refused = matches!(
                step.decision,
                Decision::Refused(Refusal::Dead(_) | Refusal::OtherClient | Refusal::AccessTokenMismatch)
            );
            prop_assert!(refused, "{:?}", step);
        }
    }

    #[test]
    fn i4_a_disabled_account_refreshes_nothing(story in story(), overlap in overlap()) {
        for step in World::new(overlap).tell(&story).into_iter().filter(|step| step.standing.account_disabled) {
            prop_assert!(matches!(step.decision, Decision::Refused(_)), "{:?}", step);
        }
    }

    /// A session that began in the same millisecond as the revocation is older or newer, never both.
    #[test]
    fn i4_an_epoch_kills_what_was_born_before_it_and_nothing_after(
        moves in proptest::collection::vec((any::<bool>(), 0u64..3), 1..20),
    ) {
        let mut now = BEGAN;
        let mut standing = support::standing();
        let mut sessions = vec![(0, support::session(BEGAN + DAY))];
        for (count, (everyone, pause)) in moves.iter().enumerate() {
            now = now + Duration::from_millis(*pause);
            let epoch = if *everyone { &mut standing.epochs.global } else { &mut standing.epochs.session };
            *epoch = epoch.next(now);
            let born = standing.epochs;
            sessions.push((count + 1, Session { born, ..support::session(BEGAN + DAY) }));
        }
        for (count, session) in &sessions {
            let lives = alive(session, BEGAN + DAY, &standing, now).is_ok();
            prop_assert_eq!(lives, *count == sessions.len() - 1);
        }
    }

    /// The order of commits and the freedom from gaps are the store's.
    #[test]
    fn i10_epochs_only_grow_whatever_the_clock_does(clock in proptest::collection::vec(0i64..=i64::MAX - 100, 1..60)) {
        let mut epoch = Epoch::new(0);
        for now in clock {
            let next = epoch.next(Millis::new(now));
            prop_assert!(next > epoch);
            prop_assert!(next.get() >= now);
            epoch = next;
        }
    }

    /// An epoch of the history that a restore lost does not come again once time has passed.
    #[test]
    fn i10_after_a_restore_no_epoch_repeats(
        kept in 0i64..1_000_000, lost in proptest::collection::vec(0i64..1000, 1..50), later in 1i64..1_000_000,
    ) {
        let mut now = BEGAN;
        let mut epoch = Epoch::new(kept);
        for wait in &lost {
            // Fewer revocations than milliseconds: the clock, not the counter, leads.
            now = Millis::new(now.get() + wait + 1);
            epoch = epoch.next(now);
        }
        let restored = Epoch::new(kept).next(Millis::new(now.get() + later));
        prop_assert!(restored > epoch);
    }

    /// Roles and versions are read together in the transaction that mints: the operations show that.
    #[test]
    fn i11_a_token_with_the_older_version_is_rejected_by_who_has_seen_the_event(
        global in any::<i32>(), session in any::<i32>(), everyone in any::<bool>(), now in any::<i64>(),
    ) {
        let before = Epochs { global: Epoch::new(global.into()), session: Epoch::new(session.into()) };
        let mut after = before;
        let epoch = if everyone { &mut after.global } else { &mut after.session };
        *epoch = epoch.next(Millis::new(now));
        prop_assert!(passes(before, before));
        prop_assert!(!passes(before, after));
        prop_assert!(passes(after, after));
        prop_assert!(passes(after, before), "who has not seen the event yet");
    }

    /// The first reason that applies is told, whatever else applies.
    #[test]
    fn a_session_lives_exactly_without_a_reason_to_be_dead(
        disabled in any::<bool>(), session in -1i64..=1, global in -1i64..=1, idle in -1i64..=1, end in -1i64..=1,
    ) {
        let standing = Standing {
            account_disabled: disabled,
            epochs: Epochs {
                global: Epoch::new(support::BORN.global.get() + global),
                session: Epoch::new(support::BORN.session.get() + session),
            },
        };
        let at = |offset: i64| Millis::new(BEGAN.get() + offset);
        let found = alive(&support::session(at(end)), at(idle), &standing, BEGAN);
        let reasons = [
            (disabled, Dead::AccountDisabled),
            (session > 0, Dead::AccountRevoked),
            (global > 0, Dead::EveryoneRevoked),
            (end <= 0, Dead::Expired),
            (idle <= 0, Dead::IdleExpired),
        ];
        let first = reasons.into_iter().find(|(applies, _)| *applies).map(|(_, reason)| reason);
        prop_assert_eq!(found.err(), first);
    }
}

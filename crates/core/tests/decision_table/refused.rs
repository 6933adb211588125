//! Nothing is handed out and nothing changes.

use std::time::Duration;

use countersign_core::epochs::Epoch;
use countersign_core::ids::{ClientId, SessionId};
use countersign_core::sessions::rotation::{Decision, Presented, Refusal, decide};
use countersign_core::sessions::state::{Dead, EndReason, Ended};
use countersign_core::time::Millis;

use crate::case::{Case, INSTANT, KEY, NONCE, OVERLAP};
use crate::support;

#[track_caller]
fn refused(case: &Case, refusal: Refusal) {
    assert_eq!(case.ask(case.family.generation), Decision::Refused(refusal));
}

fn ended(case: &Case, reason: EndReason) -> Option<Ended> {
    Some(Ended { at: case.now, reason })
}

const fn beyond(epoch: Epoch) -> Epoch {
    Epoch::new(epoch.get() + 1)
}

#[test]
fn no_row() {
    let case = Case::rotated(2, None);
    let presented = support::present(&case.tokens[2], None);
    let decision = decide(&presented, None, &case.lifetimes, NONCE, case.now);
    assert_eq!(decision, Decision::Refused(Refusal::UnknownFamily));
}

#[test]
fn another_client() {
    let case = Case::rotated(2, None);
    let client = ClientId::parse("another").unwrap();
    for token in &case.tokens {
        let presented = Presented { client: client.clone(), ..support::present(token, None) };
        assert_eq!(case.present(&presented), Decision::Refused(Refusal::OtherClient));
    }
}

#[test]
fn an_access_token_of_another_session() {
    let case = Case::rotated(2, None);
    let with = |session| Presented { access_token_session: session, ..support::present(&case.tokens[2], None) };
    let another = SessionId::from_bytes([7; 16]);
    assert_eq!(case.present(&with(Some(another))), Decision::Refused(Refusal::AccessTokenMismatch));
    assert!(matches!(case.present(&with(Some(support::SESSION))), Decision::Rotated { .. }));
    assert!(matches!(case.present(&with(None)), Decision::Rotated { .. }));
}

#[test]
fn the_session_was_ended() {
    for reason in EndReason::ALL {
        let mut case = Case::rotated(2, None);
        case.session.ended = ended(&case, reason);
        refused(&case, Refusal::Dead(Dead::Ended(reason)));
    }
}

#[test]
fn the_account_is_disabled() {
    let mut case = Case::rotated(2, None);
    case.standing.account_disabled = true;
    refused(&case, Refusal::Dead(Dead::AccountDisabled));
}

#[test]
fn behind_the_epoch_of_the_account() {
    let mut case = Case::rotated(2, None);
    case.standing.epochs.session = beyond(support::BORN.session);
    refused(&case, Refusal::Dead(Dead::AccountRevoked));
}

#[test]
fn behind_the_epoch_of_everyone() {
    let mut case = Case::rotated(2, None);
    case.standing.epochs.global = beyond(support::BORN.global);
    refused(&case, Refusal::Dead(Dead::EveryoneRevoked));
}

/// Epochs only grow, so a session is never ahead; were one, that would be no reason to end it.
#[test]
fn not_ahead_of_an_epoch() {
    let mut case = Case::rotated(2, None);
    case.session.born.session = beyond(support::BORN.session);
    case.session.born.global = beyond(support::BORN.global);
    assert_eq!(case.rotated_row(2).generation, 3);
}

#[test]
fn idle_for_the_idle_lifetime_to_the_instant() {
    let mut case = Case::rotated(2, None);
    case.now = case.family.idle_expires_at - INSTANT;
    assert!(matches!(case.ask(2), Decision::Rotated { .. }));
    case.now = case.family.idle_expires_at;
    refused(&case, Refusal::Dead(Dead::IdleExpired));
}

#[test]
fn at_its_absolute_end_to_the_instant() {
    let mut case = Case::rotated(2, None);
    // Idle and absolute end are one when the idle lifetime is the longer.
    case.family.idle_expires_at = case.session.expires_at;
    case.now = case.session.expires_at - INSTANT;
    assert!(matches!(case.ask(2), Decision::Rotated { .. }));
    case.now = case.session.expires_at;
    refused(&case, Refusal::Dead(Dead::Expired));
}

/// The reason that says more is told first.
#[test]
fn ended_then_disabled_then_revoked_then_expired_then_idle() {
    let mut case = Case::rotated(2, None);
    case.now = case.session.expires_at;
    assert!(case.now > case.family.idle_expires_at);
    case.session.ended = ended(&case, EndReason::SignedOut);
    case.standing.account_disabled = true;
    case.standing.epochs.session = beyond(support::BORN.session);
    case.standing.epochs.global = beyond(support::BORN.global);

    refused(&case, Refusal::Dead(Dead::Ended(EndReason::SignedOut)));
    case.session.ended = None;
    refused(&case, Refusal::Dead(Dead::AccountDisabled));
    case.standing.account_disabled = false;
    refused(&case, Refusal::Dead(Dead::AccountRevoked));
    case.standing.epochs.session = support::BORN.session;
    refused(&case, Refusal::Dead(Dead::EveryoneRevoked));
    case.standing.epochs.global = support::BORN.global;
    refused(&case, Refusal::Dead(Dead::Expired));
    case.session.expires_at = case.now + INSTANT;
    refused(&case, Refusal::Dead(Dead::IdleExpired));
}

#[test]
fn another_client_before_another_session_before_a_dead_one() {
    let mut case = Case::rotated(2, None);
    case.session.ended = ended(&case, EndReason::Revoked);
    let mut presented = Presented {
        client: ClientId::parse("another").unwrap(),
        access_token_session: Some(SessionId::from_bytes([7; 16])),
        ..support::present(&case.tokens[0], None)
    };
    assert_eq!(case.present(&presented), Decision::Refused(Refusal::OtherClient));
    presented.client = ClientId::first_party();
    assert_eq!(case.present(&presented), Decision::Refused(Refusal::AccessTokenMismatch));
    presented.access_token_session = None;
    assert_eq!(case.present(&presented), Decision::Refused(Refusal::Dead(Dead::Ended(EndReason::Revoked))));
}

/// What would be a replay says nothing more once the session is over: it ends nothing twice.
#[test]
fn a_dead_session_before_any_replay() {
    let newer = Case::rotated(4, None);
    let mut case = Case::rotated(3, None).after(OVERLAP);
    case.now = case.session.expires_at;
    for generation in 0..=3 {
        assert_eq!(case.ask(generation), Decision::Refused(Refusal::Dead(Dead::Expired)));
    }
    for token in [case.of_another_history(3), case.of_another_history(2), newer.tokens[4].clone()] {
        let decision = case.present(&support::present(&token, Some(KEY)));
        assert_eq!(decision, Decision::Refused(Refusal::Dead(Dead::Expired)));
    }
}

#[test]
fn a_late_duplicate_inside_the_overlap_to_the_instant() {
    let late = Decision::Refused(Refusal::LateDuplicate);
    assert_eq!(Case::rotated(3, None).ask(1), late);
    let last_moment = Case::rotated(3, None).after(OVERLAP - INSTANT);
    assert_eq!(last_moment.ask(1), late);
    assert_ne!(last_moment.after(INSTANT).ask(1), late);
}

#[test]
fn a_late_duplicate_has_any_retry_key() {
    for key in [None, Some(KEY), Some("the retry key of a thief")] {
        let case = Case::rotated(3, Some(KEY)).with_key(key);
        assert_eq!(case.ask(1), Decision::Refused(Refusal::LateDuplicate));
    }
}

/// Two tabs of a laptop that slept through the answer: the one is given the successor again and uses it, the other
/// is a moment later. Its token was rotated long ago, but was the accepted parent until now.
#[test]
fn a_late_duplicate_is_late_from_when_it_became_an_ancestor() {
    let mut case = Case::rotated(1, Some(KEY)).after(10 * OVERLAP);
    case.family = case.reissued_row(0);
    case.rotate();
    assert_eq!(case.after(OVERLAP - INSTANT).ask(0), Decision::Refused(Refusal::LateDuplicate));
}

#[test]
fn the_last_generation_that_fits_has_no_successor() {
    let mut case = Case::rotated(1, None);
    let last = last_token(&case);
    case.family.generation = u32::MAX;
    case.family.current = last.hash();
    assert_eq!(case.present(&support::present(&last, None)), Decision::Refused(Refusal::Exhausted));
}

/// The last token that the format can express, made as its owner would have received it.
fn last_token(case: &Case) -> countersign_core::sessions::refresh_token::RefreshToken {
    let mut token = case.tokens[0].clone();
    token.generation = u32::MAX - 1;
    let last = token.successor(&NONCE).unwrap();
    assert!(last.successor(&NONCE).is_none());
    last
}

/// Saturating times: a session without an end is not over, and one at the beginning of time is.
#[test]
fn lifetimes_beyond_what_fits() {
    let mut case = Case::rotated(1, None);
    case.session.expires_at = Millis::new(i64::MAX);
    case.lifetimes.refresh_token_idle = Duration::MAX;
    assert_eq!(case.rotated_row(1).idle_expires_at, Millis::new(i64::MAX));
    case.session.expires_at = Millis::new(i64::MIN);
    refused(&case, Refusal::Dead(Dead::Expired));
}

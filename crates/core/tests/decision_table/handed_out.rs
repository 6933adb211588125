//! A token is handed out: the family is rotated, or the successor of its parent is reissued.

use std::time::Duration;

use countersign_core::ids::ClientId;
use countersign_core::sessions::recent::{Mark, Recent};
use countersign_core::sessions::refresh_token::RetryKey;
use countersign_core::sessions::rotation::{Decision, Replay, begin};
use countersign_core::sessions::stall::Stall;
use countersign_core::sessions::state::{Family, LastRotation};

use crate::case::{BEGAN, Case, INSTANT, KEY, NONCE, OVERLAP, PAUSE};
use crate::support;

const DAY: Duration = Duration::from_secs(86_400);
const THIEF: &str = "the retry key of a thief";

#[test]
fn a_session_begins() {
    let case = Case::rotated(0, None);
    assert_eq!(
        case.family,
        Family {
            id: support::FAMILY,
            client: ClientId::first_party(),
            generation: 0,
            current: case.tokens[0].hash(),
            last: None,
            idle_expires_at: BEGAN + 30 * DAY,
            access_expires_at: BEGAN + Duration::from_secs(300),
            reissues: 0,
            reissue_streak: 0,
            recent: Recent::default(),
        }
    );
}

#[test]
fn a_session_begins_with_no_lifetime_past_its_end() {
    let case = Case::rotated(0, None);
    let session = support::session(BEGAN + INSTANT);
    let family = begin(&case.tokens[0], ClientId::first_party(), &session, &case.lifetimes, BEGAN);
    assert_eq!((family.idle_expires_at, family.access_expires_at), (session.expires_at, session.expires_at));
}

#[test]
fn the_current_token_is_rotated() {
    let case = Case::rotated(3, Some(KEY)).after(PAUSE);
    let Decision::Rotated { family, successor } = case.ask(3) else {
        panic!("the current token rotates");
    };
    assert_eq!(Some(&successor), case.tokens[3].successor(&NONCE).as_ref());
    assert_eq!(
        family,
        Family {
            id: support::FAMILY,
            client: ClientId::first_party(),
            generation: 4,
            current: successor.hash(),
            last: Some(LastRotation {
                previous: case.tokens[3].hash(),
                nonce: NONCE,
                retry: Some(RetryKey::parse(KEY).unwrap().hash(support::FAMILY, 3)),
                rotated_at: case.now,
            }),
            idle_expires_at: case.now + 30 * DAY,
            access_expires_at: case.now + Duration::from_secs(300),
            reissues: 0,
            reissue_streak: 0,
            recent: Recent {
                older: Some(Mark { generation: 1, at: case.now - PAUSE }),
                newer: Some(Mark { generation: 2, at: case.now }),
            },
        }
    );
}

#[test]
fn the_current_token_is_rotated_without_a_retry_key() {
    assert_eq!(Case::rotated(1, None).rotated_row(1).last.unwrap().retry, None);
}

#[test]
fn the_current_token_is_rotated_whatever_the_overlap() {
    let mut case = Case::rotated(2, None);
    case.lifetimes.rotation_overlap = Duration::ZERO;
    assert_eq!(case.rotated_row(2).generation, 3);
}

#[test]
fn the_first_rotation_makes_no_ancestor() {
    assert_eq!(Case::rotated(1, None).family.recent, Recent::default());
}

#[test]
fn idle_never_passes_the_absolute_end() {
    let mut case = Case::rotated(2, None);
    case.session.expires_at = case.now + DAY;
    assert_eq!(case.rotated_row(2).idle_expires_at, case.session.expires_at);
}

#[test]
fn an_access_token_never_outlives_its_session() {
    let mut case = Case::rotated(2, None).after(PAUSE);
    case.session.expires_at = case.now + INSTANT;
    assert_eq!(case.rotated_row(2).access_expires_at, case.session.expires_at);
}

/// Until then the feed has to name the session to resource servers, whatever the clock says.
#[test]
fn the_expiry_of_the_newest_access_token_never_moves_back() {
    let mut case = Case::rotated(2, Some(KEY));
    let before = case.family.access_expires_at;
    case.now = case.now - DAY;
    assert_eq!(case.rotated_row(2).access_expires_at, before);
    assert_eq!(case.reissued_row(1).access_expires_at, before);
}

#[test]
fn the_parent_with_the_same_retry_key_is_reissued_however_late() {
    for wait in [Duration::ZERO, OVERLAP - INSTANT, OVERLAP, 29 * DAY] {
        let case = Case::rotated(3, Some(KEY)).after(wait);
        let expected =
            Family { reissues: 1, access_expires_at: case.now + case.lifetimes.access_token, ..case.family.clone() };
        assert_eq!(case.reissued_row(2), expected);
    }
}

#[test]
fn the_parent_without_a_retry_key_is_reissued_inside_the_overlap_to_the_instant() {
    let case = Case::rotated(3, None).after(OVERLAP - INSTANT);
    let expected =
        Family { reissues: 1, access_expires_at: case.now + case.lifetimes.access_token, ..case.family.clone() };
    assert_eq!(case.reissued_row(2), expected);
    assert_eq!(case.after(INSTANT).ask(2), Decision::Replayed(Replay::AfterOverlap));
}

#[test]
fn the_overlap_begins_when_the_rotation_was_committed_at_the_latest() {
    let mut case = Case::rotated(3, None);
    case.stalls = vec![Stall { from: case.now, until: case.now + PAUSE }];
    let case = case.after(PAUSE + OVERLAP - INSTANT);
    case.reissued_row(2);
    let mut case = case.after(INSTANT);
    assert_eq!(case.ask(2), Decision::Replayed(Replay::AfterOverlap));
    // While it lasts its end is the present.
    case.stalls = vec![Stall { from: case.now - PAUSE - OVERLAP, until: case.now }];
    case.reissued_row(2);
    case.lifetimes.rotation_overlap = Duration::ZERO;
    assert_eq!(case.ask(2), Decision::Replayed(Replay::AfterOverlap));
}

#[test]
fn every_reissue_counts_and_none_extends_the_idle_lifetime() {
    let mut case = Case::rotated(3, Some(KEY));
    for count in 1..=5 {
        let before = case.family.clone();
        case = case.after(DAY);
        case.family = case.reissued_row(2);
        assert_eq!(case.family.reissues, count);
        assert_eq!(case.family.idle_expires_at, before.idle_expires_at);
    }
    case.family.reissues = u32::MAX;
    assert_eq!(case.reissued_row(2).reissues, u32::MAX);
}

/// Without a retry key, sharing shows only in that retries recur: the third generation in a row tells.
#[test]
fn retries_in_three_generations_in_a_row_recur() {
    let mut case = Case::rotated(1, None);
    let mut told = vec![];
    for _ in 0..4 {
        for _ in 0..2 {
            let Decision::Reissued { family, recurring, .. } = case.ask(case.family.generation - 1) else {
                panic!("the parent is reissued inside the overlap");
            };
            case.family = family;
            told.push(recurring);
        }
        case.rotate();
    }
    // Told once a generation, from the third on.
    assert_eq!(told, [false, false, false, false, true, false, true, false]);
    // A generation without a retry ends the row.
    case.rotate();
    assert_eq!(case.family.reissue_streak, 0);
}

#[test]
fn one_retry_in_each_generation_is_enough_to_recur() {
    let mut case = Case::rotated(1, None);
    let mut told = vec![];
    for _ in 0..4 {
        let Decision::Reissued { family, recurring, .. } = case.ask(case.family.generation - 1) else {
            panic!("the parent is reissued inside the overlap");
        };
        case.family = family;
        told.push(recurring);
        case.rotate();
    }
    assert_eq!(told, [false, false, true, true]);
}

#[test]
fn a_retry_key_is_bound_to_its_generation() {
    let key = RetryKey::parse(KEY).unwrap();
    assert_ne!(key.hash(support::FAMILY, 1), key.hash(support::FAMILY, 2));
    assert_ne!(key.hash(support::FAMILY, 1), RetryKey::parse(THIEF).unwrap().hash(support::FAMILY, 1));
}

#[test]
fn a_retry_key_has_16_to_64_bytes() {
    let fits: Vec<usize> = (0..80).filter(|length| RetryKey::parse(&"k".repeat(*length)).is_ok()).collect();
    assert_eq!(fits, (16..=64).collect::<Vec<_>>());
}

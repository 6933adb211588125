//! The session is ended, and that commits.

use std::time::Duration;

use countersign_core::sessions::rotation::{Decision, Refusal, Replay};

use crate::case::{Case, INSTANT, KEY, OVERLAP};
use crate::support;

const THIEF: &str = "the retry key of a thief";

#[track_caller]
fn replayed(decision: &Decision, replay: Replay) {
    assert_eq!(*decision, Decision::Replayed(replay));
}

#[test]
fn the_parent_with_another_retry_key() {
    replayed(&Case::rotated(2, Some(KEY)).with_key(Some(THIEF)).ask(1), Replay::OtherRetryKey);
}

#[test]
fn the_parent_without_the_retry_key_that_was_sent_first() {
    replayed(&Case::rotated(2, Some(KEY)).with_key(None).ask(1), Replay::OtherRetryKey);
}

#[test]
fn the_parent_with_a_retry_key_where_none_was_sent_first() {
    replayed(&Case::rotated(2, None).with_key(Some(KEY)).ask(1), Replay::OtherRetryKey);
}

#[test]
fn the_parent_without_a_retry_key_when_the_overlap_is_over() {
    replayed(&Case::rotated(2, None).after(OVERLAP).ask(1), Replay::AfterOverlap);
}

#[test]
fn the_parent_at_once_where_there_is_no_overlap() {
    let mut case = Case::rotated(2, None);
    case.lifetimes.rotation_overlap = Duration::ZERO;
    replayed(&case.ask(1), Replay::AfterOverlap);
    // A client with a retry key has no clock to race.
    let mut case = Case::rotated(2, Some(KEY));
    case.lifetimes.rotation_overlap = Duration::ZERO;
    case.reissued_row(1);
}

#[test]
fn an_ancestor_when_the_overlap_is_over() {
    let case = Case::rotated(3, Some(KEY)).after(OVERLAP);
    replayed(&case.ask(1), Replay::Ancestor);
    replayed(&case.ask(0), Replay::Ancestor);
}

#[test]
fn an_ancestor_at_once_where_there_is_no_overlap() {
    let mut case = Case::rotated(2, None);
    case.lifetimes.rotation_overlap = Duration::ZERO;
    case.rotate();
    replayed(&case.ask(1), Replay::Ancestor);
}

#[test]
fn an_ancestor_of_long_ago_right_after_a_rotation() {
    replayed(&Case::rotated(3, None).ask(0), Replay::Ancestor);
}

/// However often a thief refreshes, the owner's token is late for twice the overlap at most.
#[test]
fn an_ancestor_that_a_busy_thief_left_behind() {
    let every = Duration::from_secs(5);
    let mut case = Case::rotated(1, None).after(every);
    let became_ancestor = case.now;
    case.rotate();
    while case.now + every < became_ancestor + 2 * OVERLAP {
        case = case.after(every);
        case.rotate();
    }
    let last_moment = became_ancestor + 2 * OVERLAP - INSTANT;
    case.now = last_moment;
    assert_eq!(case.ask(0), Decision::Refused(Refusal::LateDuplicate));
    replayed(&case.after(INSTANT).ask(0), Replay::Ancestor);
}

#[test]
fn an_ancestor_from_before_the_last_two_stretches() {
    let seconds = Duration::from_secs;
    let mut case = Case::rotated(1, None);
    for pause in [30, 70, 65] {
        case = case.after(seconds(pause));
        case.rotate();
    }
    let case = case.after(seconds(5));
    replayed(&case.ask(0), Replay::Ancestor);
    assert_eq!(case.ask(1), Decision::Refused(Refusal::LateDuplicate));
    assert_eq!(case.ask(2), Decision::Refused(Refusal::LateDuplicate));
    replayed(&case.after(seconds(55)).ask(1), Replay::Ancestor);
}

/// A row that never rotated has neither parent nor ancestors.
#[test]
fn any_older_token_of_a_row_without_a_rotation() {
    let mut case = Case::rotated(2, None);
    case.family.last = None;
    replayed(&case.ask(1), Replay::Ancestor);
    replayed(&case.ask(0), Replay::Ancestor);
}

#[test]
fn the_current_generation_with_another_secret() {
    let case = Case::rotated(2, Some(KEY));
    let token = case.of_another_history(2);
    replayed(&case.present(&support::present(&token, Some(KEY))), Replay::OtherSecret);
}

#[test]
fn the_parents_generation_with_another_secret_and_the_right_retry_key() {
    let case = Case::rotated(2, Some(KEY));
    let token = case.of_another_history(1);
    replayed(&case.present(&support::present(&token, Some(KEY))), Replay::OtherSecret);
}

#[test]
fn a_generation_that_this_database_never_reached() {
    let newer = Case::rotated(5, Some(KEY));
    let restored = Case::rotated(2, Some(KEY));
    for token in &newer.tokens[3..] {
        replayed(&restored.present(&support::present(token, Some(KEY))), Replay::Rollback);
    }
}

#[test]
fn an_access_token_of_the_same_session_changes_nothing() {
    let case = Case::rotated(2, Some(KEY));
    let mut presented = support::present(&case.tokens[1], Some(THIEF));
    presented.access_token_session = Some(support::SESSION);
    replayed(&case.present(&presented), Replay::OtherRetryKey);
}

#[test]
fn each_replay_has_a_name_of_its_own() {
    let all = [Replay::Ancestor, Replay::OtherRetryKey, Replay::AfterOverlap, Replay::OtherSecret, Replay::Rollback];
    let names: std::collections::BTreeSet<_> = all.into_iter().map(Replay::as_str).collect();
    assert_eq!(names.len(), all.len());
}

//! The feed as it stands on the wire, and what a reader makes of it.

use std::collections::HashMap;

use countersign_token::{
    AccessClaims, MAX_LEEWAY_SECONDS,
    revocation::{ApplyError, FeedEvent, FeedPage, Revocation, RevocationView, RevokedReason},
};
use proptest::{collection::vec, prelude::*};
use serde_json::json;
use uuid::Uuid;

use crate::fixtures::{NOW, claims};

fn event(seq: u64, revocation: Revocation) -> FeedEvent {
    FeedEvent { seq, revocation }
}

fn page(incarnation: &str, seq: u64, snapshot: bool, events: Vec<FeedEvent>) -> FeedPage {
    FeedPage { incarnation: incarnation.into(), seq, snapshot, events }
}

fn session(sid: u128, expires: i64) -> Revocation {
    Revocation::Session { sid: Uuid::from_u128(sid), expires }
}

fn account(sub: u128, version: i64, expires: i64) -> Revocation {
    Revocation::Account { sub: Uuid::from_u128(sub), version, expires }
}

fn everyone(epoch: i64) -> Revocation {
    Revocation::Everyone { epoch }
}

fn token(sub: u128, sid: u128, ver: [i64; 2]) -> AccessClaims {
    AccessClaims { sub: Uuid::from_u128(sub), sid: Uuid::from_u128(sid), ver, ..claims() }
}

#[test]
fn the_form_on_the_wire() {
    let wire = json!({
        "incarnation": "a1", "seq": 14, "snapshot": false,
        "events": [
            { "seq": 12, "type": "session", "sid": "00000000-0000-0000-0000-000000000003", "expires": 1_700_000_300 },
            { "seq": 13, "type": "account", "sub": "00000000-0000-0000-0000-000000000001", "version": 9, "expires": 1_700_000_300 },
            { "seq": 14, "type": "everyone", "epoch": 7 },
        ],
    });
    let events =
        vec![event(12, session(3, 1_700_000_300)), event(13, account(1, 9, 1_700_000_300)), event(14, everyone(7))];
    let page = page("a1", 14, false, events);
    assert_eq!(serde_json::to_value(&page).unwrap(), wire);
    assert_eq!(serde_json::from_str::<FeedPage>(&wire.to_string()).unwrap(), page);
}

#[test]
fn what_a_reader_does_not_understand_is_no_page() {
    let sid = "00000000-0000-0000-0000-000000000003";
    for event in [
        json!({ "seq": 1, "type": "client", "client": "web" }),
        json!({ "seq": 1, "type": "Session", "sid": sid, "expires": 1 }),
        json!({ "seq": 1, "sid": sid, "expires": 1 }),
        json!({ "type": "session", "sid": sid, "expires": 1 }),
        json!({ "seq": -1, "type": "session", "sid": sid, "expires": 1 }),
        json!({ "seq": 1, "type": "session", "sid": "3", "expires": 1 }),
        json!({ "seq": 1, "type": "session", "sid": sid }),
        json!({ "seq": 1, "type": "account", "sub": sid, "expires": 1 }),
        json!({ "seq": 1, "type": "account", "sub": sid, "version": "1", "expires": 1 }),
        json!({ "seq": 1, "type": "everyone" }),
        json!({ "seq": 1, "type": "everyone", "epoch": 1.5 }),
    ] {
        let page = json!({ "incarnation": "a", "seq": 1, "snapshot": true, "events": [event] }).to_string();
        assert!(serde_json::from_str::<FeedPage>(&page).is_err(), "{page}");
    }
    for member in ["incarnation", "seq", "snapshot", "events"] {
        let mut page = json!({ "incarnation": "a", "seq": 1, "snapshot": true, "events": [] });
        page.as_object_mut().unwrap().remove(member);
        assert!(serde_json::from_str::<FeedPage>(&page.to_string()).is_err(), "{member}");
    }
}

#[test]
fn each_reason_by_itself() {
    let mut view = RevocationView::new();
    assert_eq!(view.check(&token(1, 3, [7, 9])), Ok(()));
    view.apply(&page(
        "a",
        3,
        true,
        vec![event(1, session(30, NOW)), event(2, account(1, 9, NOW)), event(3, everyone(7))],
    ))
    .unwrap();
    assert_eq!(view.check(&token(1, 3, [7, 9])), Ok(()), "exactly at the floor");
    assert_eq!(view.check(&token(1, 3, [7, 8])), Err(RevokedReason::Account));
    assert_eq!(view.check(&token(2, 3, [7, 8])), Ok(()), "another account");
    assert_eq!(view.check(&token(1, 3, [6, 9])), Err(RevokedReason::Everyone));
    assert_eq!(view.check(&token(1, 30, [7, 9])), Err(RevokedReason::Session));
    assert_eq!(view.check(&token(1, 30, [0, 0])), Err(RevokedReason::Session), "the most particular");
    let codes = [RevokedReason::Session, RevokedReason::Account, RevokedReason::Everyone].map(RevokedReason::code);
    assert_eq!(codes, ["session_revoked", "account_revoked", "everyone_revoked"]);
}

#[test]
fn an_empty_view_asks_for_a_snapshot() {
    let mut view = RevocationView::new();
    assert_eq!(view.cursor(), None);
    assert_eq!(view.apply(&page("a", 5, false, vec![event(5, everyone(7))])), Err(ApplyError::SnapshotNeeded));
    assert_eq!(view.check(&token(1, 3, [0, 0])), Ok(()), "unchanged");
    assert_eq!(view.cursor(), None);
    view.apply(&page("a", 5, true, vec![])).unwrap();
    assert_eq!(view.cursor(), Some(("a", 5)));
    view.apply(&page("a", 5, false, vec![])).unwrap();
    view.apply(&page("a", 6, false, vec![event(6, everyone(7))])).unwrap();
    assert_eq!(view.cursor(), Some(("a", 6)));
}

#[test]
fn a_page_from_the_past_or_from_outside_changes_nothing() {
    let mut view = RevocationView::new();
    view.apply(&page("a", 5, true, vec![event(5, session(30, NOW))])).unwrap();
    for snapshot in [true, false] {
        assert_eq!(view.apply(&page("a", 4, snapshot, vec![])), Err(ApplyError::WentBack));
    }
    assert_eq!(view.apply(&page("a", 6, true, vec![event(7, everyone(1))])), Err(ApplyError::Inconsistent));
    assert_eq!(view.cursor(), Some(("a", 5)));
    assert_eq!(view.check(&token(1, 30, [7, 9])), Err(RevokedReason::Session));
}

#[test]
fn another_incarnation_starts_over() {
    let mut view = RevocationView::new();
    view.apply(&page("a", 50, true, vec![event(49, session(30, NOW)), event(50, everyone(7))])).unwrap();
    assert_eq!(view.apply(&page("b", 51, false, vec![])), Err(ApplyError::SnapshotNeeded));
    assert_eq!(view.cursor(), Some(("a", 50)));
    view.apply(&page("b", 1, true, vec![event(1, everyone(9))])).unwrap();
    assert_eq!(view.cursor(), Some(("b", 1)));
    assert_eq!(view.check(&token(1, 30, [9, 0])), Ok(()));
    assert_eq!(view.check(&token(1, 30, [8, 0])), Err(RevokedReason::Everyone));
}

#[test]
fn a_snapshot_replaces_but_nothing_falls_within_an_incarnation() {
    let mut view = RevocationView::new();
    view.apply(&page(
        "a",
        4,
        true,
        vec![
            event(1, session(30, NOW)),
            event(2, account(1, 9, NOW)),
            event(3, account(2, 9, NOW)),
            event(4, everyone(7)),
        ],
    ))
    .unwrap();
    view.apply(&page(
        "a",
        5,
        true,
        vec![event(2, account(1, 8, NOW)), event(5, session(31, NOW)), event(4, everyone(6))],
    ))
    .unwrap();
    assert_eq!(view.len(), 2);
    assert_eq!(view.check(&token(1, 3, [7, 8])), Err(RevokedReason::Account));
    assert_eq!(view.check(&token(2, 3, [7, 0])), Ok(()), "gone from the snapshot");
    assert_eq!(view.check(&token(1, 30, [7, 9])), Ok(()), "gone from the snapshot");
    assert_eq!(view.check(&token(1, 31, [7, 9])), Err(RevokedReason::Session));
    assert_eq!(view.check(&token(2, 3, [6, 9])), Err(RevokedReason::Everyone));
}

#[test]
fn what_has_expired_is_forgotten_once_no_verifier_can_take_its_tokens() {
    let mut view = RevocationView::new();
    let events = vec![event(1, session(30, NOW)), event(2, account(1, 9, NOW + 1)), event(3, everyone(7))];
    view.apply(&page("a", 3, true, events)).unwrap();
    view.forget_expired(NOW + MAX_LEEWAY_SECONDS - 1);
    assert_eq!(view.len(), 2);
    view.forget_expired(NOW + MAX_LEEWAY_SECONDS);
    assert_eq!(view.check(&token(2, 30, [7, 0])), Ok(()));
    assert_eq!(view.check(&token(1, 3, [7, 8])), Err(RevokedReason::Account));
    view.forget_expired(NOW + MAX_LEEWAY_SECONDS + 1);
    assert!(view.is_empty());
    assert_eq!(view.check(&token(1, 30, [6, 9])), Err(RevokedReason::Everyone), "an epoch never expires");
    view.forget_expired(i64::MAX);
    view.forget_expired(i64::MIN);
}

fn any_revocation() -> impl Strategy<Value = Revocation> {
    prop_oneof![
        (0..5_u128, 0..100_i64).prop_map(|(sid, expires)| session(sid, expires)),
        (0..5_u128, 0..10_i64, 0..100_i64).prop_map(|(sub, version, expires)| account(sub, version, expires)),
        (0..10_i64).prop_map(everyone),
    ]
}

proptest! {
    /// The formula, written a second time: however the feed is cut into pages and repeated, the same tokens are good.
    #[test]
    fn the_view_is_the_formula(revocations in vec(any_revocation(), 0..40), cut in 0_usize..40, repeated in 0_usize..40) {
        let events: Vec<FeedEvent> = (1..).zip(revocations).map(|(seq, revocation)| event(seq, revocation)).collect();
        let cut = cut.min(events.len());
        let repeated = repeated.min(cut);
        let mut view = RevocationView::new();
        view.apply(&page("a", cut as u64, true, events[..cut].to_vec())).unwrap();
        view.apply(&page("a", events.len() as u64, false, events[repeated..].to_vec())).unwrap();

        let mut floor = 0;
        let mut versions: HashMap<Uuid, i64> = HashMap::new();
        for event in &events {
            match event.revocation {
                Revocation::Everyone { epoch } => floor = floor.max(epoch),
                Revocation::Account { sub, version, .. } => {
                    let known = versions.entry(sub).or_default();
                    *known = version.max(*known);
                }
                Revocation::Session { .. } => {}
            }
        }
        for (sub, sid, epoch, version) in (0..5).flat_map(|id| (0..11).map(move |n| (id, 4 - id, n, 10 - n))) {
            let claims = token(sub, sid, [epoch, version]);
            let ended = events.iter().any(|event| matches!(event.revocation, Revocation::Session { sid, .. } if sid == claims.sid));
            let good = epoch >= floor && version >= versions.get(&claims.sub).copied().unwrap_or(0) && !ended;
            prop_assert_eq!(view.check(&claims).is_ok(), good);
        }
    }

    #[test]
    fn forgetting_never_revives_a_living_token(revocations in vec(any_revocation(), 0..40), now in 0..200_i64) {
        let events: Vec<FeedEvent> = (1..).zip(revocations).map(|(seq, revocation)| event(seq, revocation)).collect();
        let mut view = RevocationView::new();
        view.apply(&page("a", events.len() as u64, true, events.clone())).unwrap();
        view.forget_expired(now);
        for event in events {
            let (claims, expires) = match event.revocation {
                Revocation::Session { sid, expires } => (AccessClaims { sid, ver: [i64::MAX; 2], ..claims() }, expires),
                Revocation::Account { sub, version, expires } => (AccessClaims { sub, ver: [i64::MAX, version - 1], ..claims() }, expires),
                Revocation::Everyone { epoch } => (AccessClaims { ver: [epoch - 1, i64::MAX], ..claims() }, i64::MAX),
            };
            if now < expires.saturating_add(MAX_LEEWAY_SECONDS) {
                prop_assert!(view.check(&claims).is_err());
            }
        }
    }
}

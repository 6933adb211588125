//! Rotation: the table of decisions, end to end.

use std::time::Duration;

use countersign_core::events::{EventKind, RevocationScope};
use countersign_core::ids::{ClientId, FamilyId, SessionId};
use countersign_core::roles::Roles;
use countersign_core::secret::Secret;
use countersign_core::sessions::refresh_token::RefreshToken;
use countersign_core::sessions::rotation::{Refusal, Replay};
use countersign_core::sessions::state::{Dead, EndReason};
use countersign_store::verbs::{AccessDenied, RotatedIn};
use tokio::task::JoinSet;

use crate::harness::Harness;
use crate::world::{LIFETIMES, STRANGER, SignedIn, World, rotated};

const KEY: &str = "a key of 16 bytes or more";
const OVERLAP: Duration = LIFETIMES.rotation_overlap;

async fn signed_in<H: Harness>(world: &World<H>) -> SignedIn {
    let alice = world.register("alice").await;
    world.sign_in(alice.id).await
}

fn reissued(answer: RotatedIn) -> RefreshToken {
    match answer {
        RotatedIn::Reissued(_, successor) => successor,
        other => panic!("{other:?}"),
    }
}

pub(crate) async fn rotates_and_adds_no_row<H: Harness>(world: World<H>) {
    let begun = signed_in(&world).await;
    let before = world.events().await.len();
    let mut token = begun.token.clone();
    for generation in 1..=20 {
        world.advance(Duration::from_secs(10));
        let RotatedIn::Rotated(granted, successor) = world.rotate(&token).await else {
            panic!("it is the current token");
        };
        assert_eq!((successor.family, successor.generation), (token.family, generation));
        assert_eq!((granted.now, granted.session), (world.now(), begun.session));
        assert_eq!(granted.session_expires_at, begun.granted.session_expires_at);
        assert_eq!((granted.subject.clone(), granted.client), (begun.granted.subject.clone(), ClientId::first_party()));
        token = successor;
    }
    assert_eq!(world.events().await.len(), before, "a refresh is no event");
    assert_eq!(world.feed().await, []);
    assert_eq!(world.store().sessions(begun.granted.subject.id, 10).await.unwrap().len(), 1);
}

pub(crate) async fn a_retry_gets_the_same_successor<H: Harness>(world: World<H>) {
    let begun = signed_in(&world).await;
    let successor = world.successor(&begun.token).await;
    for _ in 0..5 {
        world.advance(Duration::from_secs(10));
        assert_eq!(reissued(world.rotate(&begun.token).await), successor);
    }
    let third = world.successor(&successor).await;
    world.advance(Duration::from_secs(10));
    assert_eq!(reissued(world.rotate(&successor).await), third);
    world.end(begun.granted.subject.id, begun.session).await.unwrap();
    let expiry = world.now() + LIFETIMES.access_token;
    assert_eq!(world.feed().await[0].expires_at, expiry, "an access token came with the retry as well");
}

pub(crate) async fn the_window_of_a_retry_ends_by_use_and_by_time<H: Harness>(world: World<H>) {
    let begun = signed_in(&world).await;
    let second = world.successor(&begun.token).await;
    world.successor(&second).await;
    assert_eq!(world.rotate(&begun.token).await, RotatedIn::Refused(Refusal::LateDuplicate));

    let other = world.sign_in(begun.granted.subject.id).await;
    world.successor(&other.token).await;
    world.advance(OVERLAP - Duration::from_millis(1));
    reissued(world.rotate(&other.token).await);
    world.advance(Duration::from_millis(1));
    assert!(matches!(world.rotate(&other.token).await, RotatedIn::Replayed(Replay::AfterOverlap, _)));
}

pub(crate) async fn a_retry_key_outlasts_the_overlap<H: Harness>(world: World<H>) {
    let begun = signed_in(&world).await;
    let RotatedIn::Rotated(_, successor) = world.rotate_keyed(&begun.token, KEY).await else {
        panic!("it is the current token");
    };
    world.advance(OVERLAP * 1000);
    assert_eq!(reissued(world.rotate_keyed(&begun.token, KEY).await), successor);
}

pub(crate) async fn another_retry_key_is_a_replay<H: Harness>(world: World<H>) {
    let alice = world.register("alice").await;
    for (first, then) in [(Some(KEY), None), (None, Some(KEY)), (Some(KEY), Some("another key of 16 bytes or more"))] {
        let begun = world.sign_in(alice.id).await;
        for (key, replayed) in [(first, false), (then, true)] {
            let answer = match key {
                Some(key) => world.rotate_keyed(&begun.token, key).await,
                None => world.rotate(&begun.token).await,
            };
            assert_eq!(matches!(answer, RotatedIn::Replayed(Replay::OtherRetryKey, _)), replayed, "{answer:?}");
        }
    }
}

pub(crate) async fn an_ancestor_is_late_and_then_a_replay<H: Harness>(world: World<H>) {
    let begun = signed_in(&world).await;
    let second = world.successor(&begun.token).await;
    let third = world.successor(&second).await;
    world.advance(OVERLAP - Duration::from_millis(1));
    assert_eq!(world.rotate(&begun.token).await, RotatedIn::Refused(Refusal::LateDuplicate));
    let fourth = world.successor(&third).await;
    world.advance(OVERLAP);
    assert!(matches!(world.rotate(&begun.token).await, RotatedIn::Replayed(Replay::Ancestor, _)));
    let dead = Refusal::Dead(Dead::Ended(EndReason::Replayed));
    assert_eq!(world.rotate(&fourth).await, RotatedIn::Refused(dead), "the thief and the owner are both out");
}

pub(crate) async fn a_duplicate_is_late_across_two_stretches<H: Harness>(world: World<H>) {
    let begun = signed_in(&world).await;
    let second = world.successor(&begun.token).await;
    let third = world.successor(&second).await;
    world.advance(OVERLAP - Duration::from_secs(1));
    let fourth = world.successor(&third).await;
    world.advance(Duration::from_secs(2));
    let fifth = world.successor(&fourth).await;
    assert_eq!(world.rotate(&second).await, RotatedIn::Refused(Refusal::LateDuplicate), "two seconds an ancestor");
    world.successor(&fifth).await;
}

pub(crate) async fn a_replay_ends_the_session_and_tells_the_feed<H: Harness>(world: World<H>) {
    let begun = signed_in(&world).await;
    let other = world.sign_in(begun.granted.subject.id).await;
    let current = world.successor(&begun.token).await;
    world.advance(OVERLAP);
    let RotatedIn::Replayed(_, position) = world.rotate(&begun.token).await else {
        panic!("the overlap is over");
    };
    let feed = world.feed().await;
    assert_eq!((position.seq, feed[0].scope), (1, RevocationScope::Session(begun.session)));
    assert_eq!(feed[0].expires_at, world.now() - OVERLAP + LIFETIMES.access_token);
    let event = world.last_event().await;
    assert_eq!((event.kind, event.session), (EventKind::RefreshReplayed, Some(begun.session)));
    assert_eq!((event.account, event.origin), (Some(begun.granted.subject.id), STRANGER));
    assert_eq!(event.detail.as_deref(), Some("after_overlap"));
    let dead = Dead::Ended(EndReason::Replayed);
    assert_eq!(world.denied(begun.session).await, Some(AccessDenied::Dead(dead)));
    for token in [&begun.token, &current] {
        assert_eq!(world.rotate(token).await, RotatedIn::Refused(Refusal::Dead(dead)));
    }
    assert_eq!(world.feed().await.len(), 1, "a session ends once");
    assert_eq!(world.denied(other.session).await, None, "the other devices are left alone");
}

pub(crate) async fn another_secret_of_the_right_generation_is_a_replay<H: Harness>(world: World<H>) {
    let alice = world.register("alice").await;
    let current = world.sign_in(alice.id).await;
    let forged = RefreshToken::first(current.token.family, Secret::new([0xEE; 32]));
    assert!(matches!(world.rotate(&forged).await, RotatedIn::Replayed(Replay::OtherSecret, _)));
    let parent = world.sign_in(alice.id).await;
    world.successor(&parent.token).await;
    let forged = RefreshToken::first(parent.token.family, Secret::new([0xEE; 32]));
    assert!(matches!(world.rotate(&forged).await, RotatedIn::Replayed(Replay::OtherSecret, _)));
}

pub(crate) async fn a_generation_never_reached_is_a_rollback<H: Harness>(world: World<H>) {
    let begun = signed_in(&world).await;
    let ahead = begun.token.successor(&[1; 16]).unwrap();
    assert!(matches!(world.rotate(&ahead).await, RotatedIn::Replayed(Replay::Rollback, _)));
    assert_eq!(world.last_event().await.detail.as_deref(), Some("rollback"));
}

pub(crate) async fn a_session_belongs_to_its_client<H: Harness>(world: World<H>) {
    let alice = world.register("alice").await;
    let other = ClientId::parse("other").unwrap();
    let mut begin = world.begin(alice.id);
    begin.client = other.clone();
    let begun = world.sign_in_with(begin).await;
    let refused = RotatedIn::Refused(Refusal::OtherClient);
    assert_eq!(world.rotate(&begun.token).await, refused);
    let mut own = world.presentation(&begun.token);
    own.presented.client = other.clone();
    let RotatedIn::Rotated(granted, successor) = rotated(&*world.store(), own).await.unwrap() else {
        panic!("it is the current token of its client");
    };
    assert_eq!(granted.client, other);
    assert_eq!(world.rotate(&successor).await, refused);
}

pub(crate) async fn refusals_change_nothing<H: Harness>(world: World<H>) {
    let begun = signed_in(&world).await;
    let before = world.events().await;
    let unknown = RefreshToken::first(FamilyId::from_bytes([9; 16]), Secret::new([1; 32]));
    assert_eq!(world.rotate(&unknown).await, RotatedIn::Refused(Refusal::UnknownFamily));
    let mut other_client = world.presentation(&begun.token);
    other_client.presented.client = ClientId::parse("other").unwrap();
    let answer = rotated(&*world.store(), other_client).await.unwrap();
    assert_eq!(answer, RotatedIn::Refused(Refusal::OtherClient));
    let mut other_session = world.presentation(&begun.token);
    other_session.presented.access_token_session = Some(SessionId::from_bytes([9; 16]));
    let answer = rotated(&*world.store(), other_session).await.unwrap();
    assert_eq!(answer, RotatedIn::Refused(Refusal::AccessTokenMismatch));
    assert_eq!(world.events().await, before);
    assert_eq!(world.feed().await, []);
    let mut own_session = world.presentation(&begun.token);
    own_session.presented.access_token_session = Some(begun.session);
    assert!(matches!(rotated(&*world.store(), own_session).await.unwrap(), RotatedIn::Rotated(..)));
}

pub(crate) async fn roles_are_read_afresh<H: Harness>(world: World<H>) {
    let begun = signed_in(&world).await;
    let id = begun.granted.subject.id;
    let token = world.successor(&begun.token).await;
    world.store().set_roles(id, Roles::admin(), STRANGER).await.unwrap();
    let account = world.store().account(id).await.unwrap().unwrap();
    for presented in [&begun.token, &token] {
        let (RotatedIn::Reissued(granted, _) | RotatedIn::Rotated(granted, _)) = world.rotate(presented).await else {
            panic!("nobody is signed out");
        };
        assert_eq!(granted.subject, account.clone().into());
    }
}

pub(crate) async fn idleness_ends_it_and_rotation_extends_it<H: Harness>(world: World<H>) {
    let begun = signed_in(&world).await;
    world.advance(LIFETIMES.refresh_token_idle - Duration::from_millis(1));
    let token = world.successor(&begun.token).await;
    world.advance(LIFETIMES.refresh_token_idle - Duration::from_millis(1));
    let token = world.successor(&token).await;
    world.advance(LIFETIMES.refresh_token_idle);
    assert_eq!(world.rotate(&token).await, RotatedIn::Refused(Refusal::Dead(Dead::IdleExpired)));
    assert_eq!(world.feed().await, [], "what expires by itself is no revocation");
}

pub(crate) async fn nothing_outlives_the_session<H: Harness>(world: World<H>) {
    let alice = world.register("alice").await;
    let mut begin = world.begin(alice.id);
    begin.session_lifetime = Duration::from_secs(1000);
    let begun = world.sign_in_with(begin).await;
    world.advance(Duration::from_secs(900));
    let token = world.successor(&begun.token).await;
    world.advance(Duration::from_secs(99));
    // The feed keeps the end of the newest access token: never after the session's.
    let token = world.successor(&token).await;
    world.advance(Duration::from_secs(1));
    assert_eq!(world.rotate(&token).await, RotatedIn::Refused(Refusal::Dead(Dead::Expired)));
    let dead = world.listed_dead(alice.id, begun.session).await;
    assert_eq!(dead, Some(Dead::Expired));
}

pub(crate) async fn recurring_retries_are_an_event<H: Harness>(world: World<H>) {
    let begun = signed_in(&world).await;
    let mut token = begun.token.clone();
    for generation in 0..4 {
        let successor = world.successor(&token).await;
        reissued(world.rotate(&token).await);
        reissued(world.rotate(&token).await);
        let told = world.kinds().await.iter().filter(|kind| **kind == EventKind::RetriesRecurring).count();
        assert_eq!(told, usize::saturating_sub(generation, 1), "once a generation, from the third in a row");
        token = successor;
    }
    let event = world.last_event().await;
    assert_eq!((event.kind, event.session), (EventKind::RetriesRecurring, Some(begun.session)));
    assert_eq!(world.feed().await, [], "it is a hint and ends nothing");
}

pub(crate) async fn fifty_presentations_give_one_successor<H: Harness>(world: World<H>) {
    let begun = signed_in(&world).await;
    let another = world.harness.another().await;
    let mut race = JoinSet::new();
    for runner in 0..50 {
        let store = if runner % 2 == 0 { world.store() } else { another.clone() };
        let rotate = world.presentation(&begun.token);
        race.spawn(async move { rotated(&*store, rotate).await.unwrap() });
    }
    let mut rotated = 0;
    let mut successors = vec![];
    for answer in race.join_all().await {
        match answer {
            RotatedIn::Rotated(_, successor) => {
                rotated += 1;
                successors.push(successor);
            }
            RotatedIn::Reissued(_, successor) => successors.push(successor),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((rotated, successors.len()), (1, 50));
    assert!(successors.iter().all(|successor| *successor == successors[0]), "all are one and the same");
    world.successor(&successors[0]).await;
}

pub(crate) async fn survives_a_restart<H: Harness>(mut world: World<H>) {
    let begun = signed_in(&world).await;
    let RotatedIn::Rotated(_, successor) = world.rotate_keyed(&begun.token, KEY).await else {
        panic!("it is the current token");
    };
    world.harness.restart().await;
    // The answer was lost in the crash: the retry gets it.
    assert_eq!(reissued(world.rotate_keyed(&begun.token, KEY).await), successor);
    world.harness.restart().await;
    let next = world.successor(&successor).await;
    world.harness.restart().await;
    assert_eq!(world.rotate(&begun.token).await, RotatedIn::Refused(Refusal::LateDuplicate));
    world.advance(OVERLAP * 3);
    world.harness.restart().await;
    assert!(matches!(world.rotate(&begun.token).await, RotatedIn::Replayed(Replay::Ancestor, _)));
    world.harness.restart().await;
    let dead = Refusal::Dead(Dead::Ended(EndReason::Replayed));
    assert_eq!(world.rotate(&next).await, RotatedIn::Refused(dead));
}

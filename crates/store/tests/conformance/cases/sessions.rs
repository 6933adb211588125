//! Sessions.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use countersign_core::events::{EventKind, RevocationScope};
use countersign_core::ids::{AccountId, ClientId, SessionId};
use countersign_core::sessions::rotation::Refusal;
use countersign_core::sessions::state::{Dead, EndReason};
use countersign_store::verbs::{AccessDenied, Begun, FeedPosition, PasswordChange, RotatedIn, SessionAccount};
use tokio::task::JoinSet;

use crate::harness::Harness;
use crate::world::{ADDRESS, LIFETIMES, SESSION_LIFETIME, STRANGER, SignedIn, World, hash, rotated};

pub(crate) async fn begins_with_an_event<H: Harness>(world: World<H>) {
    let alice = world.register("alice").await;
    let signed_in = world.sign_in(alice.id).await;
    let granted = signed_in.granted;
    assert_eq!((granted.subject.clone(), granted.session), (alice.clone().into(), signed_in.session));
    assert_eq!((granted.client, granted.now), (ClientId::first_party(), world.now()));
    assert_eq!(granted.session_expires_at, world.now() + SESSION_LIFETIME);
    assert_eq!(granted.global_epoch, world.store().feed_position().await.unwrap().global_epoch);
    let event = world.last_event().await;
    assert_eq!((event.kind, event.account), (EventKind::SignedIn, Some(alice.id)));
    assert_eq!((event.session, event.detail.as_deref()), (Some(signed_in.session), Some("a device")));
    let found = world.store().session_account(signed_in.session).await.unwrap();
    assert_eq!(found, Ok(SessionAccount { account: alice, global_epoch: granted.global_epoch }));
    assert_eq!(world.feed().await, []);
}

pub(crate) async fn begins_only_under_the_password_that_was_compared<H: Harness>(world: World<H>) {
    let alice = world.register("alice").await;
    let mut begin = world.begin(alice.id);
    begin.verified = hash("other");
    begin.rehashed = Some(hash("stronger"));
    let session = begin.session;
    assert_eq!(world.store().begin_session(begin, STRANGER).await.unwrap(), Begun::CredentialsChanged);
    let begin = world.begin(AccountId::from_bytes([9; 16]));
    assert_eq!(world.store().begin_session(begin, STRANGER).await.unwrap(), Begun::CredentialsChanged);
    assert_eq!(world.denied(session).await, Some(AccessDenied::UnknownSession));
    assert_eq!(world.store().credentials_of(alice.id).await.unwrap().unwrap().password, hash("first"));
    assert_eq!(world.kinds().await, [EventKind::AccountRegistered]);
}

pub(crate) async fn does_not_begin_for_the_disabled<H: Harness>(world: World<H>) {
    let alice = world.register("alice").await;
    world.store().disable_account(alice.id, STRANGER).await.unwrap();
    let begun = world.store().begin_session(world.begin(alice.id), STRANGER).await.unwrap();
    assert_eq!(begun, Begun::AccountDisabled);
    let mut begin = world.begin(alice.id);
    begin.verified = hash("other");
    let begun = world.store().begin_session(begin, STRANGER).await.unwrap();
    assert_eq!(begun, Begun::CredentialsChanged, "whoever does not know the password is not told that it is disabled");
    assert_eq!(world.store().sessions(alice.id, 10).await.unwrap(), []);
}

pub(crate) async fn a_stronger_hash_is_stored<H: Harness>(world: World<H>) {
    let alice = world.register("alice").await;
    let mut begin = world.begin(alice.id);
    begin.rehashed = Some(hash("stronger"));
    let signed_in = world.sign_in_with(begin).await;
    let found = world.store().credentials_of(alice.id).await.unwrap().unwrap();
    assert_eq!((found.password, found.account), (hash("stronger"), alice));
    assert_eq!(world.denied(signed_in.session).await, None, "it is the same password: no session ends");
    assert_eq!(world.kinds().await, [EventKind::AccountRegistered, EventKind::SignedIn]);
}

pub(crate) async fn sign_ins_that_overtake_a_rehash_are_right<H: Harness>(world: World<H>) {
    let alice = world.register("alice").await;
    let mut race = JoinSet::new();
    for runner in 0..8 {
        let (store, mut begin) = (world.store(), world.begin(alice.id));
        begin.rehashed = Some(hash(&format!("stronger {runner}")));
        race.spawn(async move { store.begin_session(begin, STRANGER).await.unwrap() });
    }
    let answers = race.join_all().await;
    assert!(answers.iter().all(|answer| matches!(answer, Begun::Live(..))), "{answers:?}");
    let stored = world.store().credentials_of(alice.id).await.unwrap().unwrap().password;
    assert!(stored != hash("first"));
    let mut late = world.begin(alice.id);
    late.rehashed = Some(hash("strongest"));
    world.sign_in_with(late).await;
    let mut begin = world.begin(alice.id);
    begin.verified = stored.clone();
    world.sign_in_with(begin).await;

    // A change of the password by the hash that was replaced is right as well, and from then on neither hash is.
    let change = PasswordChange { account: alice.id, expected: Some(hash("first")), new: hash("second"), keep: None };
    world.store().write_password(change, STRANGER).await.unwrap();
    for old in [hash("first"), stored] {
        let mut begin = world.begin(alice.id);
        begin.verified = old;
        assert_eq!(world.store().begin_session(begin, STRANGER).await.unwrap(), Begun::CredentialsChanged);
    }
}

pub(crate) async fn is_told_alive_until_it_ends<H: Harness>(world: World<H>) {
    let alice = world.register("alice").await;
    let mut begin = world.begin(alice.id);
    begin.session_lifetime = Duration::from_secs(1000);
    let signed_in = world.sign_in_with(begin).await;
    world.advance(Duration::from_millis(999_999));
    assert_eq!(world.denied(signed_in.session).await, None);
    world.advance(Duration::from_millis(1));
    assert_eq!(world.denied(signed_in.session).await, Some(AccessDenied::Dead(Dead::Expired)));
    assert_eq!(world.denied(SessionId::from_bytes([9; 16])).await, Some(AccessDenied::UnknownSession));
}

pub(crate) async fn idleness_does_not_kill_access_tokens<H: Harness>(world: World<H>) {
    let alice = world.register("alice").await;
    let mut begin = world.begin(alice.id);
    begin.lifetimes.refresh_token_idle = Duration::from_secs(10);
    let signed_in = world.sign_in_with(begin).await;
    world.advance(Duration::from_secs(11));
    assert_eq!(world.denied(signed_in.session).await, None);
    assert_eq!(world.listed_dead(alice.id, signed_in.session).await, Some(Dead::IdleExpired));
    assert!(world.end(alice.id, signed_in.session).await.is_some(), "its access token can still be killed");
}

pub(crate) async fn the_list_is_newest_first_and_bounded<H: Harness>(world: World<H>) {
    let alice = world.register("alice").await;
    let bob = world.register("bob").await;
    let mut begun = vec![];
    for _ in 0..5 {
        begun.push(world.sign_in(alice.id).await);
        world.sign_in(bob.id).await;
        world.advance(Duration::from_secs(1));
    }
    let began = world.now();
    world.successor(&begun[4].token).await;
    let listed = world.store().sessions(alice.id, 3).await.unwrap();
    let ids: Vec<_> = listed.iter().map(|session| session.id).collect();
    assert_eq!(ids, [begun[4].session, begun[3].session, begun[2].session]);
    let newest = &listed[0];
    assert_eq!((newest.device.as_deref(), newest.address, newest.dead), (Some("a device"), Some(ADDRESS), None));
    assert_eq!(newest.created_at, began - Duration::from_secs(1));
    assert_eq!(newest.last_used_at, began, "its refresh");
    assert_eq!(listed[1].last_used_at, listed[1].created_at);
    assert_eq!(newest.expires_at, newest.created_at + SESSION_LIFETIME);
}

pub(crate) async fn the_list_tells_why_each_is_dead<H: Harness>(world: World<H>) {
    let alice = world.register("alice").await;
    let revoked = world.sign_in(alice.id).await;
    world.store().revoke_account(alice.id, STRANGER).await.unwrap();
    let everyone = world.sign_in(alice.id).await;
    world.store().revoke_everyone(STRANGER).await.unwrap();
    let (signed_out, replayed, idle) =
        (world.sign_in(alice.id).await, world.sign_in(alice.id).await, world.sign_in(alice.id).await);
    let mut short = world.begin(alice.id);
    short.session_lifetime = Duration::from_secs(400);
    let expired = world.sign_in_with(short).await;
    world.end(alice.id, signed_out.session).await.unwrap();
    world.successor(&replayed.token).await;
    world.advance(LIFETIMES.rotation_overlap);
    assert!(matches!(world.rotate(&replayed.token).await, RotatedIn::Replayed(..)));
    world.advance(LIFETIMES.refresh_token_idle);
    let alive = world.sign_in(alice.id).await;
    for (session, dead) in [
        (revoked, Some(Dead::AccountRevoked)),
        (everyone, Some(Dead::EveryoneRevoked)),
        (signed_out, Some(Dead::Ended(EndReason::SignedOut))),
        (replayed, Some(Dead::Ended(EndReason::Replayed))),
        (idle, Some(Dead::IdleExpired)),
        (expired, Some(Dead::Expired)),
        (alive, None),
    ] {
        assert_eq!(world.listed_dead(alice.id, session.session).await, dead);
    }
}

pub(crate) async fn ends_once_and_only_for_its_owner<H: Harness>(world: World<H>) {
    let (alice, bob) = (world.register("alice").await, world.register("bob").await);
    let signed_in = world.sign_in(alice.id).await;
    assert_eq!(world.end(bob.id, signed_in.session).await, None);
    assert_eq!(world.end(alice.id, SessionId::from_bytes([9; 16])).await, None);
    assert_eq!(world.feed().await, []);

    world.advance(Duration::from_secs(100));
    let token = world.successor(&signed_in.token).await;
    world.advance(Duration::from_secs(1));
    let position = world.end(alice.id, signed_in.session).await.unwrap();
    let feed = world.feed().await;
    assert_eq!((position.seq, feed[0].scope), (1, RevocationScope::Session(signed_in.session)));
    assert_eq!(feed[0].expires_at, world.now() + Duration::from_secs(299), "the end of the newest access token");
    let event = world.last_event().await;
    assert_eq!((event.kind, event.session), (EventKind::SessionEnded, Some(signed_in.session)));
    assert_eq!((event.account, event.detail.as_deref()), (Some(alice.id), Some("signed_out")));
    let dead = Dead::Ended(EndReason::SignedOut);
    assert_eq!(world.denied(signed_in.session).await, Some(AccessDenied::Dead(dead)));
    assert!(matches!(world.rotate(&token).await, RotatedIn::Refused(_)));

    assert_eq!(world.end(alice.id, signed_in.session).await, None, "it had ended before");
    let other = world.sign_in(alice.id).await;
    world.store().revoke_account(alice.id, STRANGER).await.unwrap();
    assert_eq!(world.end(alice.id, other.session).await, None, "the account was revoked before");
    assert_eq!(world.feed().await.len(), 2);
}

pub(crate) async fn a_further_device_leaves_the_first_alone<H: Harness>(world: World<H>) {
    let alice = world.register("alice").await;
    let (first, second) = (world.sign_in(alice.id).await, world.sign_in(alice.id).await);
    world.end(alice.id, second.session).await.unwrap();
    assert_eq!(world.denied(first.session).await, None);
    world.successor(&first.token).await;
}

/// Begins a session where so many may live; where the feed stands if others had to end.
async fn sign_in_within<H: Harness>(
    world: &World<H>,
    account: AccountId,
    limit: u32,
) -> (SignedIn, Option<FeedPosition>) {
    let mut begin = world.begin(account);
    begin.session_limit = NonZeroU32::new(limit);
    let (session, token) = (begin.session, begin.token.clone());
    match world.store().begin_session(begin, STRANGER).await.unwrap() {
        Begun::Live(granted, position) => (SignedIn { session, token, granted: *granted }, position),
        refused => panic!("{refused:?}"),
    }
}

pub(crate) async fn one_too_many_ends_the_least_recently_used<H: Harness>(world: World<H>) {
    let (alice, bob) = (world.register("alice").await, world.register("bob").await);
    let of_bob = world.sign_in(bob.id).await;
    let (first, none) = sign_in_within(&world, alice.id, 2).await;
    world.advance(Duration::from_secs(1));
    let (second, none_either) = sign_in_within(&world, alice.id, 2).await;
    assert_eq!((none, none_either), (None, None));
    world.advance(Duration::from_secs(1));
    let token = world.successor(&first.token).await;
    world.advance(Duration::from_secs(1));
    let before = world.kinds().await.len();

    let (third, position) = sign_in_within(&world, alice.id, 2).await;
    let dead = Dead::Ended(EndReason::SessionLimit);
    assert_eq!(world.denied(second.session).await, Some(AccessDenied::Dead(dead)));
    assert_eq!(world.rotate(&second.token).await, RotatedIn::Refused(Refusal::Dead(dead)));
    assert_eq!(world.listed_dead(alice.id, second.session).await, Some(dead));
    for living in [&first, &third, &of_bob] {
        assert_eq!(world.denied(living.session).await, None);
    }
    world.successor(&token).await;
    world.successor(&third.token).await;

    let feed = world.feed().await;
    assert_eq!((feed.len(), feed[0].scope), (1, RevocationScope::Session(second.session)));
    assert_eq!(feed[0].expires_at, second.granted.now + LIFETIMES.access_token);
    assert_eq!(position, Some(world.store().feed_position().await.unwrap()));
    let events = world.events().await.split_off(before);
    let told: Vec<_> = events.iter().map(|event| (event.kind, event.session, event.detail.as_deref())).collect();
    let expected = [
        (EventKind::SignedIn, Some(third.session), Some("a device")),
        (EventKind::SessionEnded, Some(second.session), Some("session_limit")),
    ];
    assert_eq!(told, expected);
    assert_eq!((events[1].account, events[1].origin), (Some(alice.id), STRANGER));
}

pub(crate) async fn what_is_dead_takes_no_room<H: Harness>(world: World<H>) {
    let alice = world.register("alice").await;
    // Dead by the epoch of the account, by everyone's, by name, by age and by idleness; no one of them is ended again.
    sign_in_within(&world, alice.id, 2).await;
    world.store().revoke_account(alice.id, STRANGER).await.unwrap();
    sign_in_within(&world, alice.id, 2).await;
    world.store().revoke_everyone(STRANGER).await.unwrap();
    let (gone, _) = sign_in_within(&world, alice.id, 2).await;
    world.end(alice.id, gone.session).await.unwrap();
    let mut short = world.begin(alice.id);
    short.session_lifetime = Duration::from_secs(10);
    world.sign_in_with(short).await;
    let mut idle = world.begin(alice.id);
    idle.lifetimes.refresh_token_idle = Duration::from_secs(10);
    let idle = world.sign_in_with(idle).await;
    world.advance(Duration::from_secs(10));

    let (before, position) = (world.feed().await.len(), world.store().feed_position().await.unwrap());
    let mut living = vec![];
    for _ in 0..2 {
        let (signed_in, made_room) = sign_in_within(&world, alice.id, 2).await;
        assert_eq!(made_room, None);
        living.push(signed_in.session);
        world.advance(Duration::from_secs(1));
    }
    assert_eq!((world.feed().await.len(), world.store().feed_position().await.unwrap()), (before, position));
    assert_eq!(world.listed_dead(alice.id, idle.session).await, Some(Dead::IdleExpired));
    let (_, made_room) = sign_in_within(&world, alice.id, 2).await;
    assert_eq!(made_room.map(|position| position.seq), Some(position.seq + 1));
    assert_eq!(world.denied(living[0]).await, Some(AccessDenied::Dead(Dead::Ended(EndReason::SessionLimit))));
    assert_eq!(world.denied(living[1]).await, None);
}

pub(crate) async fn a_limit_that_was_lowered_ends_as_many_as_are_too_many<H: Harness>(world: World<H>) {
    let alice = world.register("alice").await;
    let sessions = world.sign_in_often(alice.id, 300).await;
    // All began in the same moment, so the ids decide.
    let (newest, position) = sign_in_within(&world, alice.id, 101).await;
    let feed: Vec<_> = world.feed().await.iter().map(|entry| entry.scope).collect();
    let ended = sessions[..200].iter().map(|signed_in| RevocationScope::Session(signed_in.session));
    assert_eq!(feed, ended.collect::<Vec<_>>());
    assert_eq!(position.map(|position| position.seq), Some(200));
    for living in sessions[200..].iter().chain([&newest]) {
        assert_eq!(world.denied(living.session).await, None);
    }
}

pub(crate) async fn racing_sign_ins_do_not_exceed_the_limit<H: Harness>(world: World<H>) {
    let alice = world.register("alice").await;
    let stores = [world.store(), world.harness.another().await];
    let mut race = JoinSet::new();
    let mut sessions = vec![];
    for runner in 0..24 {
        let (store, mut begin) = (Arc::clone(&stores[runner % 2]), world.begin(alice.id));
        begin.session_limit = NonZeroU32::new(5);
        sessions.push(begin.session);
        race.spawn(async move { store.begin_session(begin, STRANGER).await.unwrap() });
    }
    let answers = race.join_all().await;
    assert!(answers.iter().all(|answer| matches!(answer, Begun::Live(..))), "{answers:?}");
    let mut living = 0;
    for session in sessions {
        match world.denied(session).await {
            None => living += 1,
            dead => assert_eq!(dead, Some(AccessDenied::Dead(Dead::Ended(EndReason::SessionLimit)))),
        }
    }
    assert_eq!(living, 5);
    assert_eq!(world.store().revocations(0, 100).await.unwrap().len(), 19, "each that ended was told once");
}

pub(crate) async fn refreshes_beside_a_sign_in_too_many_are_right<H: Harness>(world: World<H>) {
    let alice = world.register("alice").await;
    let mut sessions = world.sign_in_often(alice.id, 8).await;
    for _ in 0..4 {
        let mut race = JoinSet::new();
        for signed_in in &sessions {
            let (store, rotate) = (world.store(), world.presentation(&signed_in.token));
            race.spawn(async move { Some(rotated(&*store, rotate).await.unwrap()) });
        }
        let (store, mut begin) = (world.store(), world.begin(alice.id));
        begin.session_limit = NonZeroU32::new(4);
        race.spawn(async move {
            assert!(matches!(store.begin_session(begin, STRANGER).await.unwrap(), Begun::Live(..)));
            None
        });
        let dead = Refusal::Dead(Dead::Ended(EndReason::SessionLimit));
        let mut going_on = vec![];
        for answer in race.join_all().await.into_iter().flatten() {
            match answer {
                RotatedIn::Rotated(granted, token) => {
                    going_on.push(SignedIn { session: granted.session, token, granted: *granted });
                }
                refused => assert_eq!(refused, RotatedIn::Refused(dead)),
            }
        }
        let feed = world.feed().await;
        sessions.clear();
        for signed_in in going_on {
            match world.denied(signed_in.session).await {
                None => sessions.push(signed_in),
                Some(_) => {
                    let scope = RevocationScope::Session(signed_in.session);
                    let told = feed.iter().find(|entry| entry.scope == scope).unwrap().expires_at;
                    assert!(
                        told >= signed_in.granted.now + LIFETIMES.access_token,
                        "its newest access token is told of"
                    );
                }
            }
        }
        assert!(sessions.len() < 4, "{}", sessions.len());
        world.advance(Duration::from_secs(1));
    }
}

//! Passwords.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use countersign_core::accounts::Login;
use countersign_core::events::{EventKind, RevocationScope};
use countersign_core::ids::AccountId;
use countersign_core::sessions::rotation::Refusal;
use countersign_core::sessions::state::{Dead, EndReason};
use countersign_store::verbs::{
    AccessDenied, Begun, Credentials, PasswordChange, PasswordWritten, REVOCATION_MARGIN, RotatedIn,
};

use crate::harness::Harness;
use crate::world::{ADDRESS, LIFETIMES, STRANGER, World, hash};

pub(crate) async fn are_found_by_name_and_by_address<H: Harness>(world: World<H>) {
    let alice = world.register("Alice").await;
    let expected = Some(Credentials { account: alice.clone(), password: hash("first") });
    for login in ["alice", "ALICE", "alice@EXAMPLE.com"] {
        let found = world.store().credentials(&Login::parse(login).unwrap()).await.unwrap();
        assert_eq!(found, expected, "{login}");
    }
    for login in ["bob", "bob@example.com"] {
        assert_eq!(world.store().credentials(&Login::parse(login).unwrap()).await.unwrap(), None, "{login}");
    }
    assert_eq!(world.store().credentials_of(alice.id).await.unwrap(), expected);
}

fn change(account: AccountId, expected: Option<&str>, new: &str) -> PasswordChange {
    PasswordChange { account, expected: expected.map(hash), new: hash(new), keep: None }
}

pub(crate) async fn a_change_ends_the_other_sessions<H: Harness>(world: World<H>) {
    let alice = world.register("alice").await;
    let (kept, other, third) =
        (world.sign_in(alice.id).await, world.sign_in(alice.id).await, world.sign_in(alice.id).await);
    let before = world.kinds().await.len();
    let change = PasswordChange { keep: Some(kept.session), ..change(alice.id, Some("first"), "second") };
    let PasswordWritten::Done(position) = world.store().write_password(change, STRANGER).await.unwrap() else {
        panic!("the password was the one that was compared");
    };
    assert_eq!(position, world.store().feed_position().await.unwrap());
    let written = world.store().credentials_of(alice.id).await.unwrap().unwrap();
    assert_eq!(written.password, hash("second"));
    assert_eq!(written.account.claims_version, alice.claims_version, "the access token that is kept stays good");

    assert_eq!(world.denied(kept.session).await, None);
    assert!(matches!(world.rotate(&kept.token).await, RotatedIn::Rotated(..)));
    let reason = Dead::Ended(EndReason::PasswordChanged);
    for ended in [&other, &third] {
        assert_eq!(world.denied(ended.session).await, Some(AccessDenied::Dead(reason)));
        assert_eq!(world.rotate(&ended.token).await, RotatedIn::Refused(Refusal::Dead(reason)));
    }
    let scopes: Vec<_> = world.feed().await.iter().map(|entry| entry.scope).collect();
    let (other, third) = (RevocationScope::Session(other.session), RevocationScope::Session(third.session));
    assert!(scopes.len() == 2 && scopes.contains(&other) && scopes.contains(&third), "{scopes:?}");
    let events = world.events().await.split_off(before);
    assert_eq!((events[0].kind, events[0].account), (EventKind::PasswordChanged, Some(alice.id)));
    assert!(events[1..].iter().all(|event| event.kind == EventKind::SessionEnded), "{events:?}");
}

pub(crate) async fn a_change_that_keeps_nothing_moves_the_epochs<H: Harness>(world: World<H>) {
    let alice = world.register("alice").await;
    let signed_in = world.sign_in(alice.id).await;
    let change = change(alice.id, Some("first"), "second");
    let written = world.store().write_password(change, STRANGER).await.unwrap();
    let account = world.store().account(alice.id).await.unwrap().unwrap();
    assert!(account.claims_version > alice.claims_version);
    assert_eq!(written, PasswordWritten::Done(world.store().feed_position().await.unwrap()));
    assert_eq!(world.feed().await[0].scope, RevocationScope::Account(alice.id, account.claims_version));
    assert_eq!(world.last_event().await.kind, EventKind::PasswordChanged);
    assert_eq!(world.denied(signed_in.session).await, Some(AccessDenied::Dead(Dead::AccountRevoked)));

    let old = world.store().begin_session(world.begin(alice.id), STRANGER).await.unwrap();
    assert_eq!(old, Begun::CredentialsChanged);
    let mut begin = world.begin(alice.id);
    begin.verified = hash("second");
    world.sign_in_with(begin).await;
}

pub(crate) async fn a_change_needs_the_password_that_was_compared<H: Harness>(world: World<H>) {
    let alice = world.register("alice").await;
    let signed_in = world.sign_in(alice.id).await;
    let before = world.kinds().await;
    let late = change(alice.id, Some("other"), "second");
    assert_eq!(world.store().write_password(late, STRANGER).await.unwrap(), PasswordWritten::Superseded);
    let nobody = change(AccountId::from_bytes([9; 16]), Some("first"), "second");
    assert_eq!(world.store().write_password(nobody, STRANGER).await.unwrap(), PasswordWritten::NoSuchAccount);
    assert_eq!(world.store().credentials_of(alice.id).await.unwrap().unwrap().password, hash("first"));
    assert_eq!(world.denied(signed_in.session).await, None);
    assert_eq!((world.feed().await.len(), world.kinds().await), (0, before), "a refusal writes nothing");
}

pub(crate) async fn a_session_that_ended_meanwhile_changes_nothing<H: Harness>(world: World<H>) {
    let alice = world.register("alice").await;
    let session = world.sign_in(alice.id).await.session;
    world.store().revoke_account(alice.id, STRANGER).await.unwrap();
    let change = PasswordChange { keep: Some(session), ..change(alice.id, Some("first"), "second") };
    assert_eq!(world.store().write_password(change, STRANGER).await.unwrap(), PasswordWritten::SessionDead);
    assert_eq!(world.store().credentials_of(alice.id).await.unwrap().unwrap().password, hash("first"));
}

pub(crate) async fn the_operator_needs_none<H: Harness>(world: World<H>) {
    let alice = world.register("alice").await;
    let written = world.store().write_password(change(alice.id, None, "second"), STRANGER).await.unwrap();
    assert!(matches!(written, PasswordWritten::Done(_)));
    assert_eq!(world.last_event().await.kind, EventKind::PasswordSet);
}

pub(crate) async fn a_change_ends_only_what_lives<H: Harness>(world: World<H>) {
    let alice = world.register("alice").await;
    let (kept, gone, idle) =
        (world.sign_in(alice.id).await, world.sign_in(alice.id).await, world.sign_in(alice.id).await);
    world.end(alice.id, gone.session).await.unwrap();
    // No verifier accepts the access token of the idle one by then, so the feed need not tell.
    world.advance(LIFETIMES.access_token + REVOCATION_MARGIN);
    let change = PasswordChange { keep: Some(kept.session), ..change(alice.id, Some("first"), "second") };
    world.store().write_password(change, STRANGER).await.unwrap();
    assert_eq!(world.listed_dead(alice.id, gone.session).await, Some(Dead::Ended(EndReason::SignedOut)));
    assert_eq!(world.listed_dead(alice.id, idle.session).await, Some(Dead::Ended(EndReason::PasswordChanged)));
    let scopes: Vec<_> = world.feed().await.iter().map(|entry| entry.scope).collect();
    assert_eq!(scopes, [RevocationScope::Session(gone.session)]);
}

pub(crate) async fn a_change_tells_of_tokens_that_a_verifier_s_leeway_lets_pass<H: Harness>(world: World<H>) {
    let alice = world.register("alice").await;
    let kept = world.sign_in(alice.id).await;
    let expired = world.sign_in(alice.id).await;
    world.advance(Duration::from_millis(1));
    let lingering = world.sign_in(alice.id).await;
    world.advance(LIFETIMES.access_token + REVOCATION_MARGIN - Duration::from_millis(1));
    let change = PasswordChange { keep: Some(kept.session), ..change(alice.id, Some("first"), "second") };
    world.store().write_password(change, STRANGER).await.unwrap();
    let feed = world.feed().await;
    assert_eq!(feed.iter().map(|entry| entry.scope).collect::<Vec<_>>(), [RevocationScope::Session(lingering.session)]);
    assert_eq!(feed[0].expires_at, world.now() + Duration::from_millis(1) - REVOCATION_MARGIN);
    for ended in [expired, lingering] {
        let dead = AccessDenied::Dead(Dead::Ended(EndReason::PasswordChanged));
        assert_eq!(world.denied(ended.session).await, Some(dead));
    }
}

pub(crate) async fn a_change_ends_thousands_at_once<H: Harness>(world: World<H>) {
    let alice = world.register("alice").await;
    let sessions = world.sign_in_often(alice.id, 2000).await;
    let kept = &sessions[700];
    let others: HashSet<_> =
        sessions.iter().map(|signed_in| signed_in.session).filter(|id| *id != kept.session).collect();
    let before = world.kinds().await.len();
    let change = PasswordChange { keep: Some(kept.session), ..change(alice.id, Some("first"), "second") };
    let began = Instant::now();
    let PasswordWritten::Done(position) = world.store().write_password(change, STRANGER).await.unwrap() else {
        panic!("the password was the one that was compared");
    };
    assert!(began.elapsed() < Duration::from_millis(1000), "it took {:?}", began.elapsed());
    assert_eq!((position, position.seq), (world.store().feed_position().await.unwrap(), 1999));

    let events = world.events().await.split_off(before);
    assert_eq!((events[0].kind, events.len()), (EventKind::PasswordChanged, 2000));
    assert_eq!(events[0].detail.as_deref(), Some("1999 other sessions ended"));
    let told: Vec<_> = events[1..].iter().map(|event| event.session.unwrap()).collect();
    assert!(events[1..].iter().all(|event| event.kind == EventKind::SessionEnded && event.account == Some(alice.id)));
    assert!(told.is_sorted(), "the order does not hang on chance");
    assert_eq!(told.iter().copied().collect::<HashSet<_>>(), others);
    let fed: Vec<_> = world.feed().await.iter().map(|entry| entry.scope).collect();
    assert_eq!(fed, told.iter().map(|session| RevocationScope::Session(*session)).collect::<Vec<_>>());

    assert_eq!(world.denied(kept.session).await, None);
    world.successor(&kept.token).await;
    let reason = Dead::Ended(EndReason::PasswordChanged);
    for ended in sessions.iter().filter(|signed_in| signed_in.session != kept.session) {
        assert_eq!(world.denied(ended.session).await, Some(AccessDenied::Dead(reason)));
    }
}

pub(crate) async fn a_refused_sign_in_is_an_event<H: Harness>(world: World<H>) {
    let alice = world.register("alice").await;
    world.store().refuse_sign_in(Some(alice.id), "wrong_password", STRANGER).await.unwrap();
    world.store().refuse_sign_in(None, "unknown_account", STRANGER).await.unwrap();
    let events = world.events().await;
    let told: Vec<_> =
        events[1..].iter().map(|event| (event.kind, event.account, event.detail.as_deref().unwrap())).collect();
    assert_eq!(
        told,
        [
            (EventKind::SignInRefused, Some(alice.id), "wrong_password"),
            (EventKind::SignInRefused, None, "unknown_account")
        ]
    );
    assert_eq!(events[1].origin.address, Some(ADDRESS));
}

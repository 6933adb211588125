//! Operations over the real SQLite store, with a clock that the tests set.
#![allow(clippy::unwrap_used)]

mod support;

use std::net::IpAddr;
use std::time::Duration;

use countersign_core::events::EventKind;
use countersign_core::keys::{KeyPhase, KeyUse};
use countersign_core::roles::Roles;
use countersign_core::sessions::rotation::{Refusal, Replay};
use countersign_core::sessions::state::{Dead, EndReason};
use countersign_operations::accounts::{self, RegisterError};
use countersign_operations::administrators::Administrator;
use countersign_operations::callers::{self, CallerError};
use countersign_operations::hashing::HashingCost;
use countersign_operations::passwords::{self, ChangeError};
use countersign_operations::revocations::{self, Cursor};
use countersign_operations::sessions::{self, RefreshError, RevokeError, SignInError};
use countersign_operations::{Operations, keys, readers, upkeep};
use countersign_token::revocation::Revocation;
use countersign_token::{VerifyError, verify};

use support::{PASSWORD, World, registration, sign_in_at};

const HOME: Option<IpAddr> = Some(IpAddr::V4(std::net::Ipv4Addr::new(198, 51, 100, 7)));

#[tokio::test]
async fn a_registered_user_signs_in_and_their_token_says_who_they_are() {
    let world = World::new().await;
    world.register("alice").await;
    let pair = world.sign_in("alice").await.unwrap();
    let now = world.now().unix_seconds();
    let claims =
        verify(&pair.access_token, &world.operations.verifying_keys(), &world.operations.policy().expected(), now);
    let claims = claims.unwrap();
    assert_eq!((claims.name.as_str(), claims.roles.as_slice()), ("alice", &["User".to_owned()][..]));
    assert_eq!(claims.exp - claims.iat, 300);
    let caller = callers::authenticate(&world.operations, &pair.access_token).await.unwrap();
    assert_eq!(caller.account.id.as_uuid(), claims.sub);
    assert_eq!(caller.session.as_uuid(), claims.sid);
}

#[tokio::test]
async fn every_fault_of_a_registration_is_told_at_once() {
    let world = World::new().await;
    let refused = accounts::register(&world.operations, registration("a b", "nowhere", "short"), HOME).await;
    let Err(RegisterError::Invalid(faults)) = refused else { panic!("{refused:?}") };
    assert!(faults.username.is_some() && faults.email.is_some() && faults.password.is_some());
}

#[tokio::test]
async fn names_and_addresses_are_taken_in_any_spelling() {
    let world = World::new().await;
    world.register("alice").await;
    let again = accounts::register(&world.operations, registration("ALICE", "x@example.com", PASSWORD), HOME).await;
    assert!(matches!(again, Err(RegisterError::UsernameTaken)), "{again:?}");
    let again = accounts::register(&world.operations, registration("bob", "Alice@Example.com", PASSWORD), HOME).await;
    assert!(matches!(again, Err(RegisterError::EmailTaken)), "{again:?}");
}

#[tokio::test]
async fn a_retry_gets_the_same_successor_and_a_replay_ends_the_session() {
    let world = World::new().await;
    world.register("alice").await;
    let first = world.sign_in("alice").await.unwrap();
    let second = world.refresh(&first.refresh_token).await.unwrap();
    let retried = world.refresh(&first.refresh_token).await.unwrap();
    assert_eq!(*second.refresh_token, *retried.refresh_token);
    let third = world.refresh(&second.refresh_token).await.unwrap();

    let late = world.refresh(&first.refresh_token).await;
    assert!(matches!(late, Err(RefreshError::Refused(Refusal::LateDuplicate))), "{late:?}");
    world.advance(Duration::from_secs(61));
    let replayed = world.refresh(&first.refresh_token).await;
    assert!(matches!(replayed, Err(RefreshError::Replayed(Replay::Ancestor))), "{replayed:?}");

    let after = world.refresh(&third.refresh_token).await;
    let dead = Refusal::Dead(Dead::Ended(EndReason::Replayed));
    assert!(matches!(&after, Err(RefreshError::Refused(refusal)) if *refusal == dead), "{after:?}");
    let caller = callers::authenticate(&world.operations, &third.access_token).await;
    assert!(matches!(caller, Err(CallerError::SessionDead(Some(Dead::Ended(EndReason::Replayed))))), "{caller:?}");
    assert_eq!(world.count(EventKind::RefreshReplayed).await, 1);
}

#[tokio::test]
async fn a_role_change_outdates_access_tokens_and_signs_nobody_out() {
    let world = World::new().await;
    world.register("alice").await;
    let pair = world.sign_in("alice").await.unwrap();
    accounts::set_roles(&world.operations, "alice", Roles::admin()).await.unwrap();
    let caller = callers::authenticate(&world.operations, &pair.access_token).await;
    assert!(matches!(caller, Err(CallerError::Outdated)), "{caller:?}");
    let renewed = world.refresh(&pair.refresh_token).await.unwrap();
    let caller = callers::authenticate(&world.operations, &renewed.access_token).await.unwrap();
    assert!(caller.is_admin());
}

#[tokio::test]
async fn revoking_is_for_oneself_and_for_administrators() {
    let world = World::new().await;
    for name in ["alice", "bob", "root"] {
        world.register(name).await;
    }
    accounts::set_roles(&world.operations, "root", Roles::admin()).await.unwrap();
    let alice = world.caller("alice").await;
    let root = world.caller("root").await;
    let revoke = |caller, name| sessions::revoke_account(&world.operations, caller, name, true, HOME);
    for name in ["bob", "nobody", "no body"] {
        let refused = revoke(&alice, name).await;
        assert!(matches!(refused, Err(RevokeError::Forbidden)), "{name}: {refused:?}");
    }
    let missing = revoke(&root, "nobody").await;
    assert!(matches!(missing, Err(RevokeError::NotFound)), "{missing:?}");
    world.sign_in("bob").await.unwrap();
    world.sign_in("bob").await.unwrap();
    let receipt = revoke(&root, "BOB").await.unwrap().unwrap();
    assert_eq!(receipt.sessions_ended, 2);
    assert!(receipt.last_access_expiry.unwrap() > world.now());
    assert_eq!(revoke(&alice, "Alice").await.unwrap().unwrap().sessions_ended, 1);
    assert!(alice.administrator(HOME).is_err() && root.administrator(HOME).is_ok());
}

#[tokio::test]
async fn after_revoking_everyone_nothing_old_works_and_a_sign_in_at_once_does() {
    let world = World::new().await;
    world.register("alice").await;
    let pair = world.sign_in("alice").await.unwrap();
    sessions::revoke_everyone(&world.operations, &Administrator::OPERATOR, false).await.unwrap();
    assert!(callers::authenticate(&world.operations, &pair.access_token).await.is_err());
    assert!(world.refresh(&pair.refresh_token).await.is_err());
    // The clock has not moved.
    let pair = world.sign_in("alice").await.unwrap();
    assert!(callers::authenticate(&world.operations, &pair.access_token).await.is_ok());
    assert!(world.operations.check_revoked(&world.claims(&pair)).is_ok());
}

#[tokio::test]
async fn memory_knows_of_a_revocation_when_its_answer_is_given() {
    let world = World::new().await;
    world.register("alice").await;
    let (one, other) = (world.sign_in("alice").await.unwrap(), world.sign_in("alice").await.unwrap());
    let caller = callers::authenticate(&world.operations, &one.access_token).await.unwrap();
    sessions::sign_out(&world.operations, &caller, HOME).await.unwrap();
    assert!(world.operations.check_revoked(&world.claims(&one)).is_err());
    assert!(world.operations.check_revoked(&world.claims(&other)).is_ok());
}

#[tokio::test]
async fn a_changed_password_ends_the_other_sessions_only() {
    let world = World::new().await;
    world.register("alice").await;
    let (here, there) = (world.sign_in("alice").await.unwrap(), world.sign_in("alice").await.unwrap());
    let caller = callers::authenticate(&world.operations, &here.access_token).await.unwrap();
    let change = |current: &str, new: &str| {
        passwords::change(&world.operations, &caller, current.to_owned().into(), new.to_owned().into(), HOME)
    };
    let wrong = change("not the password", "a new passphrase").await;
    assert!(matches!(wrong, Err(ChangeError::CurrentWrong)), "{wrong:?}");
    let unfit = change(PASSWORD, "password123").await;
    assert!(matches!(unfit, Err(ChangeError::Unfit(_))), "{unfit:?}");
    change(PASSWORD, "a new passphrase").await.unwrap();
    assert!(callers::authenticate(&world.operations, &here.access_token).await.is_ok());
    assert!(callers::authenticate(&world.operations, &there.access_token).await.is_err());
    assert!(world.refresh(&here.refresh_token).await.is_ok());
    assert!(world.refresh(&there.refresh_token).await.is_err());
    let old = world.sign_in("alice").await;
    assert!(matches!(old, Err(SignInError::InvalidCredentials)), "{old:?}");
}

#[tokio::test]
async fn an_attacker_locks_out_strangers_and_not_the_owner() {
    let world = World::new().await;
    world.register("alice").await;
    world.sign_in_from("alice", PASSWORD, HOME).await.unwrap();
    let stranger = |n: u8| Some(IpAddr::from([203, 0, 113, n]));
    let mut throttled = false;
    for n in 0..60 {
        throttled |=
            matches!(world.sign_in_from("alice", "a wrong guess", stranger(n)).await, Err(SignInError::Throttled(_)));
    }
    assert!(throttled, "60 addresses guessed without end");
    let new_place = world.sign_in_from("alice", PASSWORD, stranger(200)).await;
    assert!(matches!(new_place, Err(SignInError::Throttled(_))), "{new_place:?}");
    world.sign_in_from("alice", PASSWORD, HOME).await.unwrap();
}

/// Guesses from one address until it has to wait; how many guesses it had, and for how long it has to wait.
async fn guess(server: &Operations, address: Option<IpAddr>) -> (u32, Duration) {
    for guesses in 0..200 {
        match sign_in_at(server, "alice", "a wrong guess", address).await {
            Err(SignInError::InvalidCredentials) => {}
            Err(SignInError::Throttled(throttled)) => return (guesses, throttled.retry_after),
            other => panic!("{other:?}"),
        }
    }
    panic!("200 guesses and no end");
}

#[tokio::test]
async fn what_was_guessed_at_one_server_counts_at_the_others_and_after_a_restart() {
    let world = World::new().await;
    world.register("alice").await;
    let (here, there) = (&world.operations, &world.another().await);
    assert_eq!(guess(here, HOME).await, (10, Duration::from_secs(30)));
    upkeep::finish(here).await.unwrap();
    assert_eq!(guess(there, HOME).await, (0, Duration::from_secs(30)));
    assert_eq!(guess(&*world.another().await, HOME).await, (0, Duration::from_secs(30)));
    // What was learned is charged on, before the store hears of it.
    world.advance(Duration::from_secs(30));
    assert_eq!(guess(there, HOME).await, (1, Duration::from_secs(30)));
    upkeep::finish(there).await.unwrap();
    assert_eq!(guess(here, HOME).await, (0, Duration::from_secs(30)));
    // Nobody else has done anything.
    let elsewhere = Some(IpAddr::from([203, 0, 113, 5]));
    sign_in_at(there, "alice", PASSWORD, elsewhere).await.unwrap();
}

#[tokio::test]
async fn guesses_at_two_servers_within_a_moment_have_to_be_waited_for() {
    let world = World::new().await;
    world.register("alice").await;
    let (here, there) = (&world.operations, &world.another().await);
    for server in [here, there] {
        assert_eq!(guess(server, HOME).await, (10, Duration::from_secs(30)), "neither knows of the other yet");
    }
    upkeep::finish(here).await.unwrap();
    upkeep::finish(there).await.unwrap();
    for server in [here, there] {
        assert_eq!(guess(server, HOME).await, (0, Duration::from_secs(30 * 11)));
    }
}

#[tokio::test]
async fn a_wrong_guess_is_charged_though_the_database_goes_away_before_it_is_recorded() {
    let world = World::new().await;
    world.register("alice").await;
    let server = world.unrecorded().await;
    for (name, last) in [("alice", 1), ("nobody", 2)] {
        let address = Some(IpAddr::from([203, 0, 113, last]));
        for guess in 0..10 {
            let refused = sign_in_at(&server, name, "a wrong guess", address).await;
            assert!(matches!(refused, Err(SignInError::Store(_))), "{guess}: {refused:?}");
        }
        let refused = sign_in_at(&server, name, "a wrong guess", address).await;
        assert!(matches!(refused, Err(SignInError::Throttled(_))), "{refused:?}");
    }
    sign_in_at(&server, "alice", PASSWORD, HOME).await.unwrap();
}

#[tokio::test]
async fn strangers_registrations_and_changes_of_a_password_count_at_every_server() {
    let world = World::new().await;
    world.register("alice").await;
    let caller = world.caller("alice").await;
    let (here, there) = (&world.operations, &world.another().await);
    for last in 0..5 {
        guess(here, Some(IpAddr::from([203, 0, 113, last]))).await;
    }
    for number in 0..1000 {
        let refused = accounts::register(here, registration("alice", "x@example.com", PASSWORD), HOME).await;
        assert!(matches!(refused, Err(RegisterError::UsernameTaken)), "{number}: {refused:?}");
    }
    upkeep::finish(here).await.unwrap();
    let new_place = sign_in_at(there, "alice", PASSWORD, Some(IpAddr::from([203, 0, 113, 200]))).await;
    assert!(matches!(new_place, Err(SignInError::Throttled(_))), "{new_place:?}");
    let refused = accounts::register(there, registration("bob", "bob@example.com", PASSWORD), HOME).await;
    assert!(matches!(refused, Err(RegisterError::Throttled(_))), "{refused:?}");
    let thief = Some(IpAddr::from([203, 0, 113, 0]));
    let change =
        passwords::change(there, &caller, PASSWORD.to_owned().into(), "a new passphrase".to_owned().into(), thief);
    let refused = change.await;
    assert!(matches!(refused, Err(ChangeError::Throttled(_))), "{refused:?}");
}

#[tokio::test]
async fn a_disabled_account_is_told_so_only_with_the_right_password() {
    let world = World::new().await;
    world.register("alice").await;
    accounts::disable(&world.operations, "alice").await.unwrap();
    let right = world.sign_in("alice").await;
    assert!(matches!(right, Err(SignInError::AccountDisabled)), "{right:?}");
    let wrong = world.sign_in_from("alice", "a wrong guess", HOME).await;
    assert!(matches!(wrong, Err(SignInError::InvalidCredentials)), "{wrong:?}");
    accounts::enable(&world.operations, "alice").await.unwrap();
    assert!(world.sign_in("alice").await.is_ok());
}

#[tokio::test]
async fn a_sign_in_rehashes_where_the_parameters_grew() {
    let world = World::new().await;
    world.register("alice").await;
    assert!(world.stored_hash("alice").await.starts_with("$argon2id$v=19$m=64,t=1,p=1$"));
    let world = world.reopened_with(HashingCost { memory_kib: 128, iterations: 2, parallelism: 1 }).await;
    assert!(world.sign_in_from("alice", "a wrong guess", HOME).await.is_err());
    assert!(world.stored_hash("alice").await.starts_with("$argon2id$v=19$m=64,"), "a wrong password changes nothing");
    world.sign_in("alice").await.unwrap();
    assert!(world.stored_hash("alice").await.starts_with("$argon2id$v=19$m=128,t=2,p=1$"));
    world.sign_in("alice").await.unwrap();
}

#[tokio::test]
async fn a_new_key_is_published_before_it_signs_and_the_old_one_verifies_to_the_end() {
    let world = World::new().await;
    world.register("alice").await;
    let old = world.sign_in("alice").await.unwrap();
    keys::rotate(&world.operations, &Administrator::OPERATOR, false).await.unwrap();
    assert_eq!(world.operations.verifying_keys().len(), 2);
    assert_eq!(world.kid(&world.sign_in("alice").await.unwrap()), world.kid(&old), "published, not yet used");

    world.advance(keys::PUBLISHED_AHEAD);
    world.reload_keys().await;
    let new = world.sign_in("alice").await.unwrap();
    assert_ne!(world.kid(&new), world.kid(&old));
    // Refresh tokens of the older tag key are still opened.
    assert!(world.refresh(&old.refresh_token).await.is_ok());

    world.advance(Duration::from_secs(300 + 61));
    world.reload_keys().await;
    assert_eq!(world.operations.verifying_keys().len(), 1);
    let phases: Vec<_> = keys::list(&world.operations).await.unwrap().iter().map(|key| key.phase).collect();
    assert!(phases.contains(&KeyPhase::Retired) && phases.contains(&KeyPhase::Active));
}

#[tokio::test]
async fn a_key_retires_in_its_time_though_the_database_is_away() {
    let world = World::new().await;
    keys::rotate(&world.operations, &Administrator::OPERATOR, false).await.unwrap();
    let both = world.operations.verifying_keys();
    world.close().await;
    world.advance(keys::PUBLISHED_AHEAD + Duration::from_secs(300 + 61));
    assert!(upkeep::reload_keys(&world.operations).await.is_err(), "the store is closed");
    assert_eq!((both.len(), world.operations.verifying_keys().len()), (2, 1));
}

#[tokio::test]
async fn an_access_token_that_was_seen_before_is_judged_anew() {
    let world = World::new().await;
    world.register("alice").await;
    let ask = async |token: &str| callers::authenticate(&world.operations, token).await;

    // Another token under a signature that was found genuine.
    let pair = world.sign_in("alice").await.unwrap();
    ask(&pair.access_token).await.unwrap();
    let (signed, signature) = pair.access_token.rsplit_once('.').unwrap();
    let mut forged = signed.to_owned();
    let last = if forged.pop() == Some('A') { 'B' } else { 'A' };
    let forged = format!("{forged}{last}.{signature}");
    let refused = ask(&forged).await;
    assert!(matches!(refused, Err(CallerError::Token(VerifyError::SignatureInvalid))), "{refused:?}");

    let expires = pair.expires_at;
    world.advance(Duration::from_millis((expires.get() - world.now().get()).unsigned_abs()) + Duration::from_secs(5));
    let refused = ask(&pair.access_token).await;
    assert!(matches!(refused, Err(CallerError::Token(VerifyError::Expired))), "{refused:?}");

    let pair = world.sign_in("alice").await.unwrap();
    let caller = ask(&pair.access_token).await.unwrap();
    sessions::sign_out(&world.operations, &caller, HOME).await.unwrap();
    let refused = ask(&pair.access_token).await;
    assert!(matches!(refused, Err(CallerError::SessionDead(Some(_)))), "{refused:?}");

    let pair = world.sign_in("alice").await.unwrap();
    ask(&pair.access_token).await.unwrap();
    keys::rotate(&world.operations, &Administrator::OPERATOR, true).await.unwrap();
    let refused = ask(&pair.access_token).await;
    assert!(matches!(refused, Err(CallerError::Token(VerifyError::UnknownKey))), "{refused:?}");
}

#[tokio::test]
async fn a_key_made_in_a_hurry_ends_the_others_at_once() {
    let world = World::new().await;
    world.register("alice").await;
    let pair = world.sign_in("alice").await.unwrap();
    let by = Administrator::OPERATOR;
    keys::rotate(&world.operations, &by, false).await.unwrap();
    keys::rotate(&world.operations, &by, true).await.unwrap();
    let phases = async || -> Vec<_> {
        let keys = keys::list(&world.operations).await.unwrap();
        keys.iter().filter(|key| key.key_use == KeyUse::Signing).map(|key| key.phase).collect()
    };
    assert_eq!(phases().await, [KeyPhase::Retired, KeyPhase::Retired, KeyPhase::Active]);
    let caller = callers::authenticate(&world.operations, &pair.access_token).await;
    assert!(matches!(caller, Err(CallerError::Token(VerifyError::UnknownKey))), "{caller:?}");
    // Nobody is signed out: the old access token still tells which session it belonged to.
    let both = sessions::Refresh {
        refresh_token: pair.refresh_token.to_string().into(),
        access_token: Some(pair.access_token.to_string().into()),
        retry_key: None,
    };
    sessions::refresh(&world.operations, both, HOME).await.unwrap();
    world.advance(keys::PUBLISHED_AHEAD);
    assert_eq!(phases().await, [KeyPhase::Retired, KeyPhase::Retired, KeyPhase::Active]);
}

#[tokio::test]
async fn the_feed_tells_a_snapshot_and_then_what_follows() {
    let world = World::new().await;
    world.register("alice").await;
    let pair = world.sign_in("alice").await.unwrap();
    let none = Duration::ZERO;
    let snapshot = revocations::read(&world.operations, None, none).await.unwrap();
    assert!(snapshot.snapshot);
    let cursor = Cursor { incarnation: snapshot.incarnation.parse().unwrap(), after: snapshot.seq };
    let empty = revocations::read(&world.operations, Some(cursor), none).await.unwrap();
    assert!(!empty.snapshot && empty.events.is_empty());

    let caller = callers::authenticate(&world.operations, &pair.access_token).await.unwrap();
    let (page, signed_out) = tokio::join!(
        revocations::read(&world.operations, Some(cursor), Duration::from_secs(30)),
        sessions::sign_out(&world.operations, &caller, HOME),
    );
    signed_out.unwrap();
    let page = page.unwrap();
    assert_eq!((page.snapshot, page.seq), (false, cursor.after + 1));
    let [event] = page.events.as_slice() else { panic!("{page:?}") };
    assert!(
        matches!(event.revocation, Revocation::Session { sid, .. } if sid == caller.session.as_uuid()),
        "{event:?}"
    );

    let ahead = Cursor { after: page.seq + 1, ..cursor };
    assert!(revocations::read(&world.operations, Some(ahead), none).await.unwrap().snapshot);
}

#[tokio::test]
async fn a_reader_that_goes_from_server_to_server_meets_none_that_knows_less() {
    let world = World::new().await;
    world.register("alice").await;
    let other = world.another().await;
    let caller = world.caller("alice").await;
    sessions::sign_out(&world.operations, &caller, HOME).await.unwrap();
    let told = revocations::read(&world.operations, None, Duration::ZERO).await.unwrap();
    let cursor = Cursor { incarnation: told.incarnation.parse().unwrap(), after: told.seq };
    // Nothing has told the other one that the feed has moved.
    let page = revocations::read(&other, Some(cursor), Duration::ZERO).await.unwrap();
    assert_eq!((page.snapshot, page.seq, page.events), (false, told.seq, vec![]));
}

#[tokio::test]
async fn a_snapshot_leaves_out_what_has_expired() {
    let world = World::new().await;
    world.register("alice").await;
    let told = async |server: &Operations| {
        let page = revocations::read(server, None, Duration::ZERO).await.unwrap();
        assert!(page.snapshot);
        let sessions = page.events.iter().filter(|event| matches!(event.revocation, Revocation::Session { .. }));
        (page.seq, sessions.count())
    };
    let early = world.caller("alice").await;
    sessions::sign_out(&world.operations, &early, HOME).await.unwrap();
    world.advance(Duration::from_secs(200));
    let late = world.caller("alice").await;
    sessions::sign_out(&world.operations, &late, HOME).await.unwrap();
    assert_eq!(told(&world.operations).await, (2, 2));
    assert_eq!(told(&*world.another().await).await, (2, 2));
    world.advance(Duration::from_secs(100 + 60));
    for server in [&world.operations, &world.another().await] {
        assert_eq!(told(server).await, (2, 1), "the second may still matter");
    }
    world.advance(Duration::from_secs(200));
    let fresh = world.another().await;
    for server in [&world.operations, &fresh] {
        assert_eq!(told(server).await, (2, 0));
    }
    // A reader that stopped before what a server has never read cannot be told what came since.
    let snapshot = revocations::read(&fresh, None, Duration::ZERO).await.unwrap();
    let cursor = |after| Some(Cursor { incarnation: snapshot.incarnation.parse().unwrap(), after });
    for (after, starts_over) in [(1, true), (2, false)] {
        let page = revocations::read(&fresh, cursor(after), Duration::ZERO).await.unwrap();
        assert_eq!(page.snapshot, starts_over, "{after}");
    }
}

#[tokio::test]
async fn the_feed_of_a_database_that_has_moved_is_handed_on_no_longer() {
    let world = World::new().await;
    let snapshot = revocations::read(&world.operations, None, Duration::ZERO).await.unwrap();
    let cursor = Cursor { incarnation: snapshot.incarnation.parse().unwrap(), after: snapshot.seq };
    let waiting = revocations::read(&world.operations, Some(cursor), Duration::from_secs(60));
    let moving = async {
        let (answer, ()) = tokio::join!(waiting, world.move_away());
        assert!(answer.is_err(), "whoever waited is told at once");
    };
    tokio::select! {
        () = upkeep::run(world.operations.clone()) => unreachable!("it runs until it is dropped"),
        moved = tokio::time::timeout(Duration::from_secs(20), moving) => moved.unwrap(),
    }
    assert!(revocations::read(&world.operations, None, Duration::ZERO).await.is_err());
    assert!(world.operations.revocations_age() > Duration::from_secs(3600));
}

#[tokio::test]
async fn only_a_reader_s_key_and_the_shared_secret_open_the_feed() {
    let world = World::new().await;
    let by = Administrator::OPERATOR;
    let (reader, key) = readers::admit(&world.operations, &by, "weather".to_owned()).await.unwrap();
    let key = key.expose();
    let may = |presented: String, secret| {
        let operations = &world.operations;
        async move { readers::may_read(operations, &presented, secret).await.unwrap() }
    };
    assert!(may(key.to_string(), None).await);
    assert!(may("a shared secret".to_owned(), Some("a shared secret")).await);
    assert!(!may("a shared secret".to_owned(), None).await);
    assert!(!may(key.replace("cs_rk_", "cs_rt_"), None).await);
    assert!(!may(String::new(), Some("a shared secret")).await);
    readers::dismiss(&world.operations, &by, reader.id).await.unwrap();
    assert!(!may(key.to_string(), None).await);
}

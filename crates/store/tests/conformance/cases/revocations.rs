//! Revocations of many, and the feed.

use std::sync::atomic::Ordering;
use std::time::Duration;

use countersign_core::epochs::Epoch;
use countersign_core::events::{EventKind, RevocationScope};
use countersign_core::sessions::rotation::Refusal;
use countersign_core::sessions::state::Dead;
use countersign_store::verbs::{AccessDenied, Begun, Outstanding, REVOCATION_MARGIN, RotatedIn};
use tokio::task::JoinSet;

use crate::harness::{BEGINNING, Harness};
use crate::world::{LIFETIMES, STRANGER, World, rotated};

pub(crate) async fn an_account_s_sessions_end_at_once<H: Harness>(world: World<H>) {
    let (alice, bob) = (world.register("alice").await, world.register("bob").await);
    let (first, second, other) =
        (world.sign_in(alice.id).await, world.sign_in(alice.id).await, world.sign_in(bob.id).await);
    world.advance(Duration::from_secs(1));
    let receipt = world.store().revoke_account(alice.id, STRANGER).await.unwrap().unwrap();
    assert_eq!((receipt.before, receipt.at), (Epoch::new(0), world.now()));
    assert!(receipt.since >= Epoch::new(world.now().get()));
    let feed = world.feed().await;
    assert_eq!((receipt.position.seq, feed[0].scope), (1, RevocationScope::Account(alice.id, receipt.since)));
    assert_eq!(feed[0].expires_at, world.now() + LIFETIMES.access_token + REVOCATION_MARGIN);
    let event = world.last_event().await;
    assert_eq!((event.kind, event.account, event.origin), (EventKind::AccountRevoked, Some(alice.id), STRANGER));
    assert_eq!(world.store().account(alice.id).await.unwrap().unwrap().claims_version, receipt.since);
    for ended in [&first, &second] {
        assert_eq!(world.denied(ended.session).await, Some(AccessDenied::Dead(Dead::AccountRevoked)));
        assert_eq!(world.rotate(&ended.token).await, RotatedIn::Refused(Refusal::Dead(Dead::AccountRevoked)));
    }
    assert_eq!(world.denied(other.session).await, None);
    world.successor(&other.token).await;
}

pub(crate) async fn everyone_s_sessions_end_at_once<H: Harness>(world: World<H>) {
    let (alice, bob) = (world.register("alice").await, world.register("bob").await);
    let (of_alice, of_bob) = (world.sign_in(alice.id).await, world.sign_in(bob.id).await);
    let receipt = world.store().revoke_everyone(STRANGER).await.unwrap();
    let feed = world.feed().await;
    assert_eq!((receipt.position.seq, feed[0].scope), (1, RevocationScope::Everyone(receipt.since)));
    assert_eq!(receipt.position, world.store().feed_position().await.unwrap());
    assert_eq!((receipt.before, receipt.position.global_epoch), (of_alice.granted.global_epoch, receipt.since));
    assert!(receipt.since > receipt.before);
    assert_eq!(world.last_event().await.kind, EventKind::EveryoneRevoked);
    for ended in [&of_alice, &of_bob] {
        assert_eq!(world.denied(ended.session).await, Some(AccessDenied::Dead(Dead::EveryoneRevoked)));
        assert_eq!(world.rotate(&ended.token).await, RotatedIn::Refused(Refusal::Dead(Dead::EveryoneRevoked)));
    }
    assert_eq!(world.store().account(alice.id).await.unwrap(), Some(alice), "no account was touched");
}

pub(crate) async fn a_sign_in_in_the_same_millisecond_works<H: Harness>(world: World<H>) {
    let alice = world.register("alice").await;
    for _ in 0..3 {
        world.store().revoke_account(alice.id, STRANGER).await.unwrap();
        world.store().revoke_everyone(STRANGER).await.unwrap();
        let anew = world.sign_in(alice.id).await;
        assert_eq!(world.denied(anew.session).await, None);
        world.successor(&anew.token).await;
    }
}

pub(crate) async fn epochs_grow_though_the_clock_goes_back<H: Harness>(world: World<H>) {
    let alice = world.register("alice").await;
    let first = world.store().revoke_account(alice.id, STRANGER).await.unwrap().unwrap();
    let everyone = world.store().revoke_everyone(STRANGER).await.unwrap();
    world.harness.clock().store(BEGINNING - 3_600_000, Ordering::SeqCst);
    let anew = world.sign_in(alice.id).await;
    assert_eq!(world.denied(anew.session).await, None, "a clock that was set back locks nobody out");
    let second = world.store().revoke_account(alice.id, STRANGER).await.unwrap().unwrap();
    assert_eq!((second.before, second.since), (first.since, Epoch::new(first.since.get() + 1)));
    assert_eq!(world.denied(anew.session).await, Some(AccessDenied::Dead(Dead::AccountRevoked)));
    let again = world.store().revoke_everyone(STRANGER).await.unwrap();
    assert!(again.since > everyone.since);
    world.feed().await;
}

pub(crate) async fn the_receipt_counts_what_was_alive<H: Harness>(world: World<H>) {
    let (alice, bob) = (world.register("alice").await, world.register("bob").await);
    let mut short = world.begin(alice.id);
    short.session_lifetime = Duration::from_secs(50);
    world.sign_in_with(short).await;
    world.store().revoke_account(alice.id, STRANGER).await.unwrap();
    let mut short = world.begin(alice.id);
    short.session_lifetime = Duration::from_secs(50);
    world.sign_in_with(short).await;
    let gone = world.sign_in(alice.id).await;
    world.end(alice.id, gone.session).await.unwrap();
    world.sign_in(alice.id).await;
    world.advance(Duration::from_secs(100));
    world.sign_in(alice.id).await;
    world.sign_in(bob.id).await;

    let receipt = world.store().revoke_account(alice.id, STRANGER).await.unwrap().unwrap();
    let expiry = world.now() + LIFETIMES.access_token;
    // What begins or ends afterwards changes nothing.
    world.sign_in(alice.id).await;
    let counted = world.store().count_ended(&receipt).await.unwrap();
    assert_eq!(counted, Outstanding { sessions: 2, last_access_expiry: Some(expiry) });

    let receipt = world.store().revoke_everyone(STRANGER).await.unwrap();
    world.sign_in(bob.id).await;
    let counted = world.store().count_ended(&receipt).await.unwrap();
    assert_eq!(counted, Outstanding { sessions: 2, last_access_expiry: Some(expiry) });

    world.advance(LIFETIMES.access_token);
    let receipt = world.store().revoke_everyone(STRANGER).await.unwrap();
    let counted = world.store().count_ended(&receipt).await.unwrap();
    assert_eq!(counted, Outstanding { sessions: 1, last_access_expiry: None }, "its access token had expired");
    let receipt = world.store().revoke_everyone(STRANGER).await.unwrap();
    let counted = world.store().count_ended(&receipt).await.unwrap();
    assert_eq!(counted, Outstanding { sessions: 0, last_access_expiry: None });
    let receipt = world.store().revoke_account(alice.id, STRANGER).await.unwrap().unwrap();
    let counted = world.store().count_ended(&receipt).await.unwrap();
    assert_eq!(counted, Outstanding { sessions: 0, last_access_expiry: None }, "everyone's were ended before");
}

pub(crate) async fn the_feed_is_kept_for_as_long_as_tokens_live<H: Harness>(world: World<H>) {
    let alice = world.register("alice").await;
    world.store().note_access_lifetime(Duration::from_secs(7200)).await.unwrap();
    world.store().note_access_lifetime(Duration::from_secs(60)).await.unwrap();
    world.sign_in(alice.id).await;
    world.store().revoke_account(alice.id, STRANGER).await.unwrap();
    world.store().revoke_everyone(STRANGER).await.unwrap();
    let expected = world.now() + Duration::from_secs(7200) + REVOCATION_MARGIN;
    assert!(world.feed().await.iter().all(|entry| entry.expires_at == expected), "the longest lifetime there ever was");
    // A lifetime that a sign-in or a refresh uses counts by itself.
    let mut long = world.begin(alice.id);
    long.lifetimes.access_token = Duration::from_secs(9000);
    world.sign_in_with(long).await;
    world.store().revoke_everyone(STRANGER).await.unwrap();
    assert_eq!(world.feed().await[2].expires_at, world.now() + Duration::from_secs(9000) + REVOCATION_MARGIN);
}

pub(crate) async fn whoever_begins_to_read_the_feed_begins_after_what_has_expired<H: Harness>(world: World<H>) {
    let alice = world.register("alice").await;
    let store = world.store();
    store.note_access_lifetime(LIFETIMES.access_token).await.unwrap();
    assert_eq!(store.feed_beginning().await.unwrap(), 0);
    store.revoke_account(alice.id, STRANGER).await.unwrap();
    let lives = LIFETIMES.access_token + REVOCATION_MARGIN;
    // A verifier's leeway, after the token that may have been issued a moment later.
    world.advance(lives + REVOCATION_MARGIN - Duration::from_millis(1));
    store.revoke_account(alice.id, STRANGER).await.unwrap();
    assert_eq!(store.feed_beginning().await.unwrap(), 0);
    world.advance(Duration::from_millis(1));
    assert_eq!(store.feed_beginning().await.unwrap(), 1);
    let read = store.revocations(1, 10).await.unwrap();
    assert_eq!(read.iter().map(|entry| entry.feed_seq).collect::<Vec<_>>(), [2]);
    world.advance(lives + REVOCATION_MARGIN);
    assert_eq!(store.feed_beginning().await.unwrap(), 2);
}

pub(crate) async fn the_feed_is_read_in_pages<H: Harness>(world: World<H>) {
    let alice = world.register("alice").await;
    for _ in 0..5 {
        world.store().revoke_account(alice.id, STRANGER).await.unwrap();
    }
    let page = |after, limit| {
        let store = world.store();
        async move {
            let page = store.revocations(after, limit).await.unwrap();
            page.iter().map(|entry| entry.feed_seq).collect::<Vec<_>>()
        }
    };
    assert_eq!(page(0, 2).await, [1, 2]);
    assert_eq!(page(2, 2).await, [3, 4]);
    assert_eq!(page(4, 2).await, [5]);
    assert_eq!(page(5, 2).await, [0; 0]);
    assert_eq!(page(u64::MAX, 2).await, [0; 0]);
}

pub(crate) async fn the_signal_wakes_whoever_waits<H: Harness>(world: World<H>) {
    let alice = world.register("alice").await;
    let mut signal = world.store().feed_signal();
    assert_eq!(*signal.borrow_and_update(), 0);
    let store = world.store();
    let mut waiting = JoinSet::new();
    waiting.spawn(async move {
        signal.changed().await.unwrap();
        // Whoever was woken finds it in the database.
        let told = *signal.borrow();
        (told, store.feed_position().await.unwrap().seq)
    });
    world.sign_in(alice.id).await;
    world.store().revoke_account(alice.id, STRANGER).await.unwrap();
    assert_eq!(waiting.join_all().await, [(1, 1)]);
}

pub(crate) async fn other_processes_move_the_feed<H: Harness>(world: World<H>) {
    let alice = world.register("alice").await;
    let signed_in = world.sign_in(alice.id).await;
    let another = world.harness.another().await;
    let receipt = another.revoke_account(alice.id, STRANGER).await.unwrap().unwrap();
    assert_eq!(world.store().feed_position().await.unwrap(), receipt.position);
    assert_eq!(world.store().revocations(0, 10).await.unwrap().len(), 1);
    assert_eq!(world.denied(signed_in.session).await, Some(AccessDenied::Dead(Dead::AccountRevoked)));
    assert!(matches!(world.rotate(&signed_in.token).await, RotatedIn::Refused(_)));
    world.store().revoke_everyone(STRANGER).await.unwrap();
    assert_eq!(world.feed().await.len(), 2, "both count in one line");
}

pub(crate) async fn racing_rotations_and_sign_ins_do_not_survive<H: Harness>(world: World<H>) {
    let alice = world.register("alice").await;
    let mut race = JoinSet::new();
    let mut tokens = vec![];
    for _ in 0..8 {
        let begun = world.sign_in(alice.id).await;
        let (store, presentation) = (world.store(), world.presentation(&begun.token));
        race.spawn(async move {
            let answer = rotated(&*store, presentation).await.unwrap();
            let (RotatedIn::Rotated(granted, successor), session) = (answer, begun.session) else { return None };
            Some((session, granted.global_epoch, successor))
        });
        let (store, begin) = (world.store(), world.begin(alice.id));
        race.spawn(async move {
            let (session, token) = (begin.session, begin.token.clone());
            let Begun::Live(granted, _) = store.begin_session(begin, STRANGER).await.unwrap() else { return None };
            Some((session, granted.global_epoch, token))
        });
    }
    let store = world.store();
    let mut revocation = JoinSet::new();
    revocation.spawn(async move { store.revoke_everyone(STRANGER).await.unwrap() });
    tokens.extend(race.join_all().await.into_iter().flatten());
    let receipt = revocation.join_all().await.remove(0);
    for (session, epoch, token) in tokens {
        let born_before = epoch < receipt.since;
        assert_eq!(world.denied(session).await.is_some(), born_before, "the access token and the session agree");
        assert_eq!(matches!(world.rotate(&token).await, RotatedIn::Refused(_)), born_before);
    }
}

pub(crate) async fn a_restore_that_is_accepted_begins_another_history<H: Harness>(mut world: World<H>) {
    let alice = world.register("alice").await;
    let signed_in = world.sign_in(alice.id).await;
    let before = world.store().feed_position().await.unwrap();
    let accepted = world.store().accept_restore(STRANGER).await.unwrap();
    assert_ne!(accepted.incarnation, before.incarnation);
    assert!(accepted.global_epoch > before.global_epoch && accepted.seq == before.seq + 1);
    assert_eq!(world.feed().await[0].scope, RevocationScope::Everyone(accepted.global_epoch));
    assert_eq!(world.last_event().await.kind, EventKind::RestoreAccepted);
    assert_eq!(world.denied(signed_in.session).await, Some(AccessDenied::Dead(Dead::EveryoneRevoked)));
    assert_eq!(world.rotate(&signed_in.token).await, RotatedIn::Refused(Refusal::Dead(Dead::EveryoneRevoked)));
    world.harness.restart().await;
    assert_eq!(world.store().feed_position().await.unwrap(), accepted);
    world.sign_in(alice.id).await;
}

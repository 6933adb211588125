//! Pruning, readiness, restarts.

use std::time::Duration;

use countersign_core::events::EventKind;
use countersign_core::sessions::rotation::Refusal;
use countersign_core::sessions::state::{Dead, EndReason};
use countersign_store::verbs::{AccessDenied, Pruned, REVOCATION_MARGIN, RotatedIn, Sweep};

use crate::harness::Harness;
use crate::world::{LIFETIMES, STRANGER, World};

const DAY: Duration = Duration::from_secs(24 * 3600);
const SWEEP: Sweep =
    Sweep { after: None, limit: 100, keep_sessions: DAY, keep_events: Duration::from_secs(365 * 24 * 3600) };

pub(crate) async fn prunes_what_has_been_dead_for_long<H: Harness>(world: World<H>) {
    let (alice, bob, carol) =
        (world.register("alice").await, world.register("bob").await, world.register("carol").await);
    let signed_out = world.sign_in(alice.id).await;
    let of_everyone = world.sign_in(bob.id).await;
    world.store().revoke_everyone(STRANGER).await.unwrap();
    let (of_account, of_disabled) = (world.sign_in(bob.id).await, world.sign_in(carol.id).await);
    world.store().revoke_account(bob.id, STRANGER).await.unwrap();
    world.store().disable_account(carol.id, STRANGER).await.unwrap();
    let (idle, mut short) = (world.sign_in(alice.id).await, world.begin(alice.id));
    short.session_lifetime = Duration::from_secs(100);
    let expired = world.sign_in_with(short).await;
    let replayed = world.sign_in(alice.id).await;
    let ahead = replayed.token.successor(&[1; 16]).unwrap();
    assert!(matches!(world.rotate(&ahead).await, RotatedIn::Replayed(..)));
    world.end(alice.id, signed_out.session).await;

    world.advance(DAY - Duration::from_millis(1));
    // Revoked sessions count from the epoch that ended them, which is a millisecond ahead where two came in one millisecond.
    let pruned = world.store().prune(SWEEP).await.unwrap();
    assert_eq!(
        pruned,
        Pruned { sessions: 0, events: 0, throttles: 0, next: None },
        "each is refused with its reason for a day"
    );
    let reason = Dead::Ended(EndReason::Replayed);
    assert_eq!(world.rotate(&replayed.token).await, RotatedIn::Refused(Refusal::Dead(reason)));

    world.advance(Duration::from_secs(101));
    assert_eq!(world.store().prune(SWEEP).await.unwrap().sessions, 6);
    for gone in [&signed_out, &of_everyone, &of_account, &of_disabled, &expired, &replayed] {
        assert_eq!(world.denied(gone.session).await, Some(AccessDenied::UnknownSession));
        assert_eq!(world.rotate(&gone.token).await, RotatedIn::Refused(Refusal::UnknownFamily));
    }
    assert_eq!(world.denied(idle.session).await, None);
    world.advance(LIFETIMES.refresh_token_idle);
    assert_eq!(world.store().prune(SWEEP).await.unwrap().sessions, 1);
    assert_eq!(world.denied(idle.session).await, Some(AccessDenied::UnknownSession));
    assert_eq!(world.store().accounts(None, 10).await.unwrap().len(), 3, "accounts stay");
}

pub(crate) async fn prunes_in_steps<H: Harness>(world: World<H>) {
    let alice = world.register("alice").await;
    let mut alive = vec![];
    for number in 0..10 {
        let begun = world.sign_in(alice.id).await;
        if number % 2 == 0 { world.end(alice.id, begun.session).await.map(|_| ()).unwrap() } else { alive.push(begun) }
    }
    world.advance(DAY);
    let mut sweep = Sweep { limit: 4, ..SWEEP };
    let mut steps = vec![];
    loop {
        let pruned = world.store().prune(sweep).await.unwrap();
        steps.push(pruned.sessions);
        sweep.after = pruned.next;
        if sweep.after.is_none() {
            break;
        }
    }
    assert_eq!(steps, [2, 2, 1]);
    for begun in alive {
        world.successor(&begun.token).await;
    }
}

pub(crate) async fn prunes_old_events_and_no_feed_entry_that_matters<H: Harness>(world: World<H>) {
    let alice = world.register("alice").await;
    world.store().note_access_lifetime(DAY * 3).await.unwrap();
    world.sign_in(alice.id).await;
    world.store().revoke_account(alice.id, STRANGER).await.unwrap();
    world.advance(DAY);
    world.store().refuse_sign_in(None, "unknown_account", STRANGER).await.unwrap();
    let sweep = Sweep { keep_events: DAY, ..SWEEP };
    assert_eq!(world.store().prune(sweep).await.unwrap().events, 2);
    assert_eq!(world.kinds().await, [EventKind::AccountRevoked, EventKind::SignInRefused]);
    assert_eq!(world.store().revocations(0, 10).await.unwrap().len(), 1, "tokens that it kills may still live");
    // Its last token has expired, and a verifier may be late.
    world.advance(DAY * 2 + REVOCATION_MARGIN);
    assert_eq!(world.store().prune(Sweep { limit: 1, ..sweep }).await.unwrap().events, 0);
    world.advance(REVOCATION_MARGIN);
    assert_eq!(
        world.store().prune(Sweep { limit: 1, ..sweep }).await.unwrap().events,
        1,
        "no more than the step allows"
    );
    assert_eq!(world.store().prune(sweep).await.unwrap().events, 1);
    assert_eq!(world.store().feed_position().await.unwrap().seq, 1, "numbers are not given out again");
    world.store().revoke_account(alice.id, STRANGER).await.unwrap();
    assert_eq!(world.store().revocations(0, 10).await.unwrap()[0].feed_seq, 2);
}

pub(crate) async fn is_ready<H: Harness>(world: World<H>) {
    world.store().ready().await.unwrap();
}

pub(crate) async fn lives_through_a_restart<H: Harness>(mut world: World<H>) {
    let alice = world.register("alice").await;
    let (kept, ended) = (world.sign_in(alice.id).await, world.sign_in(alice.id).await);
    let token = world.successor(&kept.token).await;
    world.end(alice.id, ended.session).await.unwrap();
    let (events, position) = (world.events().await, world.store().feed_position().await.unwrap());
    world.harness.restart().await;
    assert_eq!(world.events().await, events);
    assert_eq!(world.store().feed_position().await.unwrap(), position);
    assert_eq!(world.feed().await.len(), 1);
    assert_eq!(world.store().account(alice.id).await.unwrap(), Some(alice));
    world.successor(&token).await;
    let dead = AccessDenied::Dead(Dead::Ended(EndReason::SignedOut));
    assert_eq!(world.denied(ended.session).await, Some(dead));
}

//! Revocations beside what other nodes do at the same moment.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use countersign_core::events::RevocationScope;
use countersign_core::sessions::rotation::Refusal;
use countersign_core::sessions::state::{Dead, EndReason};
use countersign_store::database::OpenMode;
use countersign_store::postgres::PostgresStore;
use countersign_store::verbs::{Ended, REVOCATION_MARGIN, RotatedIn};
use countersign_store::{Clock, Store as _};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::postgres_harness::PostgresHarness;
use crate::world::{LIFETIMES, STRANGER, World, rotated};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL: scripts/with-postgres cargo test -p countersign-store -- --ignored"]
async fn a_revocation_is_told_for_as_long_as_tokens_live_that_another_node_has_issued_meanwhile() {
    let world = World::<PostgresHarness>::new().await;
    let other = world.harness.node().await;
    let alice = world.register("alice").await;
    let mut client = world.harness.connect().await;
    let holding = client.transaction().await.unwrap();
    holding.execute("SELECT 1 FROM countersign.accounts FOR UPDATE", &[]).await.unwrap();
    let store = world.store();
    let revoking = store.revoke_account(alice.id, STRANGER);
    let meanwhile = async {
        // It has begun, and waits for the account.
        world.harness.until_somebody_waits_for_a_lock().await;
        other.note_access_lifetime(Duration::from_secs(7200)).await.unwrap();
        holding.rollback().await.unwrap();
    };
    let (revoked, ()) = tokio::join!(revoking, meanwhile);
    revoked.unwrap().unwrap();
    let feed = store.revocations(0, 10).await.unwrap();
    assert_eq!(feed[0].expires_at, world.now() + Duration::from_secs(7200) + REVOCATION_MARGIN);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL: scripts/with-postgres cargo test -p countersign-store -- --ignored"]
async fn the_end_of_a_session_is_told_for_as_long_as_a_token_lives_that_was_issued_meanwhile() {
    let world = World::<PostgresHarness>::new().await;
    let alice = world.register("alice").await;
    let mut alive = world.sign_in_often(alice.id, 200).await;
    // Whoever ends a session may have read the clock after the refresh did that it meets.
    let (clock, witness) = (Arc::new(AtomicI64::default()), world.harness.folder.path().join("later.witness"));
    let later = Clock::Manual(Arc::clone(&clock));
    let later = PostgresStore::open(&world.harness.url(), &witness, OpenMode::Serve, later).await.unwrap();
    let later = Arc::new(later);
    let (mut escaped, mut refreshed_before, mut refused) = (vec![], 0, 0);
    while !alive.is_empty() {
        // None has an access token any more.
        world.advance(LIFETIMES.access_token * 2);
        clock.store(world.now().get() + 1000, Ordering::SeqCst);
        let ending = alive.len() - 20..alive.len();
        let mut ends = JoinSet::new();
        // Some before the refreshes, some meanwhile and some after them, so that they meet however fast the machine is.
        for (nth, signed_in) in (0..).zip(&alive[ending.clone()]) {
            let ended = Ended { account: alice.id, session: signed_in.session, reason: EndReason::SignedOut };
            let store = Arc::clone(&later);
            ends.spawn(async move {
                sleep(Duration::from_millis(nth * 2)).await;
                store.end_session(ended, STRANGER).await.unwrap()
            });
        }
        let mut refreshing = JoinSet::new();
        for (at, signed_in) in alive.iter().enumerate() {
            let (store, rotate) = (world.store(), world.presentation(&signed_in.token));
            refreshing.spawn(async move {
                sleep(Duration::from_millis(3)).await;
                (at, rotated(&*store, rotate).await.unwrap())
            });
        }
        let refreshed = refreshing.join_all().await;
        ends.join_all().await;

        let feed = world.feed().await;
        let told_until =
            |scope: RevocationScope| feed.iter().find(|told| told.scope == scope).map(|told| told.expires_at);
        for (at, answer) in refreshed {
            let session = alive[at].session;
            match answer {
                RotatedIn::Rotated(_, successor) => {
                    let until = world.now() + LIFETIMES.access_token;
                    refreshed_before += u32::from(ending.contains(&at));
                    if ending.contains(&at) && told_until(RevocationScope::Session(session)) < Some(until) {
                        escaped.push(session);
                    }
                    alive[at].token = successor;
                }
                RotatedIn::Refused(Refusal::Dead(Dead::Ended(EndReason::SignedOut))) if ending.contains(&at) => {
                    refused += 1;
                }
                other => panic!("{other:?}"),
            }
        }
        alive.truncate(ending.start);
    }
    assert!(escaped.is_empty(), "{escaped:?}");
    assert!(refreshed_before > 0 && refused > 0, "they met: {refreshed_before} before, {refused} after");
}

//! Throttles: every charge counts, by whichever process, until its allowance has grown back.

use std::time::Duration;

use countersign_core::throttles::{LONGEST_USAGE, LONGEST_WAIT, Quota, Usage};
use countersign_core::time::Millis;
use countersign_store::verbs::{Bucket, Charge, Sweep};
use tokio::task::JoinSet;

use crate::harness::Harness;
use crate::world::World;

const QUOTA: Quota = Quota { burst: 5, refill: Duration::from_secs(10) };
const ALICE: Bucket = Bucket::from_bytes([1; 16]);
const BOB: Bucket = Bucket::from_bytes([2; 16]);
const SWEEP: Sweep = Sweep {
    after: None,
    limit: 100,
    keep_sessions: Duration::from_secs(24 * 3600),
    keep_events: Duration::from_secs(24 * 3600),
};

fn charge(bucket: Bucket) -> Charge {
    Charge { bucket, quota: QUOTA }
}

/// What so many attempts leave where all of them came now.
fn used<H: Harness>(world: &World<H>, attempts: u32) -> Usage {
    Usage::until(world.now() + QUOTA.refill * attempts)
}

pub(crate) async fn charges_of_two_stores_add_up<H: Harness>(world: World<H>) {
    let (here, there) = (world.store(), world.harness.another().await);
    assert_eq!(here.throttle_usage(&[ALICE]).await.unwrap(), [Usage::NONE]);
    for _ in 0..2 {
        here.charge(vec![charge(ALICE)]).await.unwrap();
        there.charge(vec![charge(ALICE), charge(BOB)]).await.unwrap();
    }
    for store in [here, there] {
        let nobody = Bucket::from_bytes([9; 16]);
        let usage = store.throttle_usage(&[BOB, nobody, ALICE]).await.unwrap();
        assert_eq!(usage, [used(&world, 2), Usage::NONE, used(&world, 4)], "in the order of the question");
    }
    world.advance(Duration::from_secs(25));
    world.store().charge(vec![charge(ALICE), charge(BOB)]).await.unwrap();
    let usage = world.store().throttle_usage(&[ALICE, BOB]).await.unwrap();
    assert_eq!(usage[0], Usage::until(world.now() + Duration::from_secs(25)), "15 s were left");
    assert_eq!(usage[1], used(&world, 1), "it had grown back");
}

pub(crate) async fn racing_charges_are_all_counted<H: Harness>(world: World<H>) {
    let (here, there) = (world.store(), world.harness.another().await);
    let mut racing = JoinSet::new();
    for number in 0..32_u8 {
        let store = if number % 2 == 0 { here.clone() } else { there.clone() };
        // Some in the one order and some in the other: neither waits for the other without end.
        let batch = if number % 4 < 2 { [ALICE, BOB] } else { [BOB, ALICE] };
        racing.spawn(async move { store.charge(batch.map(charge).to_vec()).await });
    }
    for charged in racing.join_all().await {
        charged.unwrap();
    }
    assert_eq!(here.throttle_usage(&[ALICE, BOB]).await.unwrap(), [used(&world, 32), used(&world, 32)]);
}

pub(crate) async fn a_batch_counts_a_bucket_as_often_as_it_names_it<H: Harness>(world: World<H>) {
    let slow = Quota { burst: 2, refill: Duration::from_secs(60) };
    let batch = vec![charge(BOB), charge(ALICE), charge(BOB), Charge { bucket: BOB, quota: slow }];
    world.store().charge(batch).await.unwrap();
    let usage = world.store().throttle_usage(&[ALICE, BOB, BOB]).await.unwrap();
    let bob = Usage::until(world.now() + Duration::from_secs(80));
    assert_eq!(usage, [used(&world, 1), bob, bob]);
}

pub(crate) async fn an_empty_batch_is_nothing<H: Harness>(world: World<H>) {
    world.store().charge(vec![]).await.unwrap();
    assert_eq!(world.store().throttle_usage(&[]).await.unwrap(), []);
}

pub(crate) async fn usage_is_bounded_however_often_it_is_charged<H: Harness>(world: World<H>) {
    world.store().charge(vec![charge(ALICE); 1000]).await.unwrap();
    let usage = world.store().throttle_usage(&[ALICE]).await.unwrap()[0];
    assert_eq!(usage, Usage::until(world.now() + QUOTA.refill * QUOTA.burst + LONGEST_WAIT));
    // However long somebody thinks an allowance may take, it is a date that can be stored.
    let endless = Quota { burst: u32::MAX, refill: Duration::from_secs(u64::from(u32::MAX)) };
    world.store().charge(vec![Charge { bucket: BOB, quota: endless }]).await.unwrap();
    let usage = world.store().throttle_usage(&[BOB]).await.unwrap();
    assert_eq!(usage, [Usage::until(world.now() + LONGEST_USAGE)]);
}

pub(crate) async fn survive_a_restart<H: Harness>(mut world: World<H>) {
    world.store().charge(vec![charge(ALICE); 3]).await.unwrap();
    world.harness.restart().await;
    assert_eq!(world.store().throttle_usage(&[ALICE]).await.unwrap(), [used(&world, 3)]);
    assert!(world.events().await.is_empty(), "guesses that were charged are no events of their own");
}

pub(crate) async fn are_pruned_when_they_have_grown_back<H: Harness>(world: World<H>) {
    world.store().charge(vec![charge(ALICE), charge(BOB), charge(BOB)]).await.unwrap();
    let grown_back: Millis = used(&world, 2).grown_back_at();
    world.advance(QUOTA.refill - Duration::from_millis(1));
    assert_eq!(world.store().prune(SWEEP).await.unwrap().throttles, 0);
    world.advance(Duration::from_millis(1));
    assert_eq!(world.store().prune(SWEEP).await.unwrap().throttles, 1);
    let usage = world.store().throttle_usage(&[ALICE, BOB]).await.unwrap();
    assert_eq!(usage, [Usage::NONE, Usage::until(grown_back)], "what still counts stays");
    world.advance(QUOTA.refill);
    assert_eq!(world.store().prune(SWEEP).await.unwrap().throttles, 1);
    assert_eq!(world.store().throttle_usage(&[BOB]).await.unwrap(), [Usage::NONE]);
}

pub(crate) async fn are_pruned_in_steps_and_where_a_clock_was_ahead<H: Harness>(world: World<H>) {
    let batch = (0..10).map(|number| charge(Bucket::from_bytes([number; 16]))).collect();
    world.store().charge(batch).await.unwrap();
    world.advance(QUOTA.refill);
    let mut steps = vec![];
    for _ in 0..4 {
        steps.push(world.store().prune(Sweep { limit: 4, ..SWEEP }).await.unwrap().throttles);
    }
    assert_eq!(steps, [4, 4, 2, 0]);

    world.advance(LONGEST_USAGE * 30);
    world.store().charge(vec![charge(ALICE)]).await.unwrap();
    let ahead = i64::try_from((LONGEST_USAGE * 30).as_millis()).unwrap();
    world.harness.clock().fetch_sub(ahead, std::sync::atomic::Ordering::SeqCst);
    assert_eq!(world.store().prune(SWEEP).await.unwrap().throttles, 1, "nobody waits for a month");
    assert_eq!(world.store().throttle_usage(&[ALICE]).await.unwrap(), [Usage::NONE]);
}

pub(crate) async fn a_charge_beside_pruning_is_counted<H: Harness>(world: World<H>) {
    let (here, there) = (world.store(), world.harness.another().await);
    let buckets: Vec<Bucket> = (0..60).map(|number| Bucket::from_bytes([number; 16])).collect();
    for round in 0..10 {
        // One after the other, so that some come at the very moment.
        let charging = async {
            for few in buckets.chunks(3) {
                there.charge(few.iter().map(|bucket| charge(*bucket)).collect()).await.unwrap();
            }
        };
        let (pruned, ()) = tokio::join!(here.prune(SWEEP), charging);
        pruned.unwrap();
        let usage = here.throttle_usage(&buckets).await.unwrap();
        assert!(usage.iter().all(|usage| *usage == used(&world, 1)), "round {round}: {usage:?}");
        // Now all of them have grown back, and are there to be pruned and charged.
        world.advance(QUOTA.refill);
    }
}

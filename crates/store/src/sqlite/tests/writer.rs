//! Many verbs in one transaction, and each for itself.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use countersign_core::events::Origin;
use countersign_core::ids::AccountId;
use countersign_core::sessions::rotation::Replay;
use rusqlite::StatementStatus;
use tokio::task::JoinSet;

use super::{LIFETIMES, Place, id, new_account, presentation, register, rotate, sign_in};
use crate::error::StoreError;
use crate::sqlite::rows::execute;
use crate::sqlite::writing::Writing;
use crate::sqlite::{SqliteStore, accounts, rotation};
use crate::verbs::{Registered, RotatedIn};
use crate::{Store as _, StoreResult};

/// Holds the writer up, so that what is sent meanwhile shares one transaction.
async fn hold_up(store: &Arc<SqliteStore>) -> (Sender<()>, JoinSet<()>) {
    let (go_on, wait) = channel::<()>();
    let (started, start) = tokio::sync::oneshot::channel();
    let mut held = JoinSet::new();
    let store = Arc::clone(store);
    held.spawn(async move {
        let waiting = store.writer.run(move |_| {
            started.send(()).unwrap();
            wait.recv().map_err(|error| StoreError::Internal(error.to_string()))
        });
        waiting.await.unwrap();
    });
    start.await.unwrap();
    (go_on, held)
}

async fn exists(store: &SqliteStore, number: u32) -> bool {
    store.account(AccountId::from_bytes(id(number))).await.unwrap().is_some()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_verb_that_fails_or_panics_takes_only_itself_back() {
    let place = Place::new();
    let store = Arc::new(place.open());
    register(&store, 1).await;
    let before = place.commit_seq();
    let (go_on, held) = hold_up(&store).await;
    let mut jobs: Vec<_> = (10..30)
        .map(|number| {
            let job = store.writer.run(move |writing| {
                let registered = accounts::register(writing, new_account(number), Origin::SERVER)?;
                match number % 4 {
                    0 => Err(StoreError::Internal("on purpose".to_owned())),
                    1 => panic!("on purpose"),
                    _ => Ok(registered),
                }
            });
            (number, Box::pin(job))
        })
        .collect();
    for (_, job) in &mut jobs {
        assert!(poll_once(job).is_none(), "it waits in the queue");
    }
    go_on.send(()).unwrap();
    for (number, job) in jobs {
        let answer = job.await;
        match number % 4 {
            0 => assert!(matches!(answer, Err(StoreError::Internal(text)) if text == "on purpose")),
            1 => assert!(matches!(answer, Err(StoreError::Internal(text)) if text == "a verb panicked")),
            _ => assert!(matches!(answer, Ok(Registered::Done(_)))),
        }
        assert_eq!(exists(&store, number).await, number % 4 > 1, "account {number}");
    }
    held.join_all().await;
    assert_eq!(place.count("SELECT count(*) FROM events"), 11);
    assert_eq!(place.commit_seq(), before + 1, "they shared a transaction");
    register(&store, 2).await;
}

/// What becomes of an account whose verb shares a transaction with `work`, which is not guarded, and of the account of `work`.
async fn beside_unguarded(
    work: impl FnOnce(&Writing<'_>) -> StoreResult<()> + Send + 'static,
) -> (StoreResult<()>, StoreResult<Registered>, [bool; 2]) {
    let place = Place::new();
    let store = Arc::new(place.open());
    let (go_on, held) = hold_up(&store).await;
    let mut neighbour =
        Box::pin(store.writer.run(|writing| accounts::register(writing, new_account(1), Origin::SERVER)));
    let mut unguarded = Box::pin(async { store.writer.decide(work).await?.committed().await });
    assert!(poll_once(&mut neighbour).is_none() && poll_once(&mut unguarded).is_none(), "they wait in the queue");
    go_on.send(()).unwrap();
    let (neighbour, unguarded) = (neighbour.await, unguarded.await);
    held.join_all().await;
    let found = [exists(&store, 1).await, exists(&store, 2).await];
    register(&store, 3).await;
    (unguarded, neighbour, found)
}

fn on_purpose() -> StoreError {
    StoreError::Internal("on purpose".to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_verb_without_a_guard_harms_nobody_where_it_fails_before_it_writes() {
    let (unguarded, neighbour, found) = beside_unguarded(|_| Err(on_purpose())).await;
    assert!(matches!(unguarded, Err(StoreError::Internal(text)) if text == "on purpose"));
    assert!(matches!(neighbour, Ok(Registered::Done(_))));
    assert_eq!(found, [true, false]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_verb_that_asks_for_a_guard_takes_only_itself_back() {
    let (unguarded, neighbour, found) = beside_unguarded(|writing| {
        writing.guard()?;
        writing.guard()?;
        accounts::register(writing, new_account(2), Origin::SERVER)?;
        Err(on_purpose())
    })
    .await;
    assert!(unguarded.is_err() && matches!(neighbour, Ok(Registered::Done(_))));
    assert_eq!(found, [true, false]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_verb_without_a_guard_leaves_half_done_is_never_committed() {
    let (unguarded, neighbour, found) = beside_unguarded(|writing| {
        accounts::register(writing, new_account(2), Origin::SERVER)?;
        Err(on_purpose())
    })
    .await;
    assert!(unguarded.is_err());
    assert!(matches!(neighbour, Err(StoreError::Internal(text)) if text.contains("without a guard")));
    assert_eq!(found, [false, false]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guard_that_comes_too_late_is_none() {
    let (unguarded, neighbour, found) = beside_unguarded(|writing| {
        accounts::register(writing, new_account(2), Origin::SERVER)?;
        writing.guard()
    })
    .await;
    assert!(matches!(unguarded, Err(StoreError::Internal(text)) if text.contains("asked for its guard")));
    assert!(matches!(neighbour, Err(StoreError::Internal(text)) if text.contains("without a guard")));
    assert_eq!(found, [false, false]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_told_before_its_commit_counts_for_nothing_where_that_fails() {
    let place = Place::new();
    let store = Arc::new(place.open());
    register(&store, 1).await;
    let token = sign_in(&store, 1, 1).await;
    let (go_on, held) = hold_up(&store).await;
    // Noticed by COMMIT, and not before.
    let mut spoiling = Box::pin(store.writer.run(|writing| {
        execute(writing.connection, "PRAGMA defer_foreign_keys = ON", [])?;
        execute(writing.connection, "UPDATE sessions SET account = zeroblob(16)", [])
    }));
    let mut rotating = store.rotate(presentation(&token), Origin::SERVER);
    assert!(poll_once(&mut spoiling).is_none() && poll_once(&mut rotating).is_none(), "they wait in the queue");
    go_on.send(()).unwrap();
    let told = rotating.await.unwrap();
    assert!(told.meanwhile(Clone::clone).await.is_err() && spoiling.await.is_err());
    held.join_all().await;
    assert!(matches!(rotate(&store, &token).await, RotatedIn::Rotated(..)), "its token is still the current one");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_together_is_committed_together() {
    let place = Place::new();
    let store = Arc::new(place.open());
    let before = place.commit_seq();
    let (go_on, held) = hold_up(&store).await;
    let mut waiting: Vec<_> = (1..=100).map(|number| store.register(new_account(number), Origin::SERVER)).collect();
    for job in &mut waiting {
        assert!(poll_once(job).is_none());
    }
    go_on.send(()).unwrap();
    for job in waiting {
        assert!(matches!(job.await.unwrap(), Registered::Done(_)));
    }
    held.join_all().await;
    assert_eq!(place.commit_seq(), before + 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn what_is_ready_to_run_shares_a_transaction_though_the_writer_is_idle() {
    let place = Place::new();
    let store = Arc::new(place.open());
    register(&store, 1).await;
    let before = place.commit_seq();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        // From within a worker, so that none of them runs before all are there.
        let mut tasks = JoinSet::new();
        for number in 2..=20 {
            let store = Arc::clone(&store);
            tasks.spawn(async move { register(&store, number).await });
        }
        tasks.join_all().await;
    });
    tasks.join_all().await;
    assert_eq!(place.commit_seq(), before + 1);
}

#[tokio::test]
async fn whoever_is_not_polled_any_more_keeps_nobody_waiting() {
    let place = Place::new();
    let store = place.open();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut job = store.register(new_account(1), Origin::SERVER);
        assert!(poll_once(&mut job).is_none());
        register(&store, 2).await;
        assert!(exists(&store, 1).await);
        assert!(matches!(job.await.unwrap(), Registered::Done(_)));
    });
    tasks.join_all().await;
}

#[test]
fn a_verb_is_done_where_nothing_runs_tasks() {
    let place = Place::new();
    let store = place.open();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    // It is known, but nobody drives it.
    let _known = runtime.enter();
    let mut job = store.register(new_account(1), Origin::SERVER);
    let deadline = Instant::now() + Duration::from_secs(10);
    let registered = loop {
        match poll_once(&mut job) {
            Some(registered) => break registered,
            None => assert!(Instant::now() < deadline, "nobody rang"),
        }
        std::thread::sleep(Duration::from_millis(1));
    };
    assert!(matches!(registered.unwrap(), Registered::Done(_)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_is_full_says_so_and_recovers() {
    let place = Place::new();
    let store = Arc::new(place.open());
    let (go_on, held) = hold_up(&store).await;
    let mut waiting = vec![];
    let refused = loop {
        let mut job = Box::pin(store.writer.run(|_| Ok(())));
        match poll_once(&mut job) {
            None => waiting.push(job),
            Some(answer) => break answer,
        }
    };
    assert!(matches!(refused, Err(StoreError::Unavailable(text)) if text.contains("too many")));
    assert!(waiting.len() >= 1000, "there is room for a burst: {}", waiting.len());
    assert!(!exists(&store, 1).await, "reads go on");
    go_on.send(()).unwrap();
    for job in waiting {
        job.await.unwrap();
    }
    held.join_all().await;
    register(&store, 1).await;
}

#[tokio::test]
async fn what_changes_nothing_is_not_committed() {
    let place = Place::new();
    let store = place.open();
    register(&store, 1).await;
    let token = sign_in(&store, 1, 1).await;
    let RotatedIn::Rotated(_, second) = rotate(&store, &token).await else { panic!("it is the current token") };
    assert!(matches!(rotate(&store, &second).await, RotatedIn::Rotated(..)));
    let before = place.commit_seq();
    assert!(matches!(rotate(&store, &token).await, RotatedIn::Refused(_)));
    assert_eq!(store.register(new_account(1), Origin::SERVER).await.unwrap(), Registered::UsernameTaken);
    store.ready().await.unwrap();
    assert_eq!(place.commit_seq(), before);
}

#[tokio::test]
async fn a_rotation_is_planned_once_and_not_for_each_token() {
    let place = Place::new();
    let store = place.open();
    register(&store, 1).await;
    for number in 1..4 {
        let token = sign_in(&store, 1, number).await;
        assert!(matches!(rotate(&store, &token).await, RotatedIn::Rotated(..)));
    }
    let status = |status| {
        store.writer.run(move |writing| Ok(writing.connection.prepare_cached(rotation::FIND)?.get_status(status)))
    };
    assert_eq!(status(StatementStatus::Run).await.unwrap(), 3, "it is the statement that rotations run");
    assert_eq!(status(StatementStatus::RePrepare).await.unwrap(), 0);
}

#[tokio::test]
async fn whoever_goes_away_has_written_all_the_same() {
    let place = Place::new();
    let store = place.open();
    let mut job = store.register(new_account(1), Origin::SERVER);
    let _ = poll_once(&mut job);
    drop(job);
    // The writer works in order: whatever was sent before this is done when it is.
    register(&store, 2).await;
    assert!(exists(&store, 1).await);
}

#[tokio::test]
async fn another_process_that_holds_the_lock_makes_it_unavailable_and_no_more() {
    let place = Place::new();
    let store = place.open();
    let raw = place.raw();
    raw.execute_batch("BEGIN IMMEDIATE").unwrap();
    let refused = store.register(new_account(1), Origin::SERVER).await;
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
    assert!(!exists(&store, 1).await, "reads go on");
    raw.execute_batch("ROLLBACK").unwrap();
    register(&store, 1).await;
}

/// Polls once, with nobody to wake: what is ready by then.
fn poll_once<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match std::pin::Pin::new(future).poll(&mut context) {
        std::task::Poll::Ready(output) => Some(output),
        std::task::Poll::Pending => None,
    }
}

#[tokio::test]
async fn a_client_without_a_retry_key_outlives_a_commit_that_hung_for_longer_than_the_overlap() {
    let place = Place::new();
    let store = place.open();
    register(&store, 1).await;
    let (hung, late) = (sign_in(&store, 1, 2).await, sign_in(&store, 1, 3).await);
    let overlap = i64::try_from(LIFETIMES.rotation_overlap.as_millis()).unwrap();
    let (clock, presented) = (Arc::clone(&place.clock), [presentation(&hung), presentation(&late)]);
    let hanging = store.writer.run(move |writing| {
        for presented in &presented {
            assert!(matches!(rotation::rotate(writing, presented, Origin::SERVER)?, RotatedIn::Rotated(..)));
        }
        clock.fetch_add(2 * overlap, Ordering::Relaxed);
        Ok(())
    });
    hanging.await.unwrap();
    place.clock.fetch_add(overlap - 1, Ordering::Relaxed);
    assert!(matches!(rotate(&store, &hung).await, RotatedIn::Reissued(..)));
    place.clock.fetch_add(1, Ordering::Relaxed);
    assert!(matches!(rotate(&store, &late).await, RotatedIn::Replayed(Replay::AfterOverlap, _)));
}

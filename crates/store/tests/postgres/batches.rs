//! Refreshes that arrive together.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use countersign_core::sessions::rotation::Refusal;
use countersign_core::sessions::state::{Dead, EndReason};
use countersign_store::verbs::RotatedIn;
use countersign_store::{Store, StoreError};
use tokio::task::JoinSet;

use crate::postgres_harness::PostgresHarness;
use crate::world::{STRANGER, SignedIn, World, rotated};

async fn many(world: &World<PostgresHarness>, sessions: usize) -> Vec<SignedIn> {
    let alice = world.register("alice").await;
    let mut signed_in = vec![];
    for _ in 0..sessions {
        signed_in.push(world.sign_in(alice.id).await);
    }
    signed_in
}

fn refresh_all(world: &World<PostgresHarness>, sessions: &[SignedIn]) -> JoinSet<Result<RotatedIn, StoreError>> {
    let mut running = JoinSet::new();
    for signed_in in sessions {
        let (store, rotate) = (world.store(), world.presentation(&signed_in.token));
        running.spawn(async move { rotated(&*store, rotate).await });
    }
    running
}

async fn commits(client: &tokio_postgres::Client) -> i64 {
    let sql = "SELECT coalesce(sum(commit_seq), 0)::bigint FROM countersign.lanes";
    client.query_one(sql, &[]).await.unwrap().get(0)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL: scripts/with-postgres cargo test -p countersign-store -- --ignored"]
async fn many_share_a_commit() {
    let world = World::<PostgresHarness>::new().await;
    let sessions = many(&world, 200).await;
    let client = world.harness.connect().await;
    let before = commits(&client).await;
    let answers = refresh_all(&world, &sessions).join_all().await;
    assert!(answers.iter().all(|answer| matches!(answer, Ok(RotatedIn::Rotated(..)))));
    let used = commits(&client).await - before;
    assert!(used < 100, "200 refreshes took {used} commits");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL: scripts/with-postgres cargo test -p countersign-store -- --ignored"]
async fn the_first_refresh_of_a_connection_is_part_of_its_transaction() {
    let world = World::<PostgresHarness>::new().await;
    let signed_in = many(&world, 1).await.remove(0);
    let client = world.harness.connect().await;
    let mut token = signed_in.token;
    for _ in 0..5 {
        let kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                    WHERE datname = current_database() AND pid <> pg_backend_pid()";
        client.batch_execute(kill).await.unwrap();
        token = world.successor(&token).await;
        let sql =
            "SELECT count(*) FROM countersign.families f JOIN countersign.lanes l ON l.xmin = f.xmin WHERE f.id = $1";
        let counted: i64 = client.query_one(sql, &[&token.family.as_uuid()]).await.unwrap().get(0);
        assert_eq!(counted, 1, "the family was written by the transaction that was counted");
    }
}

/// Has PostgreSQL refuse so many commits of refreshes, in a way that asks for another try.
async fn refuse_commits(world: &World<PostgresHarness>, times: u32) {
    let sql = format!(
        "CREATE SEQUENCE refusals;
         CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
           IF nextval('public.refusals') <= {times} THEN RAISE EXCEPTION 'on purpose' USING ERRCODE = '40001'; END IF;
           RETURN NULL;
         END $$;
         CREATE CONSTRAINT TRIGGER refuse AFTER UPDATE ON countersign.families DEFERRABLE INITIALLY DEFERRED
         FOR EACH ROW EXECUTE FUNCTION refuse()"
    );
    world.harness.sql(&sql).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL: scripts/with-postgres cargo test -p countersign-store -- --ignored"]
async fn a_commit_that_was_refused_is_tried_again_after_its_answer_was_told() {
    let world = World::<PostgresHarness>::new().await;
    let token = many(&world, 1).await.remove(0).token;
    refuse_commits(&world, 2).await;
    let told = world.store().rotate(world.presentation(&token), STRANGER).await.unwrap();
    let shown = AtomicU32::new(0);
    let made = told.meanwhile(|answer| {
        shown.fetch_add(1, Ordering::Relaxed);
        answer.clone()
    });
    let RotatedIn::Rotated(_, successor) = made.await.unwrap() else { panic!("it is the current one") };
    assert_eq!(shown.into_inner(), 2, "what was told first, and what was committed");
    world.successor(&successor).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL: scripts/with-postgres cargo test -p countersign-store -- --ignored"]
async fn an_answer_that_was_told_and_never_committed_is_not_given() {
    let world = World::<PostgresHarness>::new().await;
    let token = many(&world, 1).await.remove(0).token;
    refuse_commits(&world, 1_000_000).await;
    let told = world.store().rotate(world.presentation(&token), STRANGER).await.unwrap();
    let answer = told.meanwhile(Clone::clone).await;
    assert!(matches!(answer, Err(StoreError::Unavailable(_))), "{answer:?}");
    world.harness.sql("DROP TRIGGER refuse ON countersign.families").await;
    assert!(matches!(world.rotate(&token).await, RotatedIn::Rotated(..)), "it is still the current one");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL: scripts/with-postgres cargo test -p countersign-store -- --ignored"]
async fn a_row_that_somebody_holds_delays_itself_alone() {
    let world = World::<PostgresHarness>::new().await;
    let sessions = many(&world, 200).await;
    let mut client = world.harness.connect().await;
    let (watching, before) = (world.harness.connect().await, commits(&client).await);
    let holding = client.transaction().await.unwrap();
    let held = sessions[7].token.family.as_uuid();
    holding.execute("SELECT 1 FROM countersign.families WHERE id = $1 FOR UPDATE", &[&held]).await.unwrap();

    let began = Instant::now();
    let mut refreshing = refresh_all(&world, &sessions);
    for _ in 1..sessions.len() {
        let answer = refreshing.join_next().await.unwrap().unwrap();
        assert!(matches!(answer, Ok(RotatedIn::Rotated(..))), "{answer:?}");
    }
    assert!(began.elapsed() < Duration::from_millis(1000), "they did not wait for the lock: {:?}", began.elapsed());
    let used = commits(&watching).await - before;
    assert!(used < 100, "they still share commits: {used}");
    assert!(refreshing.try_join_next().is_none(), "the one that is held waits for whoever holds it");
    holding.rollback().await.unwrap();
    assert!(matches!(refreshing.join_next().await.unwrap().unwrap(), Ok(RotatedIn::Rotated(..))));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL: scripts/with-postgres cargo test -p countersign-store -- --ignored"]
async fn where_the_row_of_a_lane_is_held_refreshes_take_another_lane() {
    let world = World::<PostgresHarness>::new().await;
    let mut token = many(&world, 1).await.remove(0).token;
    let mut client = world.harness.connect().await;
    let holding = client.transaction().await.unwrap();
    holding.execute("SELECT 1 FROM countersign.lanes FOR UPDATE", &[]).await.unwrap();
    // After a wait that is short, since nobody else takes that lane, and then without one: the lane rests.
    for most in [1000, 190, 190, 190] {
        let began = Instant::now();
        token = world.successor(&token).await;
        assert!(began.elapsed() < Duration::from_millis(most), "it waited for {:?}", began.elapsed());
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL: scripts/with-postgres cargo test -p countersign-store -- --ignored"]
async fn a_table_that_is_locked_for_a_moment_refuses_nobody() {
    let world = World::<PostgresHarness>::new().await;
    let sessions = many(&world, 20).await;
    let mut client = world.harness.connect().await;
    let holding = client.transaction().await.unwrap();
    holding.batch_execute("LOCK TABLE countersign.families").await.unwrap();
    let refreshing = refresh_all(&world, &sessions);
    tokio::time::sleep(Duration::from_millis(400)).await;
    holding.rollback().await.unwrap();
    let answers = refreshing.join_all().await;
    assert!(answers.iter().all(|answer| matches!(answer, Ok(RotatedIn::Rotated(..)))), "{answers:?}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL: scripts/with-postgres cargo test -p countersign-store -- --ignored"]
async fn a_session_that_ends_after_it_was_read_is_not_refreshed() {
    let world = World::<PostgresHarness>::new().await;
    let sessions = many(&world, 5).await;
    let (ending, family) = (sessions[2].session.as_uuid(), sessions[2].token.family.as_uuid());
    let mut client = world.harness.connect().await;
    let holding = client.transaction().await.unwrap();
    holding.execute("SELECT 1 FROM countersign.families WHERE id = $1 FOR UPDATE", &[&family]).await.unwrap();
    let rotate = world.presentation(&sessions[2].token);
    // Nobody was waited for when it was read.
    let told = world.store().rotate(rotate, STRANGER).await.unwrap();
    let mut others = refresh_all(&world, &sessions[..2]);
    others.spawn(async move {
        let shown = Mutex::new(vec![]);
        told.meanwhile(|answer| shown.lock().unwrap().push(answer.clone())).await?;
        let shown = shown.into_inner().unwrap();
        assert!(matches!(shown[0], RotatedIn::Rotated(..)), "{shown:?}");
        Ok(shown.last().unwrap().clone())
    });
    world.harness.until_somebody_waits_for_a_lock().await;
    let end = "UPDATE countersign.families SET ended_at = 1, end_reason = 'signed_out' WHERE session = $1";
    holding.execute(end, &[&ending]).await.unwrap();
    holding.commit().await.unwrap();
    let answers = others.join_all().await;
    let refused = RotatedIn::Refused(Refusal::Dead(Dead::Ended(EndReason::SignedOut)));
    assert_eq!(answers.iter().filter(|answer| matches!(answer, Ok(RotatedIn::Rotated(..)))).count(), 2, "{answers:?}");
    assert_eq!(
        answers.iter().filter(|answer| matches!(answer, Ok(answer) if *answer == refused)).count(),
        1,
        "{answers:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL: scripts/with-postgres cargo test -p countersign-store -- --ignored"]
async fn what_was_read_before_the_database_moved_is_not_written_afterwards() {
    let world = World::<PostgresHarness>::new().await;
    let token = many(&world, 1).await.remove(0).token;
    let mut client = world.harness.connect().await;
    let moving = client.transaction().await.unwrap();
    moving.batch_execute("LOCK TABLE countersign.lanes IN SHARE MODE").await.unwrap();
    let told = world.store().rotate(world.presentation(&token), STRANGER).await.unwrap();
    let mut waiting = JoinSet::new();
    waiting.spawn(told.committed());
    world.harness.until_somebody_waits_for_a_lock().await;
    let away = "UPDATE countersign.auth_state SET moved_to = 'elsewhere', moved_by = gen_random_uuid()";
    moving.batch_execute(away).await.unwrap();
    moving.commit().await.unwrap();
    let answer = waiting.join_next().await.unwrap().unwrap();
    assert!(matches!(answer, Err(StoreError::Moved(_))), "{answer:?}");
    let written = "SELECT count(*) FROM countersign.families WHERE generation > 0";
    assert_eq!(client.query_one(written, &[]).await.unwrap().get::<_, i64>(0), 0);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL: scripts/with-postgres cargo test -p countersign-store -- --ignored"]
async fn two_nodes_that_refresh_the_same_sessions_at_once_give_each_one_successor() {
    let world = World::<PostgresHarness>::new().await;
    let nodes: [Arc<dyn Store>; 2] = [world.store(), world.harness.node().await];
    let alice = world.register("alice").await;
    let mut sessions = world.sign_in_often(alice.id, 100).await;
    let client = world.harness.connect().await;
    for _ in 0..10 {
        let mut refreshing = JoinSet::new();
        for (at, signed_in) in sessions.iter().enumerate() {
            for store in nodes.iter().chain(&nodes).cloned() {
                let rotate = world.presentation(&signed_in.token);
                refreshing.spawn(async move { (at, rotated(&*store, rotate).await.unwrap()) });
            }
        }
        let (mut rotations, mut reissues) = (HashMap::new(), vec![]);
        for (at, answer) in refreshing.join_all().await {
            match answer {
                RotatedIn::Rotated(_, successor) => assert!(rotations.insert(at, successor).is_none(), "twice"),
                RotatedIn::Reissued(_, successor) => reissues.push((at, successor)),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!((rotations.len(), reissues.len()), (100, 300));
        assert!(reissues.iter().all(|(at, successor)| rotations[at].hash() == successor.hash()), "one successor");
        let sql = "SELECT count(*) FROM countersign.families WHERE reissues <> 3";
        assert_eq!(client.query_one(sql, &[]).await.unwrap().get::<_, i64>(0), 0, "none was forgotten");
        // Retries in three generations in a row would be told, each in a transaction of its own.
        for (at, signed_in) in sessions.iter_mut().enumerate() {
            signed_in.token = world.successor(&rotations[&at]).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL: scripts/with-postgres cargo test -p countersign-store -- --ignored"]
async fn a_row_that_cannot_be_read_fails_alone() {
    let world = World::<PostgresHarness>::new().await;
    let sessions = many(&world, 10).await;
    let spoil = format!("UPDATE countersign.families SET client = '' WHERE id = '{}'", sessions[3].token.family);
    world.harness.sql(&spoil).await;
    let store = world.store();
    let mut running = JoinSet::new();
    for (at, signed_in) in sessions.iter().enumerate() {
        let (store, rotate) = (store.clone(), world.presentation(&signed_in.token));
        running.spawn(async move { (at, rotated(&*store, rotate).await) });
    }
    for (at, answer) in running.join_all().await {
        match at {
            3 => assert!(matches!(answer, Err(StoreError::Corrupt(_))), "{answer:?}"),
            _ => assert!(matches!(answer, Ok(RotatedIn::Rotated(..))), "{answer:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL: scripts/with-postgres cargo test -p countersign-store -- --ignored"]
async fn a_stolen_token_that_comes_a_hundred_times_ends_its_session_once_and_in_a_few_commits() {
    let world = World::<PostgresHarness>::new().await;
    let sessions = many(&world, 1).await;
    let first = sessions[0].clone();
    world.successor(&world.successor(&first.token).await).await;
    world.advance(Duration::from_secs(3600));
    let client = world.harness.connect().await;
    let before = commits(&client).await;
    let answers = refresh_all(&world, &vec![first; 100]).join_all().await;
    let replayed = answers.iter().filter(|answer| matches!(answer, Ok(RotatedIn::Replayed(..)))).count();
    assert_eq!(replayed, 1);
    assert!(answers.iter().all(|answer| matches!(answer, Ok(RotatedIn::Replayed(..) | RotatedIn::Refused(_)))));
    let used = commits(&client).await - before;
    assert!(used < 10, "a hundred presentations took {used} commits");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL: scripts/with-postgres cargo test -p countersign-store -- --ignored"]
async fn whoever_hammers_a_row_that_somebody_holds_takes_no_connection_from_the_others() {
    let world = World::<PostgresHarness>::new().await;
    let sessions = many(&world, 2).await;
    let mut client = world.harness.connect().await;
    let holding = client.transaction().await.unwrap();
    let held = sessions[0].token.family.as_uuid();
    holding.execute("SELECT 1 FROM countersign.families WHERE id = $1 FOR UPDATE", &[&held]).await.unwrap();

    let mut hammering = refresh_all(&world, &vec![sessions[0].clone(); 200]);
    let mut token = sessions[1].token.clone();
    for _ in 0..20 {
        let began = Instant::now();
        token = world.successor(&token).await;
        assert!(world.denied(sessions[1].session).await.is_none());
        assert!(began.elapsed() < Duration::from_millis(500), "somebody else waited for {:?}", began.elapsed());
    }
    assert!(hammering.try_join_next().is_none(), "they wait for whoever holds the row");
    holding.rollback().await.unwrap();
    let answers = hammering.join_all().await;
    let rotated = answers.iter().filter(|answer| matches!(answer, Ok(RotatedIn::Rotated(..)))).count();
    let reissued = answers.iter().filter(|answer| matches!(answer, Ok(RotatedIn::Reissued(..)))).count();
    assert_eq!((rotated, reissued), (1, 199));
}

//! What holds for every pair of back-ends.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;
use std::time::Duration;

use countersign_core::accounts::Username;
use countersign_core::events::{EventKind, Origin};
use countersign_core::ids::ReaderId;
use countersign_core::keys::KeyUse;
use countersign_core::roles::{Role, Roles};
use countersign_core::sessions::refresh_token::RefreshToken;
use countersign_core::throttles::Quota;
use countersign_store::StoreError;
use countersign_store::database::OpenMode;
use countersign_store::error::MovedError;
use countersign_store::transfer::{Progress, TransferError};
use countersign_store::verbs::{Bucket, Charge, EventQuery, NewKey, NewReader, RotatedIn, StoredKeyDraft};

use crate::dump::{dump, without_arrival};
use crate::harness::Harness;
use crate::house::{House, Site};
use crate::world::{STRANGER, World, rotated};

/// More rows than go over at once.
const MANY: usize = 2500;

/// Some of everything that a database can hold; the current tokens of sessions that live.
async fn furnished<const POSTGRES: bool>() -> (World<House<POSTGRES>>, Vec<RefreshToken>) {
    let world = World::<House<POSTGRES>>::new().await;
    let store = world.store();
    let (alice, bob, carol) =
        (world.register("alice").await, world.register("bob").await, world.register("carol").await);
    store.set_roles(alice.id, Roles::parse(["Admin", "billing:read"]).unwrap(), STRANGER).await.unwrap();
    let mut tokens = vec![world.sign_in(alice.id).await.token];
    for turn in 0..4 {
        let begun = world.sign_in(alice.id).await;
        let mut token = begun.token;
        for _ in 0..turn {
            world.advance(Duration::from_secs(90));
            token = world.successor(&token).await;
        }
        tokens.push(token);
    }
    let keyed = world.sign_in(alice.id).await;
    let RotatedIn::Rotated(_, keyed) = world.rotate_keyed(&keyed.token, "a key that only one client knows").await
    else {
        panic!("it rotates");
    };
    tokens.push(keyed);
    world.sign_in(bob.id).await;
    store.disable_account(bob.id, STRANGER).await.unwrap();
    let ended = world.sign_in(carol.id).await;
    world.end(carol.id, ended.session).await.unwrap();
    let replayed = world.sign_in(carol.id).await;
    world.successor(&replayed.token).await;
    world.rotate_keyed(&replayed.token, "a thief's key that fits nothing").await;
    world.sign_in(carol.id).await;
    store.revoke_account(carol.id, STRANGER).await.unwrap();
    store.refuse_sign_in(Some(carol.id), "wrong_password", STRANGER).await.unwrap();
    for (kid, key_use) in [("first", KeyUse::Signing), ("1", KeyUse::RefreshTag)] {
        assert!(store.add_keys(vec![key(kid, key_use, None)], Origin::SERVER).await.unwrap());
    }
    assert!(store.add_keys(vec![key("second", KeyUse::Signing, Some("first"))], Origin::SERVER).await.unwrap());
    let reader = NewReader { id: ReaderId::from_bytes(world.draw()), name: "wetter ☀".to_owned(), key_hash: [9; 32] };
    store.admit_reader(reader, Origin::COMMAND_LINE).await.unwrap();
    let quota = Quota { burst: 3, refill: Duration::from_secs(10) };
    store.charge(vec![Charge { bucket: Bucket::from_bytes(world.draw()), quota }]).await.unwrap();
    store.note_access_lifetime(Duration::from_secs(777)).await.unwrap();
    (world, tokens)
}

/// Adds sessions that nobody uses, past the store.
async fn crowded<const POSTGRES: bool>(world: &World<House<POSTGRES>>) {
    let site = &world.harness.site;
    let (series, draw) = if POSTGRES {
        (format!("SELECT x FROM generate_series(1, {MANY}) x"), "md5(x::text || 'KIND')::uuid")
    } else {
        let series =
            format!("WITH RECURSIVE s(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM s WHERE x < {MANY}) SELECT x FROM s");
        (series, "unhex(printf('%08x%s', (x * 2654435761) % 4294967296, substr(hex('KIND-------------'), 1, 24)))")
    };
    let (session, family) = (draw.replace("KIND", "session"), draw.replace("KIND", "family"));
    site.sql(&format!(
        "CREATE TABLE crowd AS SELECT {session} AS session, {family} AS family FROM ({series}) AS numbers; \
         INSERT INTO sessions SELECT c.session, s.account, s.device, s.address, s.created_at FROM crowd c CROSS JOIN (SELECT * FROM sessions LIMIT 1) s; \
         INSERT INTO families SELECT c.family, c.session, f.account, f.born_global, f.born_session, \
         f.session_expires_at, f.ended_at, f.end_reason, f.client, f.generation, f.current_hash, f.previous_hash, f.nonce, \
         f.retry_hash, f.rotated_at, f.idle_expires_at, f.access_expires_at, f.reissues, f.reissue_streak, f.older_generation, \
         f.older_at, f.newer_generation, f.newer_at FROM crowd c CROSS JOIN (SELECT * FROM families LIMIT 1) f; \
         DROP TABLE crowd"
    ))
    .await;
}

fn key(kid: &str, key_use: KeyUse, expected_newest: Option<&str>) -> NewKey {
    let draft = StoredKeyDraft {
        kid: kid.to_owned(),
        key_use,
        algorithm: "ES256".to_owned(),
        sealed: vec![0, 1, 2, 255],
        active_after: Duration::ZERO,
    };
    NewKey { key: draft, expected_newest: expected_newest.map(str::to_owned), overlap: Duration::from_secs(60) }
}

fn is_away<T>(answer: Result<T, StoreError>, to: &Site) -> bool {
    matches!(answer, Err(StoreError::Moved(MovedError::Away { to: told })) if told == to.database.to_string())
}

pub(crate) async fn everything_comes_over<const FROM: bool, const TO: bool>() {
    let (mut world, mut tokens) = furnished::<FROM>().await;
    crowded(&world).await;
    let left = Arc::clone(&world.harness.site);
    let (before, at) = (world.store().feed_position().await.unwrap(), dump(&left).await);
    let revocations = world.store().revocations(0, 1000).await.unwrap();
    let site = Site::new(TO).await;
    let transferred = world.harness.move_to(Arc::clone(&site)).await;

    assert!(transferred.closed_for.is_some());
    assert_eq!(transferred.rows.len(), at.len());
    for (table, rows) in &transferred.rows {
        assert_eq!(*rows, at[*table].len() as u64, "{table}");
    }
    let mut there = dump(&site).await;
    assert_eq!(without_arrival(&mut there), format!("from {}", left.database));
    assert_eq!(dump(&left).await, at, "what was left stays as it was");
    for (table, rows) in &at {
        // What the new store has committed since is in the lanes of its own node.
        let is_new = |row: &&BTreeMap<_, _>| table != "lanes" || rows.contains(row);
        assert_eq!(there[table].iter().filter(is_new).collect::<Vec<_>>(), rows.iter().collect::<Vec<_>>(), "{table}");
    }

    assert_eq!(world.store().feed_position().await.unwrap(), before, "a resource server goes on from its cursor");
    assert_eq!(world.store().revocations(0, 1000).await.unwrap(), revocations);
    assert_eq!(world.last_event().await.kind, EventKind::DatabaseMoved);
    for token in &mut tokens {
        let rotated = match world.rotate_keyed(token, "a key that only one client knows").await {
            RotatedIn::Rotated(_, token) => token,
            other => panic!("{other:?}"),
        };
        *token = rotated;
    }
    assert!(world.store().add_keys(vec![key("third", KeyUse::Signing, Some("second"))], STRANGER).await.unwrap());
    let kids: Vec<_> = world.store().keys(KeyUse::Signing).await.unwrap().into_iter().map(|key| key.kid).collect();
    assert_eq!(kids, ["first", "second", "third"]);
    let alice = world.store().account_named(&named("alice")).await.unwrap().unwrap();
    assert!(alice.roles.contains(Role::ADMIN));

    // And back: a fresh place, since the old one is marked.
    let back = Site::new(FROM).await;
    let (before, at) = (world.store().feed_position().await.unwrap(), dump(&site).await);
    world.harness.move_to(Arc::clone(&back)).await;
    let mut there = dump(&back).await;
    assert_eq!(without_arrival(&mut there), format!("from {}", site.database));
    assert_eq!(there["families"], at["families"]);
    assert_eq!(there["events"], at["events"]);
    assert_eq!(world.store().feed_position().await.unwrap(), before);
    for token in &tokens {
        assert!(matches!(world.rotate_keyed(token, "a key that only one client knows").await, RotatedIn::Rotated(..)));
    }
    let signed_in = world.sign_in(alice.id).await;
    assert!(world.end(alice.id, signed_in.session).await.unwrap().seq == before.seq + 1, "the feed goes on");
}

fn named(name: &str) -> Username {
    Username::parse(name).unwrap()
}

pub(crate) async fn whatever_interrupts_it_the_same_call_goes_on<const FROM: bool, const TO: bool>() {
    let (mut world, tokens) = furnished::<FROM>().await;
    crowded(&world).await;
    let (at, site) = (dump(&world.harness.site).await, Site::new(TO).await);
    let mut steps = 1;
    let mut seen = vec![];
    while !seen.contains(&Progress::Decided) {
        // Each time it comes a little further, since what has come over is not told again; at last it is as good as over.
        let broken_off = if seen.len() < 12 {
            world.harness.break_off_after(steps, &site).await
        } else {
            world.harness.break_off_after_the_decision(&site).await
        };
        let step = broken_off.expect("it does not come to its end before");
        let source = world.harness.open(&world.harness.site, OpenMode::Serve).await;
        assert!(is_away(source, &site), "after {step:?}");
        let destination = world.harness.open(&site, OpenMode::Serve).await.err();
        let refused = matches!(destination, Some(StoreError::Moved(MovedError::Arriving)));
        // Before it was taken it is an empty database, and opening it makes no keys.
        assert!(refused || step == Progress::SourceClosed, "after {step:?}: {destination:?}");
        seen.push(step);
        steps = 1 + seen.len() % 3;
    }
    assert!(seen.contains(&Progress::SourceClosed) && seen.contains(&Progress::DestinationTaken), "{seen:?}");
    assert!(seen.iter().any(|step| matches!(step, Progress::Copied { rows, of, .. } if rows < of)), "{seen:?}");

    assert!(world.harness.transfer(&site).await.unwrap().closed_for.is_some(), "the last call brings it to its end");
    assert_eq!(world.harness.move_to(Arc::clone(&site)).await.closed_for, None, "and a further one finds it there");
    let mut there = dump(&site).await;
    without_arrival(&mut there);
    for table in ["accounts", "sessions", "families", "keys", "readers", "events", "throttles"] {
        assert_eq!(there[table], at[table], "{table}");
    }
    for token in &tokens {
        let key = "a key that only one client knows";
        assert!(matches!(world.rotate_keyed(token, key).await, RotatedIn::Rotated(..)));
    }
}

pub(crate) async fn a_store_that_was_open_before_answers_nothing_any_more<const FROM: bool, const TO: bool>() {
    let (world, tokens) = furnished::<FROM>().await;
    let (store, other, site) = (world.store(), world.harness.another().await, Site::new(TO).await);
    let alice = store.account_named(&named("alice")).await.unwrap().unwrap();
    let session = store.sessions(alice.id, 1).await.unwrap()[0].id;
    world.harness.transfer(&site).await.unwrap();

    for store in [&store, &other] {
        // A server asks for it all the time; with SQLite everything else tells as well, whether it was asked before or not.
        assert!(is_away(store.feed_position().await, &site));
        assert!(is_away(rotated(&**store, world.presentation(&tokens[0])).await, &site));
        assert!(is_away(store.begin_session(world.begin(alice.id), STRANGER).await, &site));
        assert!(is_away(store.session_account(session).await, &site));
        assert!(is_away(store.credentials_of(alice.id).await, &site));
        assert!(is_away(store.keys(KeyUse::Signing).await, &site));
        assert!(is_away(store.revoke_everyone(STRANGER).await, &site));
        assert!(is_away(store.accept_restore(Origin::COMMAND_LINE).await, &site));
        assert!(is_away(store.ready().await, &site));
        store.close().await.unwrap();
    }
}

pub(crate) async fn what_has_moved_is_looked_at_and_not_served<const FROM: bool, const TO: bool>() {
    let (world, _) = furnished::<FROM>().await;
    let site = Site::new(TO).await;
    world.harness.transfer(&site).await.unwrap();
    let refused = world.harness.open(&world.harness.site, OpenMode::Serve).await.err().unwrap();
    let told = refused.to_string();
    assert!(told.contains(&site.database.to_string()) && !told.contains("postgres@"), "{told}");
    let store = world.harness.open(&world.harness.site, OpenMode::Inspect).await.unwrap();
    assert!(!store.events(EventQuery { limit: 10, ..EventQuery::default() }).await.unwrap().is_empty());
    assert!(store.account_named(&named("alice")).await.unwrap().is_some());
    store.close().await.unwrap();
}

pub(crate) async fn a_move_that_is_not_over_can_be_taken_back<const FROM: bool, const TO: bool>() {
    let (mut world, tokens) = furnished::<FROM>().await;
    assert!(matches!(world.harness.abandon().await, Err(TransferError::Stays(_))));
    let (open, site) = (world.store(), Site::new(TO).await);
    assert!(world.harness.break_off_after(5, &site).await.is_some());
    assert!(is_away(open.feed_position().await, &site));
    assert_eq!(world.harness.abandon().await.unwrap(), site.database.to_string());
    assert!(matches!(world.harness.abandon().await, Err(TransferError::Stays(_))));

    // Whoever has served it all the time goes on, and so does whoever comes now.
    open.feed_position().await.unwrap();
    let token = world.successor(&tokens[0]).await;
    world.harness.restart().await;
    world.successor(&token).await;
    let destination = world.harness.open(&site, OpenMode::Serve).await.err().unwrap();
    assert!(matches!(destination, StoreError::Moved(MovedError::Arriving)), "{destination}");
    assert!(matches!(world.harness.transfer(&site).await, Err(TransferError::Begun(_))));
    world.harness.store().feed_position().await.unwrap();
    world.harness.move_to(Site::new(TO).await).await;
    world.successor(&tokens[1]).await;
}

pub(crate) async fn a_move_that_is_over_cannot_be_taken_back<const FROM: bool, const TO: bool>() {
    let (world, _) = furnished::<FROM>().await;
    let site = Site::new(TO).await;
    // From the moment of the decision on, whether or not the destination heard of it.
    let broken_off = world.harness.break_off_after_the_decision(&site).await;
    assert_eq!(broken_off, Some(Progress::Decided));
    for _ in 0..2 {
        let refused = world.harness.abandon().await.unwrap_err();
        assert!(matches!(&refused, TransferError::Gone { to, .. } if *to == site.database.to_string()), "{refused}");
        world.harness.transfer(&site).await.unwrap();
    }
    let elsewhere = world.harness.transfer(&*Site::new(TO).await).await.unwrap_err();
    assert!(matches!(elsewhere, TransferError::Gone { .. }), "{elsewhere}");
}

pub(crate) async fn a_destination_that_holds_something_is_refused<const FROM: bool, const TO: bool>() {
    let (world, tokens) = furnished::<FROM>().await;
    let other = World::<House<TO>>::new().await;
    other.register("somebody").await;
    let refused = world.harness.transfer(&other.harness.site).await.unwrap_err();
    assert!(matches!(refused, TransferError::Occupied(_)), "{refused}");
    let same = world.harness.transfer(&world.harness.site).await.unwrap_err();
    assert!(matches!(same, TransferError::Same(_)), "{same}");
    let (nothing, site) = (Site::new(FROM).await, Site::new(TO).await);
    let missing = countersign_store::transfer::transfer(
        &nothing.database,
        &site.database,
        &countersign_store::Clock::System,
        |_| {},
    );
    assert!(matches!(missing.await, Err(TransferError::Missing(_))));
    // All of them go on as if nothing had been.
    world.successor(&tokens[0]).await;
    other.register("somebody-else").await;
}

pub(crate) async fn a_source_that_is_on_its_way_goes_nowhere_else<const FROM: bool, const TO: bool>() {
    let (world, _) = furnished::<FROM>().await;
    let (site, other) = (Site::new(TO).await, Site::new(TO).await);
    assert!(world.harness.break_off_after(4, &site).await.is_some());
    let refused = world.harness.transfer(&other).await.unwrap_err();
    assert!(matches!(&refused, TransferError::OnItsWay { to, .. } if *to == site.database.to_string()), "{refused}");
    // Nor does anything go on from a place that is not complete.
    let midway = countersign_store::transfer::transfer(
        &site.database,
        &other.database,
        &countersign_store::Clock::System,
        |_| {},
    );
    let midway = midway.await.unwrap_err();
    assert!(matches!(midway, TransferError::Incomplete(_)), "{midway}");
    world.harness.transfer(&site).await.unwrap();
    // Nor does anything come to a place that was left.
    let (from, _) = furnished::<FROM>().await;
    let refused = from.harness.transfer(&world.harness.site).await.unwrap_err();
    assert!(matches!(refused, TransferError::Gone { .. }), "{refused}");
}

pub(crate) async fn a_witness_of_what_was_there_before_does_not_object<const FROM: bool, const TO: bool>() {
    let stale = World::<House<TO>>::new().await;
    stale.register("somebody").await;
    stale.store().close().await.unwrap();
    let (mut world, tokens) = furnished::<FROM>().await;
    let site = Site::new(TO).await;
    fs::copy(stale.harness.site.witness(), site.witness()).unwrap();
    world.harness.move_to(site).await;
    world.successor(&tokens[0]).await;
    world.harness.restart().await;
    world.successor(&tokens[1]).await;
}

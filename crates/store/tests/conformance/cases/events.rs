//! Events.

use std::net::{IpAddr, Ipv6Addr};

use countersign_core::events::{Actor, EventKind, Origin};
use countersign_store::verbs::EventQuery;

use crate::harness::Harness;
use crate::world::{ADDRESS, STRANGER, World};

pub(crate) async fn tell_who_and_from_where<H: Harness>(world: World<H>) {
    let alice = world.register("alice").await;
    let origins = [
        Origin { actor: Actor::Account(alice.id), address: Some(IpAddr::V6(Ipv6Addr::LOCALHOST)) },
        Origin { actor: Actor::Anonymous, address: Some(ADDRESS) },
        Origin::COMMAND_LINE,
        Origin::SERVER,
    ];
    for origin in origins {
        world.store().revoke_account(alice.id, origin).await.unwrap();
    }
    let told: Vec<_> = world.events().await[1..].iter().map(|event| (event.origin, event.at)).collect();
    assert_eq!(told, origins.map(|origin| (origin, world.now())));
}

pub(crate) async fn are_queried_by_account_kind_and_position<H: Harness>(world: World<H>) {
    let (alice, bob) = (world.register("alice").await, world.register("bob").await);
    for account in [&alice, &bob, &alice] {
        world.sign_in(account.id).await;
    }
    world.store().revoke_everyone(STRANGER).await.unwrap();
    let all = world.events().await;
    assert!(all.windows(2).all(|pair| pair[0].id < pair[1].id));
    let query = |query: EventQuery| {
        let store = world.store();
        async move { store.events(query).await.unwrap().into_iter().map(|event| event.id).collect::<Vec<_>>() }
    };
    let ids = |picked: &[usize]| picked.iter().map(|position| all[*position].id).collect::<Vec<_>>();
    let unbounded = EventQuery { limit: 100, ..EventQuery::default() };
    assert_eq!(query(unbounded.clone()).await, ids(&[5, 4, 3, 2, 1, 0]), "newest first");
    assert_eq!(query(EventQuery { limit: 2, ..unbounded.clone() }).await, ids(&[5, 4]));
    let before = Some(all[4].id);
    assert_eq!(query(EventQuery { before, limit: 2, ..unbounded.clone() }).await, ids(&[3, 2]));
    let account = Some(alice.id);
    assert_eq!(query(EventQuery { account, ..unbounded.clone() }).await, ids(&[4, 2, 0]));
    let kind = Some(EventKind::SignedIn);
    assert_eq!(query(EventQuery { kind, ..unbounded.clone() }).await, ids(&[4, 3, 2]));
    assert_eq!(query(EventQuery { account, kind, before, ..unbounded }).await, ids(&[2]));
}

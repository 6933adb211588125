//! Accounts.

use std::time::Duration;

use countersign_core::accounts::{Email, Username};
use countersign_core::epochs::Epoch;
use countersign_core::events::{EventKind, RevocationScope};
use countersign_core::ids::{AccountId, SessionId};
use countersign_core::roles::Roles;
use countersign_core::sessions::rotation::Refusal;
use countersign_core::sessions::state::Dead;
use countersign_store::verbs::{AccessDenied, NewAccount, REVOCATION_MARGIN, Registered, RotatedIn, Subject};
use tokio::task::JoinSet;

use crate::harness::Harness;
use crate::world::{STRANGER, World};

pub(crate) async fn registers_with_an_event<H: Harness>(world: World<H>) {
    let new = world.new_account("Alice");
    let Registered::Done(account) = world.store().register(new.clone(), STRANGER).await.unwrap() else {
        panic!("the name is free");
    };
    assert_eq!((account.id, &account.username, &account.roles), (new.id, &new.username, &Roles::user()));
    assert_eq!((account.created_at, account.disabled_at), (world.now(), None));
    assert_eq!(world.store().account(new.id).await.unwrap(), Some(account));
    let event = world.last_event().await;
    assert_eq!((event.kind, event.account, event.origin), (EventKind::AccountRegistered, Some(new.id), STRANGER));
    assert_eq!(event.detail.as_deref(), Some("roles User"));
    assert_eq!(world.feed().await, [], "no access token exists that this could kill");
}

pub(crate) async fn an_authority_must_still_be_one_when_the_row_is_written<H: Harness>(world: World<H>) {
    let (root, alice) = (world.register("root").await, world.register("alice").await);
    world.store().set_roles(root.id, Roles::admin(), STRANGER).await.unwrap();
    let (by_root, by_alice) = (world.sign_in(root.id).await.session, world.sign_in(alice.id).await.session);
    let register = async |name: &str, authority| {
        let new = NewAccount { authority: Some(authority), ..world.new_account(name) };
        world.store().register(new, STRANGER).await.unwrap()
    };
    assert!(matches!(register("first", by_root).await, Registered::Done(_)));
    assert_eq!(register("second", by_alice).await, Registered::NotAdministrator);
    assert_eq!(register("second", SessionId::from_bytes([9; 16])).await, Registered::NotAdministrator);
    world.store().set_roles(root.id, Roles::user(), STRANGER).await.unwrap();
    assert_eq!(register("second", by_root).await, Registered::NotAdministrator, "demoted");
    world.store().set_roles(root.id, Roles::admin(), STRANGER).await.unwrap();
    world.store().disable_account(root.id, STRANGER).await.unwrap();
    assert_eq!(register("second", by_root).await, Registered::NotAdministrator, "disabled");
}

pub(crate) async fn a_name_is_taken_once_whatever_its_case<H: Harness>(world: World<H>) {
    world.register("alice").await;
    let mut other = world.new_account("ALICE");
    other.email = Email::parse("other@example.com").unwrap();
    assert_eq!(world.store().register(other.clone(), STRANGER).await.unwrap(), Registered::UsernameTaken);
    assert_eq!(world.store().account(other.id).await.unwrap(), None);
    assert_eq!(world.kinds().await, [EventKind::AccountRegistered], "a refusal writes nothing");
}

pub(crate) async fn an_address_is_taken_once<H: Harness>(world: World<H>) {
    world.register("alice").await;
    let mut other = world.new_account("bob");
    other.email = Email::parse("Alice@Example.com").unwrap();
    assert_eq!(world.store().register(other, STRANGER).await.unwrap(), Registered::EmailTaken);
    assert_eq!(world.kinds().await, [EventKind::AccountRegistered]);
}

pub(crate) async fn one_of_32_registrations_wins<H: Harness>(world: World<H>) {
    let another = world.harness.another().await;
    let mut race = JoinSet::new();
    for runner in 0..32 {
        let store = if runner % 2 == 0 { world.store() } else { another.clone() };
        let new = world.new_account("alice");
        race.spawn(async move { store.register(new, STRANGER).await.unwrap() });
    }
    let answers = race.join_all().await;
    assert_eq!(answers.iter().filter(|answer| matches!(answer, Registered::Done(_))).count(), 1);
    assert_eq!(answers.iter().filter(|answer| **answer == Registered::UsernameTaken).count(), 31);
    assert_eq!(world.kinds().await, [EventKind::AccountRegistered]);
}

pub(crate) async fn finds_by_id_and_by_name<H: Harness>(world: World<H>) {
    let alice = world.register("Alice").await;
    let named = |name| Username::parse(name).unwrap();
    assert_eq!(world.store().account_named(&named("aLICE")).await.unwrap(), Some(alice.clone()));
    assert_eq!(world.store().account_named(&named("bob")).await.unwrap(), None);
    assert_eq!(world.store().account(alice.id).await.unwrap(), Some(alice));
}

pub(crate) async fn lists_in_pages<H: Harness>(world: World<H>) {
    for name in ["dora", "Bob", "alice", "Charlie"] {
        world.register(name).await;
    }
    let names = |accounts: Vec<countersign_core::accounts::Account>| -> Vec<String> {
        accounts.iter().map(|account| account.username.as_str().to_owned()).collect()
    };
    let store = world.store();
    assert_eq!(names(store.accounts(None, 3).await.unwrap()), ["alice", "Bob", "Charlie"]);
    let after = Username::parse("CHARLIE").unwrap();
    assert_eq!(names(store.accounts(Some(&after), 3).await.unwrap()), ["dora"]);
    assert_eq!(names(store.accounts(None, 0).await.unwrap()), [""; 0]);
}

pub(crate) async fn roles_change_claims_and_end_no_session<H: Harness>(world: World<H>) {
    let alice = world.register("alice").await;
    let signed_in = world.sign_in(alice.id).await;
    let position = world.store().set_roles(alice.id, Roles::admin(), STRANGER).await.unwrap().unwrap();
    let changed = world.store().account(alice.id).await.unwrap().unwrap();
    assert_eq!(changed.roles, Roles::admin());
    assert!(changed.claims_version > alice.claims_version);
    let feed = world.feed().await;
    assert_eq!(position.seq, 1);
    assert_eq!(feed[0].scope, RevocationScope::Account(alice.id, changed.claims_version));
    let expires_at = world.now() + Duration::from_secs(300) + REVOCATION_MARGIN;
    assert_eq!(feed[0].expires_at, expires_at, "when the last access token has expired");
    let event = world.last_event().await;
    assert_eq!((event.kind, event.account), (EventKind::RolesChanged, Some(alice.id)));
    assert_eq!(event.detail.as_deref(), Some("from User to Admin, User"));
    assert_eq!(world.denied(signed_in.session).await, None);
    assert!(
        matches!(world.rotate(&signed_in.token).await, RotatedIn::Rotated(granted, _) if granted.subject == Subject::from(changed.clone()))
    );
}

pub(crate) async fn the_same_roles_change_nothing<H: Harness>(world: World<H>) {
    let alice = world.register("alice").await;
    let position = world.store().set_roles(alice.id, Roles::user(), STRANGER).await.unwrap().unwrap();
    assert_eq!(position, world.store().feed_position().await.unwrap());
    assert_eq!((position.seq, world.kinds().await), (0, vec![EventKind::AccountRegistered]));
    assert_eq!(world.store().account(alice.id).await.unwrap(), Some(alice));
}

pub(crate) async fn disabling_ends_everything_and_enabling_revives_nothing<H: Harness>(world: World<H>) {
    let alice = world.register("alice").await;
    let bob = world.register("bob").await;
    let (of_alice, of_bob) = (world.sign_in(alice.id).await, world.sign_in(bob.id).await);
    world.advance(Duration::from_secs(1));
    let position = world.store().disable_account(alice.id, STRANGER).await.unwrap().unwrap();
    assert_eq!(position.seq, 1);
    let disabled = world.store().account(alice.id).await.unwrap().unwrap();
    assert_eq!(disabled.disabled_at, Some(world.now()));
    assert!(disabled.claims_version > Epoch::new(0));
    assert_eq!(world.feed().await[0].scope, RevocationScope::Account(alice.id, disabled.claims_version));
    assert_eq!(world.last_event().await.kind, EventKind::AccountDisabled);
    assert_eq!(world.rotate(&of_alice.token).await, RotatedIn::Refused(Refusal::Dead(Dead::AccountDisabled)));
    assert_eq!(world.denied(of_alice.session).await, Some(AccessDenied::Dead(Dead::AccountDisabled)));

    let again = world.store().disable_account(alice.id, STRANGER).await.unwrap().unwrap();
    assert_eq!(again, position, "it is disabled already");
    assert_eq!(world.kinds().await.last(), Some(&EventKind::AccountDisabled));

    assert_eq!(world.store().enable_account(alice.id, STRANGER).await.unwrap(), Some(()));
    assert_eq!(world.last_event().await.kind, EventKind::AccountEnabled);
    assert_eq!(world.store().enable_account(alice.id, STRANGER).await.unwrap(), Some(()));
    assert_eq!(world.kinds().await.iter().filter(|kind| **kind == EventKind::AccountEnabled).count(), 1);
    assert_eq!(world.store().account(alice.id).await.unwrap().unwrap().disabled_at, None);
    assert_eq!(world.rotate(&of_alice.token).await, RotatedIn::Refused(Refusal::Dead(Dead::AccountRevoked)));
    assert_eq!(world.denied(of_alice.session).await, Some(AccessDenied::Dead(Dead::AccountRevoked)));
    let anew = world.sign_in(alice.id).await;
    assert_eq!(world.denied(anew.session).await, None);
    assert_eq!(world.denied(of_bob.session).await, None, "nobody else is concerned");
}

pub(crate) async fn nobody_is_not_an_error<H: Harness>(world: World<H>) {
    let (store, nobody) = (world.store(), AccountId::from_bytes([9; 16]));
    assert_eq!(store.account(nobody).await.unwrap(), None);
    assert_eq!(store.set_roles(nobody, Roles::admin(), STRANGER).await.unwrap(), None);
    assert_eq!(store.disable_account(nobody, STRANGER).await.unwrap(), None);
    assert_eq!(store.enable_account(nobody, STRANGER).await.unwrap(), None);
    assert_eq!(store.revoke_account(nobody, STRANGER).await.unwrap(), None);
    assert_eq!(store.credentials_of(nobody).await.unwrap(), None);
    assert_eq!(store.sessions(nobody, 10).await.unwrap(), []);
    assert_eq!(world.events().await, []);
}

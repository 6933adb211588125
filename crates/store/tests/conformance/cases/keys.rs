//! Keys.

use std::time::Duration;

use countersign_core::events::EventKind;
use countersign_core::keys::KeyUse;
use countersign_store::verbs::{NewKey, StoredKeyDraft, Sweep};
use tokio::task::JoinSet;

use crate::harness::Harness;
use crate::world::{STRANGER, World};

const AHEAD: Duration = Duration::from_secs(300);
const OVERLAP: Duration = Duration::from_secs(360);

fn key(kid: &str, expected_newest: Option<&str>) -> NewKey {
    let key = StoredKeyDraft {
        kid: kid.to_owned(),
        key_use: KeyUse::Signing,
        algorithm: "ES256".to_owned(),
        sealed: vec![1, 2, 3],
        active_after: if expected_newest.is_some() { AHEAD } else { Duration::ZERO },
    };
    NewKey { key, expected_newest: expected_newest.map(str::to_owned), overlap: OVERLAP }
}

pub(crate) async fn are_kept_in_order_with_their_ends<H: Harness>(world: World<H>) {
    let store = world.store();
    let began = world.now();
    assert!(store.add_keys(vec![key("first", None)], STRANGER).await.unwrap());
    world.advance(Duration::from_secs(10));
    assert!(store.add_keys(vec![key("second", Some("first"))], STRANGER).await.unwrap());
    world.advance(Duration::from_secs(10));
    assert!(store.add_keys(vec![key("third", Some("second"))], STRANGER).await.unwrap());
    let mut tag = key("1", None);
    tag.key.key_use = KeyUse::RefreshTag;
    assert!(store.add_keys(vec![tag], STRANGER).await.unwrap(), "each use has its own line");

    let keys = store.keys(KeyUse::Signing).await.unwrap();
    let kids: Vec<_> = keys.iter().map(|key| key.kid.as_str()).collect();
    assert_eq!(kids, ["first", "second", "third"]);
    assert_eq!((keys[0].created_at, keys[0].active_from), (began, began));
    assert_eq!(keys[1].active_from, began + Duration::from_secs(10) + AHEAD);
    assert_eq!(keys[0].verifies_until, Some(keys[1].active_from + OVERLAP), "set once, by the next key");
    assert_eq!(keys[1].verifies_until, Some(keys[2].active_from + OVERLAP));
    assert_eq!(keys[2].verifies_until, None);
    assert_eq!((keys[2].algorithm.as_str(), keys[2].sealed.as_slice()), ("ES256", &[1, 2, 3][..]));
    let tags = store.keys(KeyUse::RefreshTag).await.unwrap();
    assert_eq!((tags.len(), tags[0].verifies_until), (1, None));
    let event = &world.events().await[1];
    assert_eq!((event.kind, event.detail.as_deref()), (EventKind::KeyCreated, Some("signing ES256 second")));
}

pub(crate) async fn are_added_only_after_the_newest<H: Harness>(world: World<H>) {
    let store = world.store();
    assert!(!store.add_keys(vec![key("first", Some("other"))], STRANGER).await.unwrap());
    assert!(store.add_keys(vec![key("first", None)], STRANGER).await.unwrap());
    assert!(!store.add_keys(vec![key("second", None)], STRANGER).await.unwrap());
    assert!(store.add_keys(vec![key("second", Some("first"))], STRANGER).await.unwrap());
    let before = store.keys(KeyUse::Signing).await.unwrap();
    assert!(!store.add_keys(vec![key("third", Some("first"))], STRANGER).await.unwrap());
    assert_eq!(store.keys(KeyUse::Signing).await.unwrap(), before, "a refusal writes nothing");
    assert_eq!(world.events().await.len(), 2);
}

pub(crate) async fn are_added_together_or_not_at_all<H: Harness>(world: World<H>) {
    let store = world.store();
    let tag = |expected: Option<&str>| {
        let mut tag = key("tag", expected);
        tag.key.key_use = KeyUse::RefreshTag;
        tag
    };
    assert!(!store.add_keys(vec![key("first", None), tag(Some("other"))], STRANGER).await.unwrap());
    assert!(!store.add_keys(vec![tag(None), key("first", Some("other"))], STRANGER).await.unwrap());
    for key_use in [KeyUse::Signing, KeyUse::RefreshTag] {
        assert_eq!(store.keys(key_use).await.unwrap(), [], "neither was added");
    }
    assert_eq!(world.events().await.len(), 0);
    assert!(store.add_keys(vec![key("first", None), tag(None)], STRANGER).await.unwrap());
}

pub(crate) async fn one_of_16_rotations_wins<H: Harness>(world: World<H>) {
    world.store().add_keys(vec![key("first", None)], STRANGER).await.unwrap();
    let another = world.harness.another().await;
    let mut race = JoinSet::new();
    for runner in 0..16 {
        let store = if runner % 2 == 0 { world.store() } else { another.clone() };
        let new = key(&format!("runner {runner}"), Some("first"));
        race.spawn(async move { store.add_keys(vec![new], STRANGER).await.unwrap() });
    }
    assert_eq!(race.join_all().await.into_iter().filter(|won| *won).count(), 1);
    assert_eq!(world.store().keys(KeyUse::Signing).await.unwrap().len(), 2);
}

pub(crate) async fn are_removed_when_nothing_verifies_with_them<H: Harness>(world: World<H>) {
    let store = world.store();
    store.add_keys(vec![key("first", None)], STRANGER).await.unwrap();
    store.add_keys(vec![key("second", Some("first"))], STRANGER).await.unwrap();
    let kept = Duration::from_secs(1000);
    let sweep = Sweep { after: None, limit: 10, keep_sessions: kept, keep_events: kept };
    world.advance(AHEAD + OVERLAP + kept - Duration::from_millis(1));
    store.prune(sweep).await.unwrap();
    assert_eq!(store.keys(KeyUse::Signing).await.unwrap().len(), 2);
    world.advance(Duration::from_millis(1));
    store.prune(sweep).await.unwrap();
    let keys = store.keys(KeyUse::Signing).await.unwrap();
    assert_eq!((keys.len(), keys[0].kid.as_str()), (1, "second"));
}

//! Who may read the feed.

use std::time::Duration;

use countersign_core::events::EventKind;
use countersign_core::ids::ReaderId;
use countersign_store::verbs::{NewReader, Reader};

use crate::harness::Harness;
use crate::world::{STRANGER, World};

pub(crate) async fn are_admitted_found_and_dismissed<H: Harness>(world: World<H>) {
    let store = world.store();
    let mut admitted = vec![];
    for name in ["weather", "news"] {
        let id = ReaderId::from_bytes(world.draw());
        let new = NewReader { id, name: name.to_owned(), key_hash: [3; 32] };
        let reader = store.admit_reader(new, STRANGER).await.unwrap();
        assert_eq!(reader, Reader { id, name: name.to_owned(), key_hash: [3; 32], created_at: world.now() });
        assert_eq!(store.reader(id).await.unwrap(), Some(reader.clone()));
        admitted.push(reader);
        world.advance(Duration::from_secs(1));
    }
    assert_eq!(store.readers().await.unwrap(), admitted);
    assert_eq!(store.dismiss_reader(admitted[0].id, STRANGER).await.unwrap(), Some(()));
    assert_eq!(store.dismiss_reader(admitted[0].id, STRANGER).await.unwrap(), None);
    assert_eq!(store.reader(admitted[0].id).await.unwrap(), None);
    assert_eq!(store.readers().await.unwrap(), admitted[1..]);
    let told: Vec<_> = world.events().await.into_iter().map(|event| (event.kind, event.detail.unwrap())).collect();
    assert_eq!(
        told,
        [
            (EventKind::ReaderAdmitted, "weather".to_owned()),
            (EventKind::ReaderAdmitted, "news".to_owned()),
            (EventKind::ReaderDismissed, "weather".to_owned())
        ]
    );
}

//! `countersign backup` while the server works.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::support::{Settings, at_once, refreshed};

#[test]
fn a_copy_made_under_load_is_a_whole_database() {
    let server = Settings::new().start();
    let admin = server.admin();
    server.user("alice");
    let over = AtomicBool::new(false);
    let copy = server.settings.dir().join("copy.db");
    std::thread::scope(|scope| {
        let load = scope.spawn(|| {
            at_once(3, |number| {
                let mut tokens = server.user(&format!("user{number}"));
                let mut registered = 0;
                while !over.load(Ordering::Relaxed) {
                    tokens = refreshed(server.refresh(&tokens.refresh));
                    server.register(&format!("user{number}-{registered}"));
                    registered += 1;
                }
                registered
            })
        });
        server.settings.cli(&["backup", copy.to_str().unwrap()]).done();
        over.store(true, Ordering::Relaxed);
        load.join().unwrap();
    });
    server.me(&admin.access).expect(200);
    // It would overwrite nothing.
    let again = server.settings.cli(&["backup", copy.to_str().unwrap()]);
    assert_eq!(again.code, Some(1), "{again:?}");

    // On another machine: the copy, and the key that was kept apart from it.
    let elsewhere = Settings::new();
    fs::create_dir(elsewhere.dir().join("data")).unwrap();
    fs::copy(&copy, elsewhere.database()).unwrap();
    let key = "data/key-encryption.key";
    fs::copy(server.settings.dir().join(key), elsewhere.dir().join(key)).unwrap();
    let refused = elsewhere.start_refused();
    assert!(refused.err.contains("countersign accept-restore"), "{}", refused.err);
    elsewhere.cli(&["accept-restore", "--yes"]).done();
    let restored = elsewhere.start();
    assert_eq!(restored.me(&admin.access).problem()["status"], 401);
    assert_eq!(restored.refresh(&admin.refresh).problem()["status"], 400);
    let accounts = elsewhere.cli_json(&["account", "list"]);
    assert!(accounts.len() >= 2, "{accounts:?}");
    for name in ["root", "alice"] {
        restored.log_in(name);
    }
    let alice = restored.log_in("alice");
    refreshed(restored.refresh(&alice.refresh));
    // The original never noticed.
    server.me(&admin.access).expect(200);
}

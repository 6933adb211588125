//! A copy of the database is put back under a running history.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::support::{PASSWORD, Server, Settings, refreshed};

/// Copies the database file of a server that has stopped, as an operator would.
fn copied(settings: &Settings) -> PathBuf {
    let copy = settings.dir().join("copy.db");
    fs::copy(settings.database(), &copy).unwrap();
    copy
}

fn put_back(settings: &Settings, copy: &Path) {
    for ending in ["-wal", "-shm"] {
        let mut name = settings.database().into_os_string();
        name.push(ending);
        let _ = fs::remove_file(name);
    }
    fs::copy(copy, settings.database()).unwrap();
}

#[test]
fn the_start_is_refused_until_the_operator_accepts_and_then_no_old_token_works() {
    let server = Server::start();
    let used = server.user("alice");
    let ended = server.log_in("alice");
    let untouched = server.log_in("alice");
    let settings = server.stop();
    let copy = copied(&settings);

    // The history goes on: a token is used, a session is ended, an account appears.
    let server = settings.start();
    let newest = refreshed(server.refresh(&used.refresh));
    server.post("/api/auth/logout").bearer(&ended.access).send().expect(204);
    let bob = server.user("bob");
    let settings = server.stop();
    put_back(&settings, &copy);

    let refused = settings.start_refused();
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.err.contains("countersign accept-restore"), "{}", refused.err);
    assert!(refused.err.contains("restored"), "{}", refused.err);
    // The other commands do not work around it.
    let created = settings.cli_with(&["account", "create", "eve", "--email", "eve@example.com"], PASSWORD);
    assert_eq!(created.code, Some(1), "{created:?}");
    assert!(created.err.contains("countersign accept-restore"), "{}", created.err);

    let unmeant = settings.cli(&["accept-restore"]);
    assert_eq!(unmeant.code, Some(2), "{unmeant:?}");
    settings.start_refused();
    settings.cli(&["accept-restore", "--yes"]).done();
    let server = settings.start();
    for tokens in [&used, &ended, &untouched, &newest, &bob] {
        let answer = server.me(&tokens.access);
        assert_eq!(answer.status, 401, "{}", answer.text());
        answer.problem();
        let answer = server.refresh(&tokens.refresh);
        assert_eq!(answer.status, 400, "{}", answer.text());
        answer.problem();
    }
    assert_eq!(server.events("restore_accepted").len(), 1);
    let again = server.log_in("alice");
    refreshed(server.refresh(&again.refresh));
    server.try_log_in("bob", PASSWORD).refused(401, "invalid_credentials");
    // Accepted once, it is the history from now on.
    let server = server.stop().start();
    server.me(&again.access).expect(200);
}

#[test]
fn one_refresh_is_history_enough() {
    let server = Server::start();
    let alice = server.user("alice");
    let settings = server.stop();
    let copy = copied(&settings);
    let server = settings.start();
    refreshed(server.refresh(&alice.refresh));
    let settings = server.stop();
    put_back(&settings, &copy);
    let refused = settings.start_refused();
    assert!(refused.err.contains("countersign accept-restore"), "{}", refused.err);
}

#[test]
fn without_its_witness_a_database_is_not_trusted() {
    let server = Server::start();
    let alice = server.user("alice");
    let settings = server.stop();
    fs::remove_file(settings.dir().join("data/countersign.db.witness")).unwrap();
    let refused = settings.start_refused();
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.err.contains("countersign.db.witness"), "{}", refused.err);
    assert!(refused.err.contains("countersign accept-restore"), "{}", refused.err);
    settings.cli(&["accept-restore", "--yes"]).done();
    let server = settings.start();
    server.me(&alice.access).problem();
    server.refresh(&alice.refresh).problem();
    server.log_in("alice");
}

#[test]
fn readers_of_the_feed_are_told_that_the_history_is_another_one() {
    let secret = "a-secret-for-readers-of-the-feed";
    let settings = Settings::new().with("revocation_reader_secret", secret);
    let server = settings.start();
    server.user("alice");
    let before = server.get("/revocations").bearer(secret).send().expect(200).json();
    let settings = server.stop();
    settings.cli(&["accept-restore", "--yes", "--whole-folder"]).done();
    let server = settings.start();
    let target =
        format!("/revocations?incarnation={}&after={}", before["incarnation"].as_str().unwrap(), before["seq"]);
    let after = server.get(&target).bearer(secret).send().expect(200).json();
    assert_ne!(after["incarnation"], before["incarnation"]);
    assert_eq!(after["snapshot"], true);
    let everyone = after["events"].as_array().unwrap().iter().find(|event| event["type"] == "everyone").unwrap();
    assert!(everyone["epoch"].as_i64() > Some(0), "{after}");
    assert_ne!(everyone["epoch"], json!(before["events"][0]["epoch"]), "{after}");
}

#[test]
fn a_kill_is_no_restore() {
    let mut server = Server::start();
    let mut alice = server.user("alice");
    for _ in 0..3 {
        alice = refreshed(server.refresh(&alice.refresh));
        server = server.kill_and_restart();
        server.me(&alice.access).expect(200);
    }
}

//! `GET /revocations`: what resource servers follow.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{Answer, Server, Settings};

const SECRET: &str = "a-secret-for-readers-of-the-feed";

fn with_secret() -> Server {
    Settings::new().with("revocation_reader_secret", SECRET).start()
}

fn read(server: &Server, query: &str, key: &str) -> Answer {
    server.get(&format!("/revocations{query}")).bearer(key).send()
}

fn after(page: &Value, wait: u32) -> String {
    format!("?incarnation={}&after={}&wait={wait}", page["incarnation"].as_str().unwrap(), page["seq"])
}

#[test]
fn whoever_is_no_reader_is_refused() {
    let server = with_secret();
    let alice = server.user("alice");
    let admin = server.admin();
    server.get("/revocations").send().refused(401, "reader_unauthorized");
    for key in [&alice.access, &admin.access, "x", &format!("{SECRET}x"), &SECRET[..SECRET.len() - 1]] {
        read(&server, "", key).refused(401, "reader_unauthorized");
    }
    read(&server, "", SECRET).expect(200);
    // Where no secret is set, none opens it.
    let server = Server::start();
    for key in [SECRET, "cs_rk_", &format!("cs_rk_{}", "A".repeat(64))] {
        read(&server, "", key).refused(401, "reader_unauthorized");
    }
}

#[test]
fn an_admin_admits_and_dismisses_readers() {
    let server = Server::start();
    let alice = server.user("alice");
    let admin = server.admin();
    let readers = "/api/auth/revocation-readers";
    let weather = json!({ "name": "weather" });
    server.post(readers).json(&weather).send().refused(401, "token_missing");
    server.post(readers).bearer(&alice.access).json(&weather).send().refused(403, "forbidden");
    server.get(readers).send().refused(401, "token_missing");
    server.get(readers).bearer(&alice.access).send().refused(403, "forbidden");
    for name in ["", &"n".repeat(65), "a\nb"] {
        let nameless = server.post(readers).bearer(&admin.access).json(&json!({ "name": name })).send();
        assert!(nameless.refused(400, "validation_failed")["errors"]["name"].is_array());
    }

    let reader = server.post(readers).bearer(&admin.access).json(&weather).send().expect(200).json();
    let (id, key) = (reader["id"].as_str().unwrap(), reader["key"].as_str().unwrap());
    assert!(key.starts_with("cs_rk_"));
    read(&server, "", key).expect(200);
    let listed = server.get(readers).bearer(&admin.access).send().expect(200);
    assert_eq!(listed.json()[0]["name"], "weather");
    assert_eq!(listed.json()[0]["id"], json!(id));
    assert!(!listed.text().contains("cs_rk_"), "the key is shown once");

    let dismiss = || server.delete(&format!("{readers}/{id}"));
    dismiss().send().refused(401, "token_missing");
    dismiss().bearer(&alice.access).send().refused(403, "forbidden");
    dismiss().bearer(&admin.access).send().expect(204);
    read(&server, "", key).refused(401, "reader_unauthorized");
    dismiss().bearer(&admin.access).send().refused(404, "reader_not_found");
    server.delete(&format!("{readers}/x")).bearer(&admin.access).send().refused(404, "not_found");
}

#[test]
fn a_reader_follows_it_from_a_snapshot() {
    let server = with_secret();
    let alice = server.user("alice");
    let bob = server.user("bob");
    let admin = server.admin();
    let start = read(&server, "", SECRET).expect(200).json();
    assert_eq!(start["snapshot"], true);

    server.post("/api/auth/logout").bearer(&alice.access).send().expect(204);
    server.post("/api/auth/revoke/bob").bearer(&bob.access).send().expect(204);
    server.settings.cli(&["account", "set-roles", "alice", "User", "Editor"]).done();
    let changed = |page: &Value| page["events"].as_array().unwrap().len() == 3;
    let page = crate::support::until(Duration::from_secs(1), "the command line's change is in the feed", || {
        let page = read(&server, &after(&start, 0), SECRET).expect(200).json();
        changed(&page).then_some(page)
    });
    assert_eq!(page["snapshot"], false);
    let events = page["events"].as_array().unwrap();
    assert_eq!((&events[0]["type"], &events[0]["sid"]), (&json!("session"), &json!(alice.session())));
    let subject = |tokens: &crate::support::Tokens| crate::support::claims(&tokens.access)["sub"].clone();
    assert_eq!((&events[1]["type"], &events[1]["sub"]), (&json!("account"), &subject(&bob)));
    assert_eq!((&events[2]["type"], &events[2]["sub"]), (&json!("account"), &subject(&alice)));
    let first = start["seq"].as_u64().unwrap();
    for (gap_free, event) in (first + 1..).zip(events) {
        assert_eq!(event["seq"], gap_free, "{page}");
    }
    assert_eq!(page["seq"], first + 3);

    server.post("/api/auth/revoke-all").bearer(&admin.access).send().expect(204);
    let last = read(&server, &after(&page, 0), SECRET).expect(200).json();
    assert_eq!(last["events"][0]["type"], "everyone");

    // A reader that never knew, or knows another history, or a future that never came, is told everything.
    for query in [
        String::new(),
        format!("?incarnation={}&after=0", uuid::Uuid::from_u128(1)),
        format!("?incarnation={}&after=4000000000", last["incarnation"].as_str().unwrap()),
        format!("?after={}", last["seq"]),
    ] {
        let page = read(&server, &query, SECRET).expect(200).json();
        assert_eq!(page["snapshot"], true, "{query}");
        assert!(page["events"].as_array().unwrap().len() >= 4, "{page}");
    }
}

#[test]
fn a_poll_waits_and_wakes_at_once() {
    let server = with_secret();
    let alice = server.user("alice");
    let start = read(&server, "", SECRET).expect(200).json();

    let asked = Instant::now();
    let empty = read(&server, &after(&start, 1), SECRET).expect(200).json();
    assert_eq!(empty["events"], json!([]));
    assert!(asked.elapsed() >= Duration::from_secs(1), "it waited {:?}", asked.elapsed());

    thread::scope(|scope| {
        let poll = scope.spawn(|| (read(&server, &after(&start, 30), SECRET).expect(200).json(), Instant::now()));
        // A poll that only begins after the revocation would answer at once as well: this one is already waiting when
        // another, which waits as long, has come back empty.
        assert_eq!(read(&server, &after(&start, 1), SECRET).expect(200).json()["events"], json!([]));
        let revoked = Instant::now();
        server.post("/api/auth/logout").bearer(&alice.access).send().expect(204);
        let (page, woken) = poll.join().unwrap();
        assert_eq!(page["events"][0]["sid"], json!(alice.session()));
        assert!(woken.duration_since(revoked) < Duration::from_secs(1), "{:?}", woken.duration_since(revoked));
    });
}

#[test]
fn a_poll_that_waits_does_not_keep_the_server_from_stopping() {
    let server = with_secret();
    let start = read(&server, "", SECRET).expect(200).json();
    let poll = server.get(&format!("/revocations{}", after(&start, 30))).bearer(SECRET);
    thread::scope(|scope| {
        let poll = scope.spawn(move || poll.try_send());
        assert_eq!(read(&server, &after(&start, 1), SECRET).expect(200).json()["events"], json!([]));
        let asked = Instant::now();
        server.stop();
        assert!(asked.elapsed() < Duration::from_secs(5), "it took {:?} to stop", asked.elapsed());
        let answer = poll.join().unwrap().expect("the poll is answered, not cut");
        answer.expect(200);
    });
}

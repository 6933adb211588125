//! How it starts, how it stops, what it tells its operator.

use std::time::{Duration, Instant};

use crate::support::{Connection, PASSWORD, Server, Settings, at_once};

#[test]
fn wrong_settings_do_not_start_and_are_all_named() {
    let settings = Settings::new()
        .with("access_token_lifetime", "five minutes")
        .with("issuer", "http://id.example.com")
        .with("signing_algorithm", "none")
        .with("isuer", "https://id.example.com");
    let refused = settings.start_refused();
    assert_eq!(refused.code, Some(2), "{refused:?}");
    let said = [
        "access_token_lifetime",
        "five minutes",
        "issuer",
        "must be https",
        "signing_algorithm",
        "ES256",
        "COUNTERSIGN_ISUER",
    ];
    for word in said {
        assert!(refused.err.contains(word), "no {word:?} in: {}", refused.err);
    }
    assert!(!settings.database().exists(), "it made a database all the same");
}

#[test]
fn a_port_that_is_taken_is_told() {
    let server = Server::start();
    let refused = Settings::new().with("listen", server.address.to_string()).start_refused();
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.err.contains(&server.address.to_string()), "{}", refused.err);
}

#[test]
fn a_database_of_another_program_is_refused() {
    let settings = Settings::new();
    std::fs::create_dir(settings.dir().join("data")).unwrap();
    std::fs::write(settings.database(), "this is no database, and longer than the header of one would be: ".repeat(40))
        .unwrap();
    let refused = settings.start_refused();
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.err.contains("database"), "{}", refused.err);
}

#[test]
fn asked_to_stop_it_finishes_what_it_began() {
    let mut server = Server::start();
    server.register("alice");
    // A request that has arrived and waits for the hashing pool.
    let mut connections: Vec<_> = (0..8).map(|_| Connection::open(server.address).unwrap()).collect();
    let login = serde_json::json!({ "username": "alice", "password": PASSWORD });
    let login = server.post("/api/auth/login").json(&login);
    for connection in &mut connections {
        connection.write(&login.bytes()).unwrap();
    }
    // The last of them is being served once one before it was answered.
    connections[0].read_answer("POST").unwrap().expect(200);
    let asked = Instant::now();
    let status = server.process.stop();
    assert_eq!(status.code(), Some(0), "{}", server.process.said());
    assert!(asked.elapsed() < Duration::from_secs(10));
    for connection in &mut connections[1..] {
        connection.read_answer("POST").expect("an answer, not a broken connection").expect(200);
    }
    let started_again = server.settings.start();
    started_again.log_in("alice");
}

#[test]
fn health_is_told_to_the_operator_and_to_a_proxy() {
    let server = Settings::new().findable().start();
    assert_eq!(server.get("/livez").send().expect(200).text(), "ok\n");
    assert_eq!(server.get("/readyz").send().expect(200).text(), "ok\n");
    server.settings.cli(&["health"]).done();
    let settings = server.stop();
    assert_eq!(settings.cli(&["health"]).code, Some(1));
}

#[test]
fn metrics_have_a_listener_of_their_own() {
    let server = Settings::new().measured().start();
    server.user("alice");
    server.try_log_in("alice", "a wrong password").refused(401, "invalid_credentials");
    server.get("/metrics").send().refused(404, "not_found");
    let metrics = server.settings.metrics().expect(200).text();
    for line in [
        r#"countersign_sign_ins_total{outcome="signed_in"} 1"#,
        r#"countersign_sign_ins_total{outcome="invalid_credentials"} 1"#,
        "countersign_registrations_total 1",
        r#"countersign_http_requests_total{method="POST",route="/api/auth/login",status="200"} 1"#,
    ] {
        assert!(metrics.lines().any(|found| found == line), "no {line} in:\n{metrics}");
    }
    // No name of a user and no path of a client becomes a time series.
    assert!(!metrics.contains("alice"));
}

#[test]
fn two_servers_on_one_database_know_of_each_other() {
    let first = Server::start();
    let second = first.settings.start();
    let alice = first.user("alice");
    second.me(&alice.access).expect(200);
    let successors = at_once(50, |number| {
        let server = if number % 2 == 0 { &first } else { &second };
        crate::support::refreshed(server.refresh(&alice.refresh)).refresh
    });
    assert!(successors.iter().all(|successor| *successor == successors[0]));
    second.post("/api/auth/revoke/alice").bearer(&alice.access).send().expect(204);
    first.me(&alice.access).refused(401, "account_revoked");
}

#[test]
fn without_a_name_the_issuer_follows_the_port() {
    let server = Settings::new().without("issuer").start();
    let metadata = server.get("/.well-known/openid-configuration").send().expect(200).json();
    assert_eq!(metadata["issuer"], format!("http://localhost:{}", server.address.port()));
    let alice = server.user("alice");
    assert_eq!(crate::support::claims(&alice.access)["iss"], metadata["issuer"]);
    server.me(&alice.access).expect(200);
}

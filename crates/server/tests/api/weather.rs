//! The weather example: a resource server that trusts a Countersign by its URL, and one that has it inside.

use std::time::Duration;

use serde_json::json;

use crate::support::{PASSWORD, Server, Settings, Weather, refreshed, until};

#[test]
fn it_wants_a_good_token_and_says_why_another_is_none() {
    let server = Settings::new().findable().start();
    let weather = Weather::trusting(&server);
    let alice = server.user("alice");
    let missing = weather.get("/weatherforecast").send().expect(401);
    assert!(missing.header("www-authenticate").unwrap().starts_with("Bearer"));
    let forged = weather.forecast(&format!("{}x", alice.access)).expect(401);
    assert!(forged.header("www-authenticate").unwrap().contains(r#"error="invalid_token""#));
    assert_eq!(forged.header("content-type"), Some("application/problem+json"));
    weather.forecast("x").expect(401);
    assert_eq!(weather.forecast(&alice.access).expect(200).json().as_array().unwrap().len(), 5);
    weather.get("/weatherforecast/admin").bearer(&alice.access).send().expect(403);
    let stranger = Server::start().user("alice");
    weather.forecast(&stranger.access).expect(401);
}

#[test]
fn it_finds_a_server_on_this_machine_that_goes_by_another_name() {
    // As in the README: the one is asked for by its address, and calls itself localhost.
    let server = Settings::new().without("issuer").start();
    let weather = Weather::trusting(&server);
    let alice = server.user("alice");
    weather.forecast(&alice.access).expect(200);
    server.post("/api/auth/logout").bearer(&alice.access).send().expect(204);
    assert_eq!(weather.refused_within(Duration::from_secs(1), &alice.access), "session_revoked");
}

#[test]
fn while_the_server_is_away_nobody_is_let_in_unchecked() {
    let settings = Settings::new().findable();
    let mut server = settings.start();
    let weather = Weather::trusting(&server);
    let alice = server.user("alice");
    weather.forecast(&alice.access).expect(200);
    server.process.kill();
    let answer = until(Duration::from_secs(2), "the weather asks and nobody answers", || {
        Some(weather.forecast(&alice.access)).filter(|answer| answer.status != 200)
    });
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert!(answer.header("retry-after").is_some());
    weather.get("/weatherforecast").send().expect(401);
    let server = server.kill_and_restart();
    until(Duration::from_secs(10), "the weather is back", || {
        (weather.forecast(&alice.access).status == 200).then_some(())
    });
    server.me(&alice.access).expect(200);
}

#[test]
fn with_a_reader_key_it_follows_the_feed() {
    let server = Settings::new().findable().start();
    let key = server.settings.cli(&["reader", "create", "weather"]).done();
    let weather =
        Weather::start(&["--authority", &server.process.url], &[("COUNTERSIGN_REVOCATION_READER_SECRET", key.trim())]);
    let alice = server.user("alice");
    let bob = server.user("bob");
    weather.forecast(&alice.access).expect(200);
    weather.forecast(&bob.access).expect(200);
    server.post("/api/auth/logout").bearer(&alice.access).send().expect(204);
    assert_eq!(weather.refused_within(Duration::from_secs(1), &alice.access), "session_revoked");
    weather.forecast(&bob.access).expect(200);
    server.post("/api/auth/revoke/bob").bearer(&bob.access).send().expect(204);
    assert_eq!(weather.refused_within(Duration::from_secs(1), &bob.access), "account_revoked");
    let alice = server.log_in("alice");
    weather.forecast(&alice.access).expect(200);
    server.settings.cli(&["revoke-all", "--yes"]).done();
    assert_eq!(weather.refused_within(Duration::from_secs(1), &alice.access), "everyone_revoked");
    weather.forecast(&server.log_in("alice").access).expect(200);
}

#[test]
fn embedded_it_is_one_program_on_one_port() {
    let settings = Settings::new();
    let database = format!("sqlite:{}", settings.database().display());
    let weather = Weather::start(&["--embedded"], &[("COUNTERSIGN_DATABASE_URL", &database)]);
    let post = |target: &str, body: &serde_json::Value| {
        crate::support::Request::new(weather.address, "POST", target).json(body).send()
    };
    weather.get("/weatherforecast").send().expect(401);
    let discovered = weather.get("/.well-known/openid-configuration").send().expect(200).json();
    assert_eq!(discovered["issuer"], format!("http://localhost:{}", weather.address.port()), "of the port that it has");
    let account = json!({ "username": "alice", "email": "alice@example.com", "password": PASSWORD });
    post("/api/auth/register", &account).expect(200);
    let login = json!({ "username": "alice", "password": PASSWORD });
    let tokens = post("/api/auth/login", &login).expect(200).json();
    let access = tokens["token"].as_str().unwrap();
    assert_eq!(weather.forecast(access).expect(200).json().as_array().unwrap().len(), 5);
    weather.get("/weatherforecast/admin").bearer(access).send().expect(403);
    let next = refreshed(post("/api/auth/refresh-token", &json!({ "refreshToken": tokens["refreshToken"] })));
    crate::support::Request::new(weather.address, "POST", "/api/auth/logout").bearer(&next.access).send().expect(204);
    assert_eq!(weather.refused_within(Duration::from_secs(1), &next.access), "session_revoked");
}

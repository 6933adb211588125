//! `POST /api/auth/login`.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{Answer, ISSUER, PASSWORD, Server, claims, decoded};

#[test]
fn the_answer_is_the_tutorials_and_a_little_more() {
    let server = Server::start();
    server.register("alice");
    let answer = server.try_log_in("alice", PASSWORD).expect(200).json();
    let members: Vec<_> = answer.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(members, ["expiration", "expiresIn", "refreshToken", "token", "tokenType"]);
    assert_eq!((&answer["tokenType"], &answer["expiresIn"]), (&json!("Bearer"), &json!(300)));
    assert!(answer["refreshToken"].as_str().unwrap().starts_with("cs_rt_"));

    let token = answer["token"].as_str().unwrap();
    let header: serde_json::Value = serde_json::from_slice(&decoded(token.split('.').next().unwrap())).unwrap();
    assert_eq!((&header["typ"], &header["alg"]), (&json!("at+jwt"), &json!("ES256")));
    let claims = claims(token);
    assert_eq!(claims["iss"], ISSUER);
    assert_eq!(claims["aud"], "http://localhost:4200");
    assert_eq!(claims["name"], "alice");
    assert_eq!(claims["roles"], json!(["User"]));
    assert_eq!(claims["ver"].as_array().unwrap().len(), 2);
    for claim in ["sub", "client_id", "jti", "sid"] {
        assert!(claims[claim].is_string(), "{claim}: {claims}");
    }
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 300);
    let expiration: jiff::Timestamp = answer["expiration"].as_str().unwrap().parse().unwrap();
    assert!(answer["expiration"].as_str().unwrap().ends_with('Z'));
    assert_eq!(expiration.as_second(), claims["exp"].as_i64().unwrap());
    assert_eq!(server.me(token).expect(200).json()["id"], claims["sub"]);
}

#[test]
fn the_name_in_any_case_and_the_address_are_both_known() {
    let server = Server::start();
    server.register("alice");
    for name in ["alice", "ALICE", "alice@example.com", "Alice@EXAMPLE.com"] {
        server.try_log_in(name, PASSWORD).expect(200);
    }
}

#[test]
fn every_login_begins_a_session_of_its_own() {
    let server = Server::start();
    let first = server.user("alice");
    let second = server.log_in("alice");
    assert_ne!(first.session(), second.session());
    server.me(&first.access).expect(200);
    server.refresh(&first.refresh).expect(200);
    server.refresh(&second.refresh).expect(200);
}

/// An answer without what differs from request to request.
fn comparable(answer: &Answer) -> (u16, Vec<(String, String)>, serde_json::Value) {
    let mut body = answer.problem();
    body["traceId"] = json!("");
    let mut headers = answer.headers.clone();
    headers.retain(|(name, _)| name != "x-request-id" && name != "date");
    (answer.status, headers, body)
}

#[test]
fn an_unknown_user_and_a_wrong_password_look_the_same() {
    let server = Server::start();
    server.register("alice");
    let wrong = server.try_log_in("alice", "a wrong password");
    wrong.refused(401, "invalid_credentials");
    let texts = ["nobody", "nobody@example.com", "a b", "", "x", "\u{0}", "😀", &"n".repeat(5000)];
    for unknown in texts {
        let answer = server.try_log_in(unknown, "a wrong password");
        assert_eq!(comparable(&answer), comparable(&wrong), "{unknown:?}");
        assert_eq!(answer.body.len(), wrong.body.len());
    }
    for password in ["", "x", &"p".repeat(5000)] {
        assert_eq!(comparable(&server.try_log_in("alice", password)), comparable(&wrong), "{} bytes", password.len());
    }
}

#[test]
fn an_unknown_user_takes_as_long_as_a_wrong_password() {
    let server = Server::start();
    server.register("alice");
    let time = |name: &str| {
        let started = Instant::now();
        server.try_log_in(name, "a wrong password").refused(401, "invalid_credentials");
        started.elapsed()
    };
    let mut known: Vec<Duration> = Vec::new();
    let mut unknown: Vec<Duration> = Vec::new();
    for _ in 0..9 {
        known.push(time("alice"));
        unknown.push(time("nobody"));
    }
    known.sort_unstable();
    unknown.sort_unstable();
    let (known, unknown) = (known[0], unknown[0]);
    // The quickest of each: what another test does on this machine only adds. Without the same work it is a tenth.
    assert!(unknown * 2 > known && known * 2 > unknown, "unknown {unknown:?}, known {known:?}");
}

#[test]
fn a_disabled_account_is_told_only_to_who_knows_its_password() {
    let server = Server::start();
    let alice = server.user("alice");
    server.settings.cli(&["account", "disable", "alice"]).done();
    server.me(&alice.access).refused(401, "account_disabled");
    server.refresh(&alice.refresh).refused(400, "refresh_token_revoked");
    server.try_log_in("alice", PASSWORD).refused(401, "account_disabled");
    server.try_log_in("alice", "a wrong password").refused(401, "invalid_credentials");
}

#[test]
fn refused_and_granted_logins_are_events() {
    let server = Server::start();
    let alice = server.user("alice");
    server.try_log_in("alice", "a wrong password").refused(401, "invalid_credentials");
    server.try_log_in("nobody", "a wrong password").refused(401, "invalid_credentials");
    let signed_in = server.events("signed_in");
    assert_eq!(signed_in.len(), 1);
    assert_eq!(signed_in[0]["session"], json!(alice.session()));
    assert_eq!(signed_in[0]["address"], "127.0.0.1");
    assert_eq!(server.events("sign_in_refused").len(), 2);
}

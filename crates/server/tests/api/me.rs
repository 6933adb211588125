//! `GET /api/auth/me`, and every way in which a bearer is refused.

use std::time::Duration;

use countersign_token::{AccessClaims, Audience, SigningKey};
use serde_json::{Value, json};

use crate::support::{Server, Settings, claims};

/// A key that the server signs with and this test has, too.
const KEY: &str = include_str!("../../../token/tests/keys/p256.pem");
/// One that the server has never seen.
const OTHER_KEY: &str = include_str!("../../../token/tests/keys/ed25519.pem");

fn with_a_known_key() -> Server {
    let settings = Settings::new();
    let file = settings.dir().join("signing.pem");
    std::fs::write(&file, KEY).unwrap();
    settings.with("signing_key_files", file.to_str().unwrap()).start()
}

fn parsed(claims: &Value) -> AccessClaims {
    serde_json::from_value(claims.clone()).unwrap()
}

#[test]
fn it_shows_the_account_of_the_token() {
    let server = Server::start();
    let alice = server.user("alice");
    let me = server.me(&alice.access).expect(200).json();
    let members: Vec<_> = me.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(members, ["createdAt", "email", "id", "roles", "username"]);
    assert!(me["createdAt"].as_str().unwrap().ends_with('Z'));
}

#[test]
fn a_header_that_is_no_bearer_token_is_a_missing_one() {
    let server = Server::start();
    let alice = server.user("alice");
    server.get("/api/auth/me").send().refused(401, "token_missing");
    for header in
        [String::new(), "Bearer".to_owned(), "Bearer ".to_owned(), "Basic YTpi".to_owned(), alice.access.clone()]
    {
        let answer = server.get("/api/auth/me").header("authorization", &header).send();
        answer.refused(401, "token_missing");
        assert_eq!(answer.header("www-authenticate"), Some(r#"Bearer realm="countersign""#), "{header}");
    }
    let twice = server.get("/api/auth/me").bearer(&alice.access).bearer(&alice.access).send();
    twice.refused(401, "token_missing");
    let lower = server.get("/api/auth/me").header("authorization", format!("bearer {}", alice.access));
    lower.send().expect(200);
}

#[test]
fn a_token_that_was_tampered_with_is_told_from_one_that_is_none() {
    let server = Server::start();
    let alice = server.user("alice");
    let parts: Vec<&str> = alice.access.split('.').collect();
    let refused = |token: &str, code: &str| {
        let answer = server.me(token);
        answer.refused(401, code);
        let challenge = answer.header("www-authenticate").unwrap();
        assert!(challenge.starts_with(r#"Bearer error="invalid_token", error_description=""#), "{challenge}");
    };
    refused("x", "token_malformed");
    refused("a.b.c", "token_malformed");
    refused(&format!("{}.", alice.access), "token_malformed");
    refused(&format!("{}=", alice.access), "token_malformed");
    refused(&"a".repeat(9000), "token_malformed");
    let other = server.log_in("alice").access;
    let other_payload = other.split('.').nth(1).unwrap();
    refused(&[parts[0], other_payload, parts[2]].join("."), "signature_invalid");
    let encoded = |value: Value| {
        use base64ct::Encoding as _;
        base64ct::Base64UrlUnpadded::encode_string(value.to_string().as_bytes())
    };
    let none = encoded(json!({ "alg": "none", "typ": "at+jwt" }));
    refused(&format!("{none}.{}.", parts[1]), "algorithm_not_allowed");
    let unknown = encoded(json!({ "alg": "ES256", "typ": "at+jwt", "kid": "nobodys" }));
    refused(&[&unknown, parts[1], parts[2]].join("."), "key_unknown");
}

#[test]
fn a_genuine_token_for_another_purpose_is_refused_with_the_reason() {
    let server = with_a_known_key();
    let key = SigningKey::from_pem(KEY).unwrap();
    let alice = server.user("alice");
    let good = claims(&alice.access);
    server.me(&key.sign(&parsed(&good)).unwrap()).expect(200);

    let refused = |change: &dyn Fn(&mut AccessClaims), code: &str| {
        let mut claims = parsed(&good);
        change(&mut claims);
        server.me(&key.sign(&claims).unwrap()).refused(401, code);
    };
    refused(&|claims| claims.iss = "http://elsewhere.example".to_owned(), "issuer_mismatch");
    refused(&|claims| claims.aud = Audience::try_from("http://elsewhere.example").unwrap(), "audience_mismatch");
    refused(&|claims| (claims.iat, claims.exp) = (claims.iat - 300, claims.iat - 10), "token_expired");
    refused(&|claims| claims.nbf = Some(claims.iat + 3600), "token_not_yet_valid");
    refused(&|claims| claims.sid = uuid::Uuid::from_u128(7), "session_ended");
    refused(&|claims| claims.sub = uuid::Uuid::from_u128(7), "session_ended");
    refused(&|claims| claims.ver[1] -= 1, "account_revoked");

    let other = SigningKey::from_pem(OTHER_KEY).unwrap();
    server.me(&other.sign(&parsed(&good)).unwrap()).refused(401, "key_unknown");
}

#[test]
fn roles_in_the_token_do_not_decide() {
    let server = with_a_known_key();
    let key = SigningKey::from_pem(KEY).unwrap();
    let alice = server.user("alice");
    let mut claims = parsed(&claims(&alice.access));
    claims.roles = vec!["Admin".to_owned()];
    let forged = key.sign(&claims).unwrap();
    server.post("/api/auth/revoke-all").bearer(&forged).send().refused(403, "forbidden");
}

#[test]
fn an_expired_token_is_told_so() {
    let server = Settings::new().with("access_token_lifetime", "1s").start();
    let alice = server.user("alice");
    server.me(&alice.access).expect(200);
    // A second of life, and the documented five of leeway.
    assert_eq!(server.refused_within(Duration::from_secs(10), &alice.access), "token_expired");
}

#[test]
fn an_access_token_never_outlives_its_session() {
    let server = Settings::new().with("session_lifetime", "2s").start();
    let alice = server.user("alice");
    let said = claims(&alice.access);
    assert!(said["exp"].as_i64().unwrap() - said["iat"].as_i64().unwrap() <= 2, "{said}");
    assert_eq!(server.refused_within(Duration::from_secs(10), &alice.access), "session_ended");
    server.refresh(&alice.refresh).refused(400, "refresh_token_expired");
}

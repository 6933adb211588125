//! `POST /api/auth/refresh-token`: rotation as a client sees it.

use std::time::Duration;

use serde_json::json;

use crate::support::{Server, Settings, Tokens, Weather, at_once, claims, refreshed, until};

const KEY: &str = "only this client knows";

/// A client whose retries are forgiven by nothing but a retry key.
fn without_overlap() -> Server {
    Settings::new().with("rotation_overlap", "0s").start()
}

#[test]
fn the_answer_has_both_tokens_and_their_expiry() {
    let server = Server::start();
    let alice = server.user("alice");
    let answer = server.refresh(&alice.refresh).expect(200).json();
    let members: Vec<_> = answer.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(members, ["accessToken", "expiration", "expiresIn", "refreshToken", "tokenType"]);
    let (before, after) = (claims(&alice.access), claims(answer["accessToken"].as_str().unwrap()));
    for same in ["iss", "aud", "sub", "client_id", "sid", "name", "roles", "ver"] {
        assert_eq!(before[same], after[same], "{same}");
    }
    assert_ne!(before["jti"], after["jti"]);
    // A refresh kills no access token that is still in flight.
    server.me(&alice.access).expect(200);
    server.me(answer["accessToken"].as_str().unwrap()).expect(200);
}

#[test]
fn fifty_presentations_at_once_get_one_successor() {
    let server = Server::start();
    for keyed in [false, true] {
        let name = if keyed { "keyed" } else { "keyless" };
        let tokens = server.user(name);
        let answers = at_once(50, |_| match keyed {
            true => server.refresh_keyed(&tokens.refresh, KEY),
            false => server.refresh(&tokens.refresh),
        });
        let successors: Vec<_> = answers.into_iter().map(refreshed).collect();
        for successor in &successors {
            assert_eq!(successor.refresh, successors[0].refresh, "{name}");
            server.me(&successor.access).expect(200);
        }
        refreshed(server.refresh(&successors[0].refresh));
    }
}

/// A session whose first refresh token was used, and its successor after it.
fn used_twice(server: &Server, name: &str) -> (Tokens, Tokens) {
    let first = server.user(name);
    let second = refreshed(server.refresh(&first.refresh));
    let third = refreshed(server.refresh(&second.refresh));
    (first, third)
}

#[test]
fn an_ancestor_after_the_overlap_ends_the_session_everywhere() {
    let settings = Settings::new().findable().with("rotation_overlap", "1s");
    let server = settings.start();
    let weather = Weather::trusting(&server);
    let (first, newest) = used_twice(&server, "alice");
    let bystander = server.log_in("alice");
    weather.forecast(&newest.access).expect(200);

    // Inside the overlap it may be a duplicate that was long under way: refused, and nothing is revoked.
    server.refresh(&first.refresh).refused(400, "refresh_token_late_duplicate");
    server.me(&newest.access).expect(200);

    let answer = until(Duration::from_secs(5), "the ancestor is no late duplicate any more", || {
        let answer = server.refresh(&first.refresh);
        (answer.problem()["code"] != "refresh_token_late_duplicate").then_some(answer)
    });
    answer.refused(400, "refresh_token_replayed");
    server.me(&newest.access).refused(401, "session_revoked");
    let code = weather.refused_within(Duration::from_secs(1), &newest.access);
    assert_eq!(code, "session_revoked");

    // Whoever comes later learns the same, and nobody else is touched.
    server.refresh(&newest.refresh).refused(400, "refresh_token_replayed");
    server.refresh(&first.refresh).refused(400, "refresh_token_replayed");
    server.me(&bystander.access).expect(200);
    refreshed(server.refresh(&bystander.refresh));

    let events = server.events("refresh_replayed");
    assert_eq!(events.len(), 1, "{events:?}");
    assert_eq!(events[0]["session"], json!(newest.session()));
    assert_eq!(events[0]["address"], "127.0.0.1");
    let sessions = server.get("/api/auth/sessions").bearer(&bystander.access).send().expect(200).json();
    let ended: Vec<_> =
        sessions.as_array().unwrap().iter().filter(|session| session["endedReason"] == "replayed").collect();
    assert_eq!(ended.len(), 1, "{sessions}");
    assert_eq!(ended[0]["id"], json!(newest.session()));
}

#[test]
fn a_late_duplicate_revokes_nothing() {
    let server = Server::start();
    let (first, newest) = used_twice(&server, "alice");
    for _ in 0..3 {
        server.refresh(&first.refresh).refused(400, "refresh_token_late_duplicate");
    }
    server.me(&newest.access).expect(200);
    refreshed(server.refresh(&newest.refresh));
}

#[test]
fn without_overlap_and_key_the_parent_is_a_replay_at_once() {
    let server = without_overlap();
    let alice = server.user("alice");
    let second = refreshed(server.refresh(&alice.refresh));
    server.refresh(&alice.refresh).refused(400, "refresh_token_replayed");
    server.me(&second.access).refused(401, "session_revoked");
    server.refresh(&second.refresh).refused(400, "refresh_token_replayed");
}

#[test]
fn a_retry_inside_the_overlap_gets_the_same_successor() {
    let server = Server::start();
    let alice = server.user("alice");
    let second = refreshed(server.refresh(&alice.refresh));
    for _ in 0..3 {
        assert_eq!(refreshed(server.refresh(&alice.refresh)).refresh, second.refresh);
    }
}

#[test]
fn a_retry_with_its_key_gets_the_same_successor_whenever_it_comes() {
    // No overlap: whatever comes second is too late for a client without a key.
    let server = without_overlap();
    let alice = server.user("alice");
    let second = refreshed(server.refresh_keyed(&alice.refresh, KEY));
    for _ in 0..3 {
        assert_eq!(refreshed(server.refresh_keyed(&alice.refresh, KEY)).refresh, second.refresh);
    }
    // Once the successor was used the answer had arrived, so this is no retry.
    refreshed(server.refresh_keyed(&second.refresh, KEY));
    server.refresh_keyed(&alice.refresh, KEY).refused(400, "refresh_token_replayed");
}

#[test]
fn another_retry_key_or_none_is_a_replay() {
    let server = Server::start();
    let second_use = [Some("somebody else's key"), None];
    for (number, second_use) in second_use.into_iter().enumerate() {
        let tokens = server.user(&format!("user{number}"));
        let second = refreshed(server.refresh_keyed(&tokens.refresh, KEY));
        let answer = match second_use {
            Some(key) => server.refresh_keyed(&tokens.refresh, key),
            None => server.refresh(&tokens.refresh),
        };
        answer.refused(400, "refresh_token_replayed");
        server.me(&second.access).refused(401, "session_revoked");
    }
    let tokens = server.user("late");
    refreshed(server.refresh(&tokens.refresh));
    server.refresh_keyed(&tokens.refresh, KEY).refused(400, "refresh_token_replayed");
}

#[test]
fn a_retry_key_of_a_wrong_length_is_told() {
    let server = Server::start();
    let alice = server.user("alice");
    for key in ["", "15 bytes of key", &"k".repeat(65)] {
        let problem = server.refresh_keyed(&alice.refresh, key).refused(400, "validation_failed");
        assert!(problem["errors"]["retryKey"].is_array(), "{problem}");
    }
    // The refusals used nothing up.
    refreshed(server.refresh_keyed(&alice.refresh, &"k".repeat(64)));
}

#[test]
fn an_access_token_that_comes_along_must_be_of_the_same_session() {
    let server = Server::start();
    let alice = server.user("alice");
    let other = server.log_in("alice");
    let with = |access: &str| server.refresh_with(&json!({ "refreshToken": alice.refresh, "accessToken": access }));
    with(&other.access).refused(400, "access_token_mismatch");
    for garbage in ["", "x", "a.b.c", &format!("{}x", alice.access)] {
        with(garbage).refused(400, "access_token_mismatch");
    }
    // The refusals used nothing up.
    with(&alice.access).expect(200);
}

#[test]
fn an_expired_access_token_may_come_along() {
    let server = Settings::new().with("access_token_lifetime", "1s").start();
    let alice = server.user("alice");
    assert_eq!(server.refused_within(Duration::from_secs(10), &alice.access), "token_expired");
    let pair = json!({ "refreshToken": alice.refresh, "accessToken": alice.access });
    let next = refreshed(server.refresh_with(&pair));
    server.me(&next.access).expect(200);
}

#[test]
fn what_was_not_made_here_is_malformed() {
    let server = Server::start();
    let stranger = Server::start();
    let (alice, theirs) = (server.user("alice"), stranger.user("alice"));
    let body = alice.refresh.strip_prefix("cs_rt_").unwrap();
    let flipped = |at: usize| {
        let mut bytes = body.as_bytes().to_vec();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        format!("cs_rt_{}", String::from_utf8(bytes).unwrap())
    };
    let mut forged = vec![String::new(), "x".to_owned(), body.to_owned(), format!("{}=", alice.refresh)];
    forged.extend([theirs.refresh, alice.access.clone(), format!(" {}", alice.refresh), "cs_rt_".to_owned()]);
    forged.extend((0..body.len()).step_by(7).map(flipped));
    for token in forged {
        server.refresh(&token).refused(400, "refresh_token_malformed");
    }
    // A guess costs its target nothing.
    refreshed(server.refresh(&alice.refresh));
}

#[test]
fn a_session_that_is_not_used_ends() {
    let server = Settings::new().with("refresh_token_idle_lifetime", "2s").start();
    let idle = server.user("alice");
    let mut busy = server.log_in("alice");
    until(Duration::from_secs(10), "the idle session ends", || {
        // Each use extends the other one, past the end of the first.
        busy = refreshed(server.refresh(&busy.refresh));
        let sessions = server.get("/api/auth/sessions").bearer(&busy.access).send().expect(200).json();
        let idle = sessions.as_array().unwrap().iter().find(|session| session["id"] == json!(idle.session())).cloned();
        (idle.unwrap()["endedReason"] == "idle_expired").then_some(())
    });
    server.refresh(&idle.refresh).refused(400, "refresh_token_expired");
    server.me(&busy.access).expect(200);
}

//! `POST /api/auth/change-password`.

use serde_json::json;

use crate::support::{Answer, PASSWORD, Server, Tokens, refreshed};

const NEW: &str = "another lamp by the door";

fn change(server: &Server, tokens: &Tokens, current: &str, new: &str) -> Answer {
    let body = json!({ "currentPassword": current, "newPassword": new });
    server.post("/api/auth/change-password").bearer(&tokens.access).json(&body).send()
}

#[test]
fn the_other_sessions_end_and_this_one_goes_on_with_its_very_tokens() {
    let server = Server::start();
    let here = server.user("alice");
    let there = server.log_in("alice");
    let bob = server.user("bob");
    change(&server, &here, PASSWORD, NEW).expect(204);

    server.me(&here.access).expect(200);
    refreshed(server.refresh(&here.refresh));
    server.me(&there.access).refused(401, "session_revoked");
    let problem = server.refresh(&there.refresh).refused(400, "refresh_token_revoked");
    assert!(problem["detail"].as_str().unwrap().contains("password was changed"), "{problem}");
    server.me(&bob.access).expect(200);

    server.try_log_in("alice", PASSWORD).refused(401, "invalid_credentials");
    server.try_log_in("alice", NEW).expect(200);
    assert_eq!(server.events("password_changed").len(), 1);
}

#[test]
fn what_is_wrong_changes_nothing() {
    let server = Server::start();
    let alice = server.user("alice");
    let other = server.log_in("alice");
    change(&server, &alice, "a wrong password", NEW).refused(400, "current_password_wrong");
    for unfit in ["", "short", "password", "alice@example.com", &"p".repeat(5000)] {
        let problem = change(&server, &alice, PASSWORD, unfit).refused(400, "validation_failed");
        assert!(problem["errors"]["newPassword"].is_array(), "{problem}");
    }
    let body = json!({ "currentPassword": PASSWORD, "newPassword": NEW });
    server.post("/api/auth/change-password").json(&body).send().refused(401, "token_missing");
    server.me(&other.access).expect(200);
    server.log_in("alice");
}

#[test]
fn a_stolen_access_token_does_not_buy_guesses() {
    let server = Server::start();
    let alice = server.user("alice");
    let throttled =
        (0..30).map(|_| change(&server, &alice, "a wrong password", NEW)).find(|answer| answer.status != 400);
    throttled.expect("30 guesses are throttled").refused(429, "too_many_attempts");
    server.me(&alice.access).expect(200);
}

#[test]
fn the_operators_password_ends_every_session() {
    let server = Server::start();
    let alice = server.user("alice");
    server.settings.cli_with(&["account", "set-password", "alice"], &format!("{NEW}\n")).done();
    server.me(&alice.access).refused(401, "account_revoked");
    server.refresh(&alice.refresh).refused(400, "refresh_token_revoked");
    server.try_log_in("alice", PASSWORD).refused(401, "invalid_credentials");
    server.try_log_in("alice", NEW).expect(200);
    assert_eq!(server.events("password_set").len(), 1);
}

//! What a change of roles does to those who are signed in.

use std::time::Duration;

use serde_json::json;

use crate::support::{Server, Settings, Weather, refreshed};

#[test]
fn the_old_access_token_dies_the_refresh_brings_the_new_roles_and_nobody_is_signed_out() {
    let server = Settings::new().findable().start();
    let weather = Weather::trusting(&server);
    let alice = server.user("alice");
    let bob = server.user("bob");
    weather.forecast(&alice.access).expect(200);
    let admins_weather = |token: &str| weather.get("/weatherforecast/admin").bearer(token).send();
    assert_eq!(admins_weather(&alice.access).expect(403).json()["code"], "forbidden");

    // By another process, while the server runs.
    server.settings.cli(&["account", "set-roles", "alice", "Admin", "User"]).done();
    let second = Duration::from_secs(1);
    assert_eq!(server.refused_within(second, &alice.access), "account_revoked");
    assert_eq!(weather.refused_within(second, &alice.access), "account_revoked");

    let alice = refreshed(server.refresh(&alice.refresh));
    assert_eq!(server.me(&alice.access).expect(200).json()["roles"], json!(["Admin", "User"]));
    admins_weather(&alice.access).expect(200);
    let sessions = server.get("/api/auth/sessions").bearer(&alice.access).send().expect(200).json();
    assert!(sessions.as_array().unwrap().iter().all(|session| session["endedReason"].is_null()), "{sessions}");
    server.me(&bob.access).expect(200);
    weather.forecast(&bob.access).expect(200);
    assert_eq!(server.events("roles_changed").len(), 1);
}

#[test]
fn a_demoted_admin_is_none_at_once() {
    let server = Server::start();
    let admin = server.admin();
    server.settings.cli(&["account", "set-roles", "root", "User"]).done();
    server.post("/api/auth/revoke-all").bearer(&admin.access).send().refused(401, "account_revoked");
    let admin = refreshed(server.refresh(&admin.refresh));
    server.post("/api/auth/revoke-all").bearer(&admin.access).send().refused(403, "forbidden");
}

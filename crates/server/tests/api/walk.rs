//! The tutorial's walk, from the first administrator to the last revocation, in one go.

use std::time::Duration;

use serde_json::json;

use crate::support::{PASSWORD, Settings, Weather, refreshed};

#[test]
fn register_log_in_call_refresh_revoke() {
    let settings = Settings::new().findable().with("rotation_overlap", "0s");
    let server = settings.start();
    let weather = Weather::trusting(&server);

    // The operator's part.
    settings.create_admin("root");
    let accounts = settings.cli_json(&["account", "list"]);
    assert_eq!(accounts.len(), 1, "{accounts:?}");
    assert_eq!(accounts[0]["username"], "root");
    assert_eq!(accounts[0]["roles"], json!(["Admin", "User"]));

    // The user's.
    weather.get("/weatherforecast").send().expect(401);
    let account = json!({ "username": "alice", "email": "alice@example.com", "password": PASSWORD });
    server.post("/api/auth/register").json(&account).send().expect(200);
    server.try_register("alice").refused(409, "username_taken");
    server.try_log_in("alice", "a wrong password").refused(401, "invalid_credentials");
    let first = server.log_in("alice");
    let forecast = weather.forecast(&first.access).expect(200).json();
    assert_eq!(forecast.as_array().unwrap().len(), 5);
    for day in forecast.as_array().unwrap() {
        let members: Vec<_> = day.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(members, ["date", "summary", "temperatureC", "temperatureF"]);
    }

    let pair = json!({ "accessToken": first.access, "refreshToken": first.refresh });
    let second = refreshed(server.refresh_with(&pair));
    weather.forecast(&second.access).expect(200);
    server.refresh(&first.refresh).refused(400, "refresh_token_replayed");
    let patience = Duration::from_secs(1);
    assert_eq!(weather.refused_within(patience, &second.access), "session_revoked");

    let third = server.log_in("alice");
    server.post("/api/auth/revoke/root").bearer(&third.access).send().refused(403, "forbidden");
    server.post("/api/auth/revoke/alice").bearer(&third.access).send().expect(204);
    server.refresh(&third.refresh).refused(400, "refresh_token_revoked");
    assert_eq!(weather.refused_within(patience, &third.access), "account_revoked");

    // The administrator's.
    let fourth = server.log_in("alice");
    let root = server.log_in("root");
    weather.get("/weatherforecast/admin").bearer(&root.access).send().expect(200);
    weather.get("/weatherforecast/admin").bearer(&fourth.access).send().expect(403);
    server.post("/api/auth/revoke-all").bearer(&fourth.access).send().refused(403, "forbidden");
    server.post("/api/auth/revoke-all").bearer(&root.access).send().expect(204);
    server.refresh(&fourth.refresh).refused(400, "refresh_token_revoked");
    assert_eq!(weather.refused_within(patience, &fourth.access), "everyone_revoked");
    let fifth = server.log_in("alice");
    weather.forecast(&fifth.access).expect(200);
}

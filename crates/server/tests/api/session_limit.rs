//! `sessions_per_account`: what becomes of the sessions of somebody who signs in once too often.

use serde_json::json;

use crate::support::{Settings, refreshed};

const SECRET: &str = "a-secret-for-readers-of-the-feed";

#[test]
fn the_least_recently_used_session_makes_room() {
    let server = Settings::new().with("sessions_per_account", "2").with("revocation_reader_secret", SECRET).start();
    let desk = server.user("alice");
    let phone = server.log_in("alice");
    let bob = server.user("bob");
    // The desk is older, and used since.
    let desk = refreshed(server.refresh(&desk.refresh));

    let tablet = server.log_in("alice");
    let feed = server.get("/revocations").bearer(SECRET).send().expect(200).json();
    server.me(&phone.access).refused(401, "session_revoked");
    let problem = server.refresh(&phone.refresh).refused(400, "refresh_token_revoked");
    assert!(problem["detail"].as_str().unwrap().contains("signed in too often"), "{problem}");
    for living in [&desk, &tablet, &bob] {
        server.me(&living.access).expect(200);
        refreshed(server.refresh(&living.refresh));
    }

    // Whoever has the answer to the sign-in finds its consequence in the feed.
    let told: Vec<_> = feed["events"].as_array().unwrap().iter().filter(|event| event["type"] == "session").collect();
    assert_eq!((told.len(), &told[0]["sid"]), (1, &json!(phone.session())), "{feed}");
    let sessions = server.get("/api/auth/sessions").bearer(&tablet.access).send().expect(200).json();
    let reasons: Vec<_> = sessions.as_array().unwrap().iter().map(|session| &session["endedReason"]).collect();
    assert_eq!(reasons, [&json!(null), &json!("session_limit"), &json!(null)]);
    let events = server.events("session_ended");
    assert_eq!(events.len(), 1);
    assert_eq!((&events[0]["session"], &events[0]["detail"]), (&json!(phone.session()), &json!("session_limit")));
}

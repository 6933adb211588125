//! `GET /api/auth/sessions`, `DELETE /api/auth/sessions/{id}` and `POST /api/auth/logout`.

use serde_json::{Value, json};

use crate::support::{PASSWORD, Server, Settings, Tokens, refreshed};

fn listed(server: &Server, tokens: &Tokens) -> Vec<Value> {
    let sessions = server.get("/api/auth/sessions").bearer(&tokens.access).send().expect(200).json();
    sessions.as_array().unwrap().clone()
}

fn one<'a>(sessions: &'a [Value], tokens: &Tokens) -> &'a Value {
    let id = json!(tokens.session());
    sessions.iter().find(|session| session["id"] == id).unwrap_or_else(|| panic!("no {id} in {sessions:?}"))
}

#[test]
fn the_list_shows_every_device_and_which_one_asks() {
    let server = Server::start();
    let desk = server.user("alice");
    let login = json!({ "username": "alice", "password": PASSWORD, "device": "a phone" });
    let phone = server.post("/api/auth/login").json(&login).send().expect(200).json();
    let phone = Tokens {
        access: phone["token"].as_str().unwrap().to_owned(),
        refresh: phone["refreshToken"].as_str().unwrap().to_owned(),
    };
    server.user("bob");

    let sessions = listed(&server, &desk);
    assert_eq!(sessions.len(), 2, "{sessions:?}");
    let (on_desk, on_phone) = (one(&sessions, &desk), one(&sessions, &phone));
    let members: Vec<_> = on_desk.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(members, ["createdAt", "current", "device", "endedReason", "expiresAt", "id", "ip", "lastUsedAt"]);
    assert_eq!((&on_desk["current"], &on_phone["current"]), (&json!(true), &json!(false)));
    assert_eq!((&on_desk["device"], &on_phone["device"]), (&Value::Null, &json!("a phone")));
    assert_eq!(on_desk["ip"], "127.0.0.1");
    assert_eq!(on_desk["endedReason"], Value::Null);

    let used = |session: &Value| session["lastUsedAt"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    let before = used(on_phone);
    refreshed(server.refresh(&phone.refresh));
    assert!(used(one(&listed(&server, &desk), &phone)) > before);
}

#[test]
fn a_device_name_is_cut_and_cleaned() {
    let server = Server::start();
    server.register("alice");
    let login =
        json!({ "username": "alice", "password": PASSWORD, "device": format!("\u{0}\n\u{1b}[31m{}", "é".repeat(500)) });
    let answer = server.post("/api/auth/login").json(&login).send().expect(200).json();
    let tokens = Tokens { access: answer["token"].as_str().unwrap().to_owned(), refresh: String::new() };
    let sessions = listed(&server, &tokens);
    let device = sessions[0]["device"].as_str().unwrap();
    assert_eq!(device.chars().count(), 128);
    assert!(device.starts_with("[31mé"), "{device}");
}

#[test]
fn logging_out_ends_this_session_at_once_and_no_other() {
    let server = Server::start();
    let desk = server.user("alice");
    let phone = server.log_in("alice");
    server.post("/api/auth/logout").send().refused(401, "token_missing");
    server.post("/api/auth/logout").bearer(&desk.access).send().expect(204);
    server.me(&desk.access).refused(401, "session_revoked");
    server.refresh(&desk.refresh).refused(400, "refresh_token_revoked");
    server.post("/api/auth/logout").bearer(&desk.access).send().refused(401, "session_revoked");
    server.me(&phone.access).expect(200);
    assert_eq!(one(&listed(&server, &phone), &desk)["endedReason"], "signed_out");
}

#[test]
fn one_of_ones_own_sessions_can_be_ended() {
    let server = Server::start();
    let desk = server.user("alice");
    let phone = server.log_in("alice");
    let end =
        |id: &str, tokens: &Tokens| server.delete(&format!("/api/auth/sessions/{id}")).bearer(&tokens.access).send();
    end(&phone.session(), &desk).expect(204);
    server.me(&phone.access).refused(401, "session_revoked");
    server.refresh(&phone.refresh).refused(400, "refresh_token_revoked");
    server.me(&desk.access).expect(200);
    assert_eq!(one(&listed(&server, &desk), &phone)["endedReason"], "revoked");

    end(&phone.session(), &desk).refused(404, "session_not_found");
    let bob = server.user("bob");
    end(&bob.session(), &desk).refused(404, "session_not_found");
    server.me(&bob.access).expect(200);
    end("00000000-0000-0000-0000-000000000000", &desk).refused(404, "session_not_found");
    end("not-an-id", &desk).refused(404, "not_found");
    server.delete(&format!("/api/auth/sessions/{}", desk.session())).send().refused(401, "token_missing");
    end(&desk.session(), &desk).expect(204);
    server.me(&desk.access).refused(401, "session_revoked");
}

#[test]
fn the_address_is_the_clients_only_where_a_trusted_proxy_says_so() {
    for (proxies, expected) in
        [(None, "127.0.0.1"), (Some("127.0.0.1"), "203.0.113.9"), (Some("10.0.0.0/8"), "127.0.0.1")]
    {
        let settings = Settings::new();
        let settings = match proxies {
            Some(proxies) => settings.with("trusted_proxies", proxies),
            None => settings,
        };
        let server = settings.start();
        server.register("alice");
        let login = json!({ "username": "alice", "password": PASSWORD });
        // The leftmost is what the client itself wrote.
        let forwarded = server.post("/api/auth/login").forwarded_for("1.1.1.1, 203.0.113.9").json(&login);
        let answer = forwarded.send().expect(200).json();
        let tokens = Tokens { access: answer["token"].as_str().unwrap().to_owned(), refresh: String::new() };
        assert_eq!(listed(&server, &tokens)[0]["ip"], expected, "trusting {proxies:?}");
    }
}

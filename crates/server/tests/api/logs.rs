//! What the operator is told, and what never stands there.

use base64ct::{Base64, Base64UrlUnpadded, Encoding as _};
use countersign_core::ids::FamilyId;
use countersign_core::secret::Secret;
use countersign_core::sessions::refresh_token::RefreshToken;
use serde_json::{Value, json};

use crate::support::{PASSWORD, Server, Settings, Tokens, decoded, refreshed, until};

/// Every way in which bytes may show in a text.
fn spellings(bytes: &[u8]) -> Vec<String> {
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let listed = format!("{bytes:?}");
    let base64 = Base64UrlUnpadded::encode_string(bytes);
    vec![hex.to_uppercase(), hex, listed.trim_matches(['[', ']']).to_owned(), Base64::encode_string(bytes), base64]
}

/// What must not show of a refresh token: itself, its secret, and what the database keeps of it.
fn secrets_of(refresh_token: &str) -> Vec<String> {
    let bytes = decoded(refresh_token.strip_prefix("cs_rt_").unwrap());
    let (family, secret) = (&bytes[2..18], &bytes[22..54]);
    let mut secrets = vec![refresh_token.to_owned(), refresh_token[6..40].to_owned()];
    secrets.extend(spellings(&secret[..16]));
    if bytes[18..22] == [0; 4] {
        let family = FamilyId::from_bytes(family.try_into().unwrap());
        let first = RefreshToken::first(family, Secret::new(secret.try_into().unwrap()));
        secrets.extend(spellings(&first.hash().as_bytes()[..16]));
    }
    secrets
}

#[test]
fn no_secret_shows_however_much_is_logged() {
    let reader_secret = "a-secret-for-readers-of-the-feed";
    let settings = Settings::new().with("log_level", "trace").with("revocation_reader_secret", reader_secret);
    let server = settings.start();
    let new_password = "another lamp by the door";
    let wrong_password = "this password is wrong";
    let mut seen: Vec<Tokens> = vec![server.user("alice"), server.admin()];
    server.try_log_in("alice", wrong_password).refused(401, "invalid_credentials");
    seen.push(refreshed(server.refresh(&seen[0].refresh)));
    seen.push(refreshed(server.refresh_keyed(&seen[2].refresh, "a key only this client knows")));
    server.refresh(&seen[0].refresh).refused(400, "refresh_token_late_duplicate");
    server.refresh(&format!("{}x", seen[3].refresh)).refused(400, "refresh_token_malformed");
    server.me(&seen[3].access).expect(200);
    server.me(&format!("{}x", seen[3].access)).problem();
    let change = json!({ "currentPassword": PASSWORD, "newPassword": new_password });
    server.post("/api/auth/change-password").bearer(&seen[3].access).json(&change).send().expect(204);
    let typed = json!({ "username": "bob", "email": "bob@example.com", "password": [PASSWORD] });
    server.post("/api/auth/register").json(&typed).send().refused(400, "validation_failed");
    let reader =
        server.post("/api/auth/revocation-readers").bearer(&seen[1].access).json(&json!({ "name": "weather" }));
    let key = reader.send().expect(200).json()["key"].as_str().unwrap().to_owned();
    server.get("/revocations").bearer(&key).send().expect(200);
    server.get("/revocations").bearer(reader_secret).send().expect(200);
    server.post("/api/auth/logout").bearer(&seen[3].access).send().expect(204);
    server.settings.cli(&["key", "rotate", "--now"]).done();
    let encryption = std::fs::read_to_string(server.settings.dir().join("data/key-encryption.key")).unwrap();

    let last = server.get("/livez").send().expect(200);
    let id = last.header("x-request-id").unwrap().to_owned();
    until(std::time::Duration::from_secs(5), "the last request is in the log", || {
        server.process.said().contains(&id).then_some(())
    });
    let log = server.process.said();
    assert!(log.matches("answered status=").count() >= 15, "this is not everything:\n{log}");

    let mut secrets: Vec<String> =
        [PASSWORD, new_password, wrong_password, reader_secret, &key[6..40], encryption.trim()]
            .map(str::to_owned)
            .into();
    secrets.push("a key only this client knows".to_owned());
    secrets.push("$argon2".to_owned());
    secrets.extend(spellings(&Base64::decode_vec(encryption.trim()).unwrap()[..16]));
    for tokens in &seen {
        secrets.extend(secrets_of(&tokens.refresh));
        let mut parts = tokens.access.split('.').skip(1).map(str::to_owned);
        secrets.extend(parts.by_ref());
    }
    for secret in secrets {
        let line = log.lines().find(|line| line.contains(&secret));
        assert!(line.is_none(), "{secret} stands in the log: {line:?}");
    }
}

#[test]
fn log_lines_can_be_json_and_carry_the_id_of_their_request() {
    let server = Settings::new().with("log_format", "json").with("log_level", "debug").start();
    let answer = server.get("/api/auth/me").send();
    answer.refused(401, "token_missing");
    let id = answer.header("x-request-id").unwrap().to_owned();
    let line = until(std::time::Duration::from_secs(5), "the request is in the log", || {
        server.process.said().lines().find(|line| line.contains(&id)).map(str::to_owned)
    });
    let line: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(line["span"]["id"], json!(id), "{line}");
    for whole in server.process.said().lines() {
        serde_json::from_str::<Value>(whole).unwrap_or_else(|error| panic!("{error}: {whole}"));
    }
}

#[test]
fn a_client_cannot_write_lines_of_its_own() {
    let server = Settings::new().with("log_level", "trace").start();
    let injected = "alice\nERROR countersign: the disk is on fire\u{1b}[31m";
    server.try_log_in(injected, PASSWORD).refused(401, "invalid_credentials");
    server.get("/api/auth/revoke/x%0AERROR%20countersign:%20the%20disk%20is%20on%20fire").send().problem();
    let last = server.get("/livez").header("x-request-id", "chosen-by-the-client").send().expect(200);
    let id = last.header("x-request-id").unwrap().to_owned();
    assert_ne!(id, "chosen-by-the-client");
    until(std::time::Duration::from_secs(5), "the last request is in the log", || {
        server.process.said().contains(&id).then_some(())
    });
    let log = server.process.said();
    assert!(!log.lines().any(|line| line.starts_with("ERROR countersign: the disk")), "{log}");
    assert!(!log.contains('\u{1b}'), "a terminal would obey");
}

#[test]
fn a_replay_is_told_once_and_without_asking_for_more_lines() {
    let mut server = Settings::new().with("rotation_overlap", "0s").start();
    let alice = server.user("alice");
    let next = refreshed(server.refresh(&alice.refresh));
    let answer = server.refresh(&alice.refresh);
    answer.refused(400, "refresh_token_replayed");
    server.refresh(&next.refresh).refused(400, "refresh_token_replayed");
    server.process.stop();
    let log = until(std::time::Duration::from_secs(5), "the replay is in the log", || {
        Some(server.process.said()).filter(|log| log.contains("was replayed"))
    });
    let told: Vec<&str> = log.lines().filter(|line| line.contains("was replayed")).collect();
    assert_eq!(told.len(), 1, "{log}");
    assert!(told[0].contains("WARN") && told[0].contains(answer.header("x-request-id").unwrap()), "{}", told[0]);
}

#[test]
fn the_first_start_says_how_to_make_an_administrator() {
    let server = Server::start();
    until(std::time::Duration::from_secs(5), "the log names the command", || {
        server.process.said().contains("countersign account create --admin").then_some(())
    });
    server.settings.create_admin("root");
    let server = server.stop().start();
    server.log_in("root");
    assert!(!server.process.said().contains("account create --admin"), "{}", server.process.said());
}

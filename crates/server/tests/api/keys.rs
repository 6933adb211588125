//! Signing keys: every algorithm, keys of one's own, rotation under load, and the key that encrypts them.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Server, Settings, Tokens, Weather, decoded, refreshed, until};

fn header(access_token: &str) -> Value {
    serde_json::from_slice(&decoded(access_token.split('.').next().unwrap())).unwrap()
}

fn published(server: &Server) -> Vec<Value> {
    let set = server.get("/.well-known/jwks.json").send().expect(200).json();
    set["keys"].as_array().unwrap().clone()
}

fn kids(server: &Server) -> Vec<Value> {
    published(server).iter().map(|key| key["kid"].clone()).collect()
}

/// A session that works from the login to the refresh, here and at a resource server where that can verify.
fn works(server: &Server, weather: Option<&Weather>, algorithm: &str) -> Tokens {
    let first = server.user("alice");
    let second = refreshed(server.refresh_with(&json!({ "refreshToken": first.refresh, "accessToken": first.access })));
    for access in [&first.access, &second.access] {
        assert_eq!(header(access)["alg"], algorithm);
        server.me(access).expect(200);
        if let Some(weather) = weather {
            weather.forecast(access).expect(200);
        }
    }
    second
}

#[test]
fn every_asymmetric_algorithm_is_made_published_and_verified_by_others() {
    for (algorithm, kind) in [("ES256", "EC"), ("EdDSA", "OKP"), ("RS256", "RSA")] {
        let server = Settings::new().findable().with("signing_algorithm", algorithm).start();
        let weather = Weather::trusting(&server);
        let tokens = works(&server, Some(&weather), algorithm);
        let keys = published(&server);
        assert_eq!((&keys[0]["kty"], &keys[0]["alg"]), (&json!(kind), &json!(algorithm)));
        assert_eq!(header(&tokens.access)["kid"], keys[0]["kid"]);
        let metadata = server.get("/.well-known/openid-configuration").send().expect(200).json();
        assert_eq!(metadata["access_token_signing_alg_values_supported"], json!([algorithm]));
        // The same key after a restart.
        let server = server.stop().start();
        server.me(&tokens.access).expect(200);
        assert_eq!(published(&server), keys);
    }
}

#[test]
fn a_shared_secret_signs_and_is_never_published() {
    let settings = Settings::new();
    let file = settings.dir().join("secret");
    std::fs::write(&file, format!("{}\n", "5".repeat(64))).unwrap();
    let settings = settings.with("signing_algorithm", "HS256").with("signing_key_files", file.to_str().unwrap());
    let server = settings.start();
    works(&server, None, "HS256");
    assert_eq!(published(&server), Vec::<Value>::new());

    std::fs::write(&file, "5".repeat(31)).unwrap();
    let settings = server.stop();
    let refused = settings.start_refused();
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(refused.err.contains("signing_key_files") && refused.err.contains("32"), "{}", refused.err);
    assert!(!refused.err.contains("55555"), "{}", refused.err);
}

#[test]
fn keys_of_ones_own_sign_in_their_order() {
    let settings = Settings::new();
    let file = |name: &str, pem: &str| {
        let file = settings.dir().join(name);
        std::fs::write(&file, pem).unwrap();
        file.to_str().unwrap().to_owned()
    };
    let p256 = file("p256.pem", include_str!("../../../token/tests/keys/p256.pem"));
    let ed25519 = file("ed25519.pem", include_str!("../../../token/tests/keys/ed25519.pem"));
    let rsa = file("rsa.pem", include_str!("../../../token/tests/keys/rsa2048.pem"));
    let server = settings.clone().with("signing_key_files", p256.clone()).start();
    let old = server.user("alice");
    assert_eq!(header(&old.access)["alg"], "ES256");
    assert_eq!(published(&server).len(), 1, "the keys in the database are not published beside it");

    // The next key first, the old one still verifies.
    let files = format!("{ed25519},{p256},{rsa}");
    let settings = server.stop().with("signing_algorithm", "EdDSA").with("signing_key_files", files);
    let server = settings.start();
    let new = refreshed(server.refresh(&old.refresh));
    assert_eq!(header(&new.access)["alg"], "EdDSA");
    server.me(&old.access).expect(200);
    server.me(&new.access).expect(200);
    assert_eq!(published(&server).len(), 3);
    // The keys that tag refresh tokens are rotated all the same; the others are the operator's.
    let rotate = server.settings.cli(&["key", "rotate"]).done();
    assert!(rotate.contains("signing_key_files"), "{rotate}");
    assert_eq!(published(&server).len(), 3);

    // A key of another algorithm than the setting says, and a file that is no key, do not start.
    let settings = server.stop();
    for (first, said) in [(p256, "EdDSA"), (file("nothing.pem", "nothing"), "nothing.pem")] {
        let refused = settings.clone().with("signing_key_files", first).start_refused();
        assert_eq!(refused.code, Some(2), "{refused:?}");
        assert!(refused.err.contains("signing_key_files") && refused.err.contains(said), "{}", refused.err);
    }
}

#[test]
fn rotating_under_load_fails_no_honest_request() {
    let server = Settings::new().findable().start();
    let weather = Weather::trusting(&server);
    let old = server.user("alice");
    let before = kids(&server);
    let (over, requests) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for number in 0..3 {
            let (server, weather, over, requests) = (&server, &weather, &over, &requests);
            let mut tokens = server.user(&format!("user{number}"));
            scope.spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    tokens = refreshed(server.refresh(&tokens.refresh));
                    server.me(&tokens.access).expect(200);
                    weather.forecast(&tokens.access).expect(200);
                    requests.fetch_add(3, Ordering::Relaxed);
                }
            });
        }
        let more_requests = || {
            let seen = requests.load(Ordering::Relaxed);
            until(Duration::from_secs(10), "requests go on", || {
                (requests.load(Ordering::Relaxed) > seen + 30).then_some(())
            });
        };
        more_requests();
        server.settings.cli(&["key", "rotate"]).done();
        until(Duration::from_secs(3), "the new key is published", || (kids(&server).len() == 2).then_some(()));
        more_requests();
        over.store(true, Ordering::Relaxed);
    });
    let both = kids(&server);
    assert!(before.iter().all(|kid| both.contains(kid)), "{before:?} {both:?}");
    // It is published ahead: verifiers may keep what they have fetched, so it does not sign yet.
    let new = server.log_in("alice");
    assert_eq!(header(&new.access)["kid"], header(&old.access)["kid"]);
    server.me(&old.access).expect(200);
    weather.forecast(&old.access).expect(200);
    let phases: Vec<_> = server.settings.cli_json(&["key", "list"]).iter().map(|key| key["state"].clone()).collect();
    assert_eq!(phases.iter().filter(|phase| **phase == "active").count(), 2, "{phases:?}");
    assert_eq!(phases.iter().filter(|phase| **phase == "published").count(), 2, "{phases:?}");
}

#[test]
fn a_key_that_leaked_is_replaced_at_once() {
    let server = Settings::new().findable().start();
    let weather = Weather::trusting(&server);
    let old = server.user("alice");
    weather.forecast(&old.access).expect(200);
    server.settings.cli(&["key", "rotate", "--now"]).done();
    let new = until(Duration::from_secs(3), "the new key signs", || {
        let tokens = server.log_in("alice");
        (header(&tokens.access)["kid"] != header(&old.access)["kid"]).then_some(tokens)
    });
    server.me(&new.access).expect(200);
    // A resource server meets a key that it does not know, and asks.
    until(Duration::from_secs(5), "the weather knows the new key", || {
        (weather.forecast(&new.access).status == 200).then_some(())
    });
    // What the old key signed is refused; nobody is signed out.
    assert_eq!(server.me(&old.access).status, 401);
    until(Duration::from_secs(5), "the weather forgets the old key", || {
        (weather.forecast(&old.access).status == 401).then_some(())
    });
    refreshed(server.refresh(&old.refresh));
    assert_eq!(server.events("key_created").len(), 4);
}

#[test]
fn private_keys_are_of_no_use_without_the_key_that_encrypts_them() {
    let server = Server::start();
    let alice = server.user("alice");
    let settings = server.stop();
    let file = settings.dir().join("data/key-encryption.key");
    #[cfg(unix)]
    for name in ["key-encryption.key", "countersign.db"] {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = std::fs::metadata(settings.dir().join("data").join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{name} can be read by others: {mode:o}");
    }
    let key = std::fs::read_to_string(&file).unwrap();
    let refused = |contents: Option<&str>, words: &[&str]| {
        match contents {
            Some(contents) => std::fs::write(&file, contents).unwrap(),
            None => std::fs::remove_file(&file).unwrap(),
        }
        let refused = settings.start_refused();
        assert_eq!(refused.code, Some(1), "{refused:?}");
        for word in words {
            assert!(refused.err.contains(word), "no {word:?} in: {}", refused.err);
        }
        assert!(!refused.err.contains(key.trim()), "{}", refused.err);
    };
    refused(Some(&format!("{}=\n", "A".repeat(43))), &["cannot be opened", "key-encryption key"]);
    refused(Some("nonsense"), &["key-encryption.key", "32 bytes"]);
    refused(None, &["key-encryption.key", "missing"]);
    assert!(!file.exists(), "a new key would hide that the old one is gone");

    std::fs::write(&file, &key).unwrap();
    let server = settings.start();
    server.me(&alice.access).expect(200);
}

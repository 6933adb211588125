//! What is found by the issuer's URL alone: metadata and keys.

use serde_json::json;

use crate::support::{Server, Settings};

#[test]
fn both_metadata_documents_say_the_same_and_nothing_that_is_not_there() {
    let server = Settings::new().findable().start();
    let openid = server.get("/.well-known/openid-configuration").send().expect(200);
    let oauth = server.get("/.well-known/oauth-authorization-server").send().expect(200);
    assert_eq!(openid.json(), oauth.json());
    let metadata = openid.json();
    let url = &server.process.url;
    assert_eq!(metadata["issuer"], json!(url));
    for (name, path) in [
        ("jwks_uri", "/.well-known/jwks.json"),
        ("countersign_revocations_endpoint", "/revocations"),
        ("countersign_token_status_endpoint", "/api/auth/me"),
    ] {
        assert_eq!(metadata[name], json!(format!("{url}{path}")));
        assert_ne!(server.get(path).send().status, 404, "{path}");
    }
    for absent in ["authorization_endpoint", "token_endpoint", "registration_endpoint"] {
        assert!(metadata.get(absent).is_none(), "{absent}");
    }
}

#[test]
fn keys_are_public_and_may_be_kept_for_as_long_as_a_new_one_is_published_ahead() {
    let server = Server::start();
    let answer = server.get("/.well-known/jwks.json").send().expect(200);
    assert_eq!(answer.header("content-type"), Some("application/jwk-set+json"));
    assert_eq!(answer.header("cache-control"), Some("public, max-age=300"));
    let set = answer.json();
    let keys = set["keys"].as_array().unwrap();
    assert_eq!(keys.len(), 1, "{set}");
    assert_eq!((&keys[0]["kty"], &keys[0]["crv"], &keys[0]["alg"]), (&json!("EC"), &json!("P-256"), &json!("ES256")));
    assert!(keys[0].get("d").is_none(), "a private key is published: {set}");
}

//! Whom an authority may speak for, and what happens until it speaks.

use countersign_bearer::{Bearer, Stale};
use countersign_token::{Algorithm, SigningKey};
use http::StatusCode;
use serde_json::json;

use crate::issuer::{AUDIENCE, Issuer, READER_KEY, call, claims, code_of, eventually, ready};

/// Waits until the layer has tried and tries again, and shows that it trusts nothing.
async fn is_never_trusted(issuer: &Issuer, token: &str) {
    let bearer = Bearer::discover(issuer.url()).audience(AUDIENCE).reader_key(READER_KEY).build().unwrap();
    // An attempt asks twice at most.
    eventually("the layer tries again", || async { issuer.discoveries() > 2 }).await;
    let outcome = call(&bearer.with_stale(Stale::AcceptUntilExpiry), token).await;
    assert_eq!((outcome.status, outcome.code().as_str()), (StatusCode::SERVICE_UNAVAILABLE, "keys_unavailable"));
    assert!(!bearer.is_ready());
}

#[tokio::test]
async fn until_the_issuer_answers_nothing_is_accepted() {
    let issuer = Issuer::absent().await;
    let bearer = Bearer::discover(issuer.url()).audience(AUDIENCE).reader_key(READER_KEY).build().unwrap();
    let token = issuer.sign(&issuer.claims());
    for stale in [Stale::FailClosed, Stale::AcceptUntilExpiry] {
        let outcome = call(&bearer.with_stale(stale), &token).await;
        assert_eq!((outcome.status, outcome.code().as_str()), (StatusCode::SERVICE_UNAVAILABLE, "keys_unavailable"));
        assert_eq!(outcome.header("retry-after"), "1");
        assert_eq!(outcome.header("cache-control"), "no-store");
    }
    assert!(!bearer.is_ready());
    issuer.come_back().await;
    ready(&bearer).await;
    assert_eq!(code_of(&bearer, &token).await, "ok");
}

#[tokio::test]
async fn another_name_of_this_machine_is_the_same_issuer() {
    let issuer = Issuer::start().await;
    let name = format!("http://localhost:{}", issuer.port());
    issuer.tell(|told| {
        told.metadata = json!({
            "issuer": name,
            "jwks_uri": format!("{name}/.well-known/jwks.json"),
            "countersign_revocations_endpoint": format!("{name}/revocations"),
            "countersign_token_status_endpoint": format!("{name}/api/auth/me"),
        });
    });
    let bearer = issuer.reader().await;
    // Tokens must carry the issuer's own name, byte by byte.
    assert_eq!(code_of(&bearer, &issuer.sign(&claims(&name))).await, "ok");
    assert_eq!(code_of(&bearer, &issuer.sign(&issuer.claims())).await, "issuer_mismatch");
}

#[tokio::test]
async fn an_authority_does_not_speak_for_other_issuers() {
    for other in ["https://login.example", "http://localhost:1", "http://127.0.0.1", ""] {
        let issuer = Issuer::start().await;
        issuer.tell(|told| told.metadata = json!({ "issuer": other }));
        is_never_trusted(&issuer, &issuer.sign(&claims(other))).await;
        assert_eq!(issuer.key_fetches(), 0, "{other}");
    }
}

#[tokio::test]
async fn keys_and_feed_must_lie_with_the_issuer() {
    let elsewhere = Issuer::start().await;
    for member in ["jwks_uri", "countersign_revocations_endpoint", "countersign_token_status_endpoint"] {
        let issuer = Issuer::start().await;
        issuer.tell(|told| told.metadata = json!({ member: format!("{}/.well-known/jwks.json", elsewhere.url()) }));
        is_never_trusted(&issuer, &issuer.sign(&issuer.claims())).await;
        assert_eq!(elsewhere.key_fetches(), 0, "{member}");
    }
}

#[tokio::test]
async fn the_metadata_of_oauth_do_where_there_are_none_of_openid() {
    let issuer = Issuer::start().await;
    issuer.tell(|told| told.openid_configuration = StatusCode::NOT_FOUND);
    let bearer = issuer.reader().await;
    assert_eq!(code_of(&bearer, &issuer.sign(&issuer.claims())).await, "ok");
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let issuer = Issuer::start().await;
    issuer.tell(|told| told.openid_configuration = StatusCode::FOUND);
    is_never_trusted(&issuer, &issuer.sign(&issuer.claims())).await;
    assert_eq!(issuer.key_fetches(), 0);
}

#[tokio::test]
async fn an_endless_document_is_not_read_to_its_end() {
    let issuer = Issuer::start().await;
    issuer.tell(|told| told.metadata = json!({ "more": "x".repeat(1 << 20) }));
    is_never_trusted(&issuer, &issuer.sign(&issuer.claims())).await;
    assert_eq!(issuer.key_fetches(), 0);
}

#[tokio::test]
async fn a_shared_secret_stands_for_the_keys() {
    let issuer = Issuer::start().await;
    let secret = "0123456789abcdef0123456789abcdef";
    let published = issuer.sign(&issuer.claims());
    let bearer =
        Bearer::discover(issuer.url()).audience(AUDIENCE).reader_key(READER_KEY).shared_secret(secret).build().unwrap();
    ready(&bearer).await;
    let key = SigningKey::from_secret(secret.as_bytes()).unwrap();
    let token = key.sign(&issuer.claims()).unwrap();
    assert_eq!(code_of(&bearer, &token).await, "ok");
    assert_eq!(code_of(&bearer, &published).await, "key_unknown");
    assert_eq!(issuer.key_fetches(), 0);
}

#[tokio::test]
async fn an_issuer_without_public_keys_is_not_trusted_without_its_secret() {
    let issuer = Issuer::start().await;
    issuer.tell(|told| told.keys = vec![SigningKey::generate(Algorithm::Hs256).unwrap()]);
    is_never_trusted(&issuer, &issuer.sign(&issuer.claims())).await;
    assert!(issuer.key_fetches() > 0);
}

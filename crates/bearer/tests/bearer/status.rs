//! Revocations that the issuer is asked about, token by token.

use std::time::{Duration, Instant};

use countersign_bearer::Stale;
use http::StatusCode;
use serde_json::json;

use crate::issuer::{Issuer, call, code_of, eventually, problem_body};

#[tokio::test]
async fn many_requests_with_one_token_ask_once() {
    let issuer = Issuer::start().await;
    issuer.tell(|told| told.status_delay = Duration::from_millis(50));
    let bearer = issuer.asker().await;
    let token = issuer.sign(&issuer.claims());
    let requests = (0..50).map(|_| {
        let (bearer, token) = (bearer.clone(), token.clone());
        async move { code_of(&bearer, &token).await }
    });
    let codes = requests.collect::<tokio::task::JoinSet<_>>().join_all().await;
    assert!(codes.iter().all(|code| code == "ok"), "{codes:?}");
    assert_eq!(issuer.questions(), 1);
    assert_eq!(code_of(&bearer, &issuer.sign(&issuer.claims())).await, "ok");
    assert_eq!(issuer.questions(), 2);
}

#[tokio::test]
async fn a_revocation_is_obeyed_within_a_second_and_remembered() {
    for code in ["session_revoked", "account_revoked", "everyone_revoked", "session_ended"] {
        let issuer = Issuer::start().await;
        let bearer = issuer.asker().await;
        let token = issuer.sign(&issuer.claims());
        assert_eq!(code_of(&bearer, &token).await, "ok");
        let revoked = Instant::now();
        issuer.tell(|told| told.status_answer = Some((StatusCode::UNAUTHORIZED, problem_body(code))));
        eventually(code, || async { code_of(&bearer, &token).await == code }).await;
        assert!(revoked.elapsed() < Duration::from_secs(1), "{:?}", revoked.elapsed());

        let questions = issuer.questions();
        issuer.go_away().await;
        assert_eq!(code_of(&bearer.with_stale(Stale::AcceptUntilExpiry), &token).await, code);
        assert_eq!(issuer.questions(), questions);
    }
}

#[tokio::test]
async fn when_the_issuer_cannot_be_asked_each_route_does_as_it_declared() {
    let issuer = Issuer::start().await;
    let closed = issuer.asker().await;
    let open = closed.with_stale(Stale::AcceptUntilExpiry);
    let token = issuer.sign(&issuer.claims());
    issuer.go_away().await;
    let outcome = call(&closed, &token).await;
    assert_eq!((outcome.status, outcome.code().as_str()), (StatusCode::SERVICE_UNAVAILABLE, "revocations_unavailable"));
    assert_eq!(outcome.header("retry-after"), "1");
    assert_eq!(code_of(&open, &token).await, "ok");
    issuer.come_back().await;
    eventually("the issuer is asked again", || async { code_of(&closed, &token).await == "ok" }).await;
}

#[tokio::test]
async fn an_issuer_that_hangs_holds_up_nobody_for_long() {
    let issuer = Issuer::start().await;
    issuer.tell(|told| told.status_delay = Duration::from_secs(60));
    let bearer = issuer.asker().await;
    let began = Instant::now();
    let requests = (0..200).map(|_| {
        let (bearer, token) = (bearer.clone(), issuer.sign(&issuer.claims()));
        async move { code_of(&bearer, &token).await }
    });
    let codes = requests.collect::<tokio::task::JoinSet<_>>().join_all().await;
    assert!(codes.iter().all(|code| code == "revocations_unavailable"), "{codes:?}");
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert!(issuer.questions() <= 64, "{} questions at once", issuer.questions());
    let at_once = Instant::now();
    assert_eq!(code_of(&bearer, &issuer.sign(&issuer.claims())).await, "revocations_unavailable");
    assert!(at_once.elapsed() < Duration::from_secs(1), "{:?}", at_once.elapsed());
}

#[tokio::test]
async fn only_the_account_itself_is_a_yes() {
    for (status, body, code) in [
        (StatusCode::OK, "<html>welcome</html>".to_owned(), "revocations_unavailable"),
        (
            StatusCode::OK,
            json!({ "id": "0198a8a6-0000-7000-8000-000000000001" }).to_string(),
            "revocations_unavailable",
        ),
        (StatusCode::OK, "x".repeat(1 << 20), "revocations_unavailable"),
        (StatusCode::FOUND, String::new(), "revocations_unavailable"),
        (StatusCode::NOT_FOUND, String::new(), "revocations_unavailable"),
        (StatusCode::TOO_MANY_REQUESTS, String::new(), "revocations_unavailable"),
        (StatusCode::UNAUTHORIZED, problem_body("account_disabled"), "account_disabled"),
        (StatusCode::UNAUTHORIZED, problem_body("token_expired"), "token_expired"),
        (StatusCode::UNAUTHORIZED, "who are you?".to_owned(), "token_refused"),
    ] {
        let issuer = Issuer::start().await;
        let bearer = issuer.asker().await;
        issuer.tell(|told| told.status_answer = Some((status, body.clone())));
        assert_eq!(code_of(&bearer, &issuer.sign(&issuer.claims())).await, code, "{status}");
    }
}

#[tokio::test]
async fn a_token_that_is_not_genuine_is_never_sent_anywhere() {
    let issuer = Issuer::start().await;
    let bearer = issuer.asker().await;
    let token = issuer.sign(&issuer.claims());
    let cut = &token[..token.len() - 4];
    for bad in ["nonsense", cut] {
        assert_ne!(code_of(&bearer, bad).await, "ok");
    }
    assert_eq!(issuer.questions(), 0);
}

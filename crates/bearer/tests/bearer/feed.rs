//! Revocations that arrive through the feed.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use countersign_bearer::{Bearer, Stale};
use countersign_token::revocation::Revocation;
use http::{Request, StatusCode};
use serde_json::json;
use tower::ServiceExt as _;

use crate::issuer::{AUDIENCE, Issuer, READER_KEY, call, code_of, eventually, now, unique};

/// A layer for which the feed is stale after two seconds.
async fn impatient(issuer: &Issuer) -> Bearer {
    let bearer = Bearer::discover(issuer.url())
        .audience(AUDIENCE)
        .reader_key(READER_KEY)
        .max_stale(Duration::from_secs(2))
        .build()
        .unwrap();
    crate::issuer::ready(&bearer).await;
    bearer
}

async fn becomes(bearer: &Bearer, token: &str, code: &str) {
    eventually(code, || async { code_of(bearer, token).await == code }).await;
}

#[tokio::test]
async fn a_revocation_is_obeyed_within_a_second() {
    let issuer = Issuer::start().await;
    let bearer = issuer.reader().await;
    let expires = now() + 300;
    let (one, other) = (issuer.claims(), issuer.claims());
    let (token, others) = (issuer.sign(&one), issuer.sign(&other));
    for (revocation, code) in [
        (Revocation::Session { sid: one.sid, expires }, "session_revoked"),
        (Revocation::Account { sub: other.sub, version: other.ver[1] + 1, expires }, "account_revoked"),
    ] {
        let token = if code == "session_revoked" { &token } else { &others };
        assert_eq!(code_of(&bearer, token).await, "ok");
        eventually("the reader waits", || async { issuer.polling() > 0 }).await;
        let revoked = Instant::now();
        issuer.revoke(revocation);
        becomes(&bearer, token, code).await;
        assert!(revoked.elapsed() < Duration::from_secs(1), "{:?}", revoked.elapsed());
    }
    // A refresh brings the new version, and that is good.
    let mut renewed = other.clone();
    renewed.ver[1] += 1;
    assert_eq!(code_of(&bearer, &issuer.sign(&renewed)).await, "ok");

    issuer.revoke(Revocation::Everyone { epoch: renewed.ver[0] + 1 });
    becomes(&bearer, &issuer.sign(&renewed), "everyone_revoked").await;
    renewed.ver[0] += 1;
    assert_eq!(code_of(&bearer, &issuer.sign(&renewed)).await, "ok");
}

#[tokio::test]
async fn what_was_revoked_before_is_known_from_the_first_answer() {
    let issuer = Issuer::start().await;
    let claims = issuer.claims();
    for _ in 0..1000 {
        issuer.revoke(Revocation::Session { sid: unique(), expires: now() + 300 });
    }
    issuer.revoke(Revocation::Session { sid: claims.sid, expires: now() + 300 });
    let bearer = issuer.reader().await;
    assert_eq!(code_of(&bearer, &issuer.sign(&claims)).await, "session_revoked");
    assert_eq!(code_of(&bearer, &issuer.sign(&issuer.claims())).await, "ok");
}

#[tokio::test]
async fn after_an_outage_the_feed_goes_on_where_it_was() {
    let issuer = Issuer::start().await;
    let bearer = issuer.reader().await;
    issuer.revoke(Revocation::Session { sid: unique(), expires: now() + 300 });
    eventually("the event was read", || async { asked(&issuer).ends_with("after=1&wait=4") }).await;

    issuer.go_away().await;
    let claims = issuer.claims();
    issuer.revoke(Revocation::Session { sid: claims.sid, expires: now() + 300 });
    issuer.tell(|told| told.feed_queries.clear());
    issuer.come_back().await;
    becomes(&bearer, &issuer.sign(&claims), "session_revoked").await;
    let mut first = String::new();
    issuer.tell(|told| first = told.feed_queries[0].clone());
    // It does not wait for something new to happen: it has missed enough.
    assert_eq!(first, "incarnation=00000000-0000-0000-0000-000000000001&after=1&wait=0");
}

fn asked(issuer: &Issuer) -> String {
    let mut last = String::new();
    issuer.tell(|told| last = told.feed_queries.last().cloned().unwrap_or_default());
    last
}

#[tokio::test]
async fn another_incarnation_replaces_what_was_known() {
    let issuer = Issuer::start().await;
    let bearer = issuer.reader().await;
    let (before, after) = (issuer.claims(), issuer.claims());
    issuer.revoke(Revocation::Session { sid: before.sid, expires: now() + 300 });
    becomes(&bearer, &issuer.sign(&before), "session_revoked").await;

    issuer.go_away().await;
    issuer.restore();
    issuer.revoke(Revocation::Session { sid: after.sid, expires: now() + 300 });
    issuer.come_back().await;
    becomes(&bearer, &issuer.sign(&after), "session_revoked").await;
    assert_eq!(code_of(&bearer, &issuer.sign(&before)).await, "ok");
}

#[tokio::test]
async fn when_the_feed_is_stale_each_route_does_as_it_declared() {
    let issuer = Issuer::start().await;
    let closed = impatient(&issuer).await;
    let open = closed.with_stale(Stale::AcceptUntilExpiry);
    let revoked = issuer.claims();
    let (good, bad) = (issuer.sign(&issuer.claims()), issuer.sign(&revoked));
    issuer.revoke(Revocation::Session { sid: revoked.sid, expires: now() + 300 });
    becomes(&closed, &bad, "session_revoked").await;

    issuer.go_away().await;
    becomes(&closed, &good, "revocations_unavailable").await;
    let outcome = call(&closed, &good).await;
    assert_eq!((outcome.status, outcome.header("retry-after")), (StatusCode::SERVICE_UNAVAILABLE, "1"));
    assert_eq!(code_of(&open, &good).await, "ok");
    // What is known stays known.
    for bearer in [&closed, &open] {
        assert_eq!(code_of(bearer, &bad).await, "session_revoked");
    }
    issuer.come_back().await;
    becomes(&closed, &good, "ok").await;
}

#[tokio::test]
async fn a_quiet_feed_does_not_grow_stale() {
    let issuer = Issuer::start().await;
    let builder = Bearer::discover(issuer.url()).audience(AUDIENCE).reader_key(READER_KEY);
    let bearer = builder.max_stale(Duration::from_secs(4)).build().unwrap();
    crate::issuer::ready(&bearer).await;
    let token = issuer.sign(&issuer.claims());
    let until = Instant::now() + Duration::from_secs(5);
    while Instant::now() < until {
        assert_eq!(code_of(&bearer, &token).await, "ok");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let mut questions = 0;
    issuer.tell(|told| questions = told.feed_queries.len());
    assert!(questions <= 10, "{questions} questions in five seconds in which nothing happened");
}

#[tokio::test]
async fn a_rejected_reader_key_refuses_everything_on_every_route() {
    let issuer = Issuer::start().await;
    let bearer = impatient(&issuer).await;
    let token = issuer.sign(&issuer.claims());
    assert_eq!(code_of(&bearer, &token).await, "ok");
    issuer.tell(|told| told.reader_key = "another".to_owned());
    let open = bearer.with_stale(Stale::AcceptUntilExpiry);
    becomes(&open, &token, "revocations_unavailable").await;
    assert_eq!(code_of(&bearer, &token).await, "revocations_unavailable");
    issuer.tell(|told| told.reader_key = READER_KEY.to_owned());
    becomes(&bearer, &token, "ok").await;
}

#[tokio::test]
async fn pages_that_cannot_be_understood_are_no_pages() {
    let incarnation = "00000000-0000-0000-0000-000000000001";
    let page = |seq: u64, snapshot: bool, events: serde_json::Value| {
        json!({ "incarnation": incarnation, "seq": seq, "snapshot": snapshot, "events": events }).to_string()
    };
    let cases = [
        (StatusCode::OK, "<html>".to_owned()),
        (StatusCode::OK, "[".repeat(100_000)),
        (StatusCode::OK, page(9, false, json!([{ "seq": 9, "type": "something new" }]))),
        (StatusCode::OK, page(9, true, json!([{ "seq": 10, "type": "everyone", "epoch": 1 }]))),
        (StatusCode::OK, page(0, true, json!([]))),
        (StatusCode::OK, json!({ "incarnation": "other", "seq": 9, "snapshot": false, "events": [] }).to_string()),
        (StatusCode::NO_CONTENT, String::new()),
        (StatusCode::FOUND, String::new()),
        (StatusCode::INTERNAL_SERVER_ERROR, page(9, true, json!([]))),
    ];
    let cases = cases.into_iter().map(|(status, body)| is_no_page(status, body));
    cases.collect::<tokio::task::JoinSet<_>>().join_all().await;
}

async fn is_no_page(status: StatusCode, body: String) {
    let issuer = Issuer::start().await;
    issuer.revoke(Revocation::Session { sid: unique(), expires: now() + 300 });
    let bearer = impatient(&issuer).await;
    let token = issuer.sign(&issuer.claims());
    assert_eq!(code_of(&bearer, &token).await, "ok");
    issuer.tell(|told| told.feed_answer = Some((status, body.clone())));
    becomes(&bearer, &token, "revocations_unavailable").await;
    issuer.tell(|told| told.feed_answer = None);
    becomes(&bearer, &token, "ok").await;
}

#[tokio::test]
async fn reading_stops_with_the_last_handle() {
    let issuer = Issuer::start().await;
    let bearer = issuer.reader().await;
    eventually("the reader waits", || async { issuer.polling() == 1 }).await;
    let service = tower::Layer::layer(&bearer, tower::service_fn(answer));
    drop(bearer.clone());
    drop(bearer);
    let token = issuer.sign(&issuer.claims());
    let request = Request::builder().header("authorization", format!("Bearer {token}")).body(()).unwrap();
    assert_eq!(service.clone().oneshot(request).await.unwrap().status(), StatusCode::OK);
    assert_eq!(issuer.polling(), 1);
    drop(service);
    eventually("nobody reads any more", || async { issuer.polling() == 0 }).await;
}

async fn answer(_: Request<()>) -> Result<http::Response<String>, Infallible> {
    Ok(http::Response::new(String::new()))
}

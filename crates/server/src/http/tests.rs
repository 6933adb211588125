#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::net::SocketAddr;

use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::routing::{get, post};
use http::{HeaderName, Method, Request, StatusCode, header};
use serde::Deserialize;
use serde_json::Value;
use tower::ServiceExt as _;

use super::*;

#[derive(Deserialize)]
struct Named {
    name: String,
}

#[derive(Deserialize)]
struct Page {
    after: u64,
}

fn routes() -> Router {
    Router::new()
        .route("/echo", post(|JsonBody(body): JsonBody<Named>| async move { body.name }))
        .route("/whence", get(|ClientAddress(address): ClientAddress| async move { address.to_string() }))
        .route("/items/{id}", get(|PathOf(id): PathOf<u32>| async move { id.to_string() }))
        .route("/page", get(|QueryOf(page): QueryOf<Page>| async move { page.after.to_string() }))
        .route("/keys", get(|| async { ([(header::CACHE_CONTROL, "public, max-age=60")], "{}") }))
        .route("/panic", get(|| async { panic!("secret") as &'static str }))
        .route("/slow", get(never))
        .route("/wait", get(|| async { tokio::time::sleep(Duration::from_secs(60)).await }))
        .route("/token", get(|| async { Problem::new(Code::TokenExpired) }))
        .route("/swagger/", get(|| async { "page" }))
}

async fn never() -> &'static str {
    std::future::pending().await
}

fn settings() -> HttpSettings {
    HttpSettings {
        cors_origins: vec![HeaderValue::from_static("https://app.example.com")],
        trusted_proxies: vec!["10.0.0.0/8".parse().unwrap()],
        https: true,
        long_polls: &["/wait"],
        limits: Limits::default(),
    }
}

struct Answer {
    status: StatusCode,
    headers: http::HeaderMap,
    body: String,
}

impl Answer {
    fn header(&self, name: impl Into<HeaderName>) -> &str {
        self.headers.get(name.into()).map_or("", |value| value.to_str().unwrap())
    }

    /// The body as a problem, after checking what every problem has.
    fn problem(&self) -> Value {
        assert_eq!(self.header(header::CONTENT_TYPE), "application/problem+json", "{}", self.body);
        let problem: Value = serde_json::from_str(&self.body).unwrap();
        assert_eq!(problem["status"], self.status.as_u16());
        assert_eq!(problem["traceId"], self.header(REQUEST_ID));
        assert_eq!(problem["traceId"].as_str().unwrap().len(), 36);
        assert_eq!(self.header(header::CACHE_CONTROL), "no-store");
        problem
    }

    fn code(&self) -> String {
        self.problem()["code"].as_str().unwrap().to_owned()
    }
}

async fn ask(router: Router, request: Request<Body>) -> Answer {
    let response = router.oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    if let Some(length) = parts.headers.get(header::CONTENT_LENGTH) {
        assert_eq!(length.to_str().unwrap(), body.len().to_string());
    }
    Answer { status: parts.status, headers: parts.headers, body: String::from_utf8(body.to_vec()).unwrap() }
}

fn request(method: Method, path: &str) -> http::request::Builder {
    let peer: SocketAddr = "10.0.0.1:4711".parse().unwrap();
    Request::builder().method(method).uri(path).extension(ConnectInfo(peer))
}

async fn get_from(path: &str) -> Answer {
    ask(harden(routes(), &settings()), request(Method::GET, path).body(Body::empty()).unwrap()).await
}

async fn post_to(path: &str, content_type: &str, body: impl Into<Body>) -> Answer {
    let request = request(Method::POST, path).header(header::CONTENT_TYPE, content_type);
    ask(harden(routes(), &settings()), request.body(body.into()).unwrap()).await
}

#[tokio::test]
async fn a_good_request_passes_all_layers() {
    let answer = post_to("/echo", "application/json", r#"{"name":"me"}"#).await;
    assert_eq!((answer.status, answer.body.as_str()), (StatusCode::OK, "me"));
    assert_eq!(answer.header(REQUEST_ID).len(), 36);
}

#[tokio::test]
async fn unknown_addresses_and_wrong_methods_are_problems() {
    let answer = get_from("/nothing").await;
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (404, "not_found"));

    let answer = get_from("/echo").await;
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (405, "method_not_allowed"));
    assert_eq!(answer.header(header::ALLOW), "POST");
}

#[tokio::test]
async fn a_router_in_another_application_leaves_unknown_addresses_to_it() {
    let host = Router::new().merge(harden_mounted(routes(), &settings())).fallback(|| async { "the host's" });
    assert_eq!(
        ask(host.clone(), request(Method::GET, "/nothing").body(Body::empty()).unwrap()).await.body,
        "the host's"
    );
    let answer = ask(host, request(Method::GET, "/echo").body(Body::empty()).unwrap()).await;
    assert_eq!(answer.code(), "method_not_allowed");
}

#[tokio::test]
async fn bad_bodies_are_problems() {
    assert_eq!(post_to("/echo", "text/plain", "{}").await.code(), "content_type_unsupported");
    assert_eq!(post_to("/echo", "application/json", "").await.code(), "json_malformed");
    assert_eq!(post_to("/echo", "application/json", "{").await.code(), "json_malformed");
    let answer = post_to("/echo", "application/json", "{}").await;
    assert_eq!(answer.problem()["errors"]["name"][0], "is required");
}

#[tokio::test]
async fn a_large_body_is_refused_on_every_path() {
    for path in ["/echo", "/nothing", "/keys"] {
        let answer = post_to(path, "application/json", "x".repeat(64 * 1024 + 1)).await;
        assert_eq!((answer.status.as_u16(), answer.code().as_str()), (413, "body_too_large"), "{path}");
    }
    assert_eq!(post_to("/echo", "application/json", "x".repeat(64 * 1024)).await.code(), "json_malformed");
}

#[tokio::test]
async fn bad_paths_and_queries_are_problems() {
    assert_eq!(get_from("/items/7").await.body, "7");
    assert_eq!(get_from("/items/seven").await.code(), "not_found");
    assert_eq!(get_from("/items/%ff").await.code(), "not_found");
    assert_eq!(get_from("/page?after=7").await.body, "7");
    for query in ["/page", "/page?after=x", "/page?after=1&after=2"] {
        assert_eq!(get_from(query).await.code(), "validation_failed", "{query}");
    }
}

#[tokio::test]
async fn a_panic_is_an_internal_problem_that_tells_nothing() {
    let answer = get_from("/panic").await;
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (500, "internal"));
    assert!(!answer.body.contains("secret"));
}

#[tokio::test(start_paused = true)]
async fn a_handler_is_not_waited_for_unless_it_is_late_on_purpose() {
    let answer = get_from("/slow").await;
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (503, "server_busy"));
    assert_eq!(answer.header(header::RETRY_AFTER), "1");
    assert_eq!(get_from("/wait").await.status, 200);
}

#[tokio::test]
async fn every_answer_has_the_security_headers() {
    for path in ["/keys", "/nothing", "/panic", "/token"] {
        let answer = get_from(path).await;
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("content-security-policy", "default-src 'none'; frame-ancestors 'none'"),
            ("cross-origin-resource-policy", "same-origin"),
            ("cross-origin-opener-policy", "same-origin"),
            ("strict-transport-security", "max-age=63072000; includeSubDomains"),
        ] {
            assert_eq!(answer.header(HeaderName::from_static(name)), value, "{path}");
        }
    }
    let page = get_from("/swagger/").await;
    assert!(page.header(header::CONTENT_SECURITY_POLICY).contains("script-src 'self';"));
    let data = get_from("/swaggerish").await;
    assert!(!data.header(header::CONTENT_SECURITY_POLICY).contains("script-src"));
}

#[tokio::test]
async fn a_handler_may_let_its_answer_be_cached_and_plain_http_is_not_pinned() {
    assert_eq!(get_from("/keys").await.header(header::CACHE_CONTROL), "public, max-age=60");
    assert_eq!(get_from("/items/7").await.header(header::CACHE_CONTROL), "no-store");

    let plain = harden(routes(), &HttpSettings { https: false, ..settings() });
    let answer = ask(plain, request(Method::GET, "/keys").body(Body::empty()).unwrap()).await;
    assert_eq!(answer.header(header::STRICT_TRANSPORT_SECURITY), "");
}

#[tokio::test]
async fn a_front_end_may_ask_and_read_what_it_needs() {
    let preflight = request(Method::OPTIONS, "/echo")
        .header(header::ORIGIN, "https://app.example.com")
        .header(header::ACCESS_CONTROL_REQUEST_METHOD, "POST")
        .header(header::ACCESS_CONTROL_REQUEST_HEADERS, "authorization,content-type");
    let answer = ask(harden(routes(), &settings()), preflight.body(Body::empty()).unwrap()).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header(header::ACCESS_CONTROL_ALLOW_ORIGIN), "https://app.example.com");
    assert_eq!(answer.header(header::ACCESS_CONTROL_ALLOW_METHODS), "GET,POST,DELETE");
    assert_eq!(answer.header(header::ACCESS_CONTROL_ALLOW_HEADERS), "authorization,content-type");
    assert_eq!(answer.header(header::ACCESS_CONTROL_MAX_AGE), "600");
    assert_eq!(answer.header(header::ACCESS_CONTROL_ALLOW_CREDENTIALS), "");

    // Refusals of every layer are readable too.
    for path in ["/token", "/panic", "/nothing"] {
        let from_page = request(Method::GET, path).header(header::ORIGIN, "https://app.example.com");
        let answer = ask(harden(routes(), &settings()), from_page.body(Body::empty()).unwrap()).await;
        assert_eq!(answer.header(header::ACCESS_CONTROL_ALLOW_ORIGIN), "https://app.example.com");
        assert_eq!(answer.header(header::ACCESS_CONTROL_EXPOSE_HEADERS), "www-authenticate,retry-after,x-request-id");
    }
}

#[tokio::test]
async fn another_site_is_not_let_in() {
    for origin in ["https://evil.example", "null", "https://app.example.com.evil.example"] {
        let from_page = request(Method::GET, "/keys").header(header::ORIGIN, origin);
        let answer = ask(harden(routes(), &settings()), from_page.body(Body::empty()).unwrap()).await;
        assert_eq!(answer.header(header::ACCESS_CONTROL_ALLOW_ORIGIN), "", "{origin}");
    }
    let closed = harden(routes(), &HttpSettings { cors_origins: Vec::new(), ..settings() });
    let from_page = request(Method::GET, "/keys").header(header::ORIGIN, "https://app.example.com");
    let answer = ask(closed, from_page.body(Body::empty()).unwrap()).await;
    assert_eq!(answer.header(header::ACCESS_CONTROL_ALLOW_ORIGIN), "");
}

#[tokio::test]
async fn the_client_address_comes_from_the_trusted_proxy() {
    let forwarded = request(Method::GET, "/whence").header("x-forwarded-for", "1.1.1.1, 203.0.113.9");
    let answer = ask(harden(routes(), &settings()), forwarded.body(Body::empty()).unwrap()).await;
    assert_eq!(answer.body, "203.0.113.9");

    let unknown = Request::builder().uri("/whence").body(Body::empty()).unwrap();
    assert_eq!(ask(harden(routes(), &settings()), unknown).await.code(), "internal");
}

#[tokio::test]
async fn an_id_that_the_client_sends_is_not_taken_over() {
    let with_id = || request(Method::GET, "/token").header(REQUEST_ID, "chosen").body(Body::empty()).unwrap();
    let first = ask(harden(routes(), &settings()), with_id()).await;
    let second = ask(harden(routes(), &settings()), with_id()).await;
    assert_eq!(first.code(), "token_expired");
    assert_ne!(first.header(REQUEST_ID), second.header(REQUEST_ID));
    assert!(!first.body.contains("chosen"));
}

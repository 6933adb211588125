//! What passes, what is refused and how, whatever the service behind the layer.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use countersign_bearer::{AccessToken, Bearer, BuildError, Claims, OptionalClaims, Refusal, RequireRole};
use countersign_token::{Algorithm, Audience, SigningKey};
use http::header::AUTHORIZATION;
use http::{HeaderValue, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use tower::{Layer as _, Service as _, ServiceExt as _, service_fn};

use crate::issuer::{AUDIENCE, Issuer, READER_KEY, call, call_with, code_of, now, ready, send};

fn headers(values: &[&str]) -> Vec<HeaderValue> {
    values.iter().map(|value| HeaderValue::from_bytes(value.as_bytes()).unwrap()).collect()
}

#[tokio::test]
async fn a_good_token_passes_and_the_handler_knows_whose_it_is() {
    let issuer = Issuer::start().await;
    let bearer = issuer.reader().await;
    let token = issuer.sign(&issuer.claims());
    for scheme in ["Bearer", "bearer", "BEARER"] {
        let outcome = call_with(&bearer, &headers(&[&format!("{scheme} {token}")])).await;
        assert_eq!((outcome.status, outcome.body.as_str()), (StatusCode::OK, "hello ada"));
    }
}

#[tokio::test]
async fn without_a_token_the_challenge_names_no_error() {
    let issuer = Issuer::start().await;
    let bearer = issuer.reader().await;
    for credentials in [&[][..], &["Basic YTpi"], &["Bearer"], &["Bearer "], &["token"]] {
        let outcome = call_with(&bearer, &headers(credentials)).await;
        assert_eq!((outcome.status, outcome.code().as_str()), (StatusCode::UNAUTHORIZED, "token_missing"));
        assert_eq!(outcome.header("www-authenticate"), r#"Bearer realm="countersign""#);
        assert_eq!(outcome.header("content-type"), "application/problem+json");
        assert_eq!(outcome.header("cache-control"), "no-store");
    }
}

#[tokio::test]
async fn each_fault_of_a_token_has_its_code() {
    let issuer = Issuer::start().await;
    let bearer = issuer.reader().await;
    let good = issuer.claims();
    let with = |change: &dyn Fn(&mut countersign_token::AccessClaims)| {
        let mut claims = good.clone();
        change(&mut claims);
        issuer.sign(&claims)
    };
    let token = issuer.sign(&good);
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let first = if signature.starts_with('A') { "B" } else { "A" };
    let stranger = SigningKey::generate(Algorithm::Es256).unwrap();
    for (token, code) in [
        (with(&|claims| (claims.iat, claims.exp) = (now() - 600, now() - 300)), "token_expired"),
        (with(&|claims| claims.nbf = Some(now() + 300)), "token_not_yet_valid"),
        (with(&|claims| claims.iss = "https://other.example".into()), "issuer_mismatch"),
        (with(&|claims| claims.aud = Audience::try_from("https://other.example").unwrap()), "audience_mismatch"),
        (format!("{signed}.{first}{}", &signature[1..]), "signature_invalid"),
        (stranger.sign(&good).unwrap(), "key_unknown"),
        (format!("eyJhbGciOiJub25lIn0.{}.", token.split('.').nth(1).unwrap()), "algorithm_not_allowed"),
        ("undefined".into(), "token_malformed"),
        ("a.b.c".into(), "token_malformed"),
        ("...".into(), "token_malformed"),
        ("=".into(), "token_malformed"),
        ("a b".into(), "token_malformed"),
        (format!("{token} {token}"), "token_malformed"),
        ("a".repeat(8193), "token_malformed"),
        ("a".repeat(60_000), "token_malformed"),
        (".".repeat(8192), "token_malformed"),
    ] {
        let outcome = call(&bearer, &token).await;
        assert_eq!((outcome.status, outcome.code().as_str()), (StatusCode::UNAUTHORIZED, code));
        let challenge = outcome.header("www-authenticate");
        assert!(challenge.starts_with(r#"Bearer error="invalid_token", error_description=""#), "{challenge}");
    }
    let not_text = HeaderValue::from_bytes(b"Bearer \xff\xfe").unwrap();
    assert_eq!(call_with(&bearer, &[not_text]).await.code(), "token_malformed");
    assert_eq!(code_of(&bearer, &token).await, "ok");
}

#[tokio::test]
async fn two_headers_are_refused_even_if_one_is_good() {
    let issuer = Issuer::start().await;
    let bearer = issuer.reader().await;
    let good = format!("Bearer {}", issuer.sign(&issuer.claims()));
    for other in [good.as_str(), "Bearer x", "Basic YTpi", ""] {
        for credentials in [[good.as_str(), other], [other, good.as_str()]] {
            let outcome = call_with(&bearer, &headers(&credentials)).await;
            assert_eq!((outcome.status, outcome.code().as_str()), (StatusCode::BAD_REQUEST, "invalid_request"));
            assert!(outcome.header("www-authenticate").starts_with(r#"Bearer error="invalid_request""#));
        }
    }
}

#[tokio::test]
async fn an_optional_layer_lets_nobody_in_with_a_bad_token() {
    let issuer = Issuer::start().await;
    let bearer = issuer.reader().await.optional();
    async fn who(OptionalClaims(claims): OptionalClaims, same: Option<Claims>) -> String {
        assert_eq!(claims, same);
        claims.map_or("nobody".to_owned(), |claims| claims.name.clone())
    }
    let router = Router::new().route("/", get(who)).layer(bearer.clone());
    let ask = |token: Option<String>| {
        let mut request = Request::builder();
        if let Some(token) = token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        send(router.clone(), request.body(Body::empty()).unwrap())
    };
    assert_eq!(ask(None).await.body, "nobody");
    assert_eq!(ask(Some(issuer.sign(&issuer.claims()))).await.body, "ada");
    assert_eq!(ask(Some("nonsense".into())).await.code(), "token_malformed");
    // A handler that wants claims is not called for nobody.
    assert_eq!(call_with(&bearer, &[]).await.code(), "token_missing");
}

#[tokio::test]
async fn a_role_guard_wants_a_role_and_a_layer() {
    let issuer = Issuer::start().await;
    let bearer = issuer.reader().await;
    let admin = RequireRole::any(["Admin"]);
    let guarded = Router::new().route("/", get(|| async { "in" }).layer(admin));
    let ask = |router: Router, roles: &[&str]| {
        let mut claims = issuer.claims();
        claims.roles = roles.iter().map(|role| (*role).to_owned()).collect();
        let token = issuer.sign(&claims);
        let request = Request::builder().header(AUTHORIZATION, format!("Bearer {token}"));
        send(router, request.body(Body::empty()).unwrap())
    };
    let behind = guarded.clone().layer(bearer.clone());
    assert_eq!(ask(behind.clone(), &["User", "Admin"]).await.body, "in");
    let refused = ask(behind.clone(), &["User", "admin"]).await;
    assert_eq!((refused.status, refused.code().as_str()), (StatusCode::FORBIDDEN, "forbidden"));
    assert!(refused.header("www-authenticate").starts_with(r#"Bearer error="insufficient_scope""#));

    let anonymous = guarded.clone().layer(bearer.optional());
    let outcome = send(anonymous, Request::new(Body::empty())).await;
    assert_eq!((outcome.status, outcome.code().as_str()), (StatusCode::UNAUTHORIZED, "token_missing"));
    assert_eq!(ask(guarded, &["Admin"]).await.status, StatusCode::INTERNAL_SERVER_ERROR);
}

#[tokio::test]
async fn a_handler_without_a_layer_is_never_called() {
    async fn wants(_: Claims) -> &'static str {
        "called"
    }
    async fn may(_: OptionalClaims) -> &'static str {
        "called"
    }
    async fn token(_: AccessToken) -> &'static str {
        "called"
    }
    let router = Router::new().route("/wants", get(wants)).route("/may", get(may)).route("/token", get(token));
    for path in ["/wants", "/may", "/token"] {
        let request = Request::builder().uri(path).header(AUTHORIZATION, "Bearer x").body(Body::empty()).unwrap();
        assert_eq!(send(router.clone(), request).await.status, StatusCode::INTERNAL_SERVER_ERROR, "{path}");
    }
}

#[tokio::test]
async fn the_token_is_there_to_be_passed_on_and_does_not_show() {
    let issuer = Issuer::start().await;
    let token = issuer.sign(&issuer.claims());
    async fn shown(token: AccessToken, headers: http::HeaderMap) -> String {
        format!("{token:?} {:?} {}", headers[AUTHORIZATION], token.expose())
    }
    let router = Router::new().route("/", get(shown)).layer(issuer.reader().await);
    let request = Request::builder().header(AUTHORIZATION, format!("Bearer {token}")).body(Body::empty()).unwrap();
    assert_eq!(send(router, request).await.body, format!("AccessToken(redacted) Sensitive {token}"));
}

#[tokio::test]
async fn any_tower_service_can_stand_behind_the_layer() {
    #[derive(Debug, PartialEq)]
    struct Broken;

    let issuer = Issuer::start().await;
    let token = issuer.sign(&issuer.claims());
    let inner = service_fn(|request: Request<Vec<u8>>| async move {
        let claims = Claims::of(request.extensions()).unwrap();
        match request.into_body().as_slice() {
            b"break" => Err(Broken),
            body => Ok(http::Response::new(Full::from([claims.name.as_bytes(), b" ", body].concat()))),
        }
    });
    let mut service = issuer.reader().await.layer(inner);
    let request = |token: &str, body: &[u8]| {
        Request::builder().header(AUTHORIZATION, format!("Bearer {token}")).body(body.to_vec()).unwrap()
    };
    let answer = service.ready().await.unwrap().call(request(&token, b"says hello")).await.unwrap();
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "ada says hello");
    let answer = service.ready().await.unwrap().call(request("x", b"says hello")).await.unwrap();
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    let error = service.ready().await.unwrap().call(request(&token, b"break")).await.unwrap_err();
    assert_eq!(error, Broken);
}

#[tokio::test]
async fn a_token_can_come_another_way_than_in_a_header() {
    let issuer = Issuer::start().await;
    let bearer = issuer.reader().await;
    let claims = issuer.claims();
    assert_eq!(*bearer.verify(&issuer.sign(&claims)).await.unwrap(), claims);
    assert_eq!(bearer.verify("").await.unwrap_err().code(), "token_malformed");
    assert_eq!(bearer.verify("é\0").await.unwrap_err().code(), "token_malformed");
    assert_eq!(bearer.verify(&"a".repeat(1 << 20)).await.unwrap_err().code(), "token_malformed");
}

#[tokio::test]
async fn a_remembered_token_does_not_outlive_its_time() {
    let issuer = Issuer::start().await;
    let clock = Arc::new(AtomicI64::new(now()));
    let hands = Arc::clone(&clock);
    let bearer = Bearer::discover(issuer.url())
        .audience(AUDIENCE)
        .reader_key(READER_KEY)
        .leeway(Duration::from_secs(10))
        .clock(move || hands.load(Ordering::SeqCst))
        .build()
        .unwrap();
    ready(&bearer).await;
    let mut claims = issuer.claims();
    claims.nbf = Some(claims.iat);
    let token = issuer.sign(&claims);
    for (time, code) in [
        (claims.iat, "ok"),
        (claims.exp + 9, "ok"),
        (claims.iat - 10, "ok"),
        (claims.iat - 11, "token_not_yet_valid"),
        (claims.iat, "ok"),
        (claims.exp + 10, "token_expired"),
        (claims.exp + 10, "token_expired"),
    ] {
        clock.store(time, Ordering::SeqCst);
        assert_eq!(code_of(&bearer, &token).await, code, "{}", time - claims.iat);
    }
}

#[tokio::test]
async fn a_layer_that_cannot_work_is_not_built() {
    let build = |change: &dyn Fn(countersign_bearer::Builder) -> countersign_bearer::Builder| {
        change(Bearer::discover("https://login.example").audience(AUDIENCE)).build().err()
    };
    assert!(Bearer::discover("https://login.example").build().is_err_and(|error| error == BuildError::AudienceMissing));
    assert_eq!(build(&|builder| builder.audience("")), Some(BuildError::AudienceMissing));
    for key in ["", "two words", "line\n", "é"] {
        assert_eq!(build(&|builder| builder.reader_key(key)), Some(BuildError::ReaderKeyMalformed), "{key:?}");
    }
    assert!(matches!(build(&|builder| builder.shared_secret("short")), Some(BuildError::SharedSecret(_))));
    for seconds in [0, 1, 3601] {
        let age = Duration::from_secs(seconds);
        assert_eq!(build(&|builder| builder.max_stale(age)), Some(BuildError::MaxStaleOutOfRange(age)));
    }
    let plain = Bearer::discover("http://login.example").audience(AUDIENCE).build().unwrap_err();
    assert!(plain.to_string().contains("must be https"), "{plain}");
    let shown =
        format!("{:?}", Bearer::discover("https://login.example").reader_key(READER_KEY).shared_secret("hunter2"));
    assert!(!shown.contains(READER_KEY) && !shown.contains("hunter2"), "{shown}");
}

#[test]
fn a_layer_needs_a_runtime() {
    let built = Bearer::discover("http://localhost:1").audience(AUDIENCE).build();
    assert_eq!(built.err(), Some(BuildError::RuntimeMissing));
}

#[test]
fn a_refusal_is_small_and_can_be_compared() {
    assert_eq!(Refusal::Forbidden.status(), StatusCode::FORBIDDEN);
    assert!(size_of::<Refusal>() <= 4);
}

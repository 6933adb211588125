//! The weather beside a Countersign and with one in its own process, over real sockets.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::{Duration, Instant};

use axum::{Extension, Router};
use countersign::Countersign;
use countersign::config::{self, Environment, Flags};
use countersign::listener::{Listener, Shutdown};
use countersign_bearer::Bearer;
use http::HeaderValue;
use reqwest::{Client, Response, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

const AUDIENCE: &str = "http://localhost:4200";
const READER_SECRET: &str = "the-reader-secret-of-the-tests";

/// How the weather knows its Countersign.
#[derive(Clone, Copy, Debug)]
enum Trust {
    /// It reads the revocation feed.
    Feed,
    /// It asks about each token.
    Questions,
    /// It lives in the same process, on the same port.
    Embedded,
}

/// A Countersign and the weather, which stop with the test.
struct World {
    login: String,
    weather: String,
    client: Client,
    _servers: JoinSet<()>,
    _countersign: Countersign,
    _folder: TempDir,
}

fn bind() -> (Listener, String) {
    let listener = Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let url = format!("http://{}", listener.address());
    (listener, url)
}

fn serve(servers: &mut JoinSet<()>, listener: Listener, router: Router) {
    let shutdown = Shutdown::new();
    let router = router.layer(Extension(shutdown.clone()));
    servers.spawn(async move { listener.serve(router, &shutdown).await.unwrap() });
}

impl World {
    async fn begin(trust: Trust) -> Self {
        let (listener, login) = bind();
        let folder = tempfile::tempdir().unwrap();
        // The name that it has by default, with the port that was picked: not the authority's.
        let issuer = login.replace("127.0.0.1", "localhost");
        let database = format!("sqlite:{}", folder.path().join("countersign.db").display());
        let settings = [
            ("COUNTERSIGN_DATABASE_URL", database.as_str()),
            ("COUNTERSIGN_ISSUER", issuer.as_str()),
            ("COUNTERSIGN_REVOCATION_READER_SECRET", READER_SECRET),
        ];
        let environment: Environment = settings.into_iter().collect();
        let countersign = Countersign::open(config::load(&Flags::default(), &environment).unwrap()).await.unwrap();
        let mut servers = JoinSet::new();
        let origins = [HeaderValue::from_static(AUDIENCE)];
        let discover = Bearer::discover(&login).audience(AUDIENCE);
        let bearer = match trust {
            Trust::Embedded => {
                let router = weather::router(countersign.bearer(), origins).merge(countersign.router());
                serve(&mut servers, listener, router);
                return Self::with(login.clone(), login, servers, countersign, folder);
            }
            Trust::Feed => discover.reader_key(READER_SECRET).build().unwrap(),
            Trust::Questions => discover.build().unwrap(),
        };
        serve(&mut servers, listener, countersign.router());
        let (listener, weather) = bind();
        serve(&mut servers, listener, weather::router(bearer.clone(), origins));
        timeout(Duration::from_secs(20), bearer.ready()).await.unwrap();
        Self::with(login, weather, servers, countersign, folder)
    }

    fn with(login: String, weather: String, servers: JoinSet<()>, countersign: Countersign, folder: TempDir) -> Self {
        let client = Client::builder().no_proxy().build().unwrap();
        Self { login, weather, client, _servers: servers, _countersign: countersign, _folder: folder }
    }

    async fn post(&self, call: &str, body: Value) -> Response {
        self.client.post(format!("{}/api/auth/{call}", self.login)).json(&body).send().await.unwrap()
    }

    /// Registers somebody and signs them in. Their access token.
    async fn sign_in(&self, name: &str) -> String {
        let password = "correct horse battery staple";
        let account = json!({ "username": name, "email": format!("{name}@example.com"), "password": password });
        assert_eq!(self.post("register", account).await.status(), StatusCode::OK);
        let answer = self.post("login", json!({ "username": name, "password": password })).await;
        assert_eq!(answer.status(), StatusCode::OK);
        answer.json::<Value>().await.unwrap()["token"].as_str().unwrap().to_owned()
    }

    async fn ask(&self, path: &str, token: Option<&str>) -> (StatusCode, Value) {
        let mut request = self.client.get(format!("{}{path}", self.weather));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let answer = request.send().await.unwrap();
        (answer.status(), answer.json().await.unwrap())
    }

    async fn code(&self, path: &str, token: Option<&str>) -> (u16, String) {
        let (status, body) = self.ask(path, token).await;
        (status.as_u16(), body["code"].as_str().unwrap_or_default().to_owned())
    }
}

async fn walk(trust: Trust) {
    let world = World::begin(trust).await;
    assert_eq!(world.code("/weatherforecast", None).await, (401, "token_missing".to_owned()));
    assert_eq!(world.code("/weatherforecast/admin", None).await, (401, "token_missing".to_owned()));

    let token = world.sign_in("alice").await;
    let (status, forecasts) = world.ask("/weatherforecast", Some(&token)).await;
    assert_eq!((status, forecasts.as_array().map(Vec::len)), (StatusCode::OK, Some(5)));
    for forecast in forecasts.as_array().unwrap() {
        assert!(forecast["date"].is_string() && forecast["summary"].is_string(), "{forecast}");
        assert!(forecast["temperatureC"].is_i64() && forecast["temperatureF"].is_i64(), "{forecast}");
    }
    assert_eq!(world.code("/weatherforecast/admin", Some(&token)).await, (403, "forbidden".to_owned()));

    // Somebody else's revocation is nothing to this token; its own ends it within a second.
    let others = world.sign_in("bob").await;
    for (holder, name) in [(&others, "bob"), (&token, "alice")] {
        assert_eq!(world.code("/weatherforecast", Some(&token)).await.0, 200);
        let revoke = world.client.post(format!("{}/api/auth/revoke/{name}", world.login)).bearer_auth(holder);
        assert_eq!(revoke.send().await.unwrap().status(), StatusCode::NO_CONTENT);
        let revoked = Instant::now();
        let refused = loop {
            let outcome = world.code("/weatherforecast", Some(holder)).await;
            if outcome.0 != 200 {
                break outcome;
            }
            assert!(revoked.elapsed() < Duration::from_secs(1), "{trust:?}: still accepted");
            sleep(Duration::from_millis(10)).await;
        };
        assert_eq!(refused, (401, "account_revoked".to_owned()), "{trust:?}");
    }
}

#[tokio::test]
async fn beside_a_countersign_whose_feed_it_reads() {
    walk(Trust::Feed).await;
}

#[tokio::test]
async fn beside_a_countersign_that_it_asks() {
    walk(Trust::Questions).await;
}

#[tokio::test]
async fn with_a_countersign_in_its_own_process() {
    walk(Trust::Embedded).await;
}

#[tokio::test]
async fn pages_of_the_front_end_may_call_it_and_read_why_not() {
    for trust in [Trust::Questions, Trust::Embedded] {
        let world = World::begin(trust).await;
        let url = format!("{}/weatherforecast", world.weather);
        let preflight = world.client.request(http::Method::OPTIONS, &url).headers(http::HeaderMap::from_iter([
            (http::header::ORIGIN, HeaderValue::from_static(AUDIENCE)),
            (http::header::ACCESS_CONTROL_REQUEST_METHOD, HeaderValue::from_static("GET")),
            (http::header::ACCESS_CONTROL_REQUEST_HEADERS, HeaderValue::from_static("authorization")),
        ]));
        let answer = preflight.send().await.unwrap();
        assert_eq!(answer.headers()["access-control-allow-origin"], AUDIENCE);
        assert_eq!(answer.headers()["access-control-allow-headers"], "authorization");

        for (origin, allowed) in [(AUDIENCE, true), ("http://evil.example", false)] {
            let answer = world.client.get(&url).header("origin", origin).send().await.unwrap();
            assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
            assert_eq!(answer.headers().contains_key("access-control-allow-origin"), allowed, "{origin}");
            assert!(answer.headers().contains_key("www-authenticate"));
        }
    }
}

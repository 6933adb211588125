//! A small issuer that does as it is told, and what the tests need to ask the layer.

use std::convert::Infallible;
use std::net::{Shutdown, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::Body;
use axum::extract::{RawQuery, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use countersign_bearer::{Bearer, Claims};
use countersign_token::revocation::{FeedEvent, FeedPage, Revocation};
use countersign_token::{AccessClaims, Algorithm, Audience, KeySet, SigningKey};
use http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, StatusCode};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tower::ServiceExt as _;
use uuid::Uuid;

pub(crate) const AUDIENCE: &str = "https://api.example";
pub(crate) const READER_KEY: &str = "cs_rk_of-the-tests";

/// Everything a test may change while the issuer runs.
pub(crate) struct Told {
    pub(crate) keys: Vec<SigningKey>,
    pub(crate) max_age: u64,
    /// Replaces members of the metadata.
    pub(crate) metadata: Value,
    pub(crate) openid_configuration: StatusCode,
    pub(crate) reader_key: String,
    pub(crate) incarnation: Uuid,
    pub(crate) events: Vec<FeedEvent>,
    /// Answers the feed with this instead.
    pub(crate) feed_answer: Option<(StatusCode, String)>,
    /// What the token status endpoint says, for every token.
    pub(crate) status_answer: Option<(StatusCode, String)>,
    pub(crate) status_delay: Duration,
    /// The queries that the feed got.
    pub(crate) feed_queries: Vec<String>,
}

#[derive(Clone)]
pub(crate) struct Issuer(Arc<Inner>);

struct Inner {
    address: SocketAddr,
    told: Mutex<Told>,
    seq: watch::Sender<u64>,
    discoveries: AtomicUsize,
    key_fetches: AtomicUsize,
    questions: AtomicUsize,
    serving: Mutex<Option<JoinHandle<()>>>,
    open: Arc<Mutex<Vec<std::net::TcpStream>>>,
    polling: AtomicI64,
}

impl Issuer {
    /// Serves on a free port of 127.0.0.1, and calls itself by that address.
    pub(crate) async fn start() -> Self {
        let issuer = Self::absent().await;
        issuer.come_back().await;
        issuer
    }

    /// Has an address and does not serve yet.
    pub(crate) async fn absent() -> Self {
        let address = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        Self(Arc::new(Inner {
            address,
            told: Mutex::new(Told {
                keys: vec![SigningKey::generate(Algorithm::Es256).unwrap()],
                max_age: 300,
                metadata: json!({}),
                openid_configuration: StatusCode::OK,
                reader_key: READER_KEY.to_owned(),
                incarnation: Uuid::from_u128(1),
                events: vec![],
                feed_answer: None,
                status_answer: None,
                status_delay: Duration::ZERO,
                feed_queries: vec![],
            }),
            seq: watch::Sender::new(0),
            discoveries: AtomicUsize::new(0),
            key_fetches: AtomicUsize::new(0),
            questions: AtomicUsize::new(0),
            serving: Mutex::new(None),
            open: Arc::default(),
            polling: AtomicI64::new(0),
        }))
    }

    pub(crate) async fn come_back(&self) {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind(self.0.address).unwrap();
        let listener = socket.listen(128).unwrap();
        let router = Router::new()
            .route("/.well-known/openid-configuration", get(openid_configuration))
            .route("/.well-known/oauth-authorization-server", get(authorization_server))
            .route("/.well-known/jwks.json", get(jwks))
            .route("/revocations", get(revocations))
            .route("/api/auth/me", get(me))
            .with_state(self.clone());
        let doors = Doors { listener, open: Arc::clone(&self.0.open) };
        #[expect(clippy::disallowed_methods, reason = "stopped by `go_away`")]
        let serving = tokio::spawn(async move { axum::serve(doors, router).await.unwrap() });
        self.0.serving.lock().replace(serving);
    }

    /// Stops to serve and cuts every connection, as where a process is killed.
    pub(crate) async fn go_away(&self) {
        let serving = self.0.serving.lock().take().unwrap();
        serving.abort();
        assert!(serving.await.unwrap_err().is_cancelled());
        for connection in self.0.open.lock().drain(..) {
            // One that the client has closed before cannot be closed again.
            let _ = connection.shutdown(Shutdown::Both);
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.0.address)
    }

    pub(crate) fn port(&self) -> u16 {
        self.0.address.port()
    }

    pub(crate) fn tell(&self, change: impl FnOnce(&mut Told)) {
        change(&mut self.0.told.lock());
    }

    pub(crate) fn revoke(&self, revocation: Revocation) {
        let mut told = self.0.told.lock();
        let seq = self.seq() + 1;
        told.events.push(FeedEvent { seq, revocation });
        self.0.seq.send_replace(seq);
    }

    /// As after a restore of the database: another history, in which nothing was revoked.
    pub(crate) fn restore(&self) {
        let mut told = self.0.told.lock();
        told.incarnation = Uuid::from_u128(told.incarnation.as_u128() + 1);
        told.events.clear();
        self.0.seq.send_replace(0);
    }

    pub(crate) fn seq(&self) -> u64 {
        *self.0.seq.borrow()
    }

    /// How often the metadata were asked for, at either address.
    pub(crate) fn discoveries(&self) -> usize {
        self.0.discoveries.load(Ordering::SeqCst)
    }

    pub(crate) fn key_fetches(&self) -> usize {
        self.0.key_fetches.load(Ordering::SeqCst)
    }

    pub(crate) fn questions(&self) -> usize {
        self.0.questions.load(Ordering::SeqCst)
    }

    /// How many readers wait for the feed at this moment.
    pub(crate) fn polling(&self) -> i64 {
        self.0.polling.load(Ordering::SeqCst)
    }

    pub(crate) fn claims(&self) -> AccessClaims {
        claims(&self.url())
    }

    pub(crate) fn sign(&self, claims: &AccessClaims) -> String {
        self.0.told.lock().keys.first().unwrap().sign(claims).unwrap()
    }

    /// A layer that reads the feed, ready.
    pub(crate) async fn reader(&self) -> Bearer {
        let bearer = Bearer::discover(self.url()).audience(AUDIENCE).reader_key(READER_KEY).build().unwrap();
        ready(&bearer).await;
        bearer
    }

    /// A layer that asks about each token, ready.
    pub(crate) async fn asker(&self) -> Bearer {
        let bearer = Bearer::discover(self.url()).audience(AUDIENCE).build().unwrap();
        ready(&bearer).await;
        bearer
    }
}

/// A listener that remembers its connections, to cut them.
struct Doors {
    listener: TcpListener,
    open: Arc<Mutex<Vec<std::net::TcpStream>>>,
}

impl axum::serve::Listener for Doors {
    type Io = TcpStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        let (stream, peer) = self.listener.accept().await.unwrap();
        let stream = stream.into_std().unwrap();
        self.open.lock().push(stream.try_clone().unwrap());
        (TcpStream::from_std(stream).unwrap(), peer)
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

async fn openid_configuration(State(issuer): State<Issuer>) -> Response {
    issuer.0.discoveries.fetch_add(1, Ordering::SeqCst);
    let status = issuer.0.told.lock().openid_configuration;
    if status != StatusCode::OK {
        let elsewhere = format!("{}/.well-known/oauth-authorization-server", issuer.url());
        return (status, [("location", elsewhere)]).into_response();
    }
    metadata(&issuer)
}

async fn authorization_server(State(issuer): State<Issuer>) -> Response {
    issuer.0.discoveries.fetch_add(1, Ordering::SeqCst);
    metadata(&issuer)
}

fn metadata(issuer: &Issuer) -> Response {
    let url = issuer.url();
    let mut metadata = json!({
        "issuer": url,
        "jwks_uri": format!("{url}/.well-known/jwks.json"),
        "countersign_revocations_endpoint": format!("{url}/revocations"),
        "countersign_token_status_endpoint": format!("{url}/api/auth/me"),
        "subject_types_supported": ["public"],
    });
    for (member, value) in issuer.0.told.lock().metadata.as_object().unwrap() {
        metadata[member] = value.clone();
    }
    axum::Json(metadata).into_response()
}

async fn jwks(State(issuer): State<Issuer>) -> Response {
    issuer.0.key_fetches.fetch_add(1, Ordering::SeqCst);
    let told = issuer.0.told.lock();
    let keys: KeySet = told.keys.iter().map(SigningKey::verifying_key).collect();
    let headers = [(CACHE_CONTROL, format!("public, max-age={}", told.max_age))];
    (headers, keys.to_jwks().to_string()).into_response()
}

async fn revocations(State(issuer): State<Issuer>, RawQuery(query): RawQuery, headers: HeaderMap) -> Response {
    let query = query.unwrap_or_default();
    {
        let mut told = issuer.0.told.lock();
        told.feed_queries.push(query.clone());
        if let Some((status, body)) = &told.feed_answer {
            return (*status, body.clone()).into_response();
        }
        let wanted = format!("Bearer {}", told.reader_key);
        if headers.get(AUTHORIZATION).is_none_or(|value| value.as_bytes() != wanted.as_bytes()) {
            return problem(StatusCode::UNAUTHORIZED, "reader_unauthorized");
        }
    }
    let parameter = |name: &str| query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
    let wait = Duration::from_secs(parameter("wait").map_or(0, |wait| wait.parse().unwrap()));
    let after = parameter("after").map(|after| after.parse::<u64>().unwrap());
    let mut moved = issuer.0.seq.subscribe();
    let follows = |told: &Told, seq: u64| {
        parameter("incarnation") == Some(&told.incarnation.to_string()) && after.is_some_and(|after| after <= seq)
    };
    let page = || {
        let told = issuer.0.told.lock();
        let seq = issuer.seq();
        let snapshot = !follows(&told, seq);
        let after = if snapshot { 0 } else { after.unwrap_or_default() };
        let events = told.events.iter().filter(|event| event.seq > after).copied().collect();
        FeedPage { incarnation: told.incarnation.to_string(), seq, snapshot, events }
    };
    let mut answer = page();
    if !answer.snapshot && answer.events.is_empty() {
        let _polling = Polling::begin(&issuer);
        let _ = tokio::time::timeout(wait, moved.wait_for(|seq| *seq != answer.seq)).await;
        answer = page();
    }
    axum::Json(answer).into_response()
}

struct Polling(Issuer);

impl Polling {
    fn begin(issuer: &Issuer) -> Self {
        issuer.0.polling.fetch_add(1, Ordering::SeqCst);
        Self(issuer.clone())
    }
}

impl Drop for Polling {
    fn drop(&mut self) {
        self.0.0.polling.fetch_sub(1, Ordering::SeqCst);
    }
}

async fn me(State(issuer): State<Issuer>, headers: HeaderMap) -> Response {
    issuer.0.questions.fetch_add(1, Ordering::SeqCst);
    let (delay, answer) = {
        let told = issuer.0.told.lock();
        (told.status_delay, told.status_answer.clone())
    };
    tokio::time::sleep(delay).await;
    if let Some((status, body)) = answer {
        return (status, [(CONTENT_TYPE, "application/problem+json")], body).into_response();
    }
    let token = headers[AUTHORIZATION].to_str().unwrap().strip_prefix("Bearer ").unwrap();
    let payload = token.split('.').nth(1).unwrap();
    let claims: AccessClaims = serde_json::from_slice(&decode(payload)).unwrap();
    axum::Json(json!({ "id": claims.sub, "username": claims.name, "roles": claims.roles })).into_response()
}

/// Unpadded base64url, for what the tests themselves have made.
fn decode(text: &str) -> Vec<u8> {
    let digit = |byte: u8| match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'-' => 62,
        _ => 63,
    };
    let mut bytes = vec![];
    let (mut bits, mut held) = (0_u32, 0);
    for byte in text.bytes() {
        bits = bits << 6 | u32::from(digit(byte));
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held & 0xff) as u8);
        }
    }
    bytes
}

pub(crate) fn problem_body(code: &str) -> String {
    json!({ "type": "about:blank", "code": code }).to_string()
}

fn problem(status: StatusCode, code: &str) -> Response {
    (status, [(CONTENT_TYPE, "application/problem+json")], problem_body(code)).into_response()
}

pub(crate) fn claims(issuer: &str) -> AccessClaims {
    let now = now();
    AccessClaims {
        iss: issuer.to_owned(),
        aud: Audience::try_from(AUDIENCE).unwrap(),
        sub: unique(),
        client_id: "web".to_owned(),
        iat: now,
        exp: now + 300,
        jti: unique(),
        nbf: None,
        sid: unique(),
        name: "ada".to_owned(),
        roles: vec!["User".to_owned()],
        ver: [5, 7],
    }
}

/// Ids that differ from one another within a run of the tests.
pub(crate) fn unique() -> Uuid {
    static LAST: AtomicI64 = AtomicI64::new(1000);
    Uuid::from_u128(LAST.fetch_add(1, Ordering::SeqCst).unsigned_abs().into())
}

#[expect(clippy::disallowed_methods, reason = "the clock of the tests")]
pub(crate) fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64
}

pub(crate) async fn ready(bearer: &Bearer) {
    tokio::time::timeout(Duration::from_secs(20), bearer.ready()).await.expect("the layer gets ready");
    assert!(bearer.is_ready());
}

/// Asks again until it is so; a test that waits in vain fails and says for what.
pub(crate) async fn eventually<F: Future<Output = bool>>(what: &str, is_so: impl Fn() -> F) {
    let until = tokio::time::Instant::now() + Duration::from_secs(20);
    while !is_so().await {
        assert!(tokio::time::Instant::now() < until, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// What came of a request.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Outcome {
    pub(crate) fn code(&self) -> String {
        let problem: Value = serde_json::from_str(&self.body).unwrap_or_default();
        problem["code"].as_str().unwrap_or_default().to_owned()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

async fn hello(claims: Claims) -> String {
    format!("hello {}", claims.name)
}

/// Calls a handler behind the layer with these `Authorization` headers.
pub(crate) async fn call_with(bearer: &Bearer, credentials: &[HeaderValue]) -> Outcome {
    let router = Router::new().route("/", get(hello)).layer(bearer.clone());
    let mut request = Request::builder().uri("/");
    for value in credentials {
        request = request.header(AUTHORIZATION, value);
    }
    send(router, request.body(Body::empty()).unwrap()).await
}

pub(crate) async fn send(router: Router, request: Request) -> Outcome {
    let response: Result<Response, Infallible> = router.oneshot(request).await;
    let (parts, body) = response.unwrap().into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    Outcome { status: parts.status, headers: parts.headers, body: String::from_utf8(body.to_vec()).unwrap() }
}

pub(crate) async fn call(bearer: &Bearer, token: &str) -> Outcome {
    call_with(bearer, &[HeaderValue::try_from(format!("Bearer {token}")).unwrap()]).await
}

/// The code of the refusal, or `ok`.
pub(crate) async fn code_of(bearer: &Bearer, token: &str) -> String {
    let outcome = call(bearer, token).await;
    if outcome.status == StatusCode::OK { "ok".to_owned() } else { outcome.code() }
}

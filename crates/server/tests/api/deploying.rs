//! The configurations of docs/deploying as they stand, but for addresses, ports and places: three nodes on PostgreSQL behind
//! nginx and behind HAProxy, as browsers and resource servers come to them.

use std::fs::{self, File};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, geteuid, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::support::{
    Answer, KEY, PASSWORD, Postgres, Request, Server, Settings, at_once, free_port, run, show, spawn, until,
};

/// The name that the configurations have.
const NAME: &str = "login.example.com";
/// Where the proxy speaks to the nodes from.
const PROXY: &str = "127.0.0.1";
const READER: &str = "a-secret-for-readers-of-the-feed";

/// A proxy that runs, with its ports for http and https.
struct Front {
    place: TempDir,
    proxy: Child,
    http: SocketAddr,
    https: SocketAddr,
    authority: reqwest::Certificate,
}

/// A text of which something is replaced that is certainly there.
#[track_caller]
fn replaced(text: &str, what: &str, by: &str) -> String {
    assert!(text.contains(what), "no {what:?} in the configuration");
    text.replace(what, by)
}

/// A configuration of docs/deploying for these nodes.
fn configuration(name: &str, nodes: &[SocketAddr]) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/deploying").join(name);
    let text = fs::read_to_string(path).unwrap();
    (1..)
        .zip(nodes)
        .fold(text, |text, (number, node)| replaced(&text, &format!("10.0.0.{number}:5000"), &node.to_string()))
}

impl Front {
    #[track_caller]
    fn nginx(nodes: &[SocketAddr]) -> Self {
        Self::start("nginx", |place, http, https| {
            let text = configuration("nginx.conf", nodes);
            let text = replaced(&text, "listen 80;", &format!("listen {http};"));
            let text = replaced(&text, "listen 443 ", &format!("listen {https} "));
            let text = replaced(&text, &format!("/etc/nginx/{NAME}"), place);
            let text = replaced(&replaced(&text, "/run/", place), "/var/log/nginx/", place);
            // Where bodies would go that are too large for memory.
            let kinds = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
            let paths: String = kinds.iter().map(|kind| format!("  {kind}_temp_path {place}{kind};\n")).collect();
            let text = replaced(&text, "http {\n", &format!("http {{\n{paths}"));
            let file = format!("{place}conf");
            fs::write(&file, text).unwrap();
            let log = format!("{place}error.log");
            ["-e", &log, "-g", "daemon off;", "-c", &file].map(str::to_owned).to_vec()
        })
    }

    #[track_caller]
    fn haproxy(nodes: &[SocketAddr]) -> Self {
        Self::start("haproxy", |place, http, https| {
            let text = configuration("haproxy.cfg", nodes);
            let text = replaced(&text, "bind :80\n", &format!("bind {http}\n"));
            let text = replaced(&text, "bind :443 ", &format!("bind {https} "));
            let text = replaced(&text, &format!("/etc/haproxy/{NAME}.pem"), &format!("{place}.pem+key"));
            let mut text = replaced(&text, "/run/haproxy/", place);
            if !geteuid().is_root() {
                text = replaced(&replaced(&text, "  user haproxy\n", ""), "  group haproxy\n", "");
            }
            let file = format!("{place}cfg");
            fs::write(&file, text).unwrap();
            ["-db", "-f", &file].map(str::to_owned).to_vec()
        })
    }

    /// `prepare` is given what every path begins with and the two addresses, and gives back the arguments.
    #[track_caller]
    fn start(program: &str, prepare: impl Fn(&str, SocketAddr, SocketAddr) -> Vec<String>) -> Self {
        let place = tempfile::tempdir().unwrap();
        let authority = certificate(place.path());
        let [http, https] = [free_port(), free_port()].map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        let begin = format!("{}/", place.path().to_str().unwrap());
        let arguments = prepare(&begin, http, https);
        let log = File::create(place.path().join("said")).unwrap();
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "TERM", program]).args(arguments).current_dir(place.path());
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let mut front = Self { proxy: spawn(command), place, http, https, authority };
        until(Duration::from_secs(20), "the proxy listens", || {
            let ended = front.proxy.try_wait().unwrap();
            assert!(ended.is_none(), "{program} does not start (scripts/test installs it): {}", front.said());
            TcpStream::connect(https).ok()
        });
        front
    }

    fn said(&self) -> String {
        let read = |name: &str| fs::read_to_string(self.place.path().join(name)).unwrap_or_default();
        read("said") + &read("error.log")
    }
}

impl Drop for Front {
    #[expect(clippy::print_stderr, reason = "shown with the failure of its test, and only then")]
    fn drop(&mut self) {
        let _ = kill_process(Pid::from_child(&self.proxy), Signal::TERM);
        let _ = self.proxy.wait();
        if thread::panicking() {
            eprintln!("---- what the proxy said ----\n{}", self.said());
        }
    }
}

/// Makes the certificate of the name: `.pem` and `.key`, and both in `.pem+key`.
fn certificate(place: &Path) -> reqwest::Certificate {
    let mut openssl = Command::new("openssl");
    openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]);
    openssl.args(["-subj", &format!("/CN={NAME}"), "-addext", &format!("subjectAltName=DNS:{NAME}")]);
    openssl.args(["-addext", "basicConstraints=critical,CA:FALSE"]);
    openssl.args(["-keyout", ".key", "-out", ".pem"]).current_dir(place);
    run(openssl, "").done();
    let read = |name: &str| fs::read_to_string(place.join(name)).unwrap();
    fs::write(place.join(".pem+key"), read(".pem") + &read(".key")).unwrap();
    reqwest::Certificate::from_pem(read(".pem").as_bytes()).unwrap()
}

/// A client with an address of its own, who knows the name and the certificate alone.
struct Client {
    runtime: Runtime,
    http: reqwest::Client,
    url: String,
}

impl Client {
    fn at(address: [u8; 4], front: &Front) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let http = reqwest::Client::builder()
            .local_address(IpAddr::from(address))
            .resolve(NAME, front.https)
            .tls_certs_only([front.authority.clone()])
            .timeout(Duration::from_secs(70))
            // A connection that the proxy gives up while nobody looks must not be used again.
            .pool_idle_timeout(Duration::from_secs(4))
            .no_proxy()
            .build()
            .unwrap();
        Self { runtime, http, url: format!("https://{NAME}:{}", front.https.port()) }
    }

    fn get(&self, path: &str) -> reqwest::RequestBuilder {
        self.http.get(format!("{}{path}", self.url))
    }

    fn post(&self, path: &str, body: &Value) -> reqwest::RequestBuilder {
        self.http.post(format!("{}{path}", self.url)).json(body)
    }

    #[track_caller]
    fn send(&self, request: reqwest::RequestBuilder) -> Answer {
        let answer = self.runtime.block_on(async {
            let answer = request.send().await?;
            let status = answer.status().as_u16();
            let text = |value: &http::HeaderValue| value.to_str().unwrap().to_owned();
            let headers =
                answer.headers().iter().map(|(name, value)| (name.as_str().to_owned(), text(value))).collect();
            Ok::<_, reqwest::Error>(Answer { status, headers, body: answer.bytes().await?.to_vec() })
        });
        answer.unwrap_or_else(|error| panic!("no answer: {error:?}"))
    }

    #[track_caller]
    fn register(&self, name: &str) {
        let body = json!({ "username": name, "email": format!("{name}@example.com"), "password": PASSWORD });
        // What a liar adds is not believed.
        let request = self.post("/api/auth/register", &body).header("x-forwarded-for", "203.0.113.9");
        self.send(request).expect(200);
    }

    #[track_caller]
    fn log_in(&self, name: &str) -> Session<'_> {
        let body = json!({ "username": name, "password": PASSWORD });
        let answer = self.send(self.post("/api/auth/login", &body)).expect(200).json();
        let text = |member: &str| answer[member].as_str().unwrap().to_owned();
        Session { client: self, access: text("token"), refresh: text("refreshToken") }
    }

    /// What a reader of the feed is told.
    #[track_caller]
    fn feed(&self, after: Option<&Value>, wait: u8) -> Answer {
        let cursor = after.map_or_else(String::new, |page| {
            format!("&incarnation={}&after={}", page["incarnation"].as_str().unwrap(), page["seq"])
        });
        self.send(self.get(&format!("/revocations?wait={wait}{cursor}")).bearer_auth(READER))
    }
}

struct Session<'a> {
    client: &'a Client,
    access: String,
    refresh: String,
}

impl Session<'_> {
    fn refresh_request(&self) -> reqwest::RequestBuilder {
        self.client.post("/api/auth/refresh-token", &json!({ "refreshToken": self.refresh, "retryKey": KEY }))
    }

    #[track_caller]
    fn refresh(&mut self) {
        let answer = self.client.send(self.refresh_request()).expect(200).json();
        let text = |member: &str| answer[member].as_str().unwrap().to_owned();
        (self.access, self.refresh) = (text("accessToken"), text("refreshToken"));
    }

    fn me(&self) -> Answer {
        self.client.send(self.client.get("/api/auth/me").bearer_auth(&self.access))
    }

    #[track_caller]
    fn revoke_all_of(&self, name: &str) {
        let request = self.client.post(&format!("/api/auth/revoke/{name}"), &json!({})).bearer_auth(&self.access);
        self.client.send(request).expect(204);
    }
}

/// Register, log in, refresh, see who one is, revoke; and what is refused afterwards.
fn walk(client: &Client, name: &str) {
    client.register(name);
    let mut session = client.log_in(name);
    session.refresh();
    assert_eq!(session.me().expect(200).json()["username"], name);
    session.revoke_all_of(name);
    session.me().refused(401, "account_revoked");
    client.send(session.refresh_request()).refused(400, "refresh_token_revoked");
}

/// Three nodes and what they stand on.
struct House {
    postgres: Postgres,
    nodes: Vec<Server>,
    front: Front,
}

impl House {
    fn new(front: impl Fn(&[SocketAddr]) -> Front) -> Self {
        let postgres = Postgres::new();
        let database = postgres.new_database();
        let first = Settings::node(&postgres.url(&database))
            .with("issuer", format!("https://{NAME}"))
            .with("trusted_proxies", PROXY)
            .with("revocation_reader_secret", READER)
            .measured();
        let settings = [first.clone(), first.sibling(), first.sibling()];
        let nodes = at_once(3, |number| settings[number].start());
        let addresses: Vec<SocketAddr> = nodes.iter().map(|node| node.address).collect();
        Self { postgres, nodes, front: front(&addresses) }
    }

    fn client(&self, number: u8) -> Client {
        Client::at([127, 0, 1, number], &self.front)
    }
}

/// How many requests a node has answered.
fn answered(settings: &Settings) -> u64 {
    let metrics = settings.metrics().expect(200).text();
    let counts = metrics.lines().filter(|line| line.starts_with("countersign_http_requests_total{"));
    counts.filter_map(|line| line.rsplit_once(' ')?.1.parse::<u64>().ok()).sum()
}

/// Waits until clients have been served some more.
fn more(served: &AtomicUsize) {
    let seen = served.load(Ordering::Relaxed);
    until(Duration::from_secs(30), "clients are served", || (served.load(Ordering::Relaxed) > seen + 80).then_some(()));
}

/// The whole walk, and then one node after the other is killed and comes back while clients go on.
fn nobody_notices_that_nodes_die(mut house: House) {
    let client = house.client(1);
    walk(&client, "alice");
    let addresses: Vec<Value> =
        house.nodes[0].events("account_registered").iter().map(|event| event["address"].clone()).collect();
    assert_eq!(addresses, ["127.0.1.1"], "the client's own address, and not what it claims");

    let reader = house.client(2);
    let page = reader.feed(None, 0).expect(200).json();
    let (over, served) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        // Nothing is revoked meanwhile, so this takes its 25 seconds.
        let (reader, page) = (&reader, &page);
        let poll = scope.spawn(move || {
            let asked = Instant::now();
            (reader.feed(Some(page), 25), asked.elapsed())
        });
        for number in 10..14 {
            let (client, over, served) = (house.client(number), &over, &served);
            scope.spawn(move || {
                let mut session = client.log_in("alice");
                while !over.load(Ordering::Relaxed) {
                    session.refresh();
                    session.me().expect(200);
                    served.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        // Two of them, so that the poll finds one that lives, whichever it was sent to.
        for number in 0..2 {
            more(&served);
            let mut node = house.nodes.remove(0);
            node.process.kill();
            // Who comes now finds one that lives.
            for turn in 0..6 {
                let name = format!("user{number}-{turn}");
                client.register(&name);
                client.log_in(&name);
            }
            more(&served);
            let settings = node.settings.clone();
            house.nodes.push(settings.start());
            until(Duration::from_secs(20), "the node that came back is asked again", || {
                (answered(&settings) > 40).then_some(())
            });
        }
        let (answer, took) = poll.join().unwrap();
        over.store(true, Ordering::Relaxed);
        show(format!("{} turns served; the quiet poll took {took:?}", served.load(Ordering::Relaxed)));
        let answer = answer.expect(200).json();
        assert!(took >= Duration::from_secs(24), "{took:?}: {answer}");
        assert_eq!((&answer["seq"], &answer["snapshot"]), (&page["seq"], &json!(false)), "{answer}");
    });

    // What is revoked is told at once.
    thread::scope(|scope| {
        let poll = scope.spawn(|| {
            let answer = reader.feed(Some(&page), 25);
            (answer, Instant::now())
        });
        let session = client.log_in("alice");
        session.revoke_all_of("alice");
        let revoked = Instant::now();
        let (answer, told) = poll.join().unwrap();
        assert_eq!(answer.expect(200).json()["events"][0]["type"], "account");
        assert!(told < revoked + Duration::from_secs(1), "told {:?} later", told - revoked);
    });
}

/// What the proxy says itself has the form of what the nodes say.
#[track_caller]
fn is_told_to_come_again(answer: &Answer) {
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    assert!(answer.header("retry-after").is_some_and(|wait| wait.parse::<u32>().is_ok()), "{:?}", answer.headers);
    let code = answer.json()["code"].clone();
    assert!(code == "store_unavailable" || code == "server_busy", "{code}");
}

fn without_the_database_keys_are_published_and_the_rest_comes_again(mut house: House) {
    let client = house.client(1);
    client.register("alice");
    let mut session = client.log_in("alice");
    house.postgres.stop();
    let stopped = Instant::now();
    while stopped.elapsed() < Duration::from_secs(8) {
        for request in [session.refresh_request(), client.get("/api/auth/me").bearer_auth(&session.access)] {
            let asked = Instant::now();
            is_told_to_come_again(&client.send(request));
            assert!(asked.elapsed() < Duration::from_secs(3), "{:?}", asked.elapsed());
        }
        let keys = client.send(client.get("/.well-known/jwks.json")).expect(200).json();
        assert_eq!(keys["keys"].as_array().unwrap().len(), 1);
        client.feed(None, 0).expect(200);
    }
    house.postgres.start();
    until(Duration::from_secs(10), "clients are served again", || (session.me().status == 200).then_some(()));
    session.refresh();
}

#[test]
#[ignore = "needs PostgreSQL and nginx: scripts/test"]
fn behind_nginx_nobody_notices_that_nodes_die() {
    nobody_notices_that_nodes_die(House::new(Front::nginx));
}

#[test]
#[ignore = "needs PostgreSQL and HAProxy: scripts/test"]
fn behind_haproxy_nobody_notices_that_nodes_die() {
    nobody_notices_that_nodes_die(House::new(Front::haproxy));
}

#[test]
#[ignore = "needs PostgreSQL and nginx: scripts/test"]
fn behind_nginx_an_outage_of_the_database_is_told() {
    without_the_database_keys_are_published_and_the_rest_comes_again(House::new(Front::nginx));
}

#[test]
#[ignore = "needs PostgreSQL and HAProxy: scripts/test"]
fn behind_haproxy_an_outage_of_the_database_is_told() {
    without_the_database_keys_are_published_and_the_rest_comes_again(House::new(Front::haproxy));
}

#[test]
#[ignore = "needs nginx and HAProxy: scripts/test"]
fn plain_http_leads_to_https_and_readiness_is_not_told() {
    let nobody = [free_port(), free_port(), free_port()].map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    for front in [Front::nginx(&nobody), Front::haproxy(&nobody)] {
        let answer = Request::new(front.http, "GET", "/swagger?a=b").send().expect(301);
        let location = answer.header("location").unwrap();
        assert!(location.starts_with("https://") && location.ends_with("/swagger?a=b"), "{location}");
        let client = Client::at([127, 0, 0, 1], &front);
        client.send(client.get("/readyz")).expect(404);
        // No node is there at all.
        is_told_to_come_again(&client.send(client.get("/api/auth/me")));
        is_told_to_come_again(&client.send(client.get("/.well-known/jwks.json")));
    }
}

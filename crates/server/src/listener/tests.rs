#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::Arc;

use axum::routing::get;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::*;

/// Far longer than anything here takes; a test that reaches it has failed.
const LONG: Duration = Duration::from_secs(20);

struct Running {
    address: SocketAddr,
    shutdown: Shutdown,
    tasks: JoinSet<io::Result<()>>,
}

impl Running {
    fn start(router: Router, change: impl FnOnce(&mut Listener)) -> Self {
        let mut listener = Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        change(&mut listener);
        let (address, shutdown) = (listener.address(), Shutdown::new());
        let mut tasks = JoinSet::new();
        let until = shutdown.clone();
        tasks.spawn(async move { listener.serve(router, &until).await });
        Self { address, shutdown, tasks }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    async fn stopped(mut self) {
        timeout(LONG, self.tasks.join_next()).await.expect("it stops").unwrap().unwrap().unwrap();
    }
}

fn hello() -> Router {
    Router::new().route("/", get(|| async { "hello" }))
}

/// Sends one request on a connection of its own and reads the answer to the end of the connection.
async fn answer(mut connection: TcpStream) -> String {
    connection.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    read_to_end(&mut connection).await
}

/// What arrives until the server closes, which it must in the end. A reset closes too.
async fn read_to_end(connection: &mut TcpStream) -> String {
    let mut text = Vec::new();
    let _ = timeout(LONG, connection.read_to_end(&mut text)).await.expect("the server closes the connection");
    String::from_utf8(text).unwrap()
}

#[tokio::test]
async fn it_serves_both_versions_of_http_and_tells_its_address() {
    let running = Running::start(hello(), |_| {});
    assert_ne!(running.address.port(), 0);
    assert!(answer(running.connect().await).await.ends_with("hello"));

    let mut connection = running.connect().await;
    connection.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    let mut frame = [0; 9];
    timeout(LONG, connection.read_exact(&mut frame)).await.unwrap().unwrap();
    assert_eq!(frame[3], 4, "the server's first frame is SETTINGS (RFC 9113 §3.4)");
}

#[tokio::test]
async fn half_a_request_is_cut_and_others_are_served_meanwhile() {
    let running = Running::start(hello(), |listener| listener.patience.head = Duration::from_millis(500));
    let mut loris = Vec::new();
    for begin in ["", "G", "GET / HTTP/1.1\r\nhost: x\r\n", "PRI * HT"].iter().cycle().take(100) {
        let mut connection = running.connect().await;
        connection.write_all(begin.as_bytes()).await.unwrap();
        loris.push(connection);
    }
    let mut later = running.connect().await;
    later.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\nGET / HTTP/1.1\r\n").await.unwrap();

    assert!(answer(running.connect().await).await.ends_with("hello"));

    for connection in &mut loris {
        assert!(!read_to_end(connection).await.contains("200 OK"));
    }
    let second = read_to_end(&mut later).await;
    assert_eq!(second.matches("200 OK").count(), 1, "the first is answered, the half one behind it is cut: {second}");
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused() {
    let running = Running::start(hello(), |_| {});
    let mut connection = running.connect().await;
    let head = format!("GET / HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "y".repeat(40_000));
    let _ = connection.write_all(head.as_bytes()).await;
    assert!(read_to_end(&mut connection).await.starts_with("HTTP/1.1 431 "));
}

#[tokio::test]
async fn a_request_in_flight_is_finished_and_no_other_begins() {
    let (started, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let router = {
        let (started, go_on) = (Arc::clone(&started), Arc::clone(&go_on));
        let slow = move || {
            let (started, go_on) = (Arc::clone(&started), Arc::clone(&go_on));
            async move {
                started.notify_one();
                go_on.notified().await;
                "finished"
            }
        };
        Router::new().route("/", get(slow))
    };
    let running = Running::start(router, |_| {});
    let idle = running.connect().await;
    let mut clients = JoinSet::new();
    clients.spawn(answer(running.connect().await));
    timeout(LONG, started.notified()).await.unwrap();

    running.shutdown.begin();
    // The listener is closed before the last request is finished: wait until the system refuses.
    timeout(LONG, async { while TcpStream::connect(running.address).await.is_ok() {} }).await.unwrap();

    go_on.notify_one();
    let answered = clients.join_next().await.unwrap().unwrap();
    assert!(answered.starts_with("HTTP/1.1 200 OK") && answered.ends_with("finished"), "{answered}");
    running.stopped().await;
    drop(idle);
}

#[tokio::test]
async fn a_request_that_never_ends_does_not_keep_the_server() {
    let started = Arc::new(Notify::new());
    let router = {
        let started = Arc::clone(&started);
        let never = move || {
            started.notify_one();
            std::future::pending::<&'static str>()
        };
        Router::new().route("/", get(never))
    };
    let running = Running::start(router, |listener| listener.patience.grace = Duration::from_millis(100));
    let mut connection = running.connect().await;
    connection.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    timeout(LONG, started.notified()).await.unwrap();
    running.shutdown.begin();
    running.stopped().await;
    assert_eq!(read_to_end(&mut connection).await, "");
}

#[tokio::test]
async fn a_full_house_turns_away_until_somebody_leaves() {
    let running = Running::start(hello(), |listener| listener.places = 2);
    // An answered request shows that a connection has its place.
    let mut seated = Vec::new();
    for _ in 0..2 {
        let mut connection = running.connect().await;
        connection.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        let mut first = [0; 12];
        timeout(LONG, connection.read_exact(&mut first)).await.unwrap().unwrap();
        assert_eq!(&first, b"HTTP/1.1 200");
        seated.push(connection);
    }
    assert_eq!(read_to_end(&mut running.connect().await).await, "", "the third finds no place");

    seated.clear();
    let served = async {
        loop {
            let mut connection = running.connect().await;
            let sent = connection.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
            if sent.is_ok() && read_to_end(&mut connection).await.ends_with("hello") {
                return;
            }
        }
    };
    timeout(LONG, served).await.expect("a place becomes free");
}

#[tokio::test]
async fn a_port_in_use_is_refused() {
    let first = Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    assert_eq!(Listener::bind(first.address()).unwrap_err().kind(), io::ErrorKind::AddrInUse);
}

#[tokio::test]
async fn the_end_is_told_to_those_who_wait_and_those_who_ask_later() {
    let shutdown = Shutdown::new();
    assert!(!shutdown.has_begun());
    let waiting = shutdown.clone();
    tokio::join!(waiting.begun(), async { shutdown.begin() });
    shutdown.begun().await;
    assert!(waiting.has_begun());
}

#[tokio::test]
async fn every_process_has_places_for_the_promised_connections() {
    assert!(files::connections() >= 350, "300 half-open connections and room for others");
}

//! What only a real connection shows: that a client which sends too much or too slowly gets its answer.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use axum::routing::post;
use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::*;
use crate::listener::{Listener, Shutdown};

const LONG: Duration = Duration::from_secs(20);

/// Serves `POST /`, which answers with the length of its body, for as long as the set lives.
async fn connect(limits: Limits) -> (TcpStream, JoinSet<std::io::Result<()>>) {
    let router = Router::new().route("/", post(|body: Bytes| async move { body.len().to_string() }));
    let router = harden(router, &HttpSettings { limits, ..HttpSettings::default() });
    let listener = Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.address();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move { listener.serve(router, &Shutdown::new()).await });
    (TcpStream::connect(address).await.unwrap(), tasks)
}

/// One answer: its status line and headers, and its body by their length.
async fn answer(connection: &mut TcpStream) -> (String, String) {
    let reading = async {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(connection.read_u8().await.expect("an answer, not a closed connection"));
        }
        let head = String::from_utf8(head).unwrap();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
        let mut body = vec![0; length.parse().unwrap()];
        connection.read_exact(&mut body).await.unwrap();
        (head, String::from_utf8(body).unwrap())
    };
    timeout(LONG, reading).await.expect("an answer in time")
}

async fn send(connection: &mut TcpStream, headers: &str, body: &[u8]) {
    connection.write_all(format!("POST / HTTP/1.1\r\nhost: x\r\n{headers}\r\n").as_bytes()).await.unwrap();
    connection.write_all(body).await.unwrap();
}

#[tokio::test]
async fn two_megabytes_get_an_answer_and_the_connection_lives() {
    let (mut connection, _tasks) = connect(Limits::default()).await;
    let body = vec![b'x'; 2 << 20];
    send(&mut connection, &format!("content-length: {}\r\n", body.len()), &body).await;
    let (head, body) = answer(&mut connection).await;
    assert!(head.starts_with("HTTP/1.1 413 ") && !head.contains("connection: close"), "{head}");
    assert!(body.contains("\"body_too_large\""), "{body}");

    send(&mut connection, "content-length: 3\r\n", b"abc").await;
    assert_eq!(answer(&mut connection).await.1, "3");
}

#[tokio::test]
async fn more_than_that_gets_an_answer_before_it_is_sent() {
    let (mut connection, _tasks) = connect(Limits::default()).await;
    send(&mut connection, "content-length: 1000000000000\r\n", b"x").await;
    let (head, _) = answer(&mut connection).await;
    assert!(head.starts_with("HTTP/1.1 413 ") && head.contains("connection: close"), "{head}");
}

#[tokio::test]
async fn a_client_that_asks_first_is_told_no() {
    let (mut connection, _tasks) = connect(Limits::default()).await;
    send(&mut connection, "content-length: 70000\r\nexpect: 100-continue\r\n", b"").await;
    assert!(answer(&mut connection).await.0.starts_with("HTTP/1.1 413 "));
}

#[tokio::test]
async fn a_body_that_drips_is_cut_with_an_answer() {
    let (mut connection, _tasks) = connect(Limits { body_time: Duration::from_millis(200), ..Limits::default() }).await;
    send(&mut connection, "content-length: 10\r\n", b"x").await;
    let (head, body) = answer(&mut connection).await;
    assert!(head.starts_with("HTTP/1.1 408 ") && head.contains("connection: close"), "{head}");
    assert!(body.contains("\"request_timeout\""), "{body}");
}

#[tokio::test]
async fn a_body_with_broken_framing_is_a_problem() {
    let (mut connection, _tasks) = connect(Limits::default()).await;
    send(&mut connection, "transfer-encoding: chunked\r\n", b"3\r\nabc\r\nnot hexadecimal\r\n").await;
    let (head, body) = answer(&mut connection).await;
    assert!(head.starts_with("HTTP/1.1 400 ") && body.contains("\"body_unreadable\""), "{head}{body}");
}

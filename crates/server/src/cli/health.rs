//! `countersign health`: whether the server answers and its database does.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use serde::Serialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::failure::Exit;
use super::{Call, Failure};
use crate::config;

/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// More of an answer is not read: its first line tells.
const LONGEST_ANSWER: u64 = 16 * 1024;

pub(super) async fn run(call: &mut Call<'_>, json: bool) -> Result<(), Failure> {
    let listen = config::load(call.flags, call.environment)?.settings.listen;
    let address = reachable(listen).ok_or_else(|| {
        Failure::misused(
            "listen has port 0, which says nothing: give the port of the server, as in --listen 127.0.0.1:5000",
        )
    })?;
    let outcome = match timeout(PATIENCE, ask(address)).await {
        Ok(answered) => answered,
        Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, format!("no answer in {} s", PATIENCE.as_secs()))),
    };
    let url = format!("http://{address}/readyz");
    let (healthy, told) = match &outcome {
        Ok(200) => (true, format!("ready: {url}")),
        Ok(status) => (false, format!("not ready: {url} answered {status}")),
        Err(error) => (false, format!("no server answers at {url}: {error}")),
    };
    if json {
        let error = if healthy { None } else { Some(told) };
        call.console.json(&Shown { healthy, url, status: outcome.ok(), error })?;
        return if healthy { Ok(()) } else { Err(Failure::told(Exit::Failed)) };
    }
    if healthy { call.console.line(told) } else { Err(Failure::failed(told)) }
}

/// Where a server that listens there can be reached from this machine.
fn reachable(listen: SocketAddr) -> Option<SocketAddr> {
    let ip = match listen.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    (listen.port() != 0).then(|| SocketAddr::new(ip, listen.port()))
}

/// Asks for the readiness, and reads the status of the answer (RFC 9112 §4).
async fn ask(address: SocketAddr) -> io::Result<u16> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET /readyz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(LONGEST_ANSWER).read_to_end(&mut answer).await?;
    status(&answer).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "what answers there is no Countersign"))
}

fn status(answer: &[u8]) -> Option<u16> {
    let line = answer.split(|byte| *byte == b'\n').next()?;
    let mut words = std::str::from_utf8(line).ok()?.split(' ');
    words.next().filter(|version| version.starts_with("HTTP/1."))?;
    words.next()?.trim_end().parse().ok().filter(|status| (100..600).contains(status))
}

/// The health as scripts see it.
#[derive(Serialize)]
struct Shown {
    healthy: bool,
    url: String,
    status: Option<u16>,
    error: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_is_read_from_the_first_line_alone() {
        assert_eq!(status(b"HTTP/1.1 200 OK\r\nx: y\r\n\r\nok\n"), Some(200));
        assert_eq!(status(b"HTTP/1.0 503\r\n"), Some(503));
        for bad in [
            &b""[..],
            b"SSH-2.0-OpenSSH",
            b"HTTP/1.1",
            b"HTTP/1.1 abc",
            b"HTTP/1.1 9999",
            b"\xff\xfe 200",
            b"x\nHTTP/1.1 200",
        ] {
            assert_eq!(status(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_server_that_listens_everywhere_is_asked_here() {
        let reached = |listen: &str| reachable(listen.parse().ok()?).map(|address| address.to_string());
        assert_eq!(reached("0.0.0.0:80").as_deref(), Some("127.0.0.1:80"));
        assert_eq!(reached("[::]:80").as_deref(), Some("[::1]:80"));
        assert_eq!(reached("192.0.2.1:80").as_deref(), Some("192.0.2.1:80"));
        assert_eq!(reached("127.0.0.1:0"), None);
    }
}

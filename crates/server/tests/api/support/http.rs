//! A small HTTP/1.1 client over plain sockets: it sends exactly the bytes that a test wants, and a connection that drops
//! is an error to it, never a silent retry.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

/// No answer takes longer: the longest that a test lets a poll of the feed wait, and some.
const PATIENCE: Duration = Duration::from_secs(40);

/// A request to one server.
#[derive(Clone)]
pub(crate) struct Request {
    address: SocketAddr,
    method: &'static str,
    target: String,
    headers: Vec<(String, Vec<u8>)>,
    body: Option<Vec<u8>>,
}

impl Request {
    pub(crate) fn new(address: SocketAddr, method: &'static str, target: &str) -> Self {
        let headers = vec![("host".to_owned(), address.to_string().into_bytes())];
        Self { address, method, target: target.to_owned(), headers, body: None }
    }

    pub(crate) fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers.push((name.to_owned(), value.as_ref().to_vec()));
        self
    }

    pub(crate) fn bearer(self, token: &str) -> Self {
        self.header("authorization", format!("Bearer {token}"))
    }

    /// As if a proxy had forwarded it for this address.
    pub(crate) fn forwarded_for(self, address: &str) -> Self {
        self.header("x-forwarded-for", address)
    }

    pub(crate) fn json(self, body: &Value) -> Self {
        self.header("content-type", "application/json").body(body.to_string())
    }

    pub(crate) fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = Some(body.into());
        self
    }

    /// Sends it on a connection of its own.
    ///
    /// # Panics
    ///
    /// Where the connection drops before the answer is whole.
    #[track_caller]
    pub(crate) fn send(&self) -> Answer {
        match self.try_send() {
            Ok(answer) => answer,
            Err(error) => panic!("{} {} got no answer: {error}", self.method, shortened(&self.target)),
        }
    }

    pub(crate) fn try_send(&self) -> io::Result<Answer> {
        Connection::open(self.address)?.send(self)
    }

    /// The request as it goes over the wire.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = format!("{} {} HTTP/1.1\r\n", self.method, self.target).into_bytes();
        for (name, value) in &self.headers {
            bytes.extend_from_slice(name.as_bytes());
            bytes.extend_from_slice(b": ");
            bytes.extend_from_slice(value);
            bytes.extend_from_slice(b"\r\n");
        }
        if let Some(body) = &self.body {
            bytes.extend_from_slice(format!("content-length: {}\r\n\r\n", body.len()).as_bytes());
            bytes.extend_from_slice(body);
        } else {
            bytes.extend_from_slice(b"\r\n");
        }
        bytes
    }
}

fn shortened(text: &str) -> String {
    text.chars().take(120).collect()
}

/// A connection that is kept for several requests.
pub(crate) struct Connection {
    stream: BufReader<TcpStream>,
}

impl Connection {
    pub(crate) fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    pub(crate) fn send(&mut self, request: &Request) -> io::Result<Answer> {
        self.write(&request.bytes())?;
        self.read_answer(request.method)
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }

    /// Reads one answer; those to HEAD have no body whatever their length says.
    pub(crate) fn read_answer(&mut self, method: &str) -> io::Result<Answer> {
        let status = self.line()?;
        let status = status.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.ok_or_else(|| io::Error::other("no status line"))?;
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(':').ok_or_else(|| io::Error::other("a header without a colon"))?;
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let mut answer = Answer { status, headers, body: Vec::new() };
        let empty = method == "HEAD" || matches!(status, 100..=199 | 204 | 304);
        if !empty {
            answer.body = self.body(&answer)?;
        }
        Ok(answer)
    }

    fn body(&mut self, answer: &Answer) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        if answer.header("transfer-encoding") == Some("chunked") {
            loop {
                let size = self.line()?;
                let size = u64::from_str_radix(&size, 16).map_err(io::Error::other)?;
                self.exactly(size, &mut body)?;
                self.line()?;
                if size == 0 {
                    return Ok(body);
                }
            }
        }
        match answer.header("content-length") {
            Some(length) => self.exactly(length.parse().map_err(io::Error::other)?, &mut body)?,
            None => _ = self.stream.read_to_end(&mut body)?,
        }
        Ok(body)
    }

    fn exactly(&mut self, length: u64, into: &mut Vec<u8>) -> io::Result<()> {
        let read = (&mut self.stream).take(length).read_to_end(into)?;
        if read as u64 == length { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = Vec::new();
        self.stream.read_until(b'\n', &mut line)?;
        if line.pop() != Some(b'\n') {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        line.pop_if(|last| *last == b'\r');
        String::from_utf8(line).map_err(io::Error::other)
    }

    /// Waits until the server closes the connection, and gives back what it said before.
    pub(crate) fn until_closed(&mut self, patience: Duration) -> io::Result<Vec<u8>> {
        self.stream.get_mut().set_read_timeout(Some(patience))?;
        let mut rest = Vec::new();
        self.stream.read_to_end(&mut rest)?;
        Ok(rest)
    }
}

/// An answer as it came.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        match serde_json::from_slice(&self.body) {
            Ok(json) => json,
            Err(error) => panic!("{} is no JSON ({error}): {}", self.status, self.text()),
        }
    }

    /// Insists on a status.
    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.text());
        self
    }

    /// Insists on a problem with every member of the contract, and gives it back.
    #[track_caller]
    pub(crate) fn problem(&self) -> Value {
        assert!((400..600).contains(&self.status), "{} is no refusal: {}", self.status, self.text());
        let kind = self.header("content-type");
        assert_eq!(kind, Some("application/problem+json"), "{}, {:?}: {}", self.status, self.headers, self.text());
        let problem = self.json();
        assert_eq!(problem["status"], self.status, "{problem}");
        for member in ["type", "title", "detail", "code", "traceId"] {
            assert!(problem[member].as_str().is_some_and(|text| !text.is_empty()), "no {member}: {problem}");
        }
        assert_eq!(problem["traceId"].as_str(), self.header("x-request-id"), "{problem}");
        assert_eq!(self.header("cache-control"), Some("no-store"), "{problem}");
        let challenge = self.header("www-authenticate");
        assert_eq!(challenge.is_some(), matches!(self.status, 401 | 403) && problem["code"] != "registration_closed");
        assert!(challenge.is_none_or(|challenge| challenge.starts_with("Bearer ")), "{challenge:?}");
        let waits = self.header("retry-after").map(|seconds| seconds.parse::<u32>().unwrap());
        assert_eq!(waits.is_some(), matches!(self.status, 429 | 503), "Retry-After: {waits:?}, {problem}");
        problem
    }

    /// Insists on a problem of this status and code.
    #[track_caller]
    pub(crate) fn refused(&self, status: u16, code: &str) -> Value {
        assert_eq!(self.status, status, "{}", self.text());
        let problem = self.problem();
        assert_eq!(problem["code"], code, "{problem}");
        problem
    }
}

//! A client that waits for its answer: for what prepares a measurement.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, bail};

use super::{Answer, parse, write_request};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// One connection, kept alive and made again where the server ended it.
pub(crate) struct Client {
    address: SocketAddr,
    stream: Option<TcpStream>,
    read: Vec<u8>,
    scratch: Vec<u8>,
}

/// An answer that owns its bytes.
#[derive(Debug)]
pub(crate) struct Owned {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

impl Owned {
    /// Insists on a status.
    pub(crate) fn expect(self, status: u16, what: &str) -> anyhow::Result<Self> {
        if self.status != status {
            bail!("{what}: {} {}", self.status, String::from_utf8_lossy(&self.body));
        }
        Ok(self)
    }
}

impl Client {
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self { address, stream: None, read: Vec::new(), scratch: Vec::new() }
    }

    /// Sends a request and waits for the answer.
    pub(crate) fn send(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&[u8]>,
    ) -> anyhow::Result<Owned> {
        let mut request = Vec::new();
        write_request(&mut request, method, path, headers, body);
        let owned = |answer: &Answer<'_>| Ok(Owned { status: answer.status, body: answer.body.to_vec() });
        self.exchange(&request, owned).with_context(|| format!("{method} {path}"))
    }

    /// Sends a request that is written already and looks at the answer.
    pub(crate) fn exchange<T>(
        &mut self,
        request: &[u8],
        look: impl FnOnce(&Answer<'_>) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => connect(self.address)?,
        };
        stream.write_all(request).context("a request was not sent")?;
        self.read.clear();
        let mut buffer = [0; 16 * 1024];
        loop {
            let count = stream.read(&mut buffer).context("no answer")?;
            if count == 0 {
                bail!("the server ended the connection before its answer");
            }
            self.read.extend_from_slice(&buffer[..count]);
            if let Some((answer, _)) = parse(&self.read, &mut self.scratch)? {
                if !answer.closes {
                    self.stream = Some(stream);
                }
                return look(&answer);
            }
        }
    }

    pub(crate) fn get(&mut self, path: &str, bearer: Option<&str>) -> anyhow::Result<Owned> {
        self.plain("GET", path, bearer)
    }

    /// Without a body.
    pub(crate) fn plain(&mut self, method: &str, path: &str, bearer: Option<&str>) -> anyhow::Result<Owned> {
        let value = bearer.map(|token| format!("Bearer {token}"));
        let header = value.as_deref().map(|value| ("authorization", value));
        // A POST without a body says so.
        let body: Option<&[u8]> = (method != "GET").then_some(&[]);
        self.send(method, path, header.as_slice(), body)
    }

    pub(crate) fn post_json(&mut self, path: &str, body: &serde_json::Value) -> anyhow::Result<Owned> {
        self.send("POST", path, &[("content-type", "application/json")], Some(body.to_string().as_bytes()))
    }
}

fn connect(address: SocketAddr) -> anyhow::Result<TcpStream> {
    let stream = TcpStream::connect(address).with_context(|| format!("{address} does not answer"))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

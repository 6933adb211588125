//! HTTP/1.1 as far as the bench needs it: whole answers out of bytes, and a client for what is not measured.

mod client;
mod parse;

pub(crate) use client::Client;
pub(crate) use parse::{Answer, parse};

/// Writes a request with a body, if there is one.
pub(crate) fn write_request(to: &mut Vec<u8>, method: &str, path: &str, headers: &[(&str, &str)], body: Option<&[u8]>) {
    for part in [method, " ", path, " HTTP/1.1\r\nhost: 127.0.0.1\r\n"] {
        to.extend_from_slice(part.as_bytes());
    }
    for (name, value) in headers {
        for part in [name, ": ", value, "\r\n"] {
            to.extend_from_slice(part.as_bytes());
        }
    }
    if let Some(body) = body {
        to.extend_from_slice(format!("content-length: {}\r\n", body.len()).as_bytes());
    }
    to.extend_from_slice(b"\r\n");
    to.extend_from_slice(body.unwrap_or_default());
}

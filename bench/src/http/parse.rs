//! One whole answer out of the bytes that have come.

use anyhow::{Context as _, bail};
use httparse::{EMPTY_HEADER, Header, Response, Status};

/// An answer. Its body is decoded where it was chunked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answer<'a> {
    pub(crate) status: u16,
    head: &'a [u8],
    pub(crate) body: &'a [u8],
    /// The server ends the connection after it.
    pub(crate) closes: bool,
}

impl<'a> Answer<'a> {
    /// The values of a header, in their order.
    pub(crate) fn headers(&self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let mut headers = [EMPTY_HEADER; HEADERS];
        // It was parsed before: few answers are asked for their headers, and all others need not keep them.
        let _ = Response::new(&mut headers).parse(self.head);
        headers.into_iter().filter(move |found| found.name.eq_ignore_ascii_case(name)).map(|found| text(found.value))
    }

    /// What it was, for whoever reads why it was wrong.
    pub(crate) fn shown(&self) -> String {
        let body = String::from_utf8_lossy(self.body);
        format!("{} {}", self.status, body.chars().take(300).collect::<String>())
    }
}

/// More headers than any server of the bench sends.
const HEADERS: usize = 64;

/// The first answer in `bytes` and its length, or `None` where more has to come. A body in chunks is put together in `scratch`.
pub(crate) fn parse<'a>(bytes: &'a [u8], scratch: &'a mut Vec<u8>) -> anyhow::Result<Option<(Answer<'a>, usize)>> {
    let mut headers = [EMPTY_HEADER; HEADERS];
    let mut response = Response::new(&mut headers);
    let Status::Complete(end) = response.parse(bytes).context("not an HTTP answer")? else { return Ok(None) };
    let status = response.code.context("an answer without a status")?;
    if matches!(status, 100..=199) {
        bail!("an answer with status {status}");
    }
    let (mut length, mut chunked, mut closes) = (None, false, response.version == Some(0));
    for Header { name, value } in response.headers.iter() {
        if name.eq_ignore_ascii_case("content-length") {
            length = Some(text(value).parse::<usize>().context("a content-length that is no number")?);
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            chunked = value.eq_ignore_ascii_case(b"chunked");
        } else if name.eq_ignore_ascii_case("connection") {
            closes = value.eq_ignore_ascii_case(b"close");
        }
    }
    let (head, rest) = bytes.split_at(end);
    if matches!(status, 204 | 304) {
        return Ok(Some((Answer { status, head, body: &[], closes }, end)));
    }
    if chunked {
        scratch.clear();
        let Some(used) = unchunk(rest, scratch)? else { return Ok(None) };
        return Ok(Some((Answer { status, head, body: scratch, closes }, end + used)));
    }
    let length = length.context("an answer that says neither content-length nor chunked")?;
    let Some(body) = rest.get(..length) else { return Ok(None) };
    Ok(Some((Answer { status, head, body, closes }, end + length)))
}

fn text(value: &[u8]) -> &str {
    std::str::from_utf8(value).unwrap_or_default()
}

/// Puts the chunks together; how many bytes they took, or `None` where more has to come.
fn unchunk(bytes: &[u8], body: &mut Vec<u8>) -> anyhow::Result<Option<usize>> {
    let mut at = 0;
    loop {
        let Some(line) = bytes[at..].windows(2).position(|window| window == b"\r\n") else { return Ok(None) };
        let size = std::str::from_utf8(&bytes[at..at + line])?.split(';').next().unwrap_or_default().trim();
        let size = usize::from_str_radix(size, 16).context("a chunk without its size")?;
        at += line + 2;
        let Some(chunk) = bytes.get(at..at + size + 2) else { return Ok(None) };
        if size == 0 {
            // No server of the bench sends trailers.
            return Ok(Some(at + 2));
        }
        body.extend_from_slice(&chunk[..size]);
        at += size + 2;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn whole(text: &str) -> Option<(u16, String, bool, usize)> {
        let mut scratch = Vec::new();
        let parsed = parse(text.as_bytes(), &mut scratch).unwrap();
        parsed.map(|(answer, used)| {
            (answer.status, String::from_utf8(answer.body.to_vec()).unwrap(), answer.closes, used)
        })
    }

    #[test]
    fn an_answer_is_whole_with_its_last_byte() {
        let text = "HTTP/1.1 200 OK\r\nContent-Type: a\r\nContent-Length: 5\r\n\r\nhello";
        for end in 0..text.len() {
            assert_eq!(whole(&text[..end]), None, "{end}");
        }
        assert_eq!(whole(text), Some((200, "hello".into(), false, text.len())));
        assert_eq!(whole(&format!("{text}HTTP/1.1 ")), Some((200, "hello".into(), false, text.len())));
    }

    #[test]
    fn chunks_are_put_together() {
        let text = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\n\r\n";
        for end in 0..text.len() {
            assert_eq!(whole(&text[..end]), None, "{end}");
        }
        assert_eq!(whole(text), Some((200, "hello".into(), true, text.len())));
    }

    #[test]
    fn what_is_no_answer_is_told() {
        for text in
            ["SMTP ready\r\n\r\n", "HTTP/1.1 OK\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 100 Go on\r\n\r\n"]
        {
            assert!(parse(text.as_bytes(), &mut Vec::new()).is_err(), "{text:?}");
        }
    }

    #[test]
    fn headers_are_found_whatever_their_case() {
        let text = "HTTP/1.1 204 No Content\r\nset-cookie: a=1\r\nSet-Cookie:b=2\r\n\r\n";
        let mut scratch = Vec::new();
        let (answer, _) = parse(text.as_bytes(), &mut scratch).unwrap().unwrap();
        assert_eq!(answer.headers("Set-cookie").collect::<Vec<_>>(), ["a=1", "b=2"]);
    }
}

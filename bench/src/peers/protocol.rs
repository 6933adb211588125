//! How a peer is spoken to: `protocol.json`.

use std::collections::BTreeMap;

use anyhow::{Context as _, bail, ensure};
use serde::Deserialize;
use serde_json::Value;

use super::template::{Template, decoded};
use crate::http::{Answer, write_request};

/// A whole description.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Protocol {
    pub(crate) name: String,
    pub(crate) version: String,
    /// What one refresh does there, for the report.
    pub(crate) does: String,
    /// `sqlite`, `postgres`.
    pub(crate) stores: Vec<String>,
    #[serde(default)]
    jar: bool,
    #[serde(default)]
    pub(super) setup: Vec<Request>,
    sign_in: OneOrMany,
    pub(super) refresh: Request,
    pub(super) guarded: Option<Request>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(Request),
    Many(Vec<Request>),
}

/// A request, and what is wanted of its answer.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Request {
    method: String,
    path: Template,
    #[serde(default)]
    headers: BTreeMap<String, Template>,
    body: Option<Template>,
    #[serde(default = "ok")]
    expect_status: u16,
    #[serde(default)]
    take: BTreeMap<String, Place>,
    /// Names whose value must be another than before.
    #[serde(default)]
    pub(super) changes: Vec<String>,
}

const fn ok() -> u16 {
    200
}

/// Where a value stands in an answer.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "String")]
enum Place {
    Json(String),
    Header(String),
    /// A parameter of the URL in the header `location`.
    Query(String),
    Cookie(String),
}

impl TryFrom<String> for Place {
    type Error = anyhow::Error;

    fn try_from(text: String) -> anyhow::Result<Self> {
        let (kind, name) = text.split_once(':').with_context(|| format!("{text} is no place in an answer"))?;
        let name = name.to_owned();
        Ok(match kind {
            "json" => Self::Json(name),
            "header" => Self::Header(name),
            "query" => Self::Query(name),
            "cookie" => Self::Cookie(name),
            _ => bail!("{text} is no place in an answer"),
        })
    }
}

/// What a session of a peer has come to know.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    values: BTreeMap<String, String>,
    /// Its cookies, where the peer wants them kept.
    jar: Option<BTreeMap<String, String>>,
}

impl Protocol {
    pub(super) fn sign_in(&self) -> &[Request] {
        match &self.sign_in {
            OneOrMany::One(request) => std::slice::from_ref(request),
            OneOrMany::Many(requests) => requests,
        }
    }

    /// Of the user with this number.
    pub(super) fn known(&self, number: usize) -> Known {
        let values = BTreeMap::from([("n".to_owned(), number.to_string())]);
        Known { values, jar: self.jar.then(BTreeMap::new) }
    }
}

impl Request {
    /// Writes it for a session.
    pub(super) fn write(&self, known: &Known, to: &mut Vec<u8>) -> anyhow::Result<()> {
        let path = self.path.fill(&known.values)?;
        // An absolute URL, as in a redirect, leads to the same server.
        let path = match path.split_once("://") {
            Some((scheme, rest)) if scheme.starts_with("http") => match rest.find('/') {
                Some(at) => rest[at..].to_owned(),
                None => "/".to_owned(),
            },
            _ => path,
        };
        let filled = |(name, value): (&String, &Template)| Ok((name.clone(), value.fill(&known.values)?));
        let mut headers = self.headers.iter().map(filled).collect::<anyhow::Result<Vec<_>>>()?;
        if let Some(jar) = known.jar.as_ref().filter(|jar| !jar.is_empty()) {
            let cookies: Vec<String> = jar.iter().map(|(name, value)| format!("{name}={value}")).collect();
            headers.push(("cookie".to_owned(), cookies.join("; ")));
        }
        let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let body = self.body.as_ref().map(|body| body.fill(&known.values)).transpose()?;
        write_request(to, &self.method, &path, &headers, body.as_deref().map(str::as_bytes));
        Ok(())
    }

    /// Fails where nothing would be noticed.
    pub(super) fn insist_on_changes(&self) -> anyhow::Result<()> {
        ensure!(!self.changes.is_empty(), "what a refresh changes is not said");
        let missing = self.changes.iter().find(|name| !self.take.contains_key(*name));
        ensure!(missing.is_none(), "{missing:?} is to change and is never taken");
        Ok(())
    }

    /// Judges an answer and takes from it what is to be taken.
    pub(super) fn judge(&self, known: &mut Known, answer: &Answer<'_>) -> anyhow::Result<()> {
        ensure!(answer.status == self.expect_status, "not {}", self.expect_status);
        if let Some(jar) = &mut known.jar {
            for cookie in answer.headers("set-cookie") {
                let (pair, attributes) = cookie.split_once(';').unwrap_or((cookie, ""));
                let Some((name, value)) = pair.split_once('=') else { continue };
                let ended = attributes.split(';').any(|attribute| attribute.trim().eq_ignore_ascii_case("max-age=0"));
                if value.is_empty() || ended {
                    jar.remove(name.trim());
                } else {
                    jar.insert(name.trim().to_owned(), value.to_owned());
                }
            }
        }
        let mut json = None;
        for (name, place) in &self.take {
            let value = place.find(answer, &mut json)?.filter(|value| !value.is_empty());
            let value = value.with_context(|| format!("{name} is not in the answer"))?;
            let before = known.values.insert(name.clone(), value);
            if self.changes.contains(name) && before.as_ref() == known.values.get(name) {
                bail!("{name} is the same again");
            }
        }
        Ok(())
    }
}

impl Place {
    fn find(&self, answer: &Answer<'_>, json: &mut Option<Value>) -> anyhow::Result<Option<String>> {
        Ok(match self {
            Self::Json(pointer) => {
                if json.is_none() {
                    *json = Some(serde_json::from_slice(answer.body).context("the answer is no JSON")?);
                }
                match json.as_ref().and_then(|json| json.pointer(pointer)) {
                    Some(Value::String(text)) => Some(text.clone()),
                    Some(Value::Number(number)) => Some(number.to_string()),
                    _ => None,
                }
            }
            Self::Header(name) => first(answer, name),
            Self::Query(name) => first(answer, "location").and_then(|url| parameter(&url, name)),
            Self::Cookie(name) => answer.headers("set-cookie").find_map(|cookie| {
                let (found, value) = cookie.split(';').next()?.split_once('=')?;
                (found.trim() == name).then(|| value.to_owned())
            }),
        })
    }
}

fn first(answer: &Answer<'_>, name: &str) -> Option<String> {
    answer.headers(name).next().map(str::to_owned)
}

fn parameter(url: &str, name: &str) -> Option<String> {
    let (_, query) = url.split_once('?')?;
    let query = query.split('#').next().unwrap_or_default();
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.find(|(found, _)| *found == name).map(|(_, value)| decoded(value))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::http::parse;

    fn protocol() -> Protocol {
        serde_json::from_str(
            r#"{
              "name": "peer", "version": "1", "does": "nothing", "stores": ["sqlite"], "jar": true,
              "sign_in": {
                "method": "POST", "path": "/login", "body": "{\"user\":\"u{n}\"}",
                "take": { "refresh": "json:/a/0/refresh", "code": "query:code", "csrf": "cookie:csrf" }
              },
              "refresh": {
                "method": "POST", "path": "http://127.0.0.1:1/token?x=1", "headers": { "x-csrf": "{csrf}" },
                "body": "t={refresh|form}", "take": { "refresh": "json:/refresh" }, "changes": ["refresh"]
              }
            }"#,
        )
        .unwrap()
    }

    fn judge(request: &Request, known: &mut Known, text: &str) -> Result<(), String> {
        let mut scratch = Vec::new();
        let (answer, _) = parse(text.as_bytes(), &mut scratch).unwrap().unwrap();
        request.judge(known, &answer).map_err(|error| error.to_string())
    }

    fn answer(headers: &str, body: &str) -> String {
        format!("HTTP/1.1 200 OK\r\n{headers}content-length: {}\r\n\r\n{body}", body.len())
    }

    #[test]
    fn what_an_answer_brings_is_sent_with_the_next_request() {
        let protocol = protocol();
        let mut known = protocol.known(3);
        let sign_in = &protocol.sign_in()[0];
        let mut sent = Vec::new();
        sign_in.write(&known, &mut sent).unwrap();
        assert!(String::from_utf8_lossy(&sent).ends_with("content-length: 13\r\n\r\n{\"user\":\"u3\"}"), "{sent:?}");
        let headers =
            "Set-Cookie: csrf=c1; Path=/\r\nSet-Cookie: old=; Max-Age=0\r\nLocation: /back?state=s&code=a%20b\r\n";
        judge(sign_in, &mut known, &answer(headers, r#"{"a":[{"refresh":"r=1"}]}"#)).unwrap();
        assert_eq!(known.values["code"], "a b");
        let mut sent = Vec::new();
        protocol.refresh.write(&known, &mut sent).unwrap();
        let sent = String::from_utf8(sent).unwrap();
        assert!(sent.starts_with("POST /token?x=1 HTTP/1.1\r\n"), "{sent}");
        assert!(sent.contains("x-csrf: c1\r\n") && sent.contains("cookie: csrf=c1\r\n"), "{sent}");
        assert!(sent.ends_with("t=r%3D1"), "{sent}");
    }

    #[test]
    fn a_change_that_would_never_be_looked_at_is_refused() {
        let mut refresh = protocol().refresh;
        refresh.insist_on_changes().unwrap();
        refresh.changes.push("acess".to_owned());
        assert!(refresh.insist_on_changes().is_err());
        refresh.changes.clear();
        assert!(refresh.insist_on_changes().is_err());
    }

    #[test]
    fn the_same_refresh_token_again_and_a_missing_one_are_wrong() {
        let protocol = protocol();
        let mut known = protocol.known(0);
        let refresh = &protocol.refresh;
        judge(refresh, &mut known, &answer("", r#"{"refresh":"r1"}"#)).unwrap();
        let again = judge(refresh, &mut known, &answer("", r#"{"refresh":"r1"}"#));
        assert_eq!(again, Err("refresh is the same again".to_owned()));
        let missing = judge(refresh, &mut known, &answer("", r#"{"refresh":null}"#));
        assert_eq!(missing, Err("refresh is not in the answer".to_owned()));
        let status = judge(refresh, &mut known, "HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n");
        assert_eq!(status, Err("not 200".to_owned()));
    }
}

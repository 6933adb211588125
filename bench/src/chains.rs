//! What connections do to Countersign, each answer judged.

use std::ops::Range;

use anyhow::{bail, ensure};
use serde::Deserialize;

use crate::clock;
use crate::drive::Chain;
use crate::http::{Answer, write_request};
use crate::server::PASSWORD;

const JSON: (&str, &str) = ("content-type", "application/json");

/// Refreshes one session after the other, each with what its last refresh gave.
pub(crate) struct Refreshing {
    /// The refresh token of each session.
    tokens: Vec<String>,
    at: usize,
    /// The last access token that came.
    access: String,
    expiry: Expiry,
    body: Vec<u8>,
    /// How many times it was answered.
    pub(crate) answers: u64,
    /// Whether the access token is sent along, as the tutorial's front end does.
    with_access: bool,
}

/// The tokens of an answer.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TokenAnswer<'a> {
    #[serde(alias = "token")]
    access_token: &'a str,
    refresh_token: &'a str,
    expiration: &'a str,
    token_type: &'a str,
    expires_in: i64,
}

impl Refreshing {
    pub(crate) fn new(tokens: Vec<String>) -> Self {
        let (access, expiry) = (String::new(), Expiry::default());
        Self { tokens, at: 0, access, expiry, body: Vec::new(), answers: 0, with_access: false }
    }

    pub(crate) fn with_access(mut self, with_access: bool) -> Self {
        self.with_access = with_access;
        self
    }

    /// The newest access token.
    pub(crate) fn access(&self) -> &str {
        &self.access
    }
}

impl Chain for Refreshing {
    const KINDS: &'static [&'static str] = &["refreshes"];

    fn ask(&mut self, to: &mut Vec<u8>) {
        self.body.clear();
        self.body.extend_from_slice(b"{\"refreshToken\":\"");
        self.body.extend_from_slice(self.tokens[self.at].as_bytes());
        if self.with_access && !self.access.is_empty() {
            self.body.extend_from_slice(b"\",\"accessToken\":\"");
            self.body.extend_from_slice(self.access.as_bytes());
        }
        self.body.extend_from_slice(b"\"}");
        write_request(to, "POST", "/api/auth/refresh-token", &[JSON], Some(&self.body));
    }

    fn answered(&mut self, answer: &Answer<'_>) -> anyhow::Result<usize> {
        ensure!(answer.status == 200, "not 200");
        let tokens: TokenAnswer<'_> = serde_json::from_slice(answer.body)?;
        let presented = &mut self.tokens[self.at];
        ensure!(tokens.refresh_token != presented, "the same refresh token again");
        self.expiry.judge(&tokens, &self.access)?;
        presented.clear();
        presented.push_str(tokens.refresh_token);
        self.access.clear();
        self.access.push_str(tokens.access_token);
        self.at = (self.at + 1) % self.tokens.len();
        self.answers += 1;
        Ok(0)
    }
}

/// What holds of the tokens of every answer.
#[derive(Default)]
struct Expiry {
    /// The second for which `expirations` was made.
    second: i64,
    expirations: [String; 2],
}

impl Expiry {
    /// The lifetime of an access token by default, and how long an answer may have been under way.
    const LIFETIME: i64 = 300;
    const UNDER_WAY: i64 = 30;

    fn judge(&mut self, tokens: &TokenAnswer<'_>, before: &str) -> anyhow::Result<()> {
        let shape = tokens.refresh_token.starts_with("cs_rt_") && tokens.refresh_token.len() == 100;
        ensure!(shape, "not a refresh token");
        ensure!(tokens.access_token.split('.').count() == 3, "not an access token");
        ensure!(tokens.access_token != before, "the same access token again");
        ensure!(tokens.token_type == "Bearer", "not a bearer token");
        ensure!((1..=Self::LIFETIME).contains(&tokens.expires_in), "it expires in {} s", tokens.expires_in);
        let now = clock::seconds();
        if now != self.second {
            self.second = now;
            let bounds = [now + Self::LIFETIME - Self::UNDER_WAY, now + Self::LIFETIME + 1];
            self.expirations = bounds.map(clock::rfc3339);
        }
        // Times of one form sort as texts.
        let [earliest, latest] = &self.expirations;
        let in_time = (earliest.as_str()..=latest.as_str()).contains(&tokens.expiration);
        ensure!(in_time && tokens.expiration.len() == earliest.len(), "it expires at {}", tokens.expiration);
        Ok(())
    }
}

/// Sends one request again and again.
pub(crate) struct Asking {
    request: Vec<u8>,
    /// Looks at an answer that is not as the one before.
    look: fn(&[u8]) -> anyhow::Result<()>,
    before: Vec<u8>,
}

impl Asking {
    pub(crate) fn new(path: &str, access: Option<&str>, look: fn(&[u8]) -> anyhow::Result<()>) -> Self {
        let mut request = Vec::new();
        let value = access.map(|token| format!("Bearer {token}"));
        let header = value.as_deref().map(|value| ("authorization", value));
        write_request(&mut request, "GET", path, header.as_slice(), None);
        Self { request, look, before: Vec::new() }
    }

    /// A request that is there already, of which no more than its status is judged.
    pub(crate) fn bytes(request: Vec<u8>) -> Self {
        Self { request, look: |_| Ok(()), before: Vec::new() }
    }

    /// Who am I, asked of the server itself.
    pub(crate) fn me(access: &str) -> Self {
        Self::new("/api/auth/me", Some(access), look_at_me)
    }

    /// The weather, of an API that trusts the server.
    pub(crate) fn weather(access: &str) -> Self {
        Self::new("/weatherforecast", Some(access), |body| {
            let forecasts: Vec<serde_json::Value> = serde_json::from_slice(body)?;
            ensure!(forecasts.len() == 5 && forecasts.iter().all(|day| day["summary"].is_string()), "no weather");
            Ok(())
        })
    }
}

/// Whether an answer of `/api/auth/me` names somebody whom the loader made.
pub(crate) fn look_at_me(body: &[u8]) -> anyhow::Result<()> {
    let me: serde_json::Value = serde_json::from_slice(body)?;
    ensure!(me["username"].as_str().is_some_and(|name| name.starts_with("user")), "nobody we know");
    Ok(())
}

impl Chain for Asking {
    const KINDS: &'static [&'static str] = &["answers"];

    fn ask(&mut self, to: &mut Vec<u8>) {
        to.extend_from_slice(&self.request);
    }

    fn answered(&mut self, answer: &Answer<'_>) -> anyhow::Result<usize> {
        ensure!(answer.status == 200, "not 200");
        if answer.body != self.before {
            (self.look)(answer.body)?;
            self.before.clear();
            self.before.extend_from_slice(answer.body);
        }
        Ok(0)
    }
}

/// Signs in, as one account after the other.
pub(crate) struct SigningIn {
    names: Range<u64>,
    next: u64,
    access: String,
    expiry: Expiry,
    /// Whether being told to come back is an answer too.
    flood: bool,
}

impl SigningIn {
    /// As the accounts of these numbers.
    pub(crate) fn new(names: Range<u64>) -> Self {
        Self { next: names.start, names, access: String::new(), expiry: Expiry::default(), flood: false }
    }

    pub(crate) fn flood(mut self) -> Self {
        self.flood = true;
        self
    }
}

impl Chain for SigningIn {
    const KINDS: &'static [&'static str] = &["sign-ins", "told to come back"];

    fn ask(&mut self, to: &mut Vec<u8>) {
        let name = crate::loader::name(self.next);
        self.next = if self.next + 1 < self.names.end { self.next + 1 } else { self.names.start };
        let body = format!("{{\"username\":\"{name}\",\"password\":\"{PASSWORD}\"}}");
        write_request(to, "POST", "/api/auth/login", &[JSON], Some(body.as_bytes()));
    }

    fn answered(&mut self, answer: &Answer<'_>) -> anyhow::Result<usize> {
        match answer.status {
            200 => {
                let tokens: TokenAnswer<'_> = serde_json::from_slice(answer.body)?;
                self.expiry.judge(&tokens, &self.access)?;
                self.access.clear();
                self.access.push_str(tokens.access_token);
                Ok(0)
            }
            503 if self.flood => {
                let problem: serde_json::Value = serde_json::from_slice(answer.body)?;
                ensure!(problem["code"] == "server_busy", "another problem");
                ensure!(answer.headers("retry-after").next().is_some(), "when is not said");
                Ok(1)
            }
            _ => bail!("not 200"),
        }
    }
}

/// A front end and its users: each refreshes once and then asks who it is nine times; some sign in.
pub(crate) enum Mixed {
    User { refreshing: Refreshing, asking: Option<Asking>, asked: u32 },
    Newcomer(SigningIn),
}

/// How often a user asks between two refreshes.
const QUESTIONS: u32 = 9;

impl Mixed {
    pub(crate) fn user(refreshing: Refreshing) -> Self {
        Self::User { refreshing, asking: None, asked: 0 }
    }
}

impl Chain for Mixed {
    const KINDS: &'static [&'static str] = &["questions", "refreshes", "sign-ins"];

    fn ask(&mut self, to: &mut Vec<u8>) {
        match self {
            Self::User { asking: Some(asking), .. } => asking.ask(to),
            Self::User { refreshing, .. } => refreshing.ask(to),
            Self::Newcomer(signing_in) => signing_in.ask(to),
        }
    }

    fn answered(&mut self, answer: &Answer<'_>) -> anyhow::Result<usize> {
        match self {
            Self::User { refreshing, asking, asked } => {
                let Some(question) = asking else {
                    refreshing.answered(answer)?;
                    *asking = Some(Asking::me(refreshing.access()));
                    return Ok(1);
                };
                question.answered(answer)?;
                *asked += 1;
                if *asked == QUESTIONS {
                    (*asking, *asked) = (None, 0);
                }
                Ok(0)
            }
            Self::Newcomer(signing_in) => {
                signing_in.answered(answer)?;
                Ok(2)
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::http::parse;

    fn judge(chain: &mut Refreshing, status: u16, body: &str) -> Result<usize, String> {
        let text = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        let mut scratch = Vec::new();
        let (answer, _) = parse(text.as_bytes(), &mut scratch).unwrap().unwrap();
        chain.answered(&answer).map_err(|error| error.to_string())
    }

    fn token(last: char) -> String {
        format!("cs_rt_{}{last}", "A".repeat(93))
    }

    fn body(access: &str, refresh: &str, expires_in: i64) -> String {
        let at = clock::rfc3339(clock::seconds() + expires_in);
        serde_json::json!({
            "accessToken": access, "refreshToken": refresh, "expiration": at, "tokenType": "Bearer", "expiresIn": expires_in,
        })
        .to_string()
    }

    #[test]
    fn only_a_new_pair_that_is_good_for_a_while_is_a_right_answer() {
        let mut chain = Refreshing::new(vec![token('A')]);
        for (status, body, why) in [
            (400, body("a.b.c", &token('B'), 300), "not 200"),
            (200, body("a.b.c", &token('A'), 300), "the same refresh token again"),
            (200, body("a.b.c", "cs_rt_B", 300), "not a refresh token"),
            (200, body("abc", &token('B'), 300), "not an access token"),
            (200, body("a.b.c", &token('B'), 0), "it expires in 0 s"),
            (200, body("a.b.c", &token('B'), 4000), "it expires in 4000 s"),
        ] {
            assert_eq!(judge(&mut chain, status, &body), Err(why.to_owned()));
        }
        let late = body("a.b.c", &token('B'), 300).replace(&clock::rfc3339(clock::seconds() + 300)[..4], "2001");
        assert!(judge(&mut chain, 200, &late).unwrap_err().starts_with("it expires at 2001"));
        assert_eq!(judge(&mut chain, 200, &body("a.b.c", &token('B'), 300)), Ok(0));
        let again = body("a.b.c", &token('C'), 300);
        assert_eq!(judge(&mut chain, 200, &again), Err("the same access token again".to_owned()));
        let mut request = Vec::new();
        chain.ask(&mut request);
        assert!(String::from_utf8(request).unwrap().ends_with(&format!("{{\"refreshToken\":\"{}\"}}", token('B'))));
    }
}

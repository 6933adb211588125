//! Asking the issuer about each token, where there is no reader key for the feed.

use std::sync::Arc;
use std::time::Duration;

use countersign_token::AccessClaims;
use countersign_token::revocation::RevokedReason;
use http::{HeaderValue, StatusCode};
use parking_lot::Mutex as SyncMutex;
use quick_cache::sync::Cache;
use serde::Deserialize;
use tokio::sync::{Mutex, Semaphore, watch};
use tokio::time::{Instant, timeout};
use uuid::Uuid;

use super::http::{Answer, Http};
use super::keys::Endpoints;
use crate::cache::TokenHash;
use crate::{Refusal, metrics};

/// How long an answer counts, from the question on.
const REMEMBERED: Duration = Duration::from_millis(500);

/// How long a request waits for the issuer, and how long at most, with its turn.
const ANSWER_TIME: Duration = Duration::from_millis(1500);
const PATIENCE: Duration = Duration::from_secs(2);

/// How long nobody is asked after the issuer did not answer, so that requests do not pile up behind it.
const DOWN: Duration = Duration::from_millis(500);

/// Questions that are under way at once.
const AT_ONCE: usize = 64;

const ANSWER_BYTES: usize = 64 * 1024;

/// What the issuer says about a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    Good,
    Refused(Refusal),
    /// The issuer cannot be asked at present.
    Unknown,
}

/// Answers for some tokens, and the way to get more.
pub(crate) struct Status {
    authority: String,
    http: Http,
    endpoints: watch::Receiver<Option<Endpoints>>,
    tokens: Cache<TokenHash, Arc<Mutex<Remembered>>>,
    under_way: Semaphore,
    down_until: SyncMutex<Option<Instant>>,
}

/// The last answer about one token. Whoever holds its lock asks, the others wait for the answer.
#[derive(Default)]
struct Remembered(Option<(Standing, Instant)>);

impl Remembered {
    fn standing(&self) -> Option<Standing> {
        match self.0 {
            // What was revoked stays revoked.
            Some((standing, _)) if is_final(standing) => Some(standing),
            Some((standing, asked)) if asked.elapsed() < REMEMBERED => Some(standing),
            _ => None,
        }
    }
}

fn is_final(standing: Standing) -> bool {
    matches!(standing, Standing::Refused(Refusal::Revoked(_) | Refusal::SessionEnded))
}

impl Status {
    pub(crate) fn new(
        authority: &str,
        http: Http,
        endpoints: watch::Receiver<Option<Endpoints>>,
        capacity: usize,
    ) -> Self {
        Self {
            authority: authority.to_owned(),
            http,
            endpoints,
            tokens: Cache::new(capacity),
            under_way: Semaphore::new(AT_ONCE),
            down_until: SyncMutex::default(),
        }
    }

    /// What the issuer says about a genuine token, now or half a second ago.
    pub(crate) async fn of(&self, token: &str, hash: TokenHash, claims: &AccessClaims) -> Standing {
        let slot = self.tokens.get_or_insert_with(&hash, || Ok::<_, std::convert::Infallible>(Arc::default()));
        let Ok(slot) = slot;
        let standing = timeout(PATIENCE, async {
            let mut remembered = slot.lock().await;
            if let Some(standing) = remembered.standing() {
                return standing;
            }
            if self.is_down() {
                return Standing::Unknown;
            }
            let asked = Instant::now();
            let standing = self.ask(token, claims).await;
            if standing != Standing::Unknown {
                remembered.0 = Some((standing, asked));
            }
            standing
        });
        standing.await.unwrap_or(Standing::Unknown)
    }

    fn is_down(&self) -> bool {
        self.down_until.lock().is_some_and(|until| Instant::now() < until)
    }

    async fn ask(&self, token: &str, claims: &AccessClaims) -> Standing {
        let endpoint = self.endpoints.borrow().as_ref().and_then(|endpoints| endpoints.token_status.clone());
        let Some(endpoint) = endpoint else {
            return self.unknown("the issuer's metadata names no countersign_token_status_endpoint");
        };
        let Ok(_turn) = self.under_way.acquire().await else { return Standing::Unknown };
        // Those that waited for a turn learn from those that had one.
        if self.is_down() {
            return Standing::Unknown;
        }
        let Some(credentials) = credentials(token) else { return Standing::Refused(Refusal::RefusedByIssuer) };
        match self.http.get(endpoint, Some(credentials), ANSWER_TIME, ANSWER_BYTES).await {
            Err(error) => self.unknown(&error.to_string()),
            Ok(answer) => match standing(&answer, claims.sub) {
                Standing::Unknown => self.unknown(&format!("the issuer answers {}", answer.status)),
                Standing::Good => {
                    metrics::status_asked("good");
                    Standing::Good
                }
                refused @ Standing::Refused(_) => {
                    metrics::status_asked("refused");
                    refused
                }
            },
        }
    }

    fn unknown(&self, error: &str) -> Standing {
        *self.down_until.lock() = Some(Instant::now() + DOWN);
        metrics::status_asked("failed");
        tracing::warn!(authority = self.authority, error, "the issuer cannot be asked about a token");
        Standing::Unknown
    }
}

fn credentials(token: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::try_from(format!("Bearer {token}")).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// Only the account itself is a yes: a page that some proxy serves for every path is none.
fn standing(answer: &Answer, sub: Uuid) -> Standing {
    #[derive(Deserialize)]
    struct Holder {
        id: Uuid,
    }
    #[derive(Deserialize)]
    struct Problem {
        code: String,
    }
    match answer.status {
        StatusCode::OK => match serde_json::from_slice::<Holder>(&answer.body) {
            Ok(holder) if holder.id == sub => Standing::Good,
            _ => Standing::Unknown,
        },
        StatusCode::UNAUTHORIZED => {
            let problem = serde_json::from_slice::<Problem>(&answer.body);
            Standing::Refused(problem.map_or(Refusal::RefusedByIssuer, |problem| refusal(&problem.code)))
        }
        _ => Standing::Unknown,
    }
}

fn refusal(code: &str) -> Refusal {
    let revoked = [RevokedReason::Session, RevokedReason::Account, RevokedReason::Everyone].map(Refusal::Revoked);
    let expired = Refusal::Token(countersign_token::VerifyError::Expired);
    let known = revoked.into_iter().chain([Refusal::SessionEnded, Refusal::AccountDisabled, expired]);
    known.into_iter().find(|refusal| refusal.code() == code).unwrap_or(Refusal::RefusedByIssuer)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn standing_of(status: u16, body: &str) -> Standing {
        let answer =
            Answer { status: StatusCode::from_u16(status).unwrap(), max_age: None, body: body.as_bytes().to_vec() };
        standing(&answer, Uuid::from_u128(7))
    }

    #[test]
    fn only_the_account_itself_is_a_yes() {
        let own = format!(r#"{{"id":"{}","username":"ada"}}"#, Uuid::from_u128(7));
        assert_eq!(standing_of(200, &own), Standing::Good);
        let other = format!(r#"{{"id":"{}"}}"#, Uuid::from_u128(8));
        for body in ["", "<html>", "{}", r#"{"id":7}"#, other.as_str()] {
            assert_eq!(standing_of(200, body), Standing::Unknown, "{body}");
        }
    }

    #[test]
    fn a_401_says_why() {
        for (code, refusal) in [
            ("session_revoked", Refusal::Revoked(RevokedReason::Session)),
            ("account_revoked", Refusal::Revoked(RevokedReason::Account)),
            ("everyone_revoked", Refusal::Revoked(RevokedReason::Everyone)),
            ("session_ended", Refusal::SessionEnded),
            ("account_disabled", Refusal::AccountDisabled),
            ("token_expired", Refusal::Token(countersign_token::VerifyError::Expired)),
            ("audience_mismatch", Refusal::RefusedByIssuer),
            ("something_new", Refusal::RefusedByIssuer),
        ] {
            assert_eq!(standing_of(401, &format!(r#"{{"code":"{code}"}}"#)), Standing::Refused(refusal));
        }
        assert_eq!(standing_of(401, "no json"), Standing::Refused(Refusal::RefusedByIssuer));
    }

    #[test]
    fn anything_else_is_no_answer() {
        for status in [204, 301, 302, 400, 403, 404, 429, 500, 503] {
            assert_eq!(standing_of(status, r#"{"code":"session_revoked"}"#), Standing::Unknown, "{status}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_yes_counts_for_half_a_second_and_a_revocation_for_good() {
        let remembered = |standing| Remembered(Some((standing, Instant::now())));
        let passing =
            [Standing::Good, Standing::Refused(Refusal::AccountDisabled), Standing::Refused(Refusal::RefusedByIssuer)];
        let lasting =
            [Standing::Refused(Refusal::Revoked(RevokedReason::Account)), Standing::Refused(Refusal::SessionEnded)];
        let (passing, lasting) = (passing.map(remembered), lasting.map(remembered));
        tokio::time::advance(REMEMBERED - Duration::from_millis(1)).await;
        assert!(passing.iter().chain(&lasting).all(|remembered| remembered.standing().is_some()));
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(passing.iter().all(|remembered| remembered.standing().is_none()));
        assert!(lasting.iter().all(|remembered| remembered.standing().is_some()));
    }
}

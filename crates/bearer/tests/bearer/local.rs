//! An issuer in the same process.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use countersign_bearer::{AccessClaims, Bearer, KeySet, RevokedReason, Stale, TrustSource};
use countersign_token::{Algorithm, SigningKey};
use parking_lot::Mutex;

use crate::issuer::{AUDIENCE, claims, code_of, now};

const ISSUER: &str = "https://login.example";

struct Source {
    keys: Mutex<Arc<KeySet>>,
    revoked: Mutex<Option<RevokedReason>>,
    age: Mutex<Duration>,
    now: AtomicI64,
}

impl TrustSource for Source {
    fn keys(&self) -> Arc<KeySet> {
        Arc::clone(&self.keys.lock())
    }

    fn check(&self, _: &AccessClaims) -> Result<(), RevokedReason> {
        self.revoked.lock().map_or(Ok(()), Err)
    }

    fn age(&self) -> Duration {
        *self.age.lock()
    }

    fn now(&self) -> i64 {
        self.now.load(Ordering::SeqCst)
    }
}

fn trusting(key: &SigningKey) -> (Arc<Source>, Bearer) {
    let source = Arc::new(Source {
        keys: Mutex::new(Arc::new(KeySet::new([key.verifying_key()]))),
        revoked: Mutex::default(),
        age: Mutex::default(),
        now: AtomicI64::new(now()),
    });
    let bearer = Bearer::trusting(source.clone(), ISSUER, AUDIENCE);
    assert!(bearer.is_ready());
    (source, bearer)
}

#[tokio::test]
async fn what_the_source_says_counts_for_the_next_request() {
    let key = SigningKey::generate(Algorithm::Es256).unwrap();
    let (source, bearer) = trusting(&key);
    let token = key.sign(&claims(ISSUER)).unwrap();
    for (revoked, code) in [
        (None, "ok"),
        (Some(RevokedReason::Session), "session_revoked"),
        (Some(RevokedReason::Account), "account_revoked"),
        (Some(RevokedReason::Everyone), "everyone_revoked"),
        (None, "ok"),
    ] {
        *source.revoked.lock() = revoked;
        assert_eq!(code_of(&bearer, &token).await, code);
    }
    source.now.fetch_add(10_000, Ordering::SeqCst);
    assert_eq!(code_of(&bearer, &token).await, "token_expired");
}

#[tokio::test]
async fn keys_that_the_source_no_longer_has_are_gone_at_once() {
    let (old, new) = (SigningKey::generate(Algorithm::Es256).unwrap(), SigningKey::generate(Algorithm::EdDsa).unwrap());
    let (source, bearer) = trusting(&old);
    let (by_old, by_new) = (old.sign(&claims(ISSUER)).unwrap(), new.sign(&claims(ISSUER)).unwrap());
    assert_eq!(code_of(&bearer, &by_old).await, "ok");
    assert_eq!(code_of(&bearer, &by_new).await, "key_unknown");
    *source.keys.lock() = Arc::new(KeySet::new([new.verifying_key()]));
    assert_eq!(code_of(&bearer, &by_old).await, "key_unknown");
    assert_eq!(code_of(&bearer, &by_new).await, "ok");
}

#[tokio::test]
async fn old_knowledge_is_stale_here_too() {
    let key = SigningKey::generate(Algorithm::Hs256).unwrap();
    let (source, bearer) = trusting(&key);
    let token = key.sign(&claims(ISSUER)).unwrap();
    *source.age.lock() = Duration::from_secs(10);
    assert_eq!(code_of(&bearer, &token).await, "ok");
    *source.age.lock() = Duration::from_secs(11);
    assert_eq!(code_of(&bearer, &token).await, "revocations_unavailable");
    let open = bearer.with_stale(Stale::AcceptUntilExpiry);
    assert_eq!(code_of(&open, &token).await, "ok");
    *source.revoked.lock() = Some(RevokedReason::Everyone);
    assert_eq!(code_of(&open, &token).await, "everyone_revoked");
}

#[tokio::test]
async fn issuer_and_audience_must_be_those_that_were_given() {
    let key = SigningKey::generate(Algorithm::Es256).unwrap();
    let (_, bearer) = trusting(&key);
    let token = key.sign(&claims("https://login.example/")).unwrap();
    assert_eq!(code_of(&bearer, &token).await, "issuer_mismatch");
}

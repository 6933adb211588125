//! The one way of a token: genuine, in time, not revoked.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use countersign_token::{AccessClaims, Expected, VerifyError, verify};
use parking_lot::Mutex;

use crate::cache::{TokenHash, Verified};
use crate::remote::Remote;
use crate::trusted::Trusted;
use crate::{Refusal, Stale, TrustSource, metrics};

/// What all layers and clones of one [`Bearer`](crate::Bearer) share.
pub(crate) struct Verifier {
    trust: Trust,
    cache: Verified,
    max_stale: Duration,
}

/// Where keys and revocations come from.
pub(crate) enum Trust {
    Local(Local),
    Remote(Remote),
}

/// An issuer in the same process.
pub(crate) struct Local {
    source: Arc<dyn TrustSource>,
    trusted: ArcSwap<Trusted>,
    changing: Mutex<()>,
}

impl Local {
    pub(crate) fn new(source: Arc<dyn TrustSource>, expected: Expected) -> Self {
        let first = Trusted { expected, keys: source.keys(), generation: 0 };
        Self { source, trusted: ArcSwap::from_pointee(first), changing: Mutex::new(()) }
    }

    fn trusted(&self) -> Arc<Trusted> {
        let trusted = self.trusted.load_full();
        if Arc::ptr_eq(&trusted.keys, &self.source.keys()) {
            return trusted;
        }
        let _changing = self.changing.lock();
        let trusted = self.trusted.load_full();
        // Asked for again: what this thread saw before it had the lock may be older than what another has stored.
        let keys = self.source.keys();
        let next = match Trusted::succeed(Some(&trusted), &trusted.expected, &keys) {
            Some(next) => next,
            // The same keys in another place: remembered, so that the next request compares addresses alone.
            None => Trusted { expected: trusted.expected.clone(), keys, generation: trusted.generation },
        };
        let next = Arc::new(next);
        self.trusted.store(Arc::clone(&next));
        next
    }
}

impl Verifier {
    pub(crate) fn new(trust: Trust, cache_capacity: usize, max_stale: Duration) -> Self {
        Self { trust, cache: Verified::new(cache_capacity), max_stale }
    }

    /// Everything that makes a token acceptable, with metrics.
    pub(crate) async fn verify(&self, token: &str, stale: Stale) -> Result<Arc<AccessClaims>, Refusal> {
        let verified = self.accept(token, stale).await;
        match &verified {
            Ok(_) => metrics::verified(),
            Err(refusal) => metrics::refused(*refusal),
        }
        verified
    }

    async fn accept(&self, token: &str, stale: Stale) -> Result<Arc<AccessClaims>, Refusal> {
        if token.len() > countersign_token::MAX_TOKEN_BYTES {
            return Err(VerifyError::TooLong.into());
        }
        let hash = TokenHash::of(token);
        let claims = self.genuine(token, hash).await?;
        self.not_revoked(token, hash, &claims, stale).await?;
        Ok(claims)
    }

    async fn genuine(&self, token: &str, hash: TokenHash) -> Result<Arc<AccessClaims>, Refusal> {
        let trusted = self.trusted().ok_or(Refusal::KeysUnavailable)?;
        let now = self.now();
        if let Some(claims) = self.cache.find(hash, trusted.generation) {
            metrics::cache_hit();
            if let Err(error) = claims.check_time(now, trusted.expected.leeway_seconds) {
                self.cache.forget(hash);
                return Err(error.into());
            }
            return Ok(claims);
        }
        metrics::cache_miss();
        match verify(token, &trusted.keys, &trusted.expected, now) {
            Ok(claims) => Ok(self.keep(hash, &trusted, claims)),
            Err(VerifyError::UnknownKey) => {
                let newer = self.newer_keys(trusted.generation).await.ok_or(VerifyError::UnknownKey)?;
                let claims = verify(token, &newer.keys, &newer.expected, self.now())?;
                Ok(self.keep(hash, &newer, claims))
            }
            Err(error) => Err(error.into()),
        }
    }

    fn keep(&self, hash: TokenHash, trusted: &Trusted, claims: AccessClaims) -> Arc<AccessClaims> {
        let claims = Arc::new(claims);
        self.cache.keep(hash, trusted.generation, &claims);
        claims
    }

    async fn not_revoked(
        &self,
        token: &str,
        hash: TokenHash,
        claims: &AccessClaims,
        stale: Stale,
    ) -> Result<(), Refusal> {
        match &self.trust {
            Trust::Remote(remote) => remote.not_revoked(token, hash, claims, stale).await,
            Trust::Local(local) => {
                local.source.check(claims)?;
                if stale == Stale::FailClosed && local.source.age() > self.max_stale {
                    return Err(Refusal::RevocationsUnavailable);
                }
                Ok(())
            }
        }
    }

    fn trusted(&self) -> Option<Arc<Trusted>> {
        match &self.trust {
            Trust::Local(local) => Some(local.trusted()),
            Trust::Remote(remote) => remote.trusted(),
        }
    }

    /// Keys newer than those of `generation`, asked for if need be. A local source always has the newest.
    async fn newer_keys(&self, generation: u64) -> Option<Arc<Trusted>> {
        match &self.trust {
            Trust::Local(_) => None,
            Trust::Remote(remote) => remote.newer_keys(generation).await,
        }
    }

    fn now(&self) -> i64 {
        match &self.trust {
            Trust::Local(local) => local.source.now(),
            Trust::Remote(remote) => remote.now(),
        }
    }

    pub(crate) fn is_ready(&self) -> bool {
        match &self.trust {
            Trust::Local(_) => true,
            Trust::Remote(remote) => remote.is_ready(),
        }
    }

    pub(crate) async fn ready(&self) {
        match &self.trust {
            Trust::Local(_) => {}
            Trust::Remote(remote) => remote.ready().await,
        }
    }
}

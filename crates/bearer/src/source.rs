//! Whom a layer trusts when the issuer lives in the same process.

use std::sync::Arc;
use std::time::Duration;

use countersign_token::revocation::RevokedReason;
use countersign_token::{AccessClaims, KeySet};

use crate::clock;

/// Keys and revocations straight from an issuer in the same process, for [`Bearer::trusting`](crate::Bearer::trusting).
///
/// Every method is called for every request, so it must answer from memory.
///
/// ```
/// use std::sync::Arc;
/// use countersign_bearer::{AccessClaims, Bearer, KeySet, RevokedReason, TrustSource};
///
/// struct SameProcess {
///     keys: Arc<KeySet>,
/// }
///
/// impl TrustSource for SameProcess {
///     fn keys(&self) -> Arc<KeySet> {
///         Arc::clone(&self.keys)
///     }
///
///     fn check(&self, claims: &AccessClaims) -> Result<(), RevokedReason> {
///         if claims.ver[0] < 1 { Err(RevokedReason::Everyone) } else { Ok(()) }
///     }
/// }
///
/// let source = Arc::new(SameProcess { keys: Arc::default() });
/// let bearer = Bearer::trusting(source, "https://login.example.com", "https://api.example.com");
/// assert!(bearer.is_ready());
/// ```
pub trait TrustSource: Send + Sync + 'static {
    /// The keys that verify tokens now. Hand out the same `Arc` for as long as nothing changes.
    fn keys(&self) -> Arc<KeySet>;

    /// Whether a genuine token is still good.
    ///
    /// # Errors
    ///
    /// Why it is not.
    fn check(&self, claims: &AccessClaims) -> Result<(), RevokedReason>;

    /// How old the knowledge behind [`check`](Self::check) is. Zero, as here, where nothing can delay it.
    fn age(&self) -> Duration {
        Duration::ZERO
    }

    /// The time in whole seconds since 1970; the system's, as here, where the issuer has no clock of its own.
    fn now(&self) -> i64 {
        clock::system_seconds()
    }
}

/// What a layer does while it cannot know whether a token was revoked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stale {
    /// Refuse with 503 and `Retry-After`.
    #[default]
    FailClosed,
    /// Accept a genuine token until its `exp`: for routes where being down does more harm than a revoked token that lives for
    /// some minutes more.
    ///
    /// A revocation that is known already refuses all the same, and so does an issuer that rejects the reader key: that is a
    /// mistake to be mended and not an outage to be bridged.
    AcceptUntilExpiry,
}

//! Trust within one process: the bearer layer of an application that mounts Countersign.

use std::sync::Arc;
use std::time::Duration;

use countersign_bearer::{Bearer, TrustSource};
use countersign_operations::Operations;
use countersign_token::revocation::RevokedReason;
use countersign_token::{AccessClaims, KeySet};

use crate::installation::Countersign;

impl Countersign {
    /// A layer for the routes of one's own API: it trusts this Countersign, asking its memory and not the network.
    #[must_use]
    pub fn bearer(&self) -> Bearer {
        let settings = self.settings();
        let source = Arc::new(SameProcess(Arc::clone(self.operations())));
        Bearer::trusting(source, settings.issuer.as_str(), settings.audience.as_str())
    }
}

/// The keys and revocations of the operations in this process.
struct SameProcess(Arc<Operations>);

impl TrustSource for SameProcess {
    fn keys(&self) -> Arc<KeySet> {
        self.0.verifying_keys()
    }

    fn check(&self, claims: &AccessClaims) -> Result<(), RevokedReason> {
        self.0.check_revoked(claims)
    }

    fn age(&self) -> Duration {
        self.0.revocations_age()
    }

    fn now(&self) -> i64 {
        self.0.now().unix_seconds()
    }
}

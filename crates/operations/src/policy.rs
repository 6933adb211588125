//! What the operator has decided: the typed settings that operations obey.

use std::num::NonZeroU32;
use std::time::Duration;

use countersign_core::passwords::PasswordPolicy;
use countersign_core::sessions::rotation::Lifetimes;
use countersign_core::throttles::Quota;
use countersign_token::{Audience, Expected};

/// Who may register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Registration {
    /// Anybody.
    Open,
    /// Nobody: administrators and the command line make accounts.
    Closed,
}

/// The settings of an installation.
#[derive(Clone, Debug)]
pub struct Policy {
    /// The issuer of access tokens (`iss`).
    pub issuer: String,
    /// Whom they are for (`aud`).
    pub audience: Audience,
    /// The lifetimes of tokens.
    pub lifetimes: Lifetimes,
    /// How long a session lives at the most.
    pub session_lifetime: Duration,
    /// How many sessions of one account may live; a sign-in more ends the least recently used one.
    pub sessions_per_account: NonZeroU32,
    /// Who may register.
    pub registration: Registration,
    /// What new passwords must be.
    pub passwords: PasswordPolicy,
    /// How fast guesses may come.
    pub throttles: ThrottlePolicy,
    /// How long events are kept.
    pub event_retention: Duration,
}

/// How many sign-ins may fail, and how fast the allowance grows back.
#[derive(Clone, Copy, Debug)]
pub struct ThrottlePolicy {
    /// From one address, whatever the account.
    pub address: Quota,
    /// For one account from one address.
    pub account_and_address: Quota,
    /// For one account from all addresses together that are not known to it.
    pub account_from_strangers: Quota,
    /// Registrations from one address.
    pub registration: Quota,
}

impl Default for ThrottlePolicy {
    fn default() -> Self {
        Self {
            address: Quota { burst: 100, refill: Duration::from_secs(3) },
            account_and_address: Quota { burst: 10, refill: Duration::from_secs(30) },
            account_from_strangers: Quota { burst: 50, refill: Duration::from_secs(60) },
            registration: Quota { burst: 1000, refill: Duration::from_secs(1) },
        }
    }
}

impl Policy {
    /// What an access token must say to be ours.
    #[must_use]
    pub fn expected(&self) -> Expected {
        Expected::new(&self.issuer, self.audience.iter().next().unwrap_or_default())
    }
}

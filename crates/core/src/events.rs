//! Events: who did what, when, and from where. They are the audit log, and what the revocation feed reads.

use std::net::IpAddr;

use serde::Serialize;

use crate::epochs::Epoch;
use crate::ids::{AccountId, SessionId};
use crate::time::Millis;

/// Who caused a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Actor {
    /// The holder of an access token of this account.
    Account(AccountId),
    /// Somebody who is not signed in (yet).
    Anonymous,
    /// The operator, on the command line.
    CommandLine,
    /// Countersign itself.
    Server,
}

/// Who caused a change, and from which address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Who.
    pub actor: Actor,
    /// From where, where a request brought it.
    pub address: Option<IpAddr>,
}

impl Origin {
    /// The operator, on the command line.
    pub const COMMAND_LINE: Self = Self { actor: Actor::CommandLine, address: None };
    /// Countersign itself.
    pub const SERVER: Self = Self { actor: Actor::Server, address: None };
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum EventKind {
    /// An account was registered.
    AccountRegistered,
    /// A session began.
    SignedIn,
    /// A sign-in was refused.
    SignInRefused,
    /// A refresh token was used twice; its session ended.
    RefreshReplayed,
    /// Retries came in several generations in a row: perhaps two hold one refresh token.
    RetriesRecurring,
    /// One session ended.
    SessionEnded,
    /// All sessions of one account ended.
    AccountRevoked,
    /// All sessions of everyone ended.
    EveryoneRevoked,
    /// An owner changed their password.
    PasswordChanged,
    /// The operator set a password.
    PasswordSet,
    /// The roles of an account changed.
    RolesChanged,
    /// An account was disabled.
    AccountDisabled,
    /// An account was enabled again.
    AccountEnabled,
    /// A key was made.
    KeyCreated,
    /// A restored database was accepted.
    RestoreAccepted,
    /// A reader of the revocation feed was admitted.
    ReaderAdmitted,
    /// A reader of the revocation feed was dismissed.
    ReaderDismissed,
    /// Everything came here from another database.
    DatabaseMoved,
}

impl EventKind {
    /// Every kind, for stores that read it back.
    pub const ALL: [Self; 18] = [
        Self::AccountRegistered,
        Self::SignedIn,
        Self::SignInRefused,
        Self::RefreshReplayed,
        Self::RetriesRecurring,
        Self::SessionEnded,
        Self::AccountRevoked,
        Self::EveryoneRevoked,
        Self::PasswordChanged,
        Self::PasswordSet,
        Self::RolesChanged,
        Self::AccountDisabled,
        Self::AccountEnabled,
        Self::KeyCreated,
        Self::RestoreAccepted,
        Self::ReaderAdmitted,
        Self::ReaderDismissed,
        Self::DatabaseMoved,
    ];

    /// The name under which stores and lists know it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AccountRegistered => "account_registered",
            Self::SignedIn => "signed_in",
            Self::SignInRefused => "sign_in_refused",
            Self::RefreshReplayed => "refresh_replayed",
            Self::RetriesRecurring => "retries_recurring",
            Self::SessionEnded => "session_ended",
            Self::AccountRevoked => "account_revoked",
            Self::EveryoneRevoked => "everyone_revoked",
            Self::PasswordChanged => "password_changed",
            Self::PasswordSet => "password_set",
            Self::RolesChanged => "roles_changed",
            Self::AccountDisabled => "account_disabled",
            Self::AccountEnabled => "account_enabled",
            Self::KeyCreated => "key_created",
            Self::RestoreAccepted => "restore_accepted",
            Self::ReaderAdmitted => "reader_admitted",
            Self::ReaderDismissed => "reader_dismissed",
            Self::DatabaseMoved => "database_moved",
        }
    }

    /// The reverse of [`Self::as_str`].
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

/// One event as a store gives it back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its number: grows in the order of commits.
    pub id: i64,
    /// When.
    pub at: Millis,
    /// What.
    pub kind: EventKind,
    /// Who and from where.
    pub origin: Origin,
    /// The account concerned.
    pub account: Option<AccountId>,
    /// The session concerned.
    pub session: Option<SessionId>,
    /// Further particulars for a person to read; never a secret.
    pub detail: Option<String>,
}

/// What the revocation feed tells resource servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Revocation {
    /// Its number in the feed: gap-free, in the order of commits.
    pub feed_seq: u64,
    /// Which access tokens die.
    pub scope: RevocationScope,
    /// When the last access token concerned has expired by itself.
    pub expires_at: Millis,
}

/// Which access tokens a revocation kills.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RevocationScope {
    /// Those of one session.
    Session(SessionId),
    /// Those of one account with an older claims version.
    Account(AccountId, Epoch),
    /// Those with an older global epoch.
    Everyone(Epoch),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_read_back_as_itself() {
        for kind in EventKind::ALL {
            assert_eq!(EventKind::parse(kind.as_str()), Some(kind));
        }
    }
}

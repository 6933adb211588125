//! What a store has read when it asks for a decision, and whether a session in it is alive.

use crate::epochs::Epoch;
use crate::ids::{AccountId, ClientId, FamilyId, SessionId};
use crate::sessions::recent::Recent;
use crate::sessions::refresh_token::{Nonce, RetryHash, TokenHash};
use crate::time::Millis;

/// The hot row: one per family, changed in place by every rotation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Family {
    /// Its id, which refresh tokens carry.
    pub id: FamilyId,
    /// The client that its tokens were given to.
    pub client: ClientId,
    /// The generation of the current token.
    pub generation: u32,
    /// The hash of the current token.
    pub current: TokenHash,
    /// What the last rotation left; `None` until the first.
    pub last: Option<LastRotation>,
    /// When the idle lifetime ends unless a rotation extends it; never after the session's own end.
    pub idle_expires_at: Millis,
    /// When the newest access token of the session expires.
    pub access_expires_at: Millis,
    /// How many times the successor of the last rotation was given out again.
    pub reissues: u32,
    /// How many generations in a row before this one saw a reissue.
    pub reissue_streak: u32,
    /// Which generations became ancestors lately.
    pub recent: Recent,
}

/// What the last rotation left behind so that its retries can be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastRotation {
    /// The hash of the parent.
    pub previous: TokenHash,
    /// The nonce that made the successor.
    pub nonce: Nonce,
    /// The hash of the retry key, where the client sent one.
    pub retry: Option<RetryHash>,
    /// When the rotation took place.
    pub rotated_at: Millis,
}

/// What decides over a session beside its tokens: it never changes but for the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Its id: `sid`.
    pub id: SessionId,
    /// Whose it is.
    pub account: AccountId,
    /// The absolute end of its life.
    pub expires_at: Millis,
    /// When and why it was ended, if it was.
    pub ended: Option<Ended>,
    /// The epochs that it was born under.
    pub born: Epochs,
}

/// The end of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// When.
    pub at: Millis,
    /// Why.
    pub reason: EndReason,
}

/// The epochs that decide over sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Epochs {
    /// Everyone's.
    pub global: Epoch,
    /// The account's.
    pub session: Epoch,
}

/// What the account and the whole installation say about a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// True where the account may not be used.
    pub account_disabled: bool,
    /// The epochs in force.
    pub epochs: Epochs,
}

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EndReason {
    /// Its holder signed out.
    SignedOut,
    /// Somebody entitled to ended it: its owner from another session.
    Revoked,
    /// A refresh token was used twice.
    Replayed,
    /// The password was changed in another session.
    PasswordChanged,
    /// It had to make room for a later sign-in: no more sessions of one account may live than the operator allows.
    SessionLimit,
}

impl EndReason {
    /// Every reason, for stores that read it back.
    pub const ALL: [Self; 5] =
        [Self::SignedOut, Self::Revoked, Self::Replayed, Self::PasswordChanged, Self::SessionLimit];

    /// The name under which stores and answers know it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SignedOut => "signed_out",
            Self::Revoked => "revoked",
            Self::Replayed => "replayed",
            Self::PasswordChanged => "password_changed",
            Self::SessionLimit => "session_limit",
        }
    }

    /// The reverse of [`Self::as_str`].
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == name)
    }
}

/// Why a session is not alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dead {
    /// It was ended.
    Ended(EndReason),
    /// All sessions of its account were.
    AccountRevoked,
    /// All sessions of everyone were.
    EveryoneRevoked,
    /// Its account is disabled.
    AccountDisabled,
    /// It was not used for the idle lifetime.
    IdleExpired,
    /// It reached its absolute end.
    Expired,
}

impl Dead {
    /// The name that a list of sessions shows as `endedReason`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ended(reason) => reason.as_str(),
            Self::AccountRevoked => "account_revoked",
            Self::EveryoneRevoked => "everyone_revoked",
            Self::AccountDisabled => "account_disabled",
            Self::IdleExpired => "idle_expired",
            Self::Expired => "expired",
        }
    }
}

/// Whether a session is alive; revocations are told before expiry, since they say more.
///
/// # Errors
/// The first reason that applies.
pub fn alive(session: &Session, idle_expires_at: Millis, standing: &Standing, now: Millis) -> Result<(), Dead> {
    if let Some(ended) = session.ended {
        return Err(Dead::Ended(ended.reason));
    }
    if standing.account_disabled {
        return Err(Dead::AccountDisabled);
    }
    if session.born.session < standing.epochs.session {
        return Err(Dead::AccountRevoked);
    }
    if session.born.global < standing.epochs.global {
        return Err(Dead::EveryoneRevoked);
    }
    if now >= session.expires_at {
        return Err(Dead::Expired);
    }
    if now >= idle_expires_at {
        return Err(Dead::IdleExpired);
    }
    Ok(())
}

//! Sessions: to begin, to rotate, to look at and to end.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use countersign_core::accounts::{Account, PasswordHash};
use countersign_core::epochs::Epoch;
use countersign_core::ids::{AccountId, ClientId, SessionId};
use countersign_core::roles::Roles;
use countersign_core::sessions::refresh_token::{Nonce, RefreshToken};
use countersign_core::sessions::rotation::{Lifetimes, Presented, Refusal, Replay};
use countersign_core::sessions::state::{Dead, EndReason};
use countersign_core::time::Millis;

use crate::verbs::FeedPosition;

/// A session to begin.
#[derive(Clone, Debug)]
pub struct Begin {
    /// The id that was drawn for it.
    pub session: SessionId,
    /// Whose.
    pub account: AccountId,
    /// The hash that the password was compared with: the session begins only while it is still the stored one.
    pub verified: PasswordHash,
    /// The same password hashed with stronger parameters, to be stored in place of `verified`.
    pub rehashed: Option<PasswordHash>,
    /// The client that its refresh tokens are for.
    pub client: ClientId,
    /// The first refresh token.
    pub token: RefreshToken,
    /// What the device calls itself, if it says.
    pub device: Option<String>,
    /// From where it began.
    pub address: Option<IpAddr>,
    /// How long the session lives at the most.
    pub session_lifetime: Duration,
    /// How many sessions of the account may live with it: of the others, the least recently used ones end. `None`: all live on.
    pub session_limit: Option<NonZeroU32>,
    /// The lifetimes of its tokens.
    pub lifetimes: Lifetimes,
}

/// The answer to a [`Begin`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Begun {
    /// It lives. Where others had to end for it, the feed stands there.
    Live(Box<Granted>, Option<FeedPosition>),
    /// The account is disabled.
    AccountDisabled,
    /// The password was changed, or the account is gone, since it was compared.
    CredentialsChanged,
}

/// A refresh token to rotate.
#[derive(Clone, Debug)]
pub struct Rotate {
    /// What the client presents.
    pub presented: Presented,
    /// Fresh randomness for the successor.
    pub nonce: Nonce,
    /// The lifetimes in force.
    pub lifetimes: Lifetimes,
}

/// The answer to a [`Rotate`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RotatedIn {
    /// The family moved on; this is what the new tokens say.
    Rotated(Box<Granted>, RefreshToken),
    /// The successor that was handed out before.
    Reissued(Box<Granted>, RefreshToken),
    /// The session was ended, since its token was used twice.
    Replayed(Replay, FeedPosition),
    /// Nothing changed.
    Refused(Refusal),
}

/// What an access token says about the session that it is minted for, as it was read by the verb that granted it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Granted {
    /// Whose it is.
    pub subject: Subject,
    /// The session.
    pub session: SessionId,
    /// The client.
    pub client: ClientId,
    /// Everyone's epoch.
    pub global_epoch: Epoch,
    /// The time at which the store decided.
    pub now: Millis,
    /// The absolute end of the session.
    pub session_expires_at: Millis,
}

/// What an access token says about an account (RFC 7519 §4.1.2), as it is now: its roles are never copied from an older token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// The account.
    pub id: AccountId,
    /// The account's name.
    pub username: String,
    /// What it may do.
    pub roles: Roles,
    /// The epoch that its access tokens must have.
    pub claims_version: Epoch,
}

impl From<Account> for Subject {
    fn from(account: Account) -> Self {
        let Account { id, username, roles, claims_version, .. } = account;
        Self { id, username: username.as_str().to_owned(), roles, claims_version }
    }
}

/// The account behind a live session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionAccount {
    /// The account.
    pub account: Account,
    /// Everyone's epoch.
    pub global_epoch: Epoch,
}

/// Why an access token is no longer good, though its signature is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessDenied {
    /// The session is not there (any more).
    UnknownSession,
    /// It is dead.
    Dead(Dead),
}

/// A session in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedSession {
    /// Its id.
    pub id: SessionId,
    /// What the device called itself.
    pub device: Option<String>,
    /// From where it began.
    pub address: Option<IpAddr>,
    /// When it began.
    pub created_at: Millis,
    /// When it was last refreshed, or began.
    pub last_used_at: Millis,
    /// When it ends at the latest.
    pub expires_at: Millis,
    /// Why it is dead, if it is.
    pub dead: Option<Dead>,
}

/// A session to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Whose it has to be.
    pub account: AccountId,
    /// Which.
    pub session: SessionId,
    /// Why.
    pub reason: EndReason,
}

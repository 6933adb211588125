//! What the verbs of a store take and answer.

mod sessions;
mod throttles;

use std::time::Duration;

use countersign_core::accounts::{Account, Email, PasswordHash, Username};
use countersign_core::epochs::Epoch;
use countersign_core::events::EventKind;
use countersign_core::ids::{AccountId, Incarnation, ReaderId, SessionId};
use countersign_core::keys::StoredKey;
use countersign_core::roles::Roles;
use countersign_core::time::Millis;

pub use sessions::{
    AccessDenied, Begin, Begun, Ended, Granted, ListedSession, Rotate, RotatedIn, SessionAccount, Subject,
};
pub use throttles::{Bucket, Charge};

/// How much longer than the longest access token the feed keeps a revocation of many. Where several write at once, a refresh that read
/// the epochs before the revocation may hand out its token a moment after it. No verifier accepts an access token for longer than that
/// after it has expired.
pub const REVOCATION_MARGIN: Duration = Duration::from_secs(60);

/// Whether the feed has to tell of the end of a session whose newest access token expires then.
pub(crate) fn has_to_be_told(access_expires_at: Millis, now: Millis) -> bool {
    now < access_expires_at + REVOCATION_MARGIN
}

/// An account to register; the id is drawn by the caller.
#[derive(Clone, Debug)]
pub struct NewAccount {
    /// Its id.
    pub id: AccountId,
    /// Its name.
    pub username: Username,
    /// Its address.
    pub email: Email,
    /// The hash of its password.
    pub password: PasswordHash,
    /// What it may do.
    pub roles: Roles,
    /// The session of the administrator who registers it: it must be alive, and its account an administrator's, when the row is
    /// written. `None`: nobody's authority is needed, or it is the operator's.
    pub authority: Option<SessionId>,
}

/// The answer to a registration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Registered {
    /// The account exists now.
    Done(Account),
    /// Somebody has the name.
    UsernameTaken,
    /// Somebody has the address.
    EmailTaken,
    /// The session of `authority` is not that of an administrator (any more).
    NotAdministrator,
}

/// What a password is compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// The account.
    pub account: Account,
    /// The hash of its password.
    pub password: PasswordHash,
}

/// A password to set.
#[derive(Clone, Debug)]
pub struct PasswordChange {
    /// Whose.
    pub account: AccountId,
    /// The hash that the present password was compared with; the change is refused where it is no longer the stored one.
    /// `None`: the operator sets the password whatever it was.
    pub expected: Option<PasswordHash>,
    /// The new hash.
    pub new: PasswordHash,
    /// The session that lives on; all others end. `None`: all end.
    pub keep: Option<SessionId>,
}

/// The answer to a [`PasswordChange`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PasswordWritten {
    /// It is set; the feed stands there.
    Done(FeedPosition),
    /// There is no such account.
    NoSuchAccount,
    /// The password was changed meanwhile.
    Superseded,
    /// The session to keep, on whose behalf the password is changed, is dead.
    SessionDead,
}

/// Where the revocation feed stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeedPosition {
    /// The history that the numbers belong to.
    pub incarnation: Incarnation,
    /// The last number given out.
    pub seq: u64,
    /// Everyone's epoch.
    pub global_epoch: Epoch,
}

/// What a revocation of many sessions did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Where the feed stands after it.
    pub position: FeedPosition,
    /// Whose sessions ended.
    pub scope: ReceiptScope,
    /// The epoch before.
    pub before: Epoch,
    /// The epoch since.
    pub since: Epoch,
    /// When it was done.
    pub at: Millis,
}

/// Whose sessions a [`Receipt`] is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReceiptScope {
    /// One account's.
    Account(AccountId),
    /// Everyone's.
    Everyone,
}

/// What was alive when a revocation came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outstanding {
    /// The sessions that it ended.
    pub sessions: u64,
    /// When the last of their access tokens expires by itself; `None` where none is outstanding.
    pub last_access_expiry: Option<Millis>,
}

/// A reader of the revocation feed to admit.
#[derive(Clone, Debug)]
pub struct NewReader {
    /// Its id, which its key carries.
    pub id: ReaderId,
    /// What a person calls it.
    pub name: String,
    /// SHA-256 of its key.
    pub key_hash: [u8; 32],
}

/// A reader of the revocation feed.
#[derive(Clone, PartialEq, Eq)]
pub struct Reader {
    /// Its id.
    pub id: ReaderId,
    /// What a person calls it.
    pub name: String,
    /// SHA-256 of its key.
    pub key_hash: [u8; 32],
    /// When it was admitted.
    pub created_at: Millis,
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Reader({}, {:?}, redacted)", self.id, self.name)
    }
}

/// A key to add.
#[derive(Clone, Debug)]
pub struct NewKey {
    /// The key. Its times are offsets from now where the back-end's clock decides: see the fields below.
    pub key: StoredKeyDraft,
    /// The id of the newest key of this use that the caller knows; `None`: there is none.
    pub expected_newest: Option<String>,
    /// How long after this key is active the older ones go on verifying.
    pub overlap: Duration,
}

/// A key without its times.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredKeyDraft {
    /// See [`StoredKey::kid`].
    pub kid: String,
    /// See [`StoredKey::key_use`].
    pub key_use: countersign_core::keys::KeyUse,
    /// See [`StoredKey::algorithm`].
    pub algorithm: String,
    /// See [`StoredKey::sealed`].
    pub sealed: Vec<u8>,
    /// How long it is only published before it is used; zero for the first key.
    pub active_after: Duration,
}

impl StoredKeyDraft {
    /// The key as it is stored at `now`.
    #[must_use]
    pub fn at(self, now: Millis) -> StoredKey {
        StoredKey {
            kid: self.kid,
            key_use: self.key_use,
            algorithm: self.algorithm,
            sealed: self.sealed,
            created_at: now,
            active_from: now + self.active_after,
            verifies_until: None,
        }
    }
}

impl std::fmt::Debug for StoredKeyDraft {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "StoredKeyDraft({} {} {}, sealed)", self.key_use.as_str(), self.algorithm, self.kid)
    }
}

/// Which events to list.
#[derive(Clone, Debug, Default)]
pub struct EventQuery {
    /// Only those of this account.
    pub account: Option<AccountId>,
    /// Only those of this kind.
    pub kind: Option<EventKind>,
    /// Only those before this number.
    pub before: Option<i64>,
    /// How many at the most.
    pub limit: u32,
}

/// One bounded step of pruning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sweep {
    /// The session after which the last step stopped.
    pub after: Option<SessionId>,
    /// How many sessions to look at, and how many events and throttles to remove at the most.
    pub limit: u32,
    /// How long a dead session is kept, so that its tokens are refused with the true reason.
    pub keep_sessions: Duration,
    /// How long events are kept.
    pub keep_events: Duration,
}

/// What a [`Sweep`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pruned {
    /// How many sessions were removed.
    pub sessions: u64,
    /// How many events were removed.
    pub events: u64,
    /// How many throttles were removed, since their allowance had grown back.
    pub throttles: u64,
    /// Where to go on; `None` where the sweep came to the end.
    pub next: Option<SessionId>,
}

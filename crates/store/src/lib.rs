//! What is remembered: the only SQL of Countersign.
//!
//! [`Store`] is a set of atomic domain verbs. A verb takes everything it needs to know, reads the rows it decides over, asks
//! the core, writes the state and its events in one transaction, which changes no row that is not as it was read any more, and answers with
//! a value. There is no method that reads a row for somebody else to write back. A back-end is a folder here (`sqlite`, `postgres`) and
//! passes the suite in `tests/conformance`.

pub mod clock;
mod committing;
pub mod database;
pub mod error;
mod fail_points;
mod opening;
pub mod postgres;
mod random;
pub mod sqlite;
mod stalls;
pub mod transfer;
pub mod verbs;

use async_trait::async_trait;
use countersign_core::accounts::{Account, Login, Username};
use countersign_core::events::{Event, Origin, Revocation};
use countersign_core::ids::{AccountId, ReaderId, SessionId};
use countersign_core::keys::{KeyUse, StoredKey};
use countersign_core::roles::Roles;
use countersign_core::throttles::Usage;
use countersign_core::time::Millis;
use tokio::sync::watch;

pub use clock::Clock;
pub use committing::Committing;
pub use error::{Constraint, StoreError};

use crate::verbs::{
    AccessDenied, Begin, Begun, Bucket, Charge, Credentials, Ended, EventQuery, FeedPosition, ListedSession,
    NewAccount, NewKey, NewReader, PasswordChange, PasswordWritten, Pruned, Reader, Receipt, Registered, Rotate,
    RotatedIn, SessionAccount, Sweep,
};

/// The result of a verb.
pub type StoreResult<T> = Result<T, StoreError>;

/// The atomic verbs of a back-end.
///
/// Every verb that changes something writes its event in the same transaction; every verb that kills access tokens also
/// takes the next number of the revocation feed there. "Not found" is `None` and never an error.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    // Accounts

    /// Registers an account with its roles and its password.
    async fn register(&self, new: NewAccount, origin: Origin) -> StoreResult<Registered>;

    /// The account with this id.
    async fn account(&self, id: AccountId) -> StoreResult<Option<Account>>;

    /// The account with this name.
    async fn account_named(&self, username: &Username) -> StoreResult<Option<Account>>;

    /// Accounts in the order of their canonical names: those after `after`, at most `limit`.
    async fn accounts(&self, after: Option<&Username>, limit: u32) -> StoreResult<Vec<Account>>;

    /// Sets the roles. Access tokens issued before are dead, sessions live on. `None`: no such account.
    async fn set_roles(&self, id: AccountId, roles: Roles, origin: Origin) -> StoreResult<Option<FeedPosition>>;

    /// Disables the account and ends its sessions. `None`: no such account.
    async fn disable_account(&self, id: AccountId, origin: Origin) -> StoreResult<Option<FeedPosition>>;

    /// Enables the account again; the sessions that were ended stay so. `None`: no such account.
    async fn enable_account(&self, id: AccountId, origin: Origin) -> StoreResult<Option<()>>;

    // Passwords

    /// What a sign-in has to be compared with.
    async fn credentials(&self, login: &Login) -> StoreResult<Option<Credentials>>;

    /// What a change of password has to be compared with.
    async fn credentials_of(&self, id: AccountId) -> StoreResult<Option<Credentials>>;

    /// Sets a password and ends the other sessions of the account, or all of them.
    async fn write_password(&self, change: PasswordChange, origin: Origin) -> StoreResult<PasswordWritten>;

    /// Records that a sign-in was refused.
    async fn refuse_sign_in(&self, account: Option<AccountId>, reason: &'static str, origin: Origin)
    -> StoreResult<()>;

    // Sessions

    /// Begins a session for an account whose credentials were found right; it checks that they still are.
    async fn begin_session(&self, begin: Begin, origin: Origin) -> StoreResult<Begun>;

    /// Asks the core what a presented refresh token gets, and does it. The answer is decided and on its way to the disk: nobody may learn
    /// of it before [`Committing`] gives it. Dropping it does not undo the rotation.
    async fn rotate(&self, rotate: Rotate, origin: Origin) -> StoreResult<Committing<RotatedIn>>;

    /// The account behind an access token whose signature is genuine, where its session is alive and its version current.
    async fn session_account(&self, session: SessionId) -> StoreResult<Result<SessionAccount, AccessDenied>>;

    /// The sessions of an account that are alive or ended lately, newest first, at most `limit`.
    async fn sessions(&self, account: AccountId, limit: u32) -> StoreResult<Vec<ListedSession>>;

    /// Ends one session of the account. `None`: it has no such session, or it had ended before.
    async fn end_session(&self, ended: Ended, origin: Origin) -> StoreResult<Option<FeedPosition>>;

    /// Ends all sessions of the account. `None`: no such account.
    async fn revoke_account(&self, id: AccountId, origin: Origin) -> StoreResult<Option<Receipt>>;

    /// Ends all sessions of everyone, in one write however many there are.
    async fn revoke_everyone(&self, origin: Origin) -> StoreResult<Receipt>;

    /// Counts what a revocation has ended: live sessions and the newest expiry of an access token among them.
    async fn count_ended(&self, receipt: &Receipt) -> StoreResult<verbs::Outstanding>;

    // The revocation feed

    /// Where the feed stands, and which history of the database it belongs to.
    async fn feed_position(&self) -> StoreResult<FeedPosition>;

    /// Where whoever knows nothing of the feed begins to read: no revocation up to this number concerns an access token that a verifier
    /// may still accept.
    async fn feed_beginning(&self) -> StoreResult<u64>;

    /// The revocations after `after` in order, at most `limit`; those whose access tokens have all expired may be missing.
    async fn revocations(&self, after: u64, limit: u32) -> StoreResult<Vec<Revocation>>;

    /// Tells when the feed may have moved: the value is the last number this process knows. Other processes may have gone
    /// on: poll beneath it.
    fn feed_signal(&self) -> watch::Receiver<u64>;

    /// Makes sure that revocations are kept for at least this long: the longest lifetime an access token ever had.
    async fn note_access_lifetime(&self, lifetime: std::time::Duration) -> StoreResult<()>;

    /// Admits a reader of the feed.
    async fn admit_reader(&self, reader: NewReader, origin: Origin) -> StoreResult<Reader>;

    /// The reader with this key.
    async fn reader(&self, id: ReaderId) -> StoreResult<Option<Reader>>;

    /// Every reader.
    async fn readers(&self) -> StoreResult<Vec<Reader>>;

    /// Dismisses a reader. `None`: no such reader.
    async fn dismiss_reader(&self, id: ReaderId, origin: Origin) -> StoreResult<Option<()>>;

    // Keys

    /// The keys for one use, oldest first, retired ones too as long as they are kept.
    async fn keys(&self, key_use: KeyUse) -> StoreResult<Vec<StoredKey>>;

    /// Adds keys of different uses where the newest of each use is still the expected one, and gives the older ones their end: all
    /// of them or none. `false`: somebody else added one meanwhile; nothing was written.
    async fn add_keys(&self, keys: Vec<NewKey>, origin: Origin) -> StoreResult<bool>;

    // Throttles

    /// How much of each of these allowances is used, in the order of the question.
    async fn throttle_usage(&self, buckets: &[Bucket]) -> StoreResult<Vec<Usage>>;

    /// Takes attempts out of their allowances: every one counts, whoever else charges at the same moment. The time that counts is
    /// the store's.
    async fn charge(&self, charges: Vec<Charge>) -> StoreResult<()>;

    // Upkeep

    /// The time that counts, without asking: where a database has a clock of its own, what this process knows of it.
    fn now(&self) -> Millis;

    /// The events that a query asks for, newest first.
    async fn events(&self, query: EventQuery) -> StoreResult<Vec<Event>>;

    /// Removes a bounded number of rows that are of no more use, going on where the last sweep ended.
    async fn prune(&self, sweep: Sweep) -> StoreResult<Pruned>;

    /// Accepts a restored database: a new incarnation, and everything issued before is dead.
    async fn accept_restore(&self, origin: Origin) -> StoreResult<FeedPosition>;

    /// Answers where the store can be read and locked for writing; a full disk is not noticed here.
    async fn ready(&self) -> StoreResult<()>;

    /// Waits for a failure after which nothing is read or written any more until another process opens the store: whoever serves it
    /// should end. It waits for ever where there is no such failure.
    async fn failure(&self) -> StoreError;

    /// Finishes what was begun and closes the database; the witness is up to date then. Verbs that come later are answered
    /// with [`StoreError::Unavailable`]. After a [`failure`](Self::failure), or one that is met here, that is the error.
    async fn close(&self) -> StoreResult<()>;
}

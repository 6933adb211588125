//! A database that goes away in the middle of a sign-in.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use countersign_core::accounts::{Account, Login, Username};
use countersign_core::events::{Event, Origin, Revocation};
use countersign_core::ids::{AccountId, ReaderId, SessionId};
use countersign_core::keys::{KeyUse, StoredKey};
use countersign_core::roles::Roles;
use countersign_core::throttles::Usage;
use countersign_core::time::Millis;
use countersign_store::sqlite::SqliteStore;
use countersign_store::verbs::{
    AccessDenied, Begin, Begun, Bucket, Charge, Credentials, Ended, EventQuery, FeedPosition, ListedSession,
    NewAccount, NewKey, NewReader, Outstanding, PasswordChange, PasswordWritten, Pruned, Reader, Receipt, Registered,
    Rotate, RotatedIn, SessionAccount, Sweep,
};
use countersign_store::{Committing, Store, StoreError, StoreResult};
use tokio::sync::watch;

/// Does everything but record that a sign-in was refused.
pub(crate) struct Unrecorded(pub(crate) Arc<SqliteStore>);

macro_rules! passed_on {
    ($($verb:ident($($argument:ident: $type:ty),*) -> $answer:ty,)*) => {
        #[async_trait]
        impl Store for Unrecorded {
            $(async fn $verb(&self, $($argument: $type),*) -> StoreResult<$answer> {
                self.0.$verb($($argument),*).await
            })*

            async fn refuse_sign_in(&self, _: Option<AccountId>, _: &'static str, _: Origin) -> StoreResult<()> {
                Err(StoreError::Unavailable("it went away".to_owned()))
            }

            async fn failure(&self) -> StoreError {
                self.0.failure().await
            }

            fn feed_signal(&self) -> watch::Receiver<u64> {
                self.0.feed_signal()
            }

            fn now(&self) -> Millis {
                self.0.now()
            }
        }
    };
}
passed_on! {
    register(new: NewAccount, origin: Origin) -> Registered,
    account(id: AccountId) -> Option<Account>,
    account_named(username: &Username) -> Option<Account>,
    accounts(after: Option<&Username>, limit: u32) -> Vec<Account>,
    set_roles(id: AccountId, roles: Roles, origin: Origin) -> Option<FeedPosition>,
    disable_account(id: AccountId, origin: Origin) -> Option<FeedPosition>,
    enable_account(id: AccountId, origin: Origin) -> Option<()>,
    credentials(login: &Login) -> Option<Credentials>,
    credentials_of(id: AccountId) -> Option<Credentials>,
    write_password(change: PasswordChange, origin: Origin) -> PasswordWritten,
    begin_session(begin: Begin, origin: Origin) -> Begun,
    rotate(rotate: Rotate, origin: Origin) -> Committing<RotatedIn>,
    session_account(session: SessionId) -> Result<SessionAccount, AccessDenied>,
    sessions(account: AccountId, limit: u32) -> Vec<ListedSession>,
    end_session(ended: Ended, origin: Origin) -> Option<FeedPosition>,
    revoke_account(id: AccountId, origin: Origin) -> Option<Receipt>,
    revoke_everyone(origin: Origin) -> Receipt,
    count_ended(receipt: &Receipt) -> Outstanding,
    feed_position() -> FeedPosition,
    feed_beginning() -> u64,
    revocations(after: u64, limit: u32) -> Vec<Revocation>,
    note_access_lifetime(lifetime: Duration) -> (),
    admit_reader(reader: NewReader, origin: Origin) -> Reader,
    reader(id: ReaderId) -> Option<Reader>,
    readers() -> Vec<Reader>,
    dismiss_reader(id: ReaderId, origin: Origin) -> Option<()>,
    keys(key_use: KeyUse) -> Vec<StoredKey>,
    add_keys(keys: Vec<NewKey>, origin: Origin) -> bool,
    throttle_usage(buckets: &[Bucket]) -> Vec<Usage>,
    charge(charges: Vec<Charge>) -> (),
    events(query: EventQuery) -> Vec<Event>,
    prune(sweep: Sweep) -> Pruned,
    accept_restore(origin: Origin) -> FeedPosition,
    ready() -> (),
    close() -> (),
}

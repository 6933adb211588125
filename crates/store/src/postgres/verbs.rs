//! The verbs, each in one line: a transaction of its own, a read, or a place in a batch.

use std::time::Duration;

use async_trait::async_trait;
use countersign_core::accounts::{Account, Login, Username};
use countersign_core::events::{Event, EventKind, Origin, Revocation};
use countersign_core::ids::{AccountId, ReaderId, SessionId};
use countersign_core::keys::{KeyUse, StoredKey};
use countersign_core::roles::Roles;
use countersign_core::throttles::Usage;
use countersign_core::time::Millis;
use tokio::sync::watch;

use crate::postgres::attempts::{LONG_PATIENCE, PATIENCE, Tries, look, patiently, read, transact};
use crate::postgres::events::Record;
use crate::postgres::{
    PostgresStore, access, accounts, ending, events, keys, passwords, prune, restores, revocations, sessions, state,
    throttles,
};
use crate::verbs::{
    AccessDenied, Begin, Begun, Bucket, Charge, Credentials, Ended, EventQuery, FeedPosition, ListedSession,
    NewAccount, NewKey, NewReader, Outstanding, PasswordChange, PasswordWritten, Pruned, Reader, Receipt, Registered,
    Rotate, RotatedIn, SessionAccount, Sweep,
};
use crate::{Committing, Store, StoreError, StoreResult};

#[async_trait]
impl Store for PostgresStore {
    async fn register(&self, new: NewAccount, origin: Origin) -> StoreResult<Registered> {
        transact!(&self.base, |writing| accounts::register(&writing, &new, origin))
    }

    async fn account(&self, id: AccountId) -> StoreResult<Option<Account>> {
        read!(&self.base, PATIENCE, |connection| accounts::find(&connection, id))
    }

    async fn account_named(&self, username: &Username) -> StoreResult<Option<Account>> {
        read!(&self.base, PATIENCE, |connection| accounts::find_named(&connection, username))
    }

    async fn accounts(&self, after: Option<&Username>, limit: u32) -> StoreResult<Vec<Account>> {
        read!(&self.base, PATIENCE, |connection| accounts::list(&connection, after, limit))
    }

    async fn set_roles(&self, id: AccountId, roles: Roles, origin: Origin) -> StoreResult<Option<FeedPosition>> {
        transact!(&self.base, |writing| accounts::set_roles(&writing, id, &roles, origin))
    }

    async fn disable_account(&self, id: AccountId, origin: Origin) -> StoreResult<Option<FeedPosition>> {
        transact!(&self.base, |writing| accounts::disable(&writing, id, origin))
    }

    async fn enable_account(&self, id: AccountId, origin: Origin) -> StoreResult<Option<()>> {
        transact!(&self.base, |writing| accounts::enable(&writing, id, origin))
    }

    async fn credentials(&self, login: &Login) -> StoreResult<Option<Credentials>> {
        read!(&self.base, PATIENCE, |connection| passwords::credentials(&connection, login))
    }

    async fn credentials_of(&self, id: AccountId) -> StoreResult<Option<Credentials>> {
        read!(&self.base, PATIENCE, |connection| passwords::credentials_of(&connection, id))
    }

    async fn write_password(&self, change: PasswordChange, origin: Origin) -> StoreResult<PasswordWritten> {
        transact!(&self.base, |writing| passwords::write(&writing, &change, origin))
    }

    async fn refuse_sign_in(
        &self,
        account: Option<AccountId>,
        reason: &'static str,
        origin: Origin,
    ) -> StoreResult<()> {
        let record = || {
            let record = Record::new(EventKind::SignInRefused, origin).detail(reason);
            account.into_iter().fold(record, Record::account)
        };
        transact!(&self.base, |writing| record().write(&writing))
    }

    async fn begin_session(&self, begin: Begin, origin: Origin) -> StoreResult<Begun> {
        transact!(&self.base, |writing| sessions::begin(&writing, &begin, origin))
    }

    async fn rotate(&self, rotate: Rotate, origin: Origin) -> StoreResult<Committing<RotatedIn>> {
        self.batches.rotate(rotate, origin).await
    }

    async fn session_account(&self, session: SessionId) -> StoreResult<Result<SessionAccount, AccessDenied>> {
        read!(&self.base, PATIENCE, |connection| access::session_account(&self.base, &connection, session))
    }

    async fn sessions(&self, account: AccountId, limit: u32) -> StoreResult<Vec<ListedSession>> {
        read!(&self.base, PATIENCE, |connection| sessions::list(&self.base, &connection, account, limit))
    }

    async fn end_session(&self, ended: Ended, origin: Origin) -> StoreResult<Option<FeedPosition>> {
        transact!(&self.base, |writing| ending::end_one(&writing, ended, origin))
    }

    async fn revoke_account(&self, id: AccountId, origin: Origin) -> StoreResult<Option<Receipt>> {
        transact!(&self.base, |writing| revocations::revoke_account(&writing, id, origin))
    }

    async fn revoke_everyone(&self, origin: Origin) -> StoreResult<Receipt> {
        transact!(&self.base, |writing| revocations::revoke_everyone(&writing, origin))
    }

    async fn count_ended(&self, receipt: &Receipt) -> StoreResult<Outstanding> {
        read!(&self.base, LONG_PATIENCE, |connection| revocations::count_ended(&connection, receipt))
    }

    async fn feed_position(&self) -> StoreResult<FeedPosition> {
        look!(&self.base, PATIENCE, |connection| self.base.look_at_position(&connection))
    }

    async fn feed_beginning(&self) -> StoreResult<u64> {
        read!(&self.base, LONG_PATIENCE, |connection| revocations::beginning(&connection, self.now()))
    }

    async fn revocations(&self, after: u64, limit: u32) -> StoreResult<Vec<Revocation>> {
        read!(&self.base, LONG_PATIENCE, |connection| revocations::page(&connection, after, limit))
    }

    fn feed_signal(&self) -> watch::Receiver<u64> {
        self.base.node.feed()
    }

    async fn note_access_lifetime(&self, lifetime: Duration) -> StoreResult<()> {
        transact!(&self.base, |writing| state::note_access_lifetime(&writing, lifetime))
    }

    async fn admit_reader(&self, reader: NewReader, origin: Origin) -> StoreResult<Reader> {
        transact!(&self.base, |writing| revocations::admit_reader(&writing, &reader, origin))
    }

    async fn reader(&self, id: ReaderId) -> StoreResult<Option<Reader>> {
        read!(&self.base, PATIENCE, |connection| revocations::reader(&connection, id))
    }

    async fn readers(&self) -> StoreResult<Vec<Reader>> {
        read!(&self.base, PATIENCE, |connection| revocations::readers(&connection))
    }

    async fn dismiss_reader(&self, id: ReaderId, origin: Origin) -> StoreResult<Option<()>> {
        transact!(&self.base, |writing| revocations::dismiss_reader(&writing, id, origin))
    }

    async fn keys(&self, key_use: KeyUse) -> StoreResult<Vec<StoredKey>> {
        read!(&self.base, PATIENCE, |connection| keys::list(&connection, key_use))
    }

    async fn add_keys(&self, keys: Vec<NewKey>, origin: Origin) -> StoreResult<bool> {
        transact!(&self.base, |writing| keys::add(&writing, &keys, origin))
    }

    async fn throttle_usage(&self, buckets: &[Bucket]) -> StoreResult<Vec<Usage>> {
        read!(&self.base, PATIENCE, |connection| throttles::usage(&connection, buckets))
    }

    async fn charge(&self, charges: Vec<Charge>) -> StoreResult<()> {
        transact!(&self.base, |writing| throttles::charge(&writing, &charges))
    }

    fn now(&self) -> Millis {
        self.base.offset.now(&self.base.clock)
    }

    async fn events(&self, query: EventQuery) -> StoreResult<Vec<Event>> {
        read!(&self.base, LONG_PATIENCE, |connection| events::list(&connection, &query))
    }

    async fn prune(&self, sweep: Sweep) -> StoreResult<Pruned> {
        prune::prune(&self.base, sweep).await
    }

    async fn accept_restore(&self, origin: Origin) -> StoreResult<FeedPosition> {
        let position = patiently(LONG_PATIENCE, async {
            let mut tries = Tries::default();
            loop {
                match restores::go_on(&self.base, origin).await {
                    Ok(position) => break Ok(position),
                    Err(fault) => tries.again(fault).await?,
                }
            }
        })
        .await?;
        self.testify().await?;
        Ok(position)
    }

    async fn ready(&self) -> StoreResult<()> {
        transact!(&self.base, |_writing| async { Ok(()) })
    }

    /// PostgreSQL sees to its disk itself, and after a failure all that is needed is another connection.
    async fn failure(&self) -> StoreError {
        std::future::pending().await
    }

    async fn close(&self) -> StoreResult<()> {
        self.end().await
    }
}

//! The verbs, each in one line: to the writer or to a reader.

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

use crate::sqlite::events::Record;
use crate::sqlite::{
    SqliteStore, access, accounts, ending, events, keys, passwords, prune, revocations, rotation, sessions, state,
    throttles,
};
use crate::verbs::{
    AccessDenied, Begin, Begun, Bucket, Charge, Credentials, Ended, EventQuery, FeedPosition, ListedSession,
    NewAccount, NewKey, NewReader, Outstanding, PasswordChange, PasswordWritten, Pruned, Reader, Receipt, Registered,
    Rotate, RotatedIn, SessionAccount, Sweep,
};
use crate::{Committing, Store, StoreError, StoreResult};

#[async_trait]
impl Store for SqliteStore {
    async fn register(&self, new: NewAccount, origin: Origin) -> StoreResult<Registered> {
        self.writer.run(move |writing| accounts::register(writing, new, origin)).await
    }

    async fn account(&self, id: AccountId) -> StoreResult<Option<Account>> {
        self.readers.run(move |connection| accounts::find(connection, id)).await
    }

    async fn account_named(&self, username: &Username) -> StoreResult<Option<Account>> {
        let username = username.clone();
        self.readers.run(move |connection| accounts::find_named(connection, &username)).await
    }

    async fn accounts(&self, after: Option<&Username>, limit: u32) -> StoreResult<Vec<Account>> {
        let after = after.cloned();
        self.readers.run(move |connection| accounts::list(connection, after.as_ref(), limit)).await
    }

    async fn set_roles(&self, id: AccountId, roles: Roles, origin: Origin) -> StoreResult<Option<FeedPosition>> {
        self.writer.run(move |writing| accounts::set_roles(writing, id, &roles, origin)).await
    }

    async fn disable_account(&self, id: AccountId, origin: Origin) -> StoreResult<Option<FeedPosition>> {
        self.writer.run(move |writing| accounts::disable(writing, id, origin)).await
    }

    async fn enable_account(&self, id: AccountId, origin: Origin) -> StoreResult<Option<()>> {
        self.writer.run(move |writing| accounts::enable(writing, id, origin)).await
    }

    async fn credentials(&self, login: &Login) -> StoreResult<Option<Credentials>> {
        let login = login.clone();
        self.readers.run(move |connection| passwords::credentials(connection, &login)).await
    }

    async fn credentials_of(&self, id: AccountId) -> StoreResult<Option<Credentials>> {
        self.readers.run(move |connection| passwords::credentials_of(connection, id)).await
    }

    async fn write_password(&self, change: PasswordChange, origin: Origin) -> StoreResult<PasswordWritten> {
        self.writer.run(move |writing| passwords::write(writing, &change, origin)).await
    }

    async fn refuse_sign_in(
        &self,
        account: Option<AccountId>,
        reason: &'static str,
        origin: Origin,
    ) -> StoreResult<()> {
        let record = Record::new(EventKind::SignInRefused, origin).detail(reason);
        let record = account.into_iter().fold(record, Record::account);
        self.writer.run(move |writing| record.write(writing)).await
    }

    async fn begin_session(&self, begin: Begin, origin: Origin) -> StoreResult<Begun> {
        self.writer.run(move |writing| sessions::begin(writing, &begin, origin)).await
    }

    async fn rotate(&self, rotate: Rotate, origin: Origin) -> StoreResult<Committing<RotatedIn>> {
        self.writer.decide(move |writing| rotation::rotate(writing, &rotate, origin)).await
    }

    async fn session_account(&self, session: SessionId) -> StoreResult<Result<SessionAccount, AccessDenied>> {
        let now = self.clock.now();
        self.readers.run(move |connection| access::session_account(connection, session, now)).await
    }

    async fn sessions(&self, account: AccountId, limit: u32) -> StoreResult<Vec<ListedSession>> {
        let now = self.clock.now();
        self.readers.run(move |connection| sessions::list(connection, account, limit, now)).await
    }

    async fn end_session(&self, ended: Ended, origin: Origin) -> StoreResult<Option<FeedPosition>> {
        self.writer.run(move |writing| ending::end_one(writing, ended, origin)).await
    }

    async fn revoke_account(&self, id: AccountId, origin: Origin) -> StoreResult<Option<Receipt>> {
        self.writer.run(move |writing| revocations::revoke_account(writing, id, origin)).await
    }

    async fn revoke_everyone(&self, origin: Origin) -> StoreResult<Receipt> {
        self.writer.run(move |writing| revocations::revoke_everyone(writing, origin)).await
    }

    async fn count_ended(&self, receipt: &Receipt) -> StoreResult<Outstanding> {
        let receipt = *receipt;
        self.readers.run(move |connection| revocations::count_ended(connection, &receipt)).await
    }

    async fn feed_position(&self) -> StoreResult<FeedPosition> {
        self.readers.run(state::position).await
    }

    async fn feed_beginning(&self) -> StoreResult<u64> {
        let now = self.clock.now();
        self.readers.run(move |connection| revocations::beginning(connection, now)).await
    }

    async fn revocations(&self, after: u64, limit: u32) -> StoreResult<Vec<Revocation>> {
        self.readers.run(move |connection| revocations::page(connection, after, limit)).await
    }

    fn feed_signal(&self) -> watch::Receiver<u64> {
        self.feed.clone()
    }

    async fn note_access_lifetime(&self, lifetime: Duration) -> StoreResult<()> {
        self.writer.run(move |writing| state::note_access_lifetime(writing, lifetime)).await
    }

    async fn admit_reader(&self, reader: NewReader, origin: Origin) -> StoreResult<Reader> {
        self.writer.run(move |writing| revocations::admit_reader(writing, reader, origin)).await
    }

    async fn reader(&self, id: ReaderId) -> StoreResult<Option<Reader>> {
        self.readers.run(move |connection| revocations::reader(connection, id)).await
    }

    async fn readers(&self) -> StoreResult<Vec<Reader>> {
        self.readers.run(revocations::readers).await
    }

    async fn dismiss_reader(&self, id: ReaderId, origin: Origin) -> StoreResult<Option<()>> {
        self.writer.run(move |writing| revocations::dismiss_reader(writing, id, origin)).await
    }

    async fn keys(&self, key_use: KeyUse) -> StoreResult<Vec<StoredKey>> {
        self.readers.run(move |connection| keys::list(connection, key_use)).await
    }

    async fn add_keys(&self, keys: Vec<NewKey>, origin: Origin) -> StoreResult<bool> {
        self.writer.run(move |writing| keys::add(writing, keys, origin)).await
    }

    async fn throttle_usage(&self, buckets: &[Bucket]) -> StoreResult<Vec<Usage>> {
        let buckets = buckets.to_vec();
        self.readers.run(move |connection| throttles::usage(connection, &buckets)).await
    }

    async fn charge(&self, charges: Vec<Charge>) -> StoreResult<()> {
        self.writer.run(move |writing| throttles::charge(writing, &charges)).await
    }

    fn now(&self) -> Millis {
        self.clock.now()
    }

    async fn events(&self, query: EventQuery) -> StoreResult<Vec<Event>> {
        self.readers.run(move |connection| events::list(connection, &query)).await
    }

    async fn prune(&self, sweep: Sweep) -> StoreResult<Pruned> {
        let now = self.clock.now();
        let candidates = self.readers.run(move |connection| prune::look(connection, sweep, now)).await?;
        self.writer.run(move |writing| prune::sweep(writing, &candidates, sweep)).await
    }

    async fn accept_restore(&self, origin: Origin) -> StoreResult<FeedPosition> {
        let position = self.writer.run(move |writing| revocations::accept_restore(writing, origin)).await?;
        self.writer.witness().await?;
        Ok(position)
    }

    async fn ready(&self) -> StoreResult<()> {
        self.readers.run(|connection| state::position(connection).map(|_| ())).await?;
        self.writer.run(state::try_write).await
    }

    async fn failure(&self) -> StoreError {
        self.disk.failure().await
    }

    async fn close(&self) -> StoreResult<()> {
        self.end().await
    }
}

//! Rows and the core's types: one reader per type, and the column list that it reads.

use std::net::IpAddr;

use countersign_core::accounts::{Account, Email, PasswordHash, Username};
use countersign_core::epochs::Epoch;
use countersign_core::ids::{AccountId, ClientId, FamilyId, Incarnation, ReaderId, SessionId};
use countersign_core::keys::{KeyUse, StoredKey};
use countersign_core::roles::Roles;
use countersign_core::sessions::recent::{Mark, Recent};
use countersign_core::sessions::refresh_token::{RetryHash, TokenHash};
use countersign_core::sessions::state::{EndReason, Ended, Epochs, Family, LastRotation, Session, Standing};
use countersign_core::time::Millis;
use rusqlite::types::FromSql;
use rusqlite::{Connection, Params, Row};

use crate::StoreResult;
use crate::error::StoreError;
use crate::verbs::{FeedPosition, Reader, Subject};

/// The columns of [`Columns::standing`], of accounts named `a` and auth_state named `g`.
macro_rules! standing_columns {
    () => {
        "a.disabled_at IS NOT NULL, g.global_epoch, a.session_epoch"
    };
}
pub(super) use standing_columns;

/// The columns of [`Columns::account`], of a table named `a`.
macro_rules! account_columns {
    () => {
        "a.id, a.username, a.username_canonical, a.email, a.email_canonical, a.roles, a.claims_version, a.disabled_at, \
         a.created_at"
    };
}
/// The columns of [`Columns::subject`], of accounts named `a`.
macro_rules! subject_columns {
    () => {
        "a.id, a.username, a.roles, a.claims_version"
    };
}
/// The columns of [`Columns::session`], of families named `f`.
macro_rules! session_columns {
    () => {
        "f.session, f.account, f.session_expires_at, f.ended_at, f.end_reason, f.born_global, f.born_session"
    };
}
/// The columns of [`Columns::family`], of a table named `f`.
macro_rules! family_columns {
    () => {
        "f.id, f.client, f.generation, f.current_hash, f.previous_hash, f.nonce, f.retry_hash, f.rotated_at, \
         f.idle_expires_at, f.access_expires_at, f.reissues, f.reissue_streak, f.older_generation, f.older_at, \
         f.newer_generation, f.newer_at"
    };
}
pub(super) use {account_columns, family_columns, session_columns, subject_columns};

/// The first row that a statement gives, if any.
pub(super) fn one<T>(
    connection: &Connection,
    sql: &str,
    parameters: impl Params,
    read: impl FnOnce(&mut Columns<'_>) -> StoreResult<T>,
) -> StoreResult<Option<T>> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(parameters)?;
    match rows.next()? {
        Some(row) => read(&mut Columns { row, next: 0 }).map(Some),
        None => Ok(None),
    }
}

/// Every row that a statement gives.
pub(super) fn many<T>(
    connection: &Connection,
    sql: &str,
    parameters: impl Params,
    mut read: impl FnMut(&mut Columns<'_>) -> StoreResult<T>,
) -> StoreResult<Vec<T>> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(parameters)?;
    let mut all = vec![];
    while let Some(row) = rows.next()? {
        all.push(read(&mut Columns { row, next: 0 })?);
    }
    Ok(all)
}

/// Runs a statement that gives no rows; how many it changed.
pub(super) fn execute(connection: &Connection, sql: &str, parameters: impl Params) -> StoreResult<usize> {
    Ok(connection.prepare_cached(sql)?.execute(parameters)?)
}

/// Runs an UPDATE whose WHERE names a row that this transaction has read: it must hit exactly that one.
pub(super) fn execute_on_one(connection: &Connection, sql: &str, parameters: impl Params) -> StoreResult<()> {
    match execute(connection, sql, parameters)? {
        1 => Ok(()),
        changed => Err(StoreError::Internal(format!("a statement was to change one row and changed {changed}"))),
    }
}

/// The columns of a row, read from left to right.
pub(super) struct Columns<'r> {
    row: &'r Row<'r>,
    next: usize,
}

impl Columns<'_> {
    /// See `standing_columns`.
    pub(super) fn standing(&mut self) -> StoreResult<Standing> {
        let account_disabled = self.value()?;
        Ok(Standing { account_disabled, epochs: Epochs { global: self.epoch()?, session: self.epoch()? } })
    }

    /// The next column.
    pub(super) fn value<T: FromSql>(&mut self) -> StoreResult<T> {
        let column = self.next;
        self.next += 1;
        Ok(self.row.get(column)?)
    }

    pub(super) fn millis(&mut self) -> StoreResult<Millis> {
        self.value().map(Millis::new)
    }

    pub(super) fn maybe_millis(&mut self) -> StoreResult<Option<Millis>> {
        Ok(self.value::<Option<i64>>()?.map(Millis::new))
    }

    pub(super) fn epoch(&mut self) -> StoreResult<Epoch> {
        self.value().map(Epoch::new)
    }

    /// A number that only grows from zero.
    pub(super) fn counter(&mut self) -> StoreResult<u64> {
        u64::try_from(self.value::<i64>()?).map_err(|_| corrupt("a counter is negative"))
    }

    pub(super) fn account_id(&mut self) -> StoreResult<AccountId> {
        self.value().map(AccountId::from_bytes)
    }

    pub(super) fn maybe_account_id(&mut self) -> StoreResult<Option<AccountId>> {
        Ok(self.value::<Option<[u8; 16]>>()?.map(AccountId::from_bytes))
    }

    pub(super) fn session_id(&mut self) -> StoreResult<SessionId> {
        self.value().map(SessionId::from_bytes)
    }

    pub(super) fn maybe_session_id(&mut self) -> StoreResult<Option<SessionId>> {
        Ok(self.value::<Option<[u8; 16]>>()?.map(SessionId::from_bytes))
    }

    pub(super) fn address(&mut self) -> StoreResult<Option<IpAddr>> {
        let Some(bytes) = self.value::<Option<Vec<u8>>>()? else {
            return Ok(None);
        };
        if let Ok(four) = <[u8; 4]>::try_from(bytes.as_slice()) {
            return Ok(Some(four.into()));
        }
        let sixteen = <[u8; 16]>::try_from(bytes.as_slice()).map_err(|_| corrupt("an address has no known length"))?;
        Ok(Some(sixteen.into()))
    }

    pub(super) fn password(&mut self) -> StoreResult<PasswordHash> {
        self.value().map(PasswordHash::new)
    }

    /// See `account_columns`.
    pub(super) fn account(&mut self) -> StoreResult<Account> {
        Ok(Account {
            id: self.account_id()?,
            username: Username::from_stored(self.value()?, self.value()?),
            email: Email::from_stored(self.value()?, self.value()?),
            roles: self.roles()?,
            claims_version: self.epoch()?,
            disabled_at: self.maybe_millis()?,
            created_at: self.millis()?,
        })
    }

    /// See `subject_columns`.
    pub(super) fn subject(&mut self) -> StoreResult<Subject> {
        Ok(Subject {
            id: self.account_id()?,
            username: self.value()?,
            roles: self.roles()?,
            claims_version: self.epoch()?,
        })
    }

    pub(super) fn roles(&mut self) -> StoreResult<Roles> {
        serde_json::from_str(&self.value::<String>()?).map_err(|_| corrupt("the roles of an account are unreadable"))
    }

    /// See `session_columns`.
    pub(super) fn session(&mut self) -> StoreResult<Session> {
        Ok(Session {
            id: self.session_id()?,
            account: self.account_id()?,
            expires_at: self.millis()?,
            ended: self.ended()?,
            born: Epochs { global: self.epoch()?, session: self.epoch()? },
        })
    }

    fn ended(&mut self) -> StoreResult<Option<Ended>> {
        let (at, reason) = (self.maybe_millis()?, self.value::<Option<String>>()?);
        let (Some(at), Some(reason)) = (at, reason) else {
            return Ok(None);
        };
        let reason = EndReason::parse(&reason).ok_or_else(|| corrupt("the end of a session has an unknown reason"))?;
        Ok(Some(Ended { at, reason }))
    }

    /// See `family_columns`.
    pub(super) fn family(&mut self) -> StoreResult<Family> {
        Ok(Family {
            id: FamilyId::from_bytes(self.value()?),
            client: self.client()?,
            generation: self.value()?,
            current: TokenHash::from_bytes(self.value()?),
            last: self.last_rotation()?,
            idle_expires_at: self.millis()?,
            access_expires_at: self.millis()?,
            reissues: self.value()?,
            reissue_streak: self.value()?,
            recent: Recent { older: self.mark()?, newer: self.mark()? },
        })
    }

    /// NULL: the first party.
    fn client(&mut self) -> StoreResult<ClientId> {
        let Some(client) = self.value::<Option<String>>()? else {
            return Ok(ClientId::first_party());
        };
        ClientId::parse(&client).ok_or_else(|| corrupt("a client id is unreadable"))
    }

    fn last_rotation(&mut self) -> StoreResult<Option<LastRotation>> {
        let previous: Option<[u8; 32]> = self.value()?;
        let nonce = self.value()?;
        let retry: Option<[u8; 16]> = self.value()?;
        let rotated_at = self.maybe_millis()?;
        let (Some(previous), Some(nonce), Some(rotated_at)) = (previous, nonce, rotated_at) else {
            return Ok(None);
        };
        let (previous, retry) = (TokenHash::from_bytes(previous), retry.map(RetryHash::from_bytes));
        Ok(Some(LastRotation { previous, nonce, retry, rotated_at }))
    }

    fn mark(&mut self) -> StoreResult<Option<Mark>> {
        let (generation, at) = (self.value::<Option<u32>>()?, self.maybe_millis()?);
        Ok(generation.zip(at).map(|(generation, at)| Mark { generation, at }))
    }

    /// `incarnation, feed_seq, global_epoch`.
    pub(super) fn position(&mut self) -> StoreResult<FeedPosition> {
        let incarnation = Incarnation::from_bytes(self.value()?);
        Ok(FeedPosition { incarnation, seq: self.counter()?, global_epoch: self.epoch()? })
    }

    /// `kid, key_use, algorithm, sealed, created_at, active_from, verifies_until`.
    pub(super) fn key(&mut self) -> StoreResult<StoredKey> {
        Ok(StoredKey {
            kid: self.value()?,
            key_use: KeyUse::parse(&self.value::<String>()?).ok_or_else(|| corrupt("a key has an unknown use"))?,
            algorithm: self.value()?,
            sealed: self.value()?,
            created_at: self.millis()?,
            active_from: self.millis()?,
            verifies_until: self.maybe_millis()?,
        })
    }

    /// `id, name, key_hash, created_at`.
    pub(super) fn reader(&mut self) -> StoreResult<Reader> {
        Ok(Reader {
            id: ReaderId::from_bytes(self.value()?),
            name: self.value()?,
            key_hash: self.value()?,
            created_at: self.millis()?,
        })
    }
}

/// The bytes of an address.
pub(super) fn address_bytes(address: Option<IpAddr>) -> Option<Vec<u8>> {
    address.map(|address| match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    })
}

/// The list of roles as it is stored.
pub(super) fn roles_text(roles: &Roles) -> StoreResult<String> {
    serde_json::to_string(roles).map_err(|error| StoreError::Internal(error.to_string()))
}

pub(super) fn corrupt(what: &str) -> StoreError {
    StoreError::Corrupt(what.to_owned())
}

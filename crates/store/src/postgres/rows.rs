//! Rows and the core's types: one reader per type, and the column list that it reads.

use std::net::IpAddr;
use std::time::Duration;

use countersign_core::accounts::{Account, Email, PasswordHash, Username};
use countersign_core::epochs::Epoch;
use countersign_core::ids::{AccountId, ClientId, FamilyId, Incarnation, ReaderId, SessionId};
use countersign_core::keys::{KeyUse, StoredKey};
use countersign_core::roles::Roles;
use countersign_core::sessions::recent::{Mark, Recent};
use countersign_core::sessions::refresh_token::{RetryHash, TokenHash};
use countersign_core::sessions::state::{EndReason, Ended, Epochs, Family, LastRotation, Session, Standing};
use countersign_core::time::Millis;
use tokio_postgres::Row;
use tokio_postgres::types::{FromSql, ToSql, Type};
use uuid::Uuid;

use crate::error::{MovedError, StoreError};
use crate::postgres::failures::Outcome;
use crate::verbs::{FeedPosition, Reader, Subject};

/// The time of the database, in milliseconds.
macro_rules! database_time {
    () => {
        "floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint"
    };
}
/// The columns of [`Columns::standing`], of accounts named `a` and auth_state named `g`.
macro_rules! standing_columns {
    () => {
        "a.disabled_at IS NOT NULL, g.global_epoch, a.session_epoch"
    };
}
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
pub(super) use {account_columns, database_time, family_columns, session_columns, standing_columns, subject_columns};

/// A value that a statement can take, and what PostgreSQL calls its type.
pub(super) trait Bound: ToSql + Sync {
    /// The type of the parameter.
    fn kind(&self) -> Type;
    /// The value as the driver takes it.
    fn as_sql(&self) -> &(dyn ToSql + Sync);
}

macro_rules! bound {
    ($($rust:ty => $kind:ident,)*) => {
        $(bound! { @one $rust, $kind } bound! { @one Option<$rust>, $kind })*
    };
    (@one $rust:ty, $kind:ident) => {
        impl Bound for $rust {
            fn kind(&self) -> Type {
                Type::$kind
            }

            fn as_sql(&self) -> &(dyn ToSql + Sync) {
                self
            }
        }
    };
}
bound! {
    i64 => INT8, String => TEXT, &str => TEXT, Uuid => UUID, Vec<u8> => BYTEA, &[u8] => BYTEA,
    Vec<i64> => INT8_ARRAY, Vec<Option<i64>> => INT8_ARRAY, Vec<Uuid> => UUID_ARRAY, Vec<Option<Uuid>> => UUID_ARRAY,
    Vec<&'static str> => TEXT_ARRAY, Vec<Option<&'static str>> => TEXT_ARRAY, Vec<Option<String>> => TEXT_ARRAY,
    Vec<Vec<u8>> => BYTEA_ARRAY, Vec<Option<Vec<u8>>> => BYTEA_ARRAY,
}

/// The parameters of a statement, each with its type.
macro_rules! params {
    ($($value:expr),* $(,)?) => {
        &[$(&$value as &dyn $crate::postgres::rows::Bound),*]
    };
}
pub(super) use params;

/// The columns of a row, read from left to right.
pub(super) struct Columns<'r> {
    row: &'r Row,
    next: usize,
}

/// Reads the first row, if any.
pub(super) fn first<T>(rows: &[Row], read: impl FnOnce(&mut Columns<'_>) -> Outcome<T>) -> Outcome<Option<T>> {
    rows.first().map(|row| read(&mut Columns { row, next: 0 })).transpose()
}

/// Reads every row.
pub(super) fn all<T>(rows: &[Row], mut read: impl FnMut(&mut Columns<'_>) -> Outcome<T>) -> Outcome<Vec<T>> {
    rows.iter().map(|row| read(&mut Columns { row, next: 0 })).collect()
}

impl<'r> Columns<'r> {
    /// The next column.
    pub(super) fn value<T: FromSql<'r>>(&mut self) -> Outcome<T> {
        let value = self.row.try_get(self.next).map_err(|error| corrupt(&error.to_string()))?;
        self.next += 1;
        Ok(value)
    }

    /// The next column, of a fixed length.
    fn bytes<const N: usize>(&mut self) -> Outcome<[u8; N]> {
        let bytes: &[u8] = self.value()?;
        Ok(bytes.try_into().map_err(|_| corrupt("bytes have another length than they are written with"))?)
    }

    fn maybe_bytes<const N: usize>(&mut self) -> Outcome<Option<[u8; N]>> {
        let bytes: Option<&[u8]> = self.value()?;
        let sized = bytes
            .map(|bytes| bytes.try_into().map_err(|_| corrupt("bytes have another length than they are written with")));
        Ok(sized.transpose()?)
    }

    /// A number that fits into 32 bits.
    fn small(&mut self) -> Outcome<u32> {
        Ok(u32::try_from(self.value::<i64>()?).map_err(|_| corrupt("a number is out of range"))?)
    }

    /// See `standing_columns`.
    pub(super) fn standing(&mut self) -> Outcome<Standing> {
        let account_disabled = self.value()?;
        Ok(Standing { account_disabled, epochs: Epochs { global: self.epoch()?, session: self.epoch()? } })
    }

    pub(super) fn millis(&mut self) -> Outcome<Millis> {
        self.value().map(Millis::new)
    }

    pub(super) fn maybe_millis(&mut self) -> Outcome<Option<Millis>> {
        Ok(self.value::<Option<i64>>()?.map(Millis::new))
    }

    pub(super) fn epoch(&mut self) -> Outcome<Epoch> {
        self.value().map(Epoch::new)
    }

    /// A number that only grows from zero.
    pub(super) fn counter(&mut self) -> Outcome<u64> {
        Ok(u64::try_from(self.value::<i64>()?).map_err(|_| corrupt("a counter is negative"))?)
    }

    pub(super) fn account_id(&mut self) -> Outcome<AccountId> {
        self.value().map(AccountId::new)
    }

    pub(super) fn maybe_account_id(&mut self) -> Outcome<Option<AccountId>> {
        Ok(self.value::<Option<Uuid>>()?.map(AccountId::new))
    }

    pub(super) fn session_id(&mut self) -> Outcome<SessionId> {
        self.value().map(SessionId::new)
    }

    pub(super) fn maybe_session_id(&mut self) -> Outcome<Option<SessionId>> {
        Ok(self.value::<Option<Uuid>>()?.map(SessionId::new))
    }

    pub(super) fn address(&mut self) -> Outcome<Option<IpAddr>> {
        let Some(bytes) = self.value::<Option<&[u8]>>()? else {
            return Ok(None);
        };
        if let Ok(four) = <[u8; 4]>::try_from(bytes) {
            return Ok(Some(four.into()));
        }
        let sixteen = <[u8; 16]>::try_from(bytes).map_err(|_| corrupt("an address has no known length"))?;
        Ok(Some(sixteen.into()))
    }

    pub(super) fn password(&mut self) -> Outcome<PasswordHash> {
        self.value().map(PasswordHash::new)
    }

    /// `rehashed_from`.
    pub(super) fn fingerprint(&mut self) -> Outcome<Option<[u8; 32]>> {
        self.maybe_bytes()
    }

    /// See `account_columns`.
    pub(super) fn account(&mut self) -> Outcome<Account> {
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
    pub(super) fn subject(&mut self) -> Outcome<Subject> {
        Ok(Subject {
            id: self.account_id()?,
            username: self.value()?,
            roles: self.roles()?,
            claims_version: self.epoch()?,
        })
    }

    pub(super) fn roles(&mut self) -> Outcome<Roles> {
        let text: &str = self.value()?;
        Ok(serde_json::from_str(text).map_err(|_| corrupt("the roles of an account are unreadable"))?)
    }

    /// See `session_columns`.
    pub(super) fn session(&mut self) -> Outcome<Session> {
        Ok(Session {
            id: self.session_id()?,
            account: self.account_id()?,
            expires_at: self.millis()?,
            ended: self.ended()?,
            born: Epochs { global: self.epoch()?, session: self.epoch()? },
        })
    }

    fn ended(&mut self) -> Outcome<Option<Ended>> {
        let (at, reason) = (self.maybe_millis()?, self.value::<Option<&str>>()?);
        let (Some(at), Some(reason)) = (at, reason) else {
            return Ok(None);
        };
        let reason = EndReason::parse(reason).ok_or_else(|| corrupt("the end of a session has an unknown reason"))?;
        Ok(Some(Ended { at, reason }))
    }

    /// See `family_columns`.
    pub(super) fn family(&mut self) -> Outcome<Family> {
        Ok(Family {
            id: FamilyId::new(self.value()?),
            client: self.client()?,
            generation: self.small()?,
            current: TokenHash::from_bytes(self.bytes()?),
            last: self.last_rotation()?,
            idle_expires_at: self.millis()?,
            access_expires_at: self.millis()?,
            reissues: self.small()?,
            reissue_streak: self.small()?,
            recent: Recent { older: self.mark()?, newer: self.mark()? },
        })
    }

    /// NULL: the first party.
    fn client(&mut self) -> Outcome<ClientId> {
        let Some(client) = self.value::<Option<&str>>()? else {
            return Ok(ClientId::first_party());
        };
        Ok(ClientId::parse(client).ok_or_else(|| corrupt("a client id is unreadable"))?)
    }

    fn last_rotation(&mut self) -> Outcome<Option<LastRotation>> {
        let previous: Option<[u8; 32]> = self.maybe_bytes()?;
        let nonce = self.maybe_bytes()?;
        let retry: Option<[u8; 16]> = self.maybe_bytes()?;
        let rotated_at = self.maybe_millis()?;
        let (Some(previous), Some(nonce), Some(rotated_at)) = (previous, nonce, rotated_at) else {
            return Ok(None);
        };
        let (previous, retry) = (TokenHash::from_bytes(previous), retry.map(RetryHash::from_bytes));
        Ok(Some(LastRotation { previous, nonce, retry, rotated_at }))
    }

    fn mark(&mut self) -> Outcome<Option<Mark>> {
        let (generation, at) = (self.value::<Option<i64>>()?, self.maybe_millis()?);
        let generation =
            generation.map(u32::try_from).transpose().map_err(|_| corrupt("a generation is out of range"))?;
        Ok(generation.zip(at).map(|(generation, at)| Mark { generation, at }))
    }

    /// `incarnation, feed_seq, global_epoch`.
    pub(super) fn position(&mut self) -> Outcome<FeedPosition> {
        let incarnation = Incarnation::new(self.value()?);
        Ok(FeedPosition { incarnation, seq: self.counter()?, global_epoch: self.epoch()? })
    }

    /// `moved_to, arriving IS NOT NULL`.
    pub(super) fn moved(&mut self) -> Outcome<Option<MovedError>> {
        let (to, arriving): (Option<String>, bool) = (self.value()?, self.value()?);
        Ok(to.map(|to| MovedError::Away { to }).or(arriving.then_some(MovedError::Arriving)))
    }

    /// `kid, key_use, algorithm, sealed, created_at, active_from, verifies_until`.
    pub(super) fn key(&mut self) -> Outcome<StoredKey> {
        Ok(StoredKey {
            kid: self.value()?,
            key_use: KeyUse::parse(self.value()?).ok_or_else(|| corrupt("a key has an unknown use"))?,
            algorithm: self.value()?,
            sealed: self.value()?,
            created_at: self.millis()?,
            active_from: self.millis()?,
            verifies_until: self.maybe_millis()?,
        })
    }

    /// `id, name, key_hash, created_at`.
    pub(super) fn reader(&mut self) -> Outcome<Reader> {
        Ok(Reader {
            id: ReaderId::new(self.value()?),
            name: self.value()?,
            key_hash: self.bytes()?,
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
pub(super) fn roles_text(roles: &Roles) -> Outcome<String> {
    Ok(serde_json::to_string(roles).map_err(|error| StoreError::Internal(error.to_string()))?)
}

/// A lifetime as the database keeps it.
pub(super) fn milliseconds(lifetime: Duration) -> i64 {
    i64::try_from(lifetime.as_millis()).unwrap_or(i64::MAX)
}

/// The row that there is once is not there.
pub(super) fn missing() -> StoreError {
    corrupt("auth_state is empty")
}

pub(super) fn corrupt(what: &str) -> StoreError {
    StoreError::Corrupt(what.to_owned())
}

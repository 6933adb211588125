//! Passwords: what a sign-in is compared with, and the two ways in which it changes.

use aws_lc_rs::digest::{SHA256, digest};
use countersign_core::accounts::{Login, PasswordHash};
use countersign_core::events::{EventKind, Origin, RevocationScope};
use countersign_core::ids::{AccountId, SessionId};
use countersign_core::sessions::state::EndReason;
use rusqlite::{Connection, params};

use crate::StoreResult;
use crate::sqlite::events::Record;
use crate::sqlite::rows::{account_columns, execute_on_one, one};
use crate::sqlite::writing::Writing;
use crate::sqlite::{accounts, ending, state};
use crate::verbs::{Credentials, FeedPosition, PasswordChange, PasswordWritten};

pub(super) fn credentials(connection: &Connection, login: &Login) -> StoreResult<Option<Credentials>> {
    let sql = match login {
        Login::Username(_) => {
            concat!("SELECT a.password_hash, ", account_columns!(), " FROM accounts a WHERE a.username_canonical = ?1")
        }
        Login::Email(_) => {
            concat!("SELECT a.password_hash, ", account_columns!(), " FROM accounts a WHERE a.email_canonical = ?1")
        }
    };
    one(connection, sql, [login.canonical()], |columns| {
        Ok(Credentials { password: columns.password()?, account: columns.account()? })
    })
}

pub(super) fn credentials_of(connection: &Connection, id: AccountId) -> StoreResult<Option<Credentials>> {
    let sql = concat!("SELECT a.password_hash, ", account_columns!(), " FROM accounts a WHERE a.id = ?1");
    one(connection, sql, [id.as_bytes()], |columns| {
        Ok(Credentials { password: columns.password()?, account: columns.account()? })
    })
}

/// The password that an account has now.
pub(super) struct Stored {
    hash: PasswordHash,
    rehashed_from: Option<[u8; 32]>,
}

impl Stored {
    pub(super) fn of(connection: &Connection, id: AccountId) -> StoreResult<Option<Self>> {
        let sql = "SELECT password_hash, rehashed_from FROM accounts WHERE id = ?1";
        one(connection, sql, [id.as_bytes()], |columns| {
            Ok(Self { hash: columns.password()?, rehashed_from: columns.value()? })
        })
    }

    /// True where a password that was found right by this hash still is the account's.
    pub(super) fn still_is(&self, verified: &PasswordHash) -> bool {
        self.hash == *verified || self.rehashed_from == Some(fingerprint(verified))
    }

    /// Stores the same password, hashed with stronger parameters.
    pub(super) fn rehash(
        &self,
        writing: &Writing<'_>,
        id: AccountId,
        verified: &PasswordHash,
        stronger: &PasswordHash,
    ) -> StoreResult<()> {
        if self.hash != *verified {
            // Another sign-in has done it meanwhile.
            return Ok(());
        }
        let sql = "UPDATE accounts SET password_hash = ?2, rehashed_from = ?3 WHERE id = ?1";
        let parameters = params![id.as_bytes(), stronger.expose(), fingerprint(verified)];
        execute_on_one(writing.connection, sql, parameters)
    }
}

pub(super) fn write(writing: &Writing<'_>, change: &PasswordChange, origin: Origin) -> StoreResult<PasswordWritten> {
    let id = change.account;
    let Some(stored) = Stored::of(writing.connection, id)? else {
        return Ok(PasswordWritten::NoSuchAccount);
    };
    if change.expected.as_ref().is_some_and(|expected| !stored.still_is(expected)) {
        return Ok(PasswordWritten::Superseded);
    }
    let alive = match change.keep {
        Some(keep) => {
            let alive = ending::alive_of(writing, id)?;
            if !alive.contains(&keep) {
                return Ok(PasswordWritten::SessionDead);
            }
            alive
        }
        None => vec![],
    };
    let sql = "UPDATE accounts SET password_hash = ?2, rehashed_from = NULL WHERE id = ?1";
    execute_on_one(writing.connection, sql, params![id.as_bytes(), change.new.expose()])?;
    let kind = if change.expected.is_some() { EventKind::PasswordChanged } else { EventKind::PasswordSet };
    let record = Record::new(kind, origin).account(id);
    let position = match change.keep {
        None => end_all(writing, record, id)?,
        Some(keep) => end_others(writing, record, id, keep, alive, origin)?,
    };
    Ok(PasswordWritten::Done(position))
}

fn end_all(writing: &Writing<'_>, record: Record, id: AccountId) -> StoreResult<FeedPosition> {
    let (_, since) = accounts::end_all_sessions(writing, id)?;
    let expires_at = state::last_access_expiry(writing)?;
    record.detail("all sessions ended").publish(writing, RevocationScope::Account(id, since), expires_at)
}

/// Session by session: the access token of the one that is kept has to stay good.
fn end_others(
    writing: &Writing<'_>,
    record: Record,
    id: AccountId,
    keep: SessionId,
    alive: Vec<SessionId>,
    origin: Origin,
) -> StoreResult<FeedPosition> {
    let others: Vec<_> = alive.into_iter().filter(|session| *session != keep).collect();
    let mut records = vec![record.detail(format!("{} other sessions ended", others.len()))];
    records.extend(ending::end_many(writing, id, others, EndReason::PasswordChanged, origin)?);
    Record::write_all(writing, records)
}

fn fingerprint(hash: &PasswordHash) -> [u8; 32] {
    let mut sum = [0; 32];
    sum.copy_from_slice(digest(&SHA256, hash.expose().as_bytes()).as_ref());
    sum
}

//! Passwords: what a sign-in is compared with, and the two ways in which it changes.

use aws_lc_rs::digest::{SHA256, digest};
use countersign_core::accounts::{Login, PasswordHash};
use countersign_core::events::{EventKind, Origin, RevocationScope};
use countersign_core::ids::{AccountId, SessionId};
use countersign_core::sessions::state::EndReason;

use crate::postgres::connection::Connection;
use crate::postgres::events::{Record, Until};
use crate::postgres::failures::Outcome;
use crate::postgres::rows::{account_columns, first, params};
use crate::postgres::writing::Writing;
use crate::postgres::{accounts, ending};
use crate::verbs::{Credentials, FeedPosition, PasswordChange, PasswordWritten};

pub(super) async fn credentials(connection: &Connection, login: &Login) -> Outcome<Option<Credentials>> {
    let sql = match login {
        Login::Username(_) => concat!(
            "SELECT a.password_hash, ",
            account_columns!(),
            " FROM countersign.accounts a WHERE a.username_canonical = $1"
        ),
        Login::Email(_) => concat!(
            "SELECT a.password_hash, ",
            account_columns!(),
            " FROM countersign.accounts a WHERE a.email_canonical = $1"
        ),
    };
    let rows = connection.rows(sql, params![login.canonical()]).await?;
    first(&rows, |columns| Ok(Credentials { password: columns.password()?, account: columns.account()? }))
}

pub(super) async fn credentials_of(connection: &Connection, id: AccountId) -> Outcome<Option<Credentials>> {
    let sql = concat!("SELECT a.password_hash, ", account_columns!(), " FROM countersign.accounts a WHERE a.id = $1");
    let rows = connection.rows(sql, params![id.as_uuid()]).await?;
    first(&rows, |columns| Ok(Credentials { password: columns.password()?, account: columns.account()? }))
}

/// The password that an account has now.
pub(super) struct Stored {
    hash: PasswordHash,
    rehashed_from: Option<[u8; 32]>,
}

impl Stored {
    /// The password of an account, which nobody else changes until the end of the transaction: a session that begins under it is
    /// there when a change of the password looks for the sessions to end, or is not begun.
    pub(super) async fn hold(writing: &Writing, id: AccountId) -> Outcome<Option<Self>> {
        let sql = "SELECT password_hash, rehashed_from FROM countersign.accounts WHERE id = $1 FOR NO KEY UPDATE";
        let rows = writing.rows(sql, params![id.as_uuid()]).await?;
        first(&rows, |columns| Ok(Self { hash: columns.password()?, rehashed_from: columns.fingerprint()? }))
    }

    /// True where a password that was found right by this hash still is the account's.
    pub(super) fn still_is(&self, verified: &PasswordHash) -> bool {
        self.hash == *verified || self.rehashed_from == Some(fingerprint(verified))
    }

    /// Stores the same password, hashed with stronger parameters.
    pub(super) async fn rehash(
        &self,
        writing: &Writing,
        id: AccountId,
        verified: &PasswordHash,
        stronger: &PasswordHash,
    ) -> Outcome<()> {
        if self.hash != *verified {
            // Another sign-in has done it meanwhile.
            return Ok(());
        }
        let sql = "UPDATE countersign.accounts SET password_hash = $2, rehashed_from = $3 WHERE id = $1";
        let from = fingerprint(verified);
        writing.execute_on_one(sql, params![id.as_uuid(), stronger.expose(), from.as_slice()]).await
    }
}

pub(super) async fn write(writing: &Writing, change: &PasswordChange, origin: Origin) -> Outcome<PasswordWritten> {
    let id = change.account;
    let Some(stored) = Stored::hold(writing, id).await? else {
        return Ok(PasswordWritten::NoSuchAccount);
    };
    if change.expected.as_ref().is_some_and(|expected| !stored.still_is(expected)) {
        return Ok(PasswordWritten::Superseded);
    }
    let alive = match change.keep {
        Some(keep) => {
            let alive = ending::hold_alive_of(writing, id).await?;
            if !alive.contains(&keep) {
                return Ok(PasswordWritten::SessionDead);
            }
            alive
        }
        None => vec![],
    };
    let sql = "UPDATE countersign.accounts SET password_hash = $2, rehashed_from = NULL WHERE id = $1";
    writing.execute_on_one(sql, params![id.as_uuid(), change.new.expose()]).await?;
    let kind = if change.expected.is_some() { EventKind::PasswordChanged } else { EventKind::PasswordSet };
    let record = Record::new(kind, origin).account(id);
    let position = match change.keep {
        None => end_all(writing, record, id).await?,
        Some(keep) => end_others(writing, record, id, keep, alive, origin).await?,
    };
    Ok(PasswordWritten::Done(position))
}

async fn end_all(writing: &Writing, record: Record, id: AccountId) -> Outcome<FeedPosition> {
    let (_, since) = accounts::end_all_sessions(writing, id).await?;
    record.detail("all sessions ended").publish(writing, RevocationScope::Account(id, since), Until::AllExpired).await
}

/// Session by session: the access token of the one that is kept has to stay good.
async fn end_others(
    writing: &Writing,
    record: Record,
    id: AccountId,
    keep: SessionId,
    alive: Vec<SessionId>,
    origin: Origin,
) -> Outcome<FeedPosition> {
    let others: Vec<_> = alive.into_iter().filter(|session| *session != keep).collect();
    let mut records = vec![record.detail(format!("{} other sessions ended", others.len()))];
    records.extend(ending::end_many(writing, id, others, EndReason::PasswordChanged, origin).await?);
    Record::write_all(writing, records).await
}

fn fingerprint(hash: &PasswordHash) -> [u8; 32] {
    let mut sum = [0; 32];
    sum.copy_from_slice(digest(&SHA256, hash.expose().as_bytes()).as_ref());
    sum
}

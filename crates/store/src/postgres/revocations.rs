//! Revocations of many, the feed that tells of all, and who may read it.

use countersign_core::epochs::Epoch;
use countersign_core::events::{EventKind, Origin, Revocation, RevocationScope};
use countersign_core::ids::{AccountId, ReaderId};
use countersign_core::time::Millis;

use crate::postgres::connection::Connection;
use crate::postgres::events::{Record, Until};
use crate::postgres::failures::Outcome;
use crate::postgres::rows::{Columns, all, corrupt, first, missing, params};
use crate::postgres::writing::Writing;
use crate::postgres::{accounts, state};
use crate::verbs::{FeedPosition, NewReader, Outstanding, REVOCATION_MARGIN, Reader, Receipt, ReceiptScope};

/// The most revocations that one query gives.
const PAGE: u32 = 10_000;

/// How many sessions were neither ended nor at their end at the given time, and when the newest access token of them expires, of families
/// named `f`.
macro_rules! count_unexpired {
    ($from:literal, $at:literal) => {
        concat!(
            "SELECT count(*), max(f.access_expires_at) FROM countersign.families f ",
            $from,
            " AND (f.ended_at IS NULL OR f.ended_at > ",
            $at,
            ") AND f.session_expires_at > ",
            $at,
            " AND f.idle_expires_at > ",
            $at
        )
    };
}

pub(super) async fn revoke_account(writing: &Writing, id: AccountId, origin: Origin) -> Outcome<Option<Receipt>> {
    if accounts::find(writing.connection()?, id).await?.is_none() {
        return Ok(None);
    }
    let (before, since) = accounts::end_all_sessions(writing, id).await?;
    let record = Record::new(EventKind::AccountRevoked, origin).account(id);
    let position = record.publish(writing, RevocationScope::Account(id, since), Until::AllExpired).await?;
    Ok(Some(Receipt { position, scope: ReceiptScope::Account(id), before, since, at: writing.now }))
}

pub(super) async fn revoke_everyone(writing: &Writing, origin: Origin) -> Outcome<Receipt> {
    let (before, since) = state::next_global_epoch(writing).await?;
    let position = publish_everyone(writing, Record::new(EventKind::EveryoneRevoked, origin), since).await?;
    Ok(Receipt { position, scope: ReceiptScope::Everyone, before, since, at: writing.now })
}

async fn publish_everyone(writing: &Writing, record: Record, since: Epoch) -> Outcome<FeedPosition> {
    record.publish(writing, RevocationScope::Everyone(since), Until::AllExpired).await
}

/// What was alive when a revocation came.
pub(super) async fn count_ended(connection: &Connection, receipt: &Receipt) -> Outcome<Outstanding> {
    let (before, since, at) = (receipt.before.get(), receipt.since.get(), receipt.at.get());
    let rows = match receipt.scope {
        ReceiptScope::Account(id) => {
            let sql = count_unexpired!(
                "JOIN countersign.sessions s ON s.id = f.session WHERE s.account = $1 AND f.born_session >= $2 \
                 AND f.born_session < $3 AND f.born_global >= $4",
                "$5"
            );
            let global = receipt.position.global_epoch.get();
            connection.rows(sql, params![id.as_uuid(), before, since, global, at]).await?
        }
        ReceiptScope::Everyone => {
            let sql = count_unexpired!(
                "JOIN countersign.accounts a ON a.id = f.account WHERE f.born_global >= $1 AND f.born_global < $2 \
                 AND f.born_session >= a.session_epoch",
                "$3"
            );
            connection.rows(sql, params![before, since, at]).await?
        }
    };
    first(&rows, |columns| {
        let sessions = columns.counter()?;
        let newest = columns.maybe_millis()?;
        Ok(Outstanding { sessions, last_access_expiry: newest.filter(|expiry| *expiry > receipt.at) })
    })?
    .ok_or_else(|| corrupt("a count gave no row").into())
}

/// The number before that of the first revocation which may still matter; the last one given out where none does.
pub(super) async fn beginning(connection: &Connection, now: Millis) -> Outcome<u64> {
    let sql = "SELECT coalesce((SELECT min(feed_seq) - 1 FROM countersign.events WHERE feed_seq > 0 AND feed_expires_at > $1), \
               feed_seq) FROM countersign.auth_state";
    let rows = connection.rows(sql, params![(now - REVOCATION_MARGIN).get()]).await?;
    first(&rows, |columns| columns.counter())?.ok_or_else(|| missing().into())
}

pub(super) async fn page(connection: &Connection, after: u64, limit: u32) -> Outcome<Vec<Revocation>> {
    let after = i64::try_from(after).unwrap_or(i64::MAX);
    let sql = "SELECT feed_seq, feed_scope, feed_version, feed_expires_at, account, session FROM countersign.events \
               WHERE feed_seq > $1 ORDER BY feed_seq LIMIT $2";
    all(&connection.rows(sql, params![after, i64::from(limit.min(PAGE))]).await?, revocation)
}

fn revocation(columns: &mut Columns<'_>) -> Outcome<Revocation> {
    let feed_seq = columns.counter()?;
    let scope: &str = columns.value()?;
    let version = columns.value::<Option<i64>>()?.map(Epoch::new);
    let expires_at: Millis = columns.millis()?;
    let (account, session) = (columns.maybe_account_id()?, columns.maybe_session_id()?);
    let scope = match (scope, version, account, session) {
        ("session", None, _, Some(session)) => RevocationScope::Session(session),
        ("account", Some(version), Some(account), _) => RevocationScope::Account(account, version),
        ("everyone", Some(epoch), _, _) => RevocationScope::Everyone(epoch),
        _ => return Err(corrupt("an entry of the revocation feed has an unknown scope").into()),
    };
    Ok(Revocation { feed_seq, scope, expires_at })
}

pub(super) async fn admit_reader(writing: &Writing, new: &NewReader, origin: Origin) -> Outcome<Reader> {
    let reader = Reader { id: new.id, name: new.name.clone(), key_hash: new.key_hash, created_at: writing.now };
    let sql = "INSERT INTO countersign.readers (id, name, key_hash, created_at) VALUES ($1, $2, $3, $4)";
    let id = reader.id.as_uuid();
    writing.execute(sql, params![id, reader.name, reader.key_hash.as_slice(), reader.created_at.get()]).await?;
    Record::new(EventKind::ReaderAdmitted, origin).detail(reader.name.as_str()).write(writing).await?;
    Ok(reader)
}

pub(super) async fn reader(connection: &Connection, id: ReaderId) -> Outcome<Option<Reader>> {
    let sql = "SELECT id, name, key_hash, created_at FROM countersign.readers WHERE id = $1";
    first(&connection.rows(sql, params![id.as_uuid()]).await?, |columns| columns.reader())
}

pub(super) async fn readers(connection: &Connection) -> Outcome<Vec<Reader>> {
    let sql = "SELECT id, name, key_hash, created_at FROM countersign.readers ORDER BY created_at, id";
    all(&connection.rows(sql, params![]).await?, |columns| columns.reader())
}

pub(super) async fn dismiss_reader(writing: &Writing, id: ReaderId, origin: Origin) -> Outcome<Option<()>> {
    let sql = "SELECT name FROM countersign.readers WHERE id = $1 FOR UPDATE";
    let Some(name) = first(&writing.rows(sql, params![id.as_uuid()]).await?, |columns| columns.value::<String>())?
    else {
        return Ok(None);
    };
    writing.execute_on_one("DELETE FROM countersign.readers WHERE id = $1", params![id.as_uuid()]).await?;
    Record::new(EventKind::ReaderDismissed, origin).detail(name).write(writing).await?;
    Ok(Some(()))
}

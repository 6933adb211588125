//! Revocations of many, the feed that tells of all, and who may read it.

use countersign_core::events::{EventKind, Origin, Revocation, RevocationScope};
use countersign_core::ids::{AccountId, ReaderId};
use countersign_core::time::Millis;
use rusqlite::{Connection, params};

use crate::StoreResult;
use crate::sqlite::events::Record;
use crate::sqlite::rows::{Columns, corrupt, execute, many, one};
use crate::sqlite::writing::Writing;
use crate::sqlite::{accounts, state};
use crate::verbs::{FeedPosition, NewReader, Outstanding, REVOCATION_MARGIN, Reader, Receipt, ReceiptScope};

/// The most revocations that one query gives.
const PAGE: u32 = 10_000;

/// How many sessions were neither ended nor at their end at the given time, and when the newest access token of them expires, of families
/// named `f`.
macro_rules! count_unexpired {
    ($from:literal, $at:literal) => {
        concat!(
            "SELECT count(*), max(f.access_expires_at) FROM families f ",
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

pub(super) fn revoke_account(writing: &Writing<'_>, id: AccountId, origin: Origin) -> StoreResult<Option<Receipt>> {
    if accounts::find(writing.connection, id)?.is_none() {
        return Ok(None);
    }
    let (before, since) = accounts::end_all_sessions(writing, id)?;
    let expires_at = state::last_access_expiry(writing)?;
    let record = Record::new(EventKind::AccountRevoked, origin).account(id);
    let position = record.publish(writing, RevocationScope::Account(id, since), expires_at)?;
    Ok(Some(Receipt { position, scope: ReceiptScope::Account(id), before, since, at: writing.now }))
}

pub(super) fn revoke_everyone(writing: &Writing<'_>, origin: Origin) -> StoreResult<Receipt> {
    let (before, since) = state::next_global_epoch(writing)?;
    let position = publish_everyone(writing, Record::new(EventKind::EveryoneRevoked, origin), since)?;
    Ok(Receipt { position, scope: ReceiptScope::Everyone, before, since, at: writing.now })
}

pub(super) fn accept_restore(writing: &Writing<'_>, origin: Origin) -> StoreResult<FeedPosition> {
    let (_, since) = state::next_global_epoch(writing)?;
    state::next_incarnation(writing)?;
    publish_everyone(writing, Record::new(EventKind::RestoreAccepted, origin), since)
}

fn publish_everyone(
    writing: &Writing<'_>,
    record: Record,
    since: countersign_core::epochs::Epoch,
) -> StoreResult<FeedPosition> {
    let expires_at = state::last_access_expiry(writing)?;
    record.publish(writing, RevocationScope::Everyone(since), expires_at)
}

/// What was alive when a revocation came.
pub(super) fn count_ended(connection: &Connection, receipt: &Receipt) -> StoreResult<Outstanding> {
    let (before, since, at) = (receipt.before.get(), receipt.since.get(), receipt.at.get());
    match receipt.scope {
        ReceiptScope::Account(id) => {
            let sql = count_unexpired!(
                "JOIN sessions s ON s.id = f.session WHERE s.account = ?1 AND f.born_session >= ?2 \
                 AND f.born_session < ?3 AND f.born_global >= ?4",
                "?5"
            );
            let global = receipt.position.global_epoch.get();
            one(connection, sql, params![id.as_bytes(), before, since, global, at], |columns| {
                outstanding(columns, receipt.at)
            })
        }
        ReceiptScope::Everyone => {
            let sql = count_unexpired!(
                "JOIN accounts a ON a.id = f.account WHERE f.born_global >= ?1 AND f.born_global < ?2 \
                 AND f.born_session >= a.session_epoch",
                "?3"
            );
            one(connection, sql, [before, since, at], |columns| outstanding(columns, receipt.at))
        }
    }?
    .ok_or_else(|| corrupt("a count gave no row"))
}

fn outstanding(columns: &mut Columns<'_>, at: Millis) -> StoreResult<Outstanding> {
    let sessions = columns.counter()?;
    Ok(Outstanding { sessions, last_access_expiry: columns.maybe_millis()?.filter(|expiry| *expiry > at) })
}

/// The number before that of the first revocation which may still matter; the last one given out where none does.
pub(super) fn beginning(connection: &Connection, now: Millis) -> StoreResult<u64> {
    let sql = "SELECT coalesce((SELECT min(feed_seq) - 1 FROM events WHERE feed_seq > 0 AND feed_expires_at > ?1), feed_seq) \
               FROM auth_state";
    let beginning = one(connection, sql, [(now - REVOCATION_MARGIN).get()], |columns| columns.counter())?;
    beginning.ok_or_else(|| corrupt("auth_state is empty"))
}

pub(super) fn page(connection: &Connection, after: u64, limit: u32) -> StoreResult<Vec<Revocation>> {
    let after = i64::try_from(after).unwrap_or(i64::MAX);
    let sql = "SELECT feed_seq, feed_scope, feed_version, feed_expires_at, account, session FROM events \
               WHERE feed_seq > ?1 ORDER BY feed_seq LIMIT ?2";
    many(connection, sql, params![after, limit.min(PAGE)], revocation)
}

fn revocation(columns: &mut Columns<'_>) -> StoreResult<Revocation> {
    let feed_seq = columns.counter()?;
    let scope: String = columns.value()?;
    let version = columns.value::<Option<i64>>()?.map(countersign_core::epochs::Epoch::new);
    let expires_at = columns.millis()?;
    let (account, session) = (columns.maybe_account_id()?, columns.maybe_session_id()?);
    let scope = match (scope.as_str(), version, account, session) {
        ("session", None, _, Some(session)) => RevocationScope::Session(session),
        ("account", Some(version), Some(account), _) => RevocationScope::Account(account, version),
        ("everyone", Some(epoch), _, _) => RevocationScope::Everyone(epoch),
        _ => return Err(corrupt("an entry of the revocation feed has an unknown scope")),
    };
    Ok(Revocation { feed_seq, scope, expires_at })
}

pub(super) fn admit_reader(writing: &Writing<'_>, new: NewReader, origin: Origin) -> StoreResult<Reader> {
    let reader = Reader { id: new.id, name: new.name, key_hash: new.key_hash, created_at: writing.now };
    let sql = "INSERT INTO readers (id, name, key_hash, created_at) VALUES (?1, ?2, ?3, ?4)";
    let parameters = params![reader.id.as_bytes(), reader.name, reader.key_hash, reader.created_at.get()];
    execute(writing.connection, sql, parameters)?;
    Record::new(EventKind::ReaderAdmitted, origin).detail(reader.name.as_str()).write(writing)?;
    Ok(reader)
}

pub(super) fn reader(connection: &Connection, id: ReaderId) -> StoreResult<Option<Reader>> {
    let sql = "SELECT id, name, key_hash, created_at FROM readers WHERE id = ?1";
    one(connection, sql, [id.as_bytes()], |columns| columns.reader())
}

pub(super) fn readers(connection: &Connection) -> StoreResult<Vec<Reader>> {
    let sql = "SELECT id, name, key_hash, created_at FROM readers ORDER BY created_at, id";
    many(connection, sql, [], |columns| columns.reader())
}

pub(super) fn dismiss_reader(writing: &Writing<'_>, id: ReaderId, origin: Origin) -> StoreResult<Option<()>> {
    let sql = "DELETE FROM readers WHERE id = ?1 RETURNING name";
    let Some(name) = one(writing.connection, sql, [id.as_bytes()], |columns| columns.value::<String>())? else {
        return Ok(None);
    };
    Record::new(EventKind::ReaderDismissed, origin).detail(name).write(writing)?;
    Ok(Some(()))
}

//! Keys: kept in the order in which they were made, each new one only where the maker knew the newest.

use countersign_core::events::{EventKind, Origin};
use countersign_core::keys::{KeyUse, StoredKey};
use rusqlite::{Connection, params};

use crate::StoreResult;
use crate::sqlite::events::Record;
use crate::sqlite::rows::{execute, many, one};
use crate::sqlite::writing::Writing;
use crate::verbs::NewKey;

pub(super) fn list(connection: &Connection, key_use: KeyUse) -> StoreResult<Vec<StoredKey>> {
    let sql = "SELECT kid, key_use, algorithm, sealed, created_at, active_from, verifies_until FROM keys \
               WHERE key_use = ?1 ORDER BY id";
    many(connection, sql, [key_use.as_str()], |columns| columns.key())
}

pub(super) fn add(writing: &Writing<'_>, keys: Vec<NewKey>, origin: Origin) -> StoreResult<bool> {
    for new in &keys {
        let sql = "SELECT kid FROM keys WHERE key_use = ?1 ORDER BY id DESC LIMIT 1";
        let newest = one(writing.connection, sql, [new.key.key_use.as_str()], |columns| columns.value::<String>())?;
        if newest != new.expected_newest {
            return Ok(false);
        }
    }
    for new in keys {
        insert(writing, new, origin)?;
    }
    Ok(true)
}

fn insert(writing: &Writing<'_>, new: NewKey, origin: Origin) -> StoreResult<()> {
    let connection = writing.connection;
    let key = new.key.at(writing.now);
    // An end that was set before only comes nearer: a key that leaked must not live as long as one that was replaced in peace.
    let sql = "UPDATE keys SET verifies_until = min(coalesce(verifies_until, ?2), ?2) WHERE key_use = ?1";
    let verifies_until = key.active_from + new.overlap;
    execute(connection, sql, params![key.key_use.as_str(), verifies_until.get()])?;
    let sql =
        "INSERT INTO keys (key_use, kid, algorithm, sealed, created_at, active_from) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    let parameters =
        params![key.key_use.as_str(), key.kid, key.algorithm, key.sealed, key.created_at.get(), key.active_from.get(),];
    execute(connection, sql, parameters)?;
    let detail = format!("{} {} {}", key.key_use.as_str(), key.algorithm, key.kid);
    Record::new(EventKind::KeyCreated, origin).detail(detail).write(writing)?;
    Ok(())
}

//! Keys: kept in the order in which they were made, each new one only where the maker knew the newest.

use countersign_core::events::{EventKind, Origin};
use countersign_core::keys::{KeyUse, StoredKey};

use crate::postgres::connection::Connection;
use crate::postgres::events::Record;
use crate::postgres::failures::Outcome;
use crate::postgres::rows::{all, first, params};
use crate::postgres::writing::Writing;
use crate::verbs::NewKey;

pub(super) async fn list(connection: &Connection, key_use: KeyUse) -> Outcome<Vec<StoredKey>> {
    let sql = "SELECT kid, key_use, algorithm, sealed, created_at, active_from, verifies_until FROM countersign.keys \
               WHERE key_use = $1 ORDER BY id";
    all(&connection.rows(sql, params![key_use.as_str()]).await?, |columns| columns.key())
}

pub(super) async fn add(writing: &Writing, keys: &[NewKey], origin: Origin) -> Outcome<bool> {
    // Whoever else adds keys waits here; readers do not. It gives every later key a higher id, too.
    writing.rows("SELECT one FROM countersign.auth_state FOR NO KEY UPDATE", &[]).await?;
    for new in keys {
        let sql = "SELECT kid FROM countersign.keys WHERE key_use = $1 ORDER BY id DESC LIMIT 1";
        let rows = writing.rows(sql, params![new.key.key_use.as_str()]).await?;
        let newest = first(&rows, |columns| columns.value::<String>())?;
        if newest != new.expected_newest {
            return Ok(false);
        }
    }
    for new in keys {
        insert(writing, new.clone(), origin).await?;
    }
    Ok(true)
}

async fn insert(writing: &Writing, new: NewKey, origin: Origin) -> Outcome<()> {
    let key = new.key.at(writing.now);
    // An end that was set before only comes nearer: a key that leaked must not live as long as one that was replaced in peace.
    let sql = "UPDATE countersign.keys SET verifies_until = least(coalesce(verifies_until, $2), $2) WHERE key_use = $1";
    let verifies_until = key.active_from + new.overlap;
    writing.execute(sql, params![key.key_use.as_str(), verifies_until.get()]).await?;
    let sql = "INSERT INTO countersign.keys (key_use, kid, algorithm, sealed, created_at, active_from) \
               VALUES ($1, $2, $3, $4, $5, $6)";
    let parameters = params![
        key.key_use.as_str(),
        key.kid.as_str(),
        key.algorithm.as_str(),
        key.sealed,
        key.created_at.get(),
        key.active_from.get(),
    ];
    writing.execute(sql, parameters).await?;
    let detail = format!("{} {} {}", key.key_use.as_str(), key.algorithm, key.kid);
    Record::new(EventKind::KeyCreated, origin).detail(detail).write(writing).await
}

//! Migrations: numbered, forward only, each applied once and never changed afterwards.

use aws_lc_rs::digest::{SHA256, digest};
use countersign_core::epochs::Epoch;
use countersign_core::time::Millis;
use rusqlite::{Connection, Transaction, TransactionBehavior, params};

use crate::error::SchemaError;
use crate::opening::SchemaVersion;
use crate::sqlite::connection::use_write_ahead_log;
use crate::sqlite::rows::{many, one};
use crate::{Clock, StoreResult, random};

/// Marks a database file as one of Countersign's ("CSGN"), so that `file` and other programs can tell.
const APPLICATION_ID: i32 = 0x4353_474E;

struct Migration {
    version: u32,
    name: &'static str,
    sql: &'static str,
}

const MIGRATIONS: &[Migration] = &[
    Migration { version: 1, name: "initial", sql: include_str!("../../migrations/sqlite/0001_initial.sql") },
    Migration { version: 2, name: "throttles", sql: include_str!("../../migrations/sqlite/0002_throttles.sql") },
    Migration { version: 3, name: "transfers", sql: include_str!("../../migrations/sqlite/0003_transfers.sql") },
    Migration { version: 4, name: "hot_rows", sql: include_str!("../../migrations/sqlite/0004_hot_rows.sql") },
];

const MIGRATIONS_TABLE: &str = "CREATE TABLE migrations (
  version INTEGER PRIMARY KEY,
  name TEXT NOT NULL,
  checksum BLOB NOT NULL CHECK (length(checksum) = 32),
  applied_at INTEGER NOT NULL
) STRICT";

const fn known() -> u32 {
    MIGRATIONS[MIGRATIONS.len() - 1].version
}

/// Brings the schema up to date. Of several processes that start at once, one does.
pub(super) fn run(connection: &mut Connection, clock: &Clock) -> StoreResult<()> {
    // Before anything is written: a file of another program stays as it is.
    version(connection)?;
    use_write_ahead_log(connection)?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    migrate(&transaction, clock.now())?;
    compare_schema(&transaction)?;
    transaction.commit()?;
    Ok(())
}

/// How far the schema has come, after checking what was applied.
pub(super) fn version(connection: &Connection) -> StoreResult<SchemaVersion> {
    // One snapshot: another process may be making the schema at this moment, and half of what it did looks like the database of
    // another program.
    let snapshot = connection.unchecked_transaction()?;
    Ok(SchemaVersion { applied: applied(&snapshot)?, known: known() })
}

/// Checks that the schema is exactly the one of this program.
pub(super) fn verify(connection: &Connection) -> StoreResult<()> {
    let version = version(connection)?;
    if !version.is_current() {
        return Err(SchemaError::Older { found: version.applied, known: version.known }.into());
    }
    compare_schema(connection)
}

fn migrate(transaction: &Transaction<'_>, now: Millis) -> StoreResult<()> {
    let applied = applied(transaction)?;
    if applied == 0 {
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.execute_batch(MIGRATIONS_TABLE)?;
    }
    for migration in MIGRATIONS.iter().filter(|migration| migration.version > applied) {
        transaction.execute_batch(migration.sql)?;
        transaction.execute(
            "INSERT INTO migrations (version, name, checksum, applied_at) VALUES (?1, ?2, ?3, ?4)",
            params![migration.version, migration.name, checksum(migration), now.get()],
        )?;
    }
    if applied == 0 {
        // An epoch that follows the clock: what another database issued before this one was made is dead here.
        transaction.execute(
            "INSERT INTO auth_state (one, incarnation, global_epoch, feed_seq, commit_seq, longest_access_lifetime, served) \
             VALUES (1, ?1, ?2, 0, 0, 0, 0)",
            params![random::id()?.into_bytes(), Epoch::new(0).next(now).get()],
        )?;
    }
    Ok(())
}

/// The newest migration that was applied; 0 for an empty database. To be asked within a transaction.
fn applied(connection: &Connection) -> StoreResult<u32> {
    let application: i32 = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let objects = one(connection, "SELECT count(*) FROM sqlite_schema", [], |columns| columns.value::<i64>())?;
    if application == 0 && objects == Some(0) {
        return Ok(0);
    }
    if application != APPLICATION_ID {
        return Err(SchemaError::Foreign.into());
    }
    let rows = many(connection, "SELECT version, checksum FROM migrations ORDER BY version", [], |columns| {
        Ok((columns.value::<u32>()?, columns.value::<[u8; 32]>()?))
    })?;
    let newest = rows.last().map_or(0, |(version, _)| *version);
    if newest > known() {
        return Err(SchemaError::Newer { found: newest, known: known() }.into());
    }
    for (position, migration) in MIGRATIONS.iter().enumerate().take(rows.len().max(1)) {
        if rows.get(position) != Some(&(migration.version, checksum(migration))) {
            let what = format!("migration {} is not the one that this program has", migration.version);
            return Err(SchemaError::Altered { what }.into());
        }
    }
    Ok(newest)
}

fn checksum(migration: &Migration) -> [u8; 32] {
    let mut sum = [0; 32];
    sum.copy_from_slice(digest(&SHA256, migration.sql.as_bytes()).as_ref());
    sum
}

/// Compares what the database is with what the migrations make of an empty one.
fn compare_schema(connection: &Connection) -> StoreResult<()> {
    let mut fresh = Connection::open_in_memory()?;
    let transaction = fresh.transaction()?;
    migrate(&transaction, Millis::new(0))?;
    let (expected, found) = (objects(&transaction)?, objects(connection)?);
    let altered = |what| Err(SchemaError::Altered { what }.into());
    for object in &found {
        if !expected.iter().any(|known| known.label == object.label) {
            return altered(format!("there is a {} that does not belong here", object.label));
        }
    }
    for object in &expected {
        match found.iter().find(|other| other.label == object.label) {
            None => return altered(format!("the {} is missing", object.label)),
            Some(other) if other.sql != object.sql => return altered(format!("the {} was changed", object.label)),
            Some(_) => {}
        }
    }
    Ok(())
}

struct Object {
    /// Its kind and name.
    label: String,
    /// What made it, with white space evened out.
    sql: String,
}

fn objects(connection: &Connection) -> StoreResult<Vec<Object>> {
    // What SQLite keeps for itself differs with what ran: sqlite_stat1 is there after ANALYZE.
    let sql = "SELECT type, name, coalesce(sql, '') FROM sqlite_schema WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\'";
    many(connection, sql, [], |columns| {
        let (kind, name, sql): (String, String, String) = (columns.value()?, columns.value()?, columns.value()?);
        let sql = sql.split_whitespace().collect::<Vec<_>>().join(" ");
        Ok(Object { label: format!("{kind} {name}"), sql })
    })
}

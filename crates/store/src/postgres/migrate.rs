//! Migrations: numbered, forward only, each applied once and never changed afterwards.

use std::time::{Duration, Instant};

use aws_lc_rs::digest::{SHA256, digest};
use countersign_core::epochs::Epoch;
use countersign_core::time::Millis;
use tokio::time::timeout;

use crate::error::{SchemaError, StoreError};
use crate::opening::SchemaVersion;
use crate::postgres::connection::Connection;
use crate::postgres::failures::{Fault, Outcome};
use crate::postgres::rows::{all, database_time, first, params};
use crate::{Clock, random};

struct Migration {
    version: u32,
    name: &'static str,
    sql: &'static str,
    /// Whether nodes of the program before go on beside it.
    beside_older: bool,
}

const MIGRATIONS: &[Migration] = &[
    migration(1, "initial", include_str!("../../migrations/postgres/0001_initial.sql")),
    migration(2, "throttles", include_str!("../../migrations/postgres/0002_throttles.sql")),
    migration(3, "transfers", include_str!("../../migrations/postgres/0003_transfers.sql")),
    Migration {
        beside_older: false,
        ..migration(4, "hot_rows", include_str!("../../migrations/postgres/0004_hot_rows.sql"))
    },
];

const fn migration(version: u32, name: &'static str, sql: &'static str) -> Migration {
    Migration { version, name, sql, beside_older: true }
}

/// How long the database may take to say how far its schema has come.
const ANSWER: Duration = Duration::from_secs(30);
/// For how long nodes may take to stop.
const STOPPING: Duration = Duration::from_secs(3);
/// For how long it is tried to alter tables that others are using.
const TRIED_FOR: Duration = Duration::from_secs(60);
/// How long lies between two attempts: those who had to wait go on meanwhile.
const PAUSE: Duration = Duration::from_secs(1);
/// How long lies between two lines of the log about that.
const TOLD_AGAIN: Duration = Duration::from_secs(10);

/// Several nodes may make it at the same moment: what one finds half made it tries again.
const MIGRATIONS_TABLE: &str = "CREATE TABLE IF NOT EXISTS countersign.migrations (
  version bigint PRIMARY KEY,
  name text NOT NULL,
  checksum bytea NOT NULL,
  applied_at bigint NOT NULL
)";

const fn known() -> u32 {
    MIGRATIONS[MIGRATIONS.len() - 1].version
}

/// What came of an attempt.
enum Attempt {
    /// The schema is up to date.
    Done,
    /// Another node is at it.
    OfAnother,
}

/// Brings the schema up to date. Of several nodes that start at once, one does, and the others wait for it, however long that takes: a table of
/// many millions of rows that is made anew takes minutes.
///
/// Whoever has read a table within a transaction that goes on, such as a dump, keeps it from being altered; and who comes while that is
/// waited for has to wait as well. So nobody waits for long at a time, and it is tried again.
pub(super) async fn run(connection: &Connection, clock: &Clock) -> Outcome<()> {
    let found = timeout(ANSWER, version(connection)).await.map_err(|_| StoreError::late())??;
    if found.is_current() {
        return Ok(());
    }
    if found.applied > 0 {
        tracing::info!(from = found.applied, to = found.known, "the tables are migrated");
    }
    let (mut began, mut told) = (Instant::now(), None::<Instant>);
    loop {
        match attempt(connection, clock).await {
            Ok(Attempt::Done) => return Ok(()),
            Ok(Attempt::OfAnother) => began = Instant::now(),
            Err(Fault::Held(_)) => {}
            Err(Fault::Final(StoreError::Schema(SchemaError::InUse { .. }))) if began.elapsed() < STOPPING => {}
            Err(fault) => return Err(fault),
        }
        let holders = holders(connection).await.unwrap_or_default();
        if began.elapsed() >= TRIED_FOR {
            let what =
                format!("the tables could not be migrated in {TRIED_FOR:?}, since others are using them: {holders}");
            return Err(StoreError::Unavailable(what).into());
        }
        if told.is_none_or(|told| told.elapsed() >= TOLD_AGAIN) {
            told = Some(Instant::now());
            tracing::warn!(
                holders,
                "the tables are to be migrated, and others are using them; it is tried again and again"
            );
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Who has a table, as far as this role may see it: a dump, another node that migrates, whoever is at work.
async fn holders(connection: &Connection) -> Outcome<String> {
    let sql = "SELECT DISTINCT coalesce(a.application_name, ''), a.pid::bigint FROM pg_catalog.pg_locks l \
               JOIN pg_catalog.pg_class c ON c.oid = l.relation JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
               JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid \
               WHERE n.nspname = 'countersign' AND l.granted AND a.datname = current_database() AND a.pid <> pg_backend_pid() LIMIT 10";
    let named = all(&connection.rows(sql, &[]).await?, |columns| {
        let (name, process): (String, i64) = (columns.value()?, columns.value()?);
        Ok(format!("{name} (process {process})"))
    })?;
    Ok(named.join(", "))
}

/// The nodes that are at work, as far as this role may see them; one that starts does not listen yet. Through a pooler none does.
async fn nodes_at_work(connection: &Connection) -> Outcome<String> {
    let sql = "SELECT pid::bigint FROM pg_catalog.pg_stat_activity \
               WHERE datname = current_database() AND query = 'LISTEN countersign' ORDER BY pid LIMIT 10";
    let nodes = all(&connection.rows(sql, &[]).await?, |columns| Ok(columns.value::<i64>()?.to_string()))?;
    Ok(nodes.join(", "))
}

async fn attempt(connection: &Connection, clock: &Clock) -> Outcome<Attempt> {
    if version(connection).await?.is_current() {
        return Ok(Attempt::Done);
    }
    make_table(connection).await?;
    connection
        .batch("BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL lock_timeout = 1000; SET LOCAL statement_timeout = 0")
        .await?;
    let outcome = match take_turn(connection).await {
        Ok(()) => migrate(connection, clock).await.map(|()| Attempt::Done),
        Err(Fault::Held(_)) => Ok(Attempt::OfAnother),
        Err(fault) => Err(fault),
    };
    if let Ok(Attempt::Done) = outcome {
        connection.commit().await?;
    } else {
        // The error that is told is the one that came first.
        let _ = connection.batch("ROLLBACK").await;
    }
    outcome
}

/// Whoever holds this row is the one that migrates.
async fn take_turn(connection: &Connection) -> Outcome<()> {
    connection.rows("SELECT version FROM countersign.migrations WHERE version = 0 FOR UPDATE", &[]).await?;
    Ok(())
}

async fn make_table(connection: &Connection) -> Outcome<()> {
    // Asked first: a role that owns the schema need not have the right to make one.
    let sql = "SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = 'countersign'";
    if connection.rows(sql, &[]).await?.is_empty() {
        tolerant(connection.batch("CREATE SCHEMA IF NOT EXISTS countersign").await)?;
    }
    tolerant(connection.batch(MIGRATIONS_TABLE).await)?;
    // The row that a migration holds: version 0 is nothing.
    let sql = "INSERT INTO countersign.migrations (version, name, checksum, applied_at) \
               VALUES (0, 'lock', ''::bytea, 0) ON CONFLICT DO NOTHING";
    connection.execute(sql, &[]).await?;
    Ok(())
}

/// IF NOT EXISTS looks before it locks, so of two that make a thing at once one may be told that it is a duplicate.
fn tolerant(outcome: Outcome<()>) -> Outcome<()> {
    match outcome {
        Err(Fault::Final(StoreError::Conflict(_))) => Ok(()),
        outcome => outcome,
    }
}

async fn migrate(connection: &Connection, clock: &Clock) -> Outcome<()> {
    let applied = applied(connection).await?;
    let now = match clock {
        Clock::System => {
            let rows = connection.rows(concat!("SELECT ", database_time!()), &[]).await?;
            first(&rows, |columns| columns.millis())?.unwrap_or(Millis::new(0))
        }
        Clock::Manual(_) => clock.now(),
    };
    let missing = || MIGRATIONS.iter().filter(|migration| migration.version > applied);
    if applied > 0 && !missing().all(|migration| migration.beside_older) {
        let nodes = nodes_at_work(connection).await?;
        if !nodes.is_empty() {
            return Err(StoreError::from(SchemaError::InUse { found: applied, known: known(), nodes }).into());
        }
    }
    for migration in missing() {
        connection.batch(migration.sql).await?;
        let sql = "INSERT INTO countersign.migrations (version, name, checksum, applied_at) VALUES ($1, $2, $3, $4)";
        let (version, checksum) = (i64::from(migration.version), checksum(migration));
        connection.execute(sql, params![version, migration.name, checksum.as_slice(), now.get()]).await?;
    }
    if applied == 0 {
        // An epoch that follows the clock: what another database issued before this one was made is dead here.
        let sql = "INSERT INTO countersign.auth_state (one, incarnation, global_epoch, feed_seq, longest_access_lifetime) \
                   VALUES (1, $1, $2, 0, 0)";
        connection.execute(sql, params![random::id()?, Epoch::new(0).next(now).get()]).await?;
    }
    Ok(())
}

/// How far the schema has come, after checking what was applied.
pub(super) async fn version(connection: &Connection) -> Outcome<SchemaVersion> {
    Ok(SchemaVersion { applied: applied(connection).await?, known: known() })
}

/// Checks that the schema is the one of this program.
pub(super) async fn verify(connection: &Connection) -> Outcome<()> {
    let version = version(connection).await?;
    if version.is_current() {
        return Ok(());
    }
    Err(StoreError::from(SchemaError::Older { found: version.applied, known: version.known }).into())
}

/// The newest migration that was applied; 0 for an empty database.
async fn applied(connection: &Connection) -> Outcome<u32> {
    let sql = "SELECT c.relname::text FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
               WHERE n.nspname = 'countersign' AND c.relkind IN ('r', 'p')";
    let tables = all(&connection.rows(sql, &[]).await?, |columns| columns.value::<String>())?;
    if !tables.iter().any(|table| table == "migrations") {
        return if tables.is_empty() { Ok(0) } else { Err(StoreError::from(SchemaError::Foreign).into()) };
    }
    let sql = "SELECT version, checksum FROM countersign.migrations WHERE version > 0 ORDER BY version";
    let rows = all(&connection.rows(sql, &[]).await?, |columns| Ok((columns.counter()?, columns.value::<Vec<u8>>()?)))?;
    let newest = rows.last().map_or(0, |(version, _)| u32::try_from(*version).unwrap_or(u32::MAX));
    if newest > known() {
        return Err(StoreError::from(SchemaError::Newer { found: newest, known: known() }).into());
    }
    for (row, migration) in rows.iter().zip(MIGRATIONS) {
        if row.0 != u64::from(migration.version) || row.1 != checksum(migration) {
            let what = format!("migration {} is not the one that this program has", migration.version);
            return Err(StoreError::from(SchemaError::Altered { what }).into());
        }
    }
    Ok(newest)
}

fn checksum(migration: &Migration) -> [u8; 32] {
    let mut sum = [0; 32];
    sum.copy_from_slice(digest(&SHA256, migration.sql.as_bytes()).as_ref());
    sum
}

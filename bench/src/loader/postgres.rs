//! The crowd in PostgreSQL: one transaction, many rows a statement.

use std::ops::Range;

use anyhow::Context as _;
use countersign_core::keys::KeyUse;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Transaction};
use uuid::Uuid;

use super::{LONG_OVER_MILLIS, Loaded, Numbers, name};
use crate::postgres;
use crate::server::MODEL;

/// Rows a statement.
const BATCH: u64 = 10_000;

/// Copies the model's row of a table: the columns that change come as arrays, all others as they are.
struct Copying {
    sql: String,
}

impl Copying {
    async fn new(client: &Transaction<'_>, table: &str, model: Uuid, changed: &[(&str, &str)]) -> anyhow::Result<Self> {
        let sql = "SELECT column_name::text FROM information_schema.columns \
                   WHERE table_schema = 'countersign' AND table_name = $1 ORDER BY ordinal_position";
        let rows = client.query(sql, &[&table]).await?;
        let columns: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
        let is_changed = |column: &String| changed.iter().any(|(name, _)| name == column);
        let chosen: Vec<String> = columns
            .iter()
            .map(|column| if is_changed(column) { format!("x.{column}") } else { format!("m.{column}") })
            .collect();
        let arrays: Vec<String> = (1..).zip(changed).map(|(at, (_, kind))| format!("${at}::{kind}[]")).collect();
        let names: Vec<&str> = changed.iter().map(|(name, _)| *name).collect();
        let sql = format!(
            "INSERT INTO countersign.{table} ({}) SELECT {} FROM countersign.{table} m, unnest({}) AS x ({}) WHERE m.id = '{model}'",
            columns.join(", "),
            chosen.join(", "),
            arrays.join(", "),
            names.join(", "),
        );
        Ok(Self { sql })
    }

    async fn copy(&self, client: &Transaction<'_>, arrays: &[&(dyn ToSql + Sync)]) -> anyhow::Result<()> {
        client.execute(&self.sql, arrays).await?;
        Ok(())
    }
}

fn batches(numbers: Range<u64>) -> impl Iterator<Item = Range<u64>> {
    let end = numbers.end;
    numbers.step_by(BATCH as usize).map(move |start| start..(start + BATCH).min(end))
}

pub(super) fn load(url: &str, size: u64, over: u64, born: i64) -> anyhow::Result<Loaded> {
    postgres::with(url, async |client| {
        let loaded = load_over(client, size, over, born).await?;
        // What autovacuum would do in the middle of a measurement.
        client.batch_execute("VACUUM ANALYZE").await?;
        client.batch_execute("CHECKPOINT").await?;
        Ok(loaded)
    })
}

async fn load_over(client: &mut Client, size: u64, over: u64, born: i64) -> anyhow::Result<Loaded> {
    let transaction = client.transaction().await?;
    // The copies refer to one another as the model does: not every row has to be asked.
    transaction.batch_execute("SET LOCAL session_replication_role = replica").await?;
    let model = transaction
        .query_one(
            "SELECT a.id, s.id, f.id, f.generation, f.idle_expires_at, f.session_expires_at FROM countersign.accounts a \
             JOIN countersign.sessions s ON s.account = a.id JOIN countersign.families f ON f.session = s.id \
             WHERE a.username = $1",
            &[&MODEL],
        )
        .await
        .context("the model")?;
    let generation: i64 = model.get(3);
    let numbers = Numbers { born, generation: u32::try_from(generation)? };
    let key = transaction
        .query_one(
            "SELECT kid, sealed FROM countersign.keys WHERE key_use = $1 ORDER BY id DESC LIMIT 1",
            &[&KeyUse::RefreshTag.as_str()],
        )
        .await?;

    let changed = [
        ("id", "uuid"),
        ("username", "text"),
        ("username_canonical", "text"),
        ("email", "text"),
        ("email_canonical", "text"),
    ];
    let accounts = Copying::new(&transaction, "accounts", model.get(0), &changed).await?;
    for batch in batches(0..size) {
        let ids: Vec<Uuid> = batch.clone().map(|number| numbers.account(number)).collect();
        let names: Vec<String> = batch.map(name).collect();
        let emails: Vec<String> = names.iter().map(|name| format!("{name}@example.com")).collect();
        accounts.copy(&transaction, &[&ids, &names, &names, &emails, &emails]).await?;
    }
    let hot = [
        ("id", "uuid"),
        ("session", "uuid"),
        ("account", "uuid"),
        ("session_expires_at", "bigint"),
        ("current_hash", "bytea"),
        ("previous_hash", "bytea"),
        ("idle_expires_at", "bigint"),
    ];
    let cold = [("id", "uuid"), ("account", "uuid")];
    let sessions = Copying::new(&transaction, "sessions", model.get(1), &cold).await?;
    let families = Copying::new(&transaction, "families", model.get(2), &hot).await?;
    let crowd = Sessions { sessions, families, numbers, size };
    let long_ago = born - LONG_OVER_MILLIS;
    crowd.copy(&transaction, 0..over, 0, [long_ago, long_ago]).await?;
    let before = bytes(&transaction).await?;
    crowd.copy(&transaction, over..over + size, over, [model.get(4), model.get(5)]).await?;
    let after = bytes(&transaction).await?;
    // The node on which the model was made prunes no more.
    transaction.batch_execute("UPDATE countersign.auth_state SET pruner_until = 0").await?;
    transaction.commit().await?;
    let bytes_each = (after - before) as f64 / size as f64;
    Ok(Loaded { numbers, kid: key.get(0), sealed: key.get(1), bytes_each })
}

struct Sessions {
    sessions: Copying,
    families: Copying,
    numbers: Numbers,
    size: u64,
}

impl Sessions {
    /// Sessions of these numbers; the first is that of the account with number `first` less.
    async fn copy(
        &self,
        transaction: &Transaction<'_>,
        numbers: Range<u64>,
        first: u64,
        [idle_expires_at, expires_at]: [i64; 2],
    ) -> anyhow::Result<()> {
        for batch in batches(numbers) {
            let each = || batch.clone();
            let ids: Vec<Uuid> = each().map(|number| self.numbers.session(number)).collect();
            let owners: Vec<Uuid> = each().map(|number| self.numbers.account((number - first) % self.size)).collect();
            let families: Vec<Uuid> = each().map(|number| self.numbers.family(number)).collect();
            let current: Vec<Vec<u8>> = each().map(|number| self.numbers.current_hash(number).to_vec()).collect();
            let previous: Vec<Vec<u8>> = each().map(|number| self.numbers.previous_hash(number).to_vec()).collect();
            let [idle, end] = [idle_expires_at, expires_at].map(|time| vec![time; ids.len()]);
            self.sessions.copy(transaction, &[&ids, &owners]).await?;
            self.families.copy(transaction, &[&families, &ids, &owners, &end, &current, &previous, &idle]).await?;
        }
        Ok(())
    }
}

/// What sessions take, their indexes included.
async fn bytes(transaction: &Transaction<'_>) -> anyhow::Result<i64> {
    let sql = "SELECT pg_total_relation_size('countersign.sessions') + pg_total_relation_size('countersign.families')";
    Ok(transaction.query_one(sql, &[]).await?.get(0))
}

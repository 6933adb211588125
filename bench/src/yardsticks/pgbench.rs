//! What PostgreSQL commits for 32 clients, each of which updates one random row at a time with a prepared statement.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::Context as _;

use crate::postgres::{self, Postgres};
use crate::process;
use crate::yardsticks::ROW_BYTES;

/// Rows of the table, of about the size of a session's hot row.
const ROWS: u32 = 100_000;
const CLIENTS: &str = "32";
const THREADS: &str = "2";

/// Transactions a second.
pub(crate) fn run(server: &Postgres, work: &Path, warm_up: Duration, duration: Duration) -> anyhow::Result<f64> {
    let url = server.fresh("bench_pgbench")?;
    postgres::with(&url, async |client| {
        let made = format!(
            "CREATE TABLE rows (id bigint PRIMARY KEY, n bigint NOT NULL, padding bytea NOT NULL) WITH (fillfactor = 80); \
             INSERT INTO rows SELECT id, 0, decode(repeat('07', {ROW_BYTES}), 'hex') FROM generate_series(1, {ROWS}) id; \
             VACUUM ANALYZE rows"
        );
        for statement in made.split("; ") {
            client.batch_execute(statement).await?;
        }
        client.batch_execute("CHECKPOINT").await?;
        Ok(())
    })?;
    let script = work.join("update.sql");
    std::fs::write(&script, format!("\\set id random(1, {ROWS})\nUPDATE rows SET n = n + 1 WHERE id = :id;\n"))?;
    let run = |duration: Duration| {
        let mut command = Command::new(&server.pgbench);
        let seconds = duration.as_secs().max(1).to_string();
        command.args([
            "--no-vacuum",
            "--protocol=prepared",
            "--client",
            CLIENTS,
            "--jobs",
            THREADS,
            "--time",
            &seconds,
        ]);
        command.arg("--file").arg(&script).arg(&url);
        let said = process::run(command, None)?;
        let line = said.lines().find_map(|line| line.strip_prefix("tps = ")).context("pgbench says no tps")?;
        let number = line.split(' ').next().unwrap_or_default();
        number.parse::<f64>().with_context(|| format!("pgbench says {line}"))
    };
    run(warm_up)?;
    run(duration)
}

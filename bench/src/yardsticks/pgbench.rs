//! What PostgreSQL commits for 32 clients, each of which updates one random row at a time with a prepared statement.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};

use crate::figures::mean;
use crate::postgres::{self, Postgres};
use crate::yardsticks::ROW_BYTES;

/// Rows of the table, of about the size of a session's hot row.
const ROWS: u32 = 100_000;
const CLIENTS: &str = "32";
const THREADS: &str = "2";

/// A table and the script that updates it.
pub(crate) struct Pgbench {
    program: PathBuf,
    script: PathBuf,
    url: String,
}

impl Pgbench {
    pub(crate) fn prepare(server: &Postgres, work: &Path) -> anyhow::Result<Self> {
        let url = server.fresh("bench_pgbench")?;
        postgres::with(&url, async |client| {
            let made = format!(
                "CREATE TABLE rows (id bigint PRIMARY KEY, n bigint NOT NULL, padding bytea NOT NULL) WITH (fillfactor = 80, autovacuum_enabled = off); \
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
        Ok(Self { program: server.pgbench.clone(), script, url })
    }

    /// Transactions a second, for so many seconds. In the one before them, which is not counted, the processes of its clients are made and
    /// plan their statement; the one after them may not be told of.
    ///
    /// # Errors
    /// pgbench failed, or said something else.
    pub(crate) fn updates(&self, seconds: usize) -> anyhow::Result<f64> {
        let mut command = Command::new(&self.program);
        command.args(["--no-vacuum", "--protocol=prepared", "--progress=1", "--client", CLIENTS, "--jobs", THREADS]);
        command.arg("--time").arg((seconds + 2).to_string());
        command.arg("--file").arg(&self.script).arg(&self.url);
        let output = command.output().with_context(|| self.program.display().to_string())?;
        let told = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "pgbench: {}", told.lines().last().unwrap_or("it failed and said nothing"));
        let rates: Vec<f64> = told.lines().filter_map(rate).skip(1).take(seconds).collect();
        ensure!(rates.len() == seconds, "pgbench does not tell of each second: {told}");
        Ok(mean(&rates))
    }
}

/// Of a line of progress: `progress: 2.0 s, 13462.1 tps, lat 2.374 ms stddev 1.103, 0 failed`.
fn rate(line: &str) -> Option<f64> {
    let (_, rest) = line.strip_prefix("progress: ")?.split_once(" s, ")?;
    rest.split_once(" tps")?.0.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_progress_tells_a_rate() {
        assert_eq!(rate("progress: 2.0 s, 13462.1 tps, lat 2.374 ms stddev 1.103, 0 failed"), Some(13462.1));
        assert_eq!(rate("pgbench (15.18 (Debian 15.18-0+deb12u1))"), None);
    }
}

//! What SQLite commits on this disk: updates of random rows, one thread, the log flushed at every commit.

use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::{Connection, params};

use crate::drive::Kind;
use crate::usage;
use crate::yardsticks::ROW_BYTES;

/// Rows of the table.
const ROWS: u64 = 100_000;

/// How many updates share a commit where it is asked what one row takes: as many as there are clients, so that it is the least.
pub(crate) const GROUP: usize = 64;

/// The name of the processor time of one update among as many.
pub(crate) fn row_figure() -> String {
    format!("SQLite update, {GROUP} a commit, processor time")
}

/// Commits of so many updates each, and how long they took.
#[derive(Debug)]
pub(crate) struct Commits {
    updates_each: usize,
    /// Of each commit, in nanoseconds.
    latencies: Vec<u64>,
    elapsed: Duration,
    cpu: Duration,
}

impl Commits {
    pub(crate) const fn of(updates_each: usize) -> Self {
        Self { updates_each, latencies: Vec::new(), elapsed: Duration::ZERO, cpu: Duration::ZERO }
    }

    fn updates(&self) -> f64 {
        (self.latencies.len() * self.updates_each) as f64
    }

    pub(crate) fn updates_per_second(&self) -> f64 {
        self.updates() / self.elapsed.as_secs_f64()
    }

    /// Processor time of one update, in seconds.
    pub(crate) fn cpu_each(&self) -> f64 {
        self.cpu.as_secs_f64() / self.updates().max(1.0)
    }

    /// What a share of the commits did not exceed, in seconds.
    pub(crate) fn quantile(&self, share: f64) -> f64 {
        Kind::new("commits", self.latencies.clone()).quantile(share)
    }
}

/// A database of its own on the disk of the others.
pub(crate) struct Raw {
    connection: Connection,
    drawn: u64,
}

impl Raw {
    pub(crate) fn new(path: &Path) -> anyhow::Result<Self> {
        let mut connection = Connection::open(path)?;
        connection.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(()))?;
        connection.pragma_update(None, "synchronous", "full")?;
        connection
            .execute_batch("CREATE TABLE rows (id BLOB PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID")?;
        let transaction = connection.transaction()?;
        {
            let mut insert = transaction.prepare("INSERT INTO rows VALUES (?1, ?2)")?;
            for row in 0..ROWS {
                insert.execute(params![id(row), vec![0u8; ROW_BYTES]])?;
            }
        }
        transaction.commit()?;
        Ok(Self { connection, drawn: 0 })
    }

    /// Commits again and again for so long.
    pub(crate) fn commit(&mut self, commits: &mut Commits, duration: Duration) -> anyhow::Result<()> {
        let (began, cpu) = (Instant::now(), usage::thread());
        let mut value = vec![0; ROW_BYTES];
        while began.elapsed() < duration {
            let at = Instant::now();
            let transaction = self.connection.transaction()?;
            {
                let mut update = transaction.prepare_cached("UPDATE rows SET value = ?2 WHERE id = ?1")?;
                for _ in 0..commits.updates_each {
                    self.drawn =
                        self.drawn.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    value[..8].copy_from_slice(&self.drawn.to_le_bytes());
                    update.execute(params![id((self.drawn >> 33) % ROWS), value])?;
                }
            }
            transaction.commit()?;
            commits.latencies.push(u64::try_from(at.elapsed().as_nanos())?);
        }
        commits.elapsed += began.elapsed();
        commits.cpu += usage::thread() - cpu;
        Ok(())
    }
}

/// Sixteen bytes that begin with the number, as ids that are made one after the other do.
fn id(row: u64) -> [u8; 16] {
    let mut bytes = [7; 16];
    bytes[..8].copy_from_slice(&row.to_be_bytes());
    bytes
}

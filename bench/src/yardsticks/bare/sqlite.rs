//! Rows in SQLite: one thread reads and writes whatever waits, and flushes it at the commit.

use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use rusqlite::{Connection, params};

use super::Waiting;
use crate::yardsticks::ROW_BYTES;

/// How many updates share a commit at the most, as in Countersign.
const BATCH: usize = 256;

pub(super) struct Rows {
    queue: Sender<Waiting>,
}

impl Rows {
    pub(super) fn new(path: &Path, rows: u64) -> anyhow::Result<Self> {
        let mut connection = Connection::open(path)?;
        connection.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(()))?;
        connection.pragma_update(None, "synchronous", "full")?;
        connection.execute_batch(
            "CREATE TABLE rows (id INTEGER PRIMARY KEY, n INTEGER NOT NULL, padding BLOB NOT NULL) STRICT",
        )?;
        let transaction = connection.transaction()?;
        for row in 0..rows {
            transaction
                .prepare_cached("INSERT INTO rows VALUES (?1, 0, ?2)")?
                .execute(params![row.cast_signed(), [7u8; ROW_BYTES]])?;
        }
        transaction.commit()?;
        let (queue, waiting) = channel();
        // It ends with the process; a failure leaves every client without an answer, and the load is no figure.
        thread::spawn(move || write(&mut connection, &waiting));
        Ok(Self { queue })
    }

    pub(super) fn update(&self, waiting: Waiting) {
        // Where the thread is gone, its client gets no answer.
        let _ = self.queue.send(waiting);
    }
}

fn write(connection: &mut Connection, queue: &Receiver<Waiting>) -> anyhow::Result<()> {
    while let Ok(first) = queue.recv() {
        let mut batch = vec![first];
        batch.extend(queue.try_iter().take(BATCH - 1));
        let transaction = connection.transaction()?;
        for waiting in &batch {
            let row = waiting.row.cast_signed();
            let count: i64 = transaction
                .prepare_cached("SELECT n, padding FROM rows WHERE id = ?1")?
                .query_row([row], |found| found.get(0))?;
            transaction.prepare_cached("UPDATE rows SET n = ?2 WHERE id = ?1")?.execute([row, count + 1])?;
        }
        transaction.commit()?;
        for waiting in batch {
            let _ = waiting.committed.send(());
        }
    }
    Ok(())
}

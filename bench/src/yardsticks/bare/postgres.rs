//! Rows in PostgreSQL: two connections, each with one statement for whatever waits, which is a transaction by itself.

use anyhow::{Context as _, ensure};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;
use tokio_postgres::{Client, NoTls};

use super::{ROW_BYTES, Waiting};

/// While one is flushed, the next is gathered.
const WAYS: usize = 2;
/// How many updates share a commit at the most, as in Countersign.
const BATCH: usize = 256;

pub(super) struct Rows {
    ways: Vec<UnboundedSender<Waiting>>,
    /// The connections and who writes over them, until the process ends. A failure leaves every client without an answer.
    _tasks: JoinSet<anyhow::Result<()>>,
}

impl Rows {
    pub(super) async fn new(url: &str, rows: u64) -> anyhow::Result<Self> {
        let mut tasks = JoinSet::new();
        let client = connect(url, &mut tasks).await?;
        let made = format!(
            "CREATE TABLE rows (id bigint PRIMARY KEY, n bigint NOT NULL, padding bytea NOT NULL) WITH (fillfactor = 50); \
             INSERT INTO rows SELECT id, 0, decode(repeat('07', {ROW_BYTES}), 'hex') FROM generate_series(0, {rows}) id"
        );
        client.batch_execute(&made).await?;
        client.batch_execute("VACUUM ANALYZE rows").await?;
        let mut ways = Vec::with_capacity(WAYS);
        for _ in 0..WAYS {
            let (way, waiting) = unbounded_channel();
            let client = connect(url, &mut tasks).await?;
            tasks.spawn(write(client, waiting));
            ways.push(way);
        }
        Ok(Self { ways, _tasks: tasks })
    }

    pub(super) fn update(&self, waiting: Waiting) {
        // A row always goes the same way. Where that has ended, its client gets no answer.
        let way = (waiting.row / 3) as usize % self.ways.len();
        let _ = self.ways[way].send(waiting);
    }
}

async fn connect(url: &str, tasks: &mut JoinSet<anyhow::Result<()>>) -> anyhow::Result<Client> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.context("PostgreSQL")?;
    tasks.spawn(async { Ok(connection.await?) });
    Ok(client)
}

async fn write(client: Client, mut queue: UnboundedReceiver<Waiting>) -> anyhow::Result<()> {
    let update = client.prepare("UPDATE rows SET n = n + 1 WHERE id = ANY($1)").await?;
    let mut batch = Vec::with_capacity(BATCH);
    while queue.recv_many(&mut batch, BATCH).await > 0 {
        let rows: Vec<i64> = batch.iter().map(|waiting| waiting.row.cast_signed()).collect();
        let changed = client.execute(&update, &[&rows]).await?;
        ensure!(changed == batch.len() as u64, "a row is not there");
        for waiting in batch.drain(..) {
            let _ = waiting.committed.send(());
        }
    }
    Ok(())
}

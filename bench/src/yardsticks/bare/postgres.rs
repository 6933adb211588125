//! Rows in PostgreSQL: a connection for every four processors, which reads the rows of whatever waits and writes those that are still the same.

use anyhow::{Context as _, ensure};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;
use tokio_postgres::{Client, NoTls};

use super::Waiting;
use crate::usage;
use crate::yardsticks::ROW_BYTES;

/// How many processors share a connection, as in Countersign.
const PROCESSORS: usize = 4;
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
            "CREATE TABLE rows (id bigint PRIMARY KEY, n bigint NOT NULL, padding bytea NOT NULL) WITH (fillfactor = 80); \
             INSERT INTO rows SELECT id, 0, decode(repeat('07', {ROW_BYTES}), 'hex') FROM generate_series(0, {rows} - 1) id"
        );
        client.batch_execute(&made).await?;
        client.batch_execute("VACUUM ANALYZE rows").await?;
        client.batch_execute("CHECKPOINT").await?;
        let mut ways = Vec::new();
        for _ in 0..usage::cores().div_ceil(PROCESSORS) {
            let (way, waiting) = unbounded_channel();
            let client = connect(url, &mut tasks).await?;
            tasks.spawn(write(client, waiting));
            ways.push(way);
        }
        Ok(Self { ways, _tasks: tasks })
    }

    pub(super) fn update(&self, waiting: Waiting) {
        // A row always goes the same way; the rows that are met may all be even, but not all of their thirds. Where the way has ended, its
        // client gets no answer.
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
    let read = client.prepare("SELECT id, n, padding FROM rows WHERE id = ANY($1)").await?;
    let update = client
        .prepare(
            "UPDATE rows r SET n = u.n + 1 FROM unnest($1::bigint[], $2::bigint[]) AS u (id, n) \
             WHERE r.id = ANY($1) AND r.id = u.id AND r.n = u.n",
        )
        .await?;
    let mut batch = Vec::with_capacity(BATCH);
    while queue.recv_many(&mut batch, BATCH).await > 0 {
        let wanted: Vec<i64> = batch.iter().map(|waiting| waiting.row.cast_signed()).collect();
        let found = client.query(&read, &[&wanted]).await?;
        let found = found.iter().map(|row| Ok((row.try_get::<_, i64>(0)?, row.try_get::<_, i64>(1)?)));
        let (ids, counts): (Vec<i64>, Vec<i64>) =
            found.collect::<Result<Vec<_>, tokio_postgres::Error>>()?.into_iter().unzip();
        // By itself a transaction. Nobody else writes the rows of those that wait.
        let written = client.execute(&update, &[&ids, &counts]).await?;
        ensure!(written == batch.len() as u64, "a row is not there");
        for waiting in batch.drain(..) {
            let _ = waiting.committed.send(());
        }
    }
    Ok(())
}

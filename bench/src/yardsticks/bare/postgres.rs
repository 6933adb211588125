//! Rows in PostgreSQL: a connection for every four processors, each with a transaction for whatever waits, which locks the rows, reads them and writes them.

use anyhow::{Context as _, ensure};
use futures_util::future::{try_join, try_join3};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;
use tokio_postgres::types::ToSql;
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
    let lock =
        client.prepare("SELECT id FROM rows WHERE id = ANY($1) ORDER BY id FOR NO KEY UPDATE SKIP LOCKED").await?;
    let read = client.prepare("SELECT id, n, padding FROM rows WHERE id = ANY($1)").await?;
    let update = client
        .prepare("UPDATE rows r SET n = u.n FROM unnest($1::bigint[], $2::bigint[]) AS u (id, n) WHERE r.id = ANY($1) AND r.id = u.id")
        .await?;
    let mut batch = Vec::with_capacity(BATCH);
    while queue.recv_many(&mut batch, BATCH).await > 0 {
        let ids: Vec<i64> = batch.iter().map(|waiting| waiting.row.cast_signed()).collect();
        // One way there and back for all that is looked at, and one for what is written.
        let wanted: [&(dyn ToSql + Sync); 1] = [&ids];
        let (begun, locked, found) =
            (client.batch_execute("BEGIN"), client.query(&lock, &wanted), client.query(&read, &wanted));
        let (_, locked, found) = try_join3(begun, locked, found).await?;
        ensure!(locked.len() == batch.len() && found.len() == batch.len(), "a row is not there");
        let advanced = found.iter().map(|row| Ok((row.try_get::<_, i64>(0)?, row.try_get::<_, i64>(1)? + 1)));
        let (ids, counts): (Vec<i64>, Vec<i64>) =
            advanced.collect::<Result<Vec<_>, tokio_postgres::Error>>()?.into_iter().unzip();
        try_join(client.execute(&update, &[&ids, &counts]), client.batch_execute("COMMIT")).await?;
        for waiting in batch.drain(..) {
            let _ = waiting.committed.send(());
        }
    }
    Ok(())
}

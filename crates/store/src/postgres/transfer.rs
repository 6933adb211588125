//! A PostgreSQL database as one end of a transfer.

use std::path::Path;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use countersign_core::events::EventKind;
use tokio_postgres::Row as StoredRow;
use uuid::Uuid;

use crate::error::StoreError;
use crate::postgres::attempts::Tries;
use crate::postgres::connection::{Connection, Parameter};
use crate::postgres::failures::{Fault, Outcome};
use crate::postgres::node::Memory;
use crate::postgres::pool::Connections;
use crate::postgres::rows::{Bound, Columns, all, corrupt, database_time, first, missing, params};
use crate::postgres::url::PostgresUrl;
use crate::postgres::witness::{Testimony, Witness};
use crate::transfer::{Away, Column, Kind, Marks, PAGE, Place, Row, State, TABLES, Table, Value};
use crate::{Clock, StoreResult, random};

/// Whoever serves the database asks for the position of the feed several times in this time, and learns of the mark by that.
const NOTICED_WITHIN: Duration = Duration::from_secs(2);

/// How long a connection is waited for.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long lies between two attempts to get one.
const PAUSE: Duration = Duration::from_millis(200);

/// Waits for every transaction that writes: each begins with a row of this table, before it looks for the mark; a batch of refreshes looks for
/// it in the statement that changes such a row. Those that come meanwhile wait behind it and find the mark.
const WAIT_FOR_WRITERS: &str =
    "SET LOCAL lock_timeout = 30000; LOCK TABLE countersign.lanes IN SHARE MODE; SET LOCAL lock_timeout = 1200";

/// A database that is left or come to.
pub(crate) struct PostgresPlace {
    connections: Connections,
    witness: Witness,
    clock: Clock,
}

impl PostgresPlace {
    pub(crate) fn open(url: &PostgresUrl, witness: &Path, clock: Clock) -> StoreResult<Self> {
        Ok(Self { connections: Connections::new(url)?, witness: Witness::at(witness), clock })
    }

    /// A connection. A transfer has more patience than whoever waits for an answer.
    async fn connection(&self) -> Outcome<Connection> {
        let began = Instant::now();
        loop {
            match self.connections.get().await {
                Err(Fault::Again(_) | Fault::Final(StoreError::Unavailable(_))) if began.elapsed() < PATIENCE => {
                    tokio::time::sleep(PAUSE).await;
                }
                outcome => return outcome,
            }
        }
    }
}

/// Reads, and again on another connection where the first one was broken.
macro_rules! read {
    ($place:expr, |$connection:ident| $query:expr) => {{
        let mut tries = Tries::default();
        loop {
            let outcome = match $place.connection().await {
                Ok($connection) => $query.await,
                Err(fault) => Err(fault),
            };
            match outcome {
                Ok(answer) => break StoreResult::Ok(answer),
                Err(fault) => tries.again(fault).await?,
            }
        }
    }};
}
/// The same in a transaction, which is committed where the answer is not `None`.
macro_rules! write {
    ($place:expr, |$connection:ident| $work:expr) => {
        read!($place, |$connection| async {
            $connection.batch($connection.begin()).await?;
            match $work.await {
                Ok(Some(answer)) => $connection.commit().await.map(|()| Some(answer)),
                // Given up, it is rolled back.
                outcome => {
                    $connection.discard();
                    outcome
                }
            }
        })
    };
}

#[async_trait]
impl Place for PostgresPlace {
    async fn marks(&mut self) -> StoreResult<Marks> {
        read!(self, |connection| marks(&connection, ""))
    }

    async fn leave(&mut self, to: &str) -> StoreResult<Result<Uuid, Away>> {
        let id = random::id()?;
        let left = write!(self, |connection| leave(&connection, id, to))?;
        match left {
            Some(()) => Ok(Ok(id)),
            None => self.marks().await?.away.map(Err).ok_or_else(|| corrupt("a mark has gone again")),
        }
    }

    async fn stay(&mut self, id: Uuid) -> StoreResult<bool> {
        let sql = "UPDATE countersign.auth_state SET moved_to = NULL, moved_by = NULL \
                   WHERE moved_by = $1 AND moved_for_good = 0";
        read!(self, |connection| changes_one(&connection, sql, params![id]))
    }

    async fn leave_for_good(&mut self, id: Uuid) -> StoreResult<bool> {
        let sql = "UPDATE countersign.auth_state SET moved_for_good = 1 WHERE moved_by = $1";
        read!(self, |connection| changes_one(&connection, sql, params![id]))
    }

    fn noticed_within(&self) -> Duration {
        NOTICED_WITHIN
    }

    async fn page(&mut self, table: &Table, after: Option<&[Value]>) -> StoreResult<Vec<Row>> {
        let (columns, name, key) = (table.list(), table.name, table.key_list());
        let (beyond, after) = match after {
            Some(after) => (format!("WHERE ({key}) > ({})", places(table.key)), after),
            None => (String::new(), [].as_slice()),
        };
        let sql = format!("SELECT {columns} FROM countersign.{name} {beyond} ORDER BY {key} LIMIT {PAGE}");
        let bounds = after.iter().map(single).collect::<StoreResult<Vec<_>>>()?;
        let bounds = parameters(&bounds);
        read!(self, |connection| rows(&connection, &sql, &bounds, table.columns))
    }

    async fn state(&mut self) -> StoreResult<State> {
        read!(self, |connection| standing(&connection))
    }

    async fn is_empty(&mut self) -> StoreResult<bool> {
        read!(self, |connection| is_empty(&connection))
    }

    async fn receive(&mut self, id: Uuid) -> StoreResult<bool> {
        Ok(write!(self, |connection| receive(&connection, id))?.is_some())
    }

    async fn last_key(&mut self, table: &Table) -> StoreResult<Option<Row>> {
        let key = table.key_list();
        let descending = key.replace(',', " DESC,");
        let sql = format!("SELECT {key} FROM countersign.{} ORDER BY {descending} DESC LIMIT 1", table.name);
        let found = read!(self, |connection| rows(&connection, &sql, &[], &table.columns[..table.key]));
        found.map(|mut rows| rows.pop())
    }

    async fn write(&mut self, id: Uuid, table: &Table, rows: Vec<Row>) -> StoreResult<bool> {
        let (columns, name, key) = (table.list(), table.name, table.key_list());
        let places = places(table.columns.len());
        let sql = format!(
            "INSERT INTO countersign.{name} ({columns}) SELECT * FROM unnest({places}) ON CONFLICT ({key}) DO NOTHING"
        );
        let columns = arrays(table, rows)?;
        let columns = parameters(&columns);
        Ok(write!(self, |connection| insert(&connection, id, &sql, &columns))?.is_some())
    }

    async fn arrive(&mut self, id: Uuid, from: &str, state: &State) -> StoreResult<bool> {
        let detail = format!("from {from}");
        Ok(write!(self, |connection| arrive(&connection, &self.clock, id, &detail, state))?.is_some())
    }

    async fn bear_witness(&mut self) -> StoreResult<()> {
        read!(self, |connection| bear_witness(&connection, &self.witness))
    }

    async fn count(&mut self, table: &Table) -> StoreResult<u64> {
        let sql = format!("SELECT count(*) FROM countersign.{}", table.name);
        read!(self, |connection| async {
            let counted = first(&connection.rows(&sql, &[]).await?, |columns| columns.counter())?;
            counted.ok_or_else(|| Fault::from(corrupt("a count gave no row")))
        })
    }
}

/// The marks; with `FOR UPDATE`, nobody else changes them until the transaction ends.
async fn marks(connection: &Connection, hold: &str) -> Outcome<Marks> {
    let sql = format!(
        "SELECT incarnation, moved_to, moved_by, moved_for_good, arriving, arrived FROM countersign.auth_state {hold}"
    );
    let marks = first(&connection.rows(&sql, &[]).await?, |columns| {
        let incarnation = columns.value()?;
        let (to, by, for_good): (Option<String>, _, i64) = (columns.value()?, columns.value()?, columns.value()?);
        let away = to.zip(by).map(|(to, by)| Away { to, by, for_good: for_good == 1 });
        Ok(Marks { incarnation, away, arriving: columns.value()?, arrived: columns.value()? })
    })?;
    Ok(marks.ok_or_else(missing)?)
}

async fn leave(connection: &Connection, id: Uuid, to: &str) -> Outcome<Option<()>> {
    connection.batch(WAIT_FOR_WRITERS).await?;
    let sql = "UPDATE countersign.auth_state SET moved_to = $1, moved_by = $2 WHERE moved_to IS NULL";
    Ok(changes_one(connection, sql, params![to, id]).await?.then_some(()))
}

async fn receive(connection: &Connection, id: Uuid) -> Outcome<Option<()>> {
    connection.batch(WAIT_FOR_WRITERS).await?;
    let Marks { away, arriving, arrived, .. } = marks(connection, "FOR UPDATE").await?;
    if away.is_some() || arriving.is_some() || arrived.is_some() || !is_empty(connection).await? {
        return Ok(None);
    }
    let sql = "UPDATE countersign.auth_state SET arriving = $1";
    Ok(changes_one(connection, sql, params![id]).await?.then_some(()))
}

async fn is_empty(connection: &Connection) -> Outcome<bool> {
    for table in TABLES {
        let sql = format!("SELECT 1 FROM countersign.{} LIMIT 1", table.name);
        if !connection.rows(&sql, &[]).await?.is_empty() {
            return Ok(false);
        }
    }
    Ok(true)
}

async fn insert(connection: &Connection, id: Uuid, sql: &str, columns: &[Parameter<'_>]) -> Outcome<Option<()>> {
    if marks(connection, "FOR SHARE").await?.arriving != Some(id) {
        return Ok(None);
    }
    connection.execute(sql, columns).await?;
    Ok(Some(()))
}

async fn standing(connection: &Connection) -> Outcome<State> {
    let mut numbers = vec![];
    for table in TABLES.iter().filter(|table| table.is_numbered) {
        let sql = format!(
            "SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM countersign.{}_{}_seq",
            table.name,
            table.key_list()
        );
        let given = first(&connection.rows(&sql, &[]).await?, |columns| columns.value::<i64>())?;
        numbers.push(given.ok_or_else(|| corrupt("a sequence has no row"))?);
    }
    let sql = "SELECT incarnation, global_epoch, feed_seq, longest_access_lifetime FROM countersign.auth_state";
    let state = first(&connection.rows(sql, &[]).await?, |columns| {
        Ok(State {
            incarnation: columns.value()?,
            global_epoch: columns.value()?,
            feed_seq: columns.value()?,
            longest_access_lifetime: columns.value()?,
            numbers,
        })
    })?;
    Ok(state.ok_or_else(missing)?)
}

async fn arrive(connection: &Connection, clock: &Clock, id: Uuid, detail: &str, state: &State) -> Outcome<Option<()>> {
    let State { incarnation, global_epoch, feed_seq, longest_access_lifetime, numbers } = state;
    let sql = "UPDATE countersign.auth_state SET incarnation = $1, global_epoch = $2, feed_seq = $3, \
               longest_access_lifetime = $4, arriving = NULL, arrived = $5 WHERE arriving = $5";
    let stood = params![*incarnation, *global_epoch, *feed_seq, *longest_access_lifetime, id];
    if !changes_one(connection, sql, stood).await? {
        return Ok(None);
    }
    for (table, number) in TABLES.iter().filter(|table| table.is_numbered).zip(numbers).filter(|(_, given)| **given > 0)
    {
        let sql = format!("SELECT setval('countersign.{}_{}_seq', $1)", table.name, table.key_list());
        connection.rows(&sql, params![*number]).await?;
    }
    let now = match clock {
        Clock::System => database_time!().to_owned(),
        Clock::Manual(_) => clock.now().get().to_string(),
    };
    let sql =
        format!("INSERT INTO countersign.events (at, kind, actor, detail) VALUES ({now}, $1, 'command_line', $2)");
    connection.execute(&sql, params![EventKind::DatabaseMoved.as_str(), detail]).await?;
    Ok(Some(()))
}

/// A witness of this place may tell of another database, which was here before.
async fn bear_witness(connection: &Connection, witness: &Witness) -> Outcome<()> {
    if witness.objection(connection).await?.is_none() {
        return Ok(());
    }
    let sql = "SELECT incarnation, feed_seq, global_epoch FROM countersign.auth_state";
    let rows = connection.rows(sql, &[]).await?;
    let position = first(&rows, |columns| columns.position())?.ok_or_else(missing)?;
    let node = random::id()?;
    Ok(witness.write(&Testimony::of(node, Memory { position, lanes: vec![] }))?)
}

async fn changes_one(connection: &Connection, sql: &str, parameters: &[Parameter<'_>]) -> Outcome<bool> {
    Ok(connection.execute(sql, parameters).await? == 1)
}

/// `$1, $2, $3`.
fn places(count: usize) -> String {
    (1..=count).map(|place| format!("${place}")).collect::<Vec<_>>().join(", ")
}

/// A value of a key.
fn single(value: &Value) -> StoreResult<Box<dyn Bound + Send>> {
    Ok(match value {
        Value::Id(id) => Box::new(Uuid::from_bytes(*id)),
        Value::Bytes(bytes) => Box::new(bytes.clone()),
        Value::Integer(number) => Box::new(*number),
        Value::Text(text) => Box::new(text.clone()),
        Value::Null => return Err(corrupt("a part of a key is missing")),
    })
}

fn parameters<'p>(values: &'p [Box<dyn Bound + Send>]) -> Vec<Parameter<'p>> {
    values.iter().map(|value| &**value as Parameter<'p>).collect()
}

/// The rows of a page, column by column.
fn arrays(table: &Table, rows: Vec<Row>) -> StoreResult<Vec<Box<dyn Bound + Send>>> {
    let mut columns: Vec<Vec<Value>> = table.columns.iter().map(|_| Vec::with_capacity(rows.len())).collect();
    for row in rows {
        for (column, value) in columns.iter_mut().zip(row) {
            column.push(value);
        }
    }
    table.columns.iter().zip(columns).map(|(column, values)| array(column.kind, values)).collect()
}

fn array(kind: Kind, values: Vec<Value>) -> StoreResult<Box<dyn Bound + Send>> {
    fn of<T>(values: Vec<Value>, take: impl Fn(Value) -> Option<T>) -> StoreResult<Vec<Option<T>>> {
        let value = |value| match value {
            Value::Null => Ok(None),
            value => take(value).map(Some).ok_or_else(|| corrupt("a column has another type than it is written with")),
        };
        values.into_iter().map(value).collect()
    }
    Ok(match kind {
        Kind::Id => Box::new(of(values, |value| match value {
            Value::Id(id) => Some(Uuid::from_bytes(id)),
            _ => None,
        })?),
        Kind::Bytes => Box::new(of(values, |value| match value {
            Value::Bytes(bytes) => Some(bytes),
            _ => None,
        })?),
        Kind::Integer => Box::new(of(values, |value| match value {
            Value::Integer(number) => Some(number),
            _ => None,
        })?),
        Kind::Text => Box::new(of(values, |value| match value {
            Value::Text(text) => Some(text),
            _ => None,
        })?),
    })
}

async fn rows(connection: &Connection, sql: &str, bounds: &[Parameter<'_>], columns: &[Column]) -> Outcome<Vec<Row>> {
    let found: Vec<StoredRow> = connection.rows(sql, bounds).await?;
    all(&found, |stored| columns.iter().map(|column| value(stored, column.kind)).collect())
}

fn value(columns: &mut Columns<'_>, kind: Kind) -> Outcome<Value> {
    let value = match kind {
        Kind::Id => columns.value::<Option<Uuid>>()?.map(|id| Value::Id(id.into_bytes())),
        Kind::Bytes => columns.value::<Option<Vec<u8>>>()?.map(Value::Bytes),
        Kind::Integer => columns.value::<Option<i64>>()?.map(Value::Integer),
        Kind::Text => columns.value::<Option<String>>()?.map(Value::Text),
    };
    Ok(value.unwrap_or(Value::Null))
}

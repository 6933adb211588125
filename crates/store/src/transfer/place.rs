//! What both ends of a transfer can do: every back-end is a place that is left and a place that is come to.

use std::time::Duration;

use async_trait::async_trait;
use uuid::Uuid;

use super::tables::{Row, Table, Value};
use crate::database::Database;
use crate::postgres::PostgresPlace;
use crate::sqlite::SqlitePlace;
use crate::{Clock, StoreResult};

/// What transfers have marked a database with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Marks {
    /// The history of the database.
    pub(crate) incarnation: Uuid,
    /// It is not to be served, since another one takes its place.
    pub(crate) away: Option<Away>,
    /// The transfer that is filling it.
    pub(crate) arriving: Option<Uuid>,
    /// The transfer that has filled it.
    pub(crate) arrived: Option<Uuid>,
}

/// Where a database goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Away {
    /// The place, without a password.
    pub(crate) to: String,
    /// The transfer.
    pub(crate) by: Uuid,
    /// The move is not taken back any more.
    pub(crate) for_good: bool,
}

/// What there is once in a database, and goes over at last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) incarnation: Uuid,
    pub(crate) global_epoch: i64,
    pub(crate) feed_seq: i64,
    pub(crate) longest_access_lifetime: i64,
    /// The last number that was given out in each table of [`Table::is_numbered`], in their order.
    pub(crate) numbers: Vec<i64>,
}

/// One end of a transfer. What it does is done when it answers.
#[async_trait]
pub(crate) trait Place: Send {
    async fn marks(&mut self) -> StoreResult<Marks>;

    // The source

    /// Marks it as moved, under a new id, and answers when nothing is written to it any more; or where it goes already.
    async fn leave(&mut self, to: &str) -> StoreResult<Result<Uuid, Away>>;
    /// Takes the mark of this transfer off, unless the move is not taken back any more: `false`.
    async fn stay(&mut self, id: Uuid) -> StoreResult<bool>;
    /// Lets nobody take the move back from now on; `false` where somebody has.
    async fn leave_for_good(&mut self, id: Uuid) -> StoreResult<bool>;
    /// How long after it was marked somebody who serves it may not have noticed.
    fn noticed_within(&self) -> Duration;
    /// The next rows after a key.
    async fn page(&mut self, table: &Table, after: Option<&[Value]>) -> StoreResult<Vec<Row>>;
    async fn state(&mut self) -> StoreResult<State>;

    // The destination

    async fn is_empty(&mut self) -> StoreResult<bool>;
    /// Marks it as the destination, so that nobody serves it, where it is empty and nobody has done so: else `false`.
    async fn receive(&mut self, id: Uuid) -> StoreResult<bool>;
    /// The key of the last row.
    async fn last_key(&mut self, table: &Table) -> StoreResult<Option<Row>>;
    /// Writes rows, and leaves alone those that are there; `false`: it is not marked by this transfer (any more).
    async fn write(&mut self, id: Uuid, table: &Table, rows: Vec<Row>) -> StoreResult<bool>;
    /// Goes on from where the source stood, and may be served; `false`: it is not marked by this transfer (any more).
    async fn arrive(&mut self, id: Uuid, from: &str, state: &State) -> StoreResult<bool>;
    /// Sees to it that the witness here does not take what has arrived for a restored copy of something else.
    async fn bear_witness(&mut self) -> StoreResult<()>;

    // Both

    async fn count(&mut self, table: &Table) -> StoreResult<u64>;
}

/// Opens a database that exists and is up to date.
pub(crate) fn open(database: &Database, clock: &Clock) -> StoreResult<Box<dyn Place>> {
    match database {
        Database::Sqlite(path) => Ok(Box::new(SqlitePlace::open(path, clock.clone())?)),
        Database::Postgres { url, witness } => Ok(Box::new(PostgresPlace::open(url, witness, clock.clone())?)),
    }
}

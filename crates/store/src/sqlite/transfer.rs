//! A SQLite file as one end of a transfer.

use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use countersign_core::events::EventKind;
use rusqlite::types::{Value as Stored, ValueRef};
use rusqlite::{Connection, Row as StoredRow, Transaction, TransactionBehavior, params, params_from_iter};
use uuid::Uuid;

use crate::sqlite::connection::{Access, connect, locate};
use crate::sqlite::rows::{Columns, corrupt, execute, one};
use crate::sqlite::witness::Witness;
use crate::transfer::{Away, Kind, Marks, PAGE, Place, Row, State, TABLES, Table, Value};
use crate::{Clock, StoreResult, random};

/// A database file that is left or come to.
pub(crate) struct SqlitePlace {
    connection: Connection,
    path: PathBuf,
    clock: Clock,
}

impl SqlitePlace {
    pub(crate) fn open(path: &Path, clock: Clock) -> StoreResult<Self> {
        let path = locate(path)?;
        Ok(Self { connection: connect(&path, Access::Write)?, path, clock })
    }

    fn begin(&mut self) -> StoreResult<Transaction<'_>> {
        Ok(self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?)
    }

    /// Notes in the witness, where there is one, how far the database has come: a copy from before is noticed.
    fn follow(&self) -> StoreResult<()> {
        let served = one(&self.connection, "SELECT served FROM auth_state", [], |columns| columns.value::<bool>())?;
        if served == Some(true) { Witness::beside(&self.path).follow(&self.connection) } else { Ok(()) }
    }
}

#[async_trait]
impl Place for SqlitePlace {
    async fn marks(&mut self) -> StoreResult<Marks> {
        marks(&self.connection)
    }

    async fn leave(&mut self, to: &str) -> StoreResult<Result<Uuid, Away>> {
        let id = random::id()?;
        let transaction = self.begin()?;
        if let Some(away) = marks(&transaction)?.away {
            return Ok(Err(away));
        }
        // Whoever writes looks for the mark after it has taken the lock that is held here.
        let sql = "UPDATE auth_state SET moved_to = ?1, moved_by = ?2, commit_seq = commit_seq + 1";
        execute(&transaction, sql, params![to, id.as_bytes()])?;
        transaction.commit()?;
        self.follow()?;
        Ok(Ok(id))
    }

    async fn stay(&mut self, id: Uuid) -> StoreResult<bool> {
        let sql = "UPDATE auth_state SET moved_to = NULL, moved_by = NULL, commit_seq = commit_seq + 1 \
                   WHERE moved_by = ?1 AND moved_for_good = 0";
        let changed = execute(&self.connection, sql, [id.as_bytes()])? == 1;
        self.follow()?;
        Ok(changed)
    }

    async fn leave_for_good(&mut self, id: Uuid) -> StoreResult<bool> {
        let sql = "UPDATE auth_state SET moved_for_good = 1 WHERE moved_by = ?1";
        Ok(execute(&self.connection, sql, [id.as_bytes()])? == 1)
    }

    /// It is looked for at every read.
    fn noticed_within(&self) -> Duration {
        Duration::ZERO
    }

    async fn page(&mut self, table: &Table, after: Option<&[Value]>) -> StoreResult<Vec<Row>> {
        let (columns, name, key) = (table.list(), table.name, table.key_list());
        let (beyond, after) = match after {
            Some(after) => (format!("WHERE ({key}) > ({})", places(table.key)), after),
            None => (String::new(), [].as_slice()),
        };
        let sql = format!("SELECT {columns} FROM {name} {beyond} ORDER BY {key} LIMIT {PAGE}");
        let mut statement = self.connection.prepare_cached(&sql)?;
        let mut rows = statement.query(params_from_iter(after.iter().map(stored)))?;
        let mut page = vec![];
        while let Some(row) = rows.next()? {
            page.push(read(row, table.columns.iter().map(|column| column.kind))?);
        }
        Ok(page)
    }

    async fn state(&mut self) -> StoreResult<State> {
        let snapshot = self.connection.unchecked_transaction()?;
        let numbers = TABLES.iter().filter(|table| table.is_numbered).map(|table| {
            let given = "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = ?1";
            one(&snapshot, given, [table.name], |columns| columns.value())?
                .ok_or_else(|| corrupt("a count gave no row"))
        });
        let numbers = numbers.collect::<StoreResult<_>>()?;
        let sql = "SELECT incarnation, global_epoch, feed_seq, longest_access_lifetime FROM auth_state";
        let state = one(&snapshot, sql, [], |columns| {
            Ok(State {
                incarnation: Uuid::from_bytes(columns.value()?),
                global_epoch: columns.value()?,
                feed_seq: columns.value()?,
                longest_access_lifetime: columns.value()?,
                numbers,
            })
        })?;
        state.ok_or_else(|| corrupt("auth_state is empty"))
    }

    async fn is_empty(&mut self) -> StoreResult<bool> {
        is_empty(&self.connection)
    }

    async fn receive(&mut self, id: Uuid) -> StoreResult<bool> {
        let transaction = self.begin()?;
        let Marks { away, arriving, arrived, .. } = marks(&transaction)?;
        if away.is_some() || arriving.is_some() || arrived.is_some() || !is_empty(&transaction)? {
            return Ok(false);
        }
        execute(&transaction, "UPDATE auth_state SET arriving = ?1, commit_seq = commit_seq + 1", [id.as_bytes()])?;
        transaction.commit()?;
        Ok(true)
    }

    async fn last_key(&mut self, table: &Table) -> StoreResult<Option<Row>> {
        let key = table.key_list();
        let descending = key.replace(',', " DESC,");
        let sql = format!("SELECT {key} FROM {} ORDER BY {descending} DESC LIMIT 1", table.name);
        let mut statement = self.connection.prepare_cached(&sql)?;
        let mut rows = statement.query([])?;
        let key = table.columns[..table.key].iter().map(|column| column.kind);
        rows.next()?.map(|row| read(row, key)).transpose()
    }

    async fn write(&mut self, id: Uuid, table: &Table, rows: Vec<Row>) -> StoreResult<bool> {
        let (columns, name, key) = (table.list(), table.name, table.key_list());
        let places = places(table.columns.len());
        let sql = format!("INSERT INTO {name} ({columns}) VALUES ({places}) ON CONFLICT ({key}) DO NOTHING");
        let transaction = self.begin()?;
        if marks(&transaction)?.arriving != Some(id) {
            return Ok(false);
        }
        for row in rows {
            execute(&transaction, &sql, params_from_iter(row.iter().map(stored)))?;
        }
        transaction.commit()?;
        Ok(true)
    }

    async fn arrive(&mut self, id: Uuid, from: &str, state: &State) -> StoreResult<bool> {
        let now = self.clock.now();
        let transaction = self.begin()?;
        let sql = "UPDATE auth_state SET incarnation = ?1, global_epoch = ?2, feed_seq = ?3, longest_access_lifetime = ?4, \
                   commit_seq = commit_seq + 1, arriving = NULL, arrived = ?5 WHERE arriving = ?5";
        let State { incarnation, global_epoch, feed_seq, longest_access_lifetime, numbers } = state;
        let stood = params![incarnation.as_bytes(), global_epoch, feed_seq, longest_access_lifetime, id.as_bytes()];
        if execute(&transaction, sql, stood)? != 1 {
            return Ok(false);
        }
        for (table, number) in TABLES.iter().filter(|table| table.is_numbered).zip(numbers) {
            // There is no row yet where nothing was inserted, and no constraint that would keep a second one out.
            execute(&transaction, "DELETE FROM sqlite_sequence WHERE name = ?1", [table.name])?;
            let sql = "INSERT INTO sqlite_sequence (name, seq) VALUES (?1, ?2)";
            execute(&transaction, sql, params![table.name, number])?;
        }
        let sql = "INSERT INTO events (at, kind, actor, detail) VALUES (?1, ?2, 'command_line', ?3)";
        execute(&transaction, sql, params![now.get(), EventKind::DatabaseMoved.as_str(), format!("from {from}")])?;
        transaction.commit()?;
        Ok(true)
    }

    async fn bear_witness(&mut self) -> StoreResult<()> {
        Witness::beside(&self.path).follow(&self.connection)
    }

    async fn count(&mut self, table: &Table) -> StoreResult<u64> {
        let sql = format!("SELECT count(*) FROM {}", table.name);
        one(&self.connection, &sql, [], |columns| columns.counter())?.ok_or_else(|| corrupt("a count gave no row"))
    }
}

fn marks(connection: &Connection) -> StoreResult<Marks> {
    let sql = "SELECT incarnation, moved_to, moved_by, moved_for_good, arriving, arrived FROM auth_state";
    let id = |columns: &mut Columns<'_>| -> StoreResult<_> {
        Ok(columns.value::<Option<[u8; 16]>>()?.map(Uuid::from_bytes))
    };
    let marks = one(connection, sql, [], |columns| {
        let incarnation = Uuid::from_bytes(columns.value()?);
        let (to, by, for_good): (Option<String>, _, bool) = (columns.value()?, id(columns)?, columns.value()?);
        let away = to.zip(by).map(|(to, by)| Away { to, by, for_good });
        Ok(Marks { incarnation, away, arriving: id(columns)?, arrived: id(columns)? })
    })?;
    marks.ok_or_else(|| corrupt("auth_state is empty"))
}

fn is_empty(connection: &Connection) -> StoreResult<bool> {
    for table in TABLES {
        let sql = format!("SELECT EXISTS (SELECT 1 FROM {})", table.name);
        if one(connection, &sql, [], |columns| columns.value::<bool>())? != Some(false) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// `?, ?, ?`.
fn places(count: usize) -> String {
    vec!["?"; count].join(", ")
}

fn stored(value: &Value) -> Stored {
    match value {
        Value::Null => Stored::Null,
        Value::Id(id) => Stored::Blob(id.to_vec()),
        Value::Bytes(bytes) => Stored::Blob(bytes.clone()),
        Value::Integer(number) => Stored::Integer(*number),
        Value::Text(text) => Stored::Text(text.clone()),
    }
}

fn read(row: &StoredRow<'_>, kinds: impl Iterator<Item = Kind>) -> StoreResult<Row> {
    let value = |(column, kind)| {
        Ok(match (row.get_ref(column)?, kind) {
            (ValueRef::Null, _) => Value::Null,
            (ValueRef::Blob(bytes), Kind::Id) => {
                Value::Id(bytes.try_into().map_err(|_| corrupt("an id has another length than 16 bytes"))?)
            }
            (ValueRef::Blob(bytes), Kind::Bytes) => Value::Bytes(bytes.to_vec()),
            (ValueRef::Integer(number), Kind::Integer) => Value::Integer(number),
            (ValueRef::Text(text), Kind::Text) => {
                let text = std::str::from_utf8(text).map_err(|_| corrupt("a text is not UTF-8"))?;
                Value::Text(text.to_owned())
            }
            _ => return Err(corrupt("a column has another type than it is written with")),
        })
    };
    kinds.enumerate().map(value).collect()
}

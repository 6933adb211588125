//! The crowd in SQLite: one transaction.

use std::path::Path;

use anyhow::Context as _;
use countersign_core::keys::KeyUse;
use rusqlite::types::Value;
use rusqlite::{Connection, OpenFlags, Row, params, params_from_iter};
use uuid::Uuid;

use super::{LONG_OVER_MILLIS, Loaded, Numbers, name};
use crate::server::MODEL;

/// The columns of a row of the model.
struct Model {
    table: &'static str,
    columns: Vec<String>,
    values: Vec<Value>,
}

impl Model {
    fn read(connection: &Connection, table: &'static str, column: &str, value: &Value) -> anyhow::Result<Self> {
        let mut statement = connection.prepare(&format!("SELECT * FROM {table} WHERE {column} = ?1"))?;
        let columns: Vec<String> = statement.column_names().map(str::to_owned).collect();
        let all = |row: &Row<'_>| (0..columns.len()).map(|at| row.get(at)).collect::<Result<Vec<Value>, _>>();
        let values = statement.query_row([value], all).with_context(|| format!("the model's row in {table}"))?;
        Ok(Self { table, columns, values })
    }

    fn at(&self, column: &str) -> anyhow::Result<usize> {
        let found = self.columns.iter().position(|name| name == column);
        found.with_context(|| format!("{} has no column {column}", self.table))
    }

    fn value(&self, column: &str) -> anyhow::Result<&Value> {
        Ok(&self.values[self.at(column)?])
    }

    /// Copies the row for each of the numbers, with other values in these columns.
    fn copy<const N: usize>(
        &self,
        connection: &Connection,
        numbers: std::ops::Range<u64>,
        changed: [&str; N],
        values: impl Fn(u64) -> [Value; N],
    ) -> anyhow::Result<()> {
        let places = changed.iter().map(|column| self.at(column)).collect::<anyhow::Result<Vec<_>>>()?;
        let marks = vec!["?"; self.columns.len()].join(", ");
        let sql = format!("INSERT INTO {} ({}) VALUES ({marks})", self.table, self.columns.join(", "));
        let mut statement = connection.prepare(&sql)?;
        let mut row = self.values.clone();
        for number in numbers {
            for (place, value) in places.iter().zip(values(number)) {
                row[*place] = value;
            }
            statement.execute(params_from_iter(&row))?;
        }
        Ok(())
    }
}

fn blob(id: Uuid) -> Value {
    Value::Blob(id.as_bytes().to_vec())
}

pub(super) fn load(path: &Path, size: u64, over: u64, born: i64) -> anyhow::Result<Loaded> {
    let mut connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    // Nobody needs the database if this fails.
    connection.pragma_update_and_check(None, "journal_mode", "off", |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", "off")?;
    let account = Model::read(&connection, "accounts", "username", &Value::Text(MODEL.to_owned()))?;
    let session = Model::read(&connection, "sessions", "account", account.value("id")?)?;
    let family = Model::read(&connection, "families", "session", session.value("id")?)?;
    let Value::Integer(generation) = family.value("generation")? else { anyhow::bail!("a generation is a number") };
    let numbers = Numbers { born, generation: u32::try_from(*generation)? };
    let (kid, sealed) = connection.query_row(
        "SELECT kid, sealed FROM keys WHERE key_use = ?1 ORDER BY id DESC LIMIT 1",
        [KeyUse::RefreshTag.as_str()],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;

    let transaction = connection.transaction()?;
    let names = ["id", "username", "username_canonical", "email", "email_canonical"];
    account.copy(&transaction, 0..size, names, |number| {
        let (name, email) = (name(number), format!("{}@example.com", name(number)));
        [
            blob(numbers.account(number)),
            Value::Text(name.clone()),
            Value::Text(name),
            Value::Text(email.clone()),
            Value::Text(email),
        ]
    })?;
    let before = bytes(&transaction)?;
    // The latter are everybody's second sessions, from the first account on again.
    let (living, dead) = (over..over + size, 0..over);
    let long_ago = Value::Integer(born - LONG_OVER_MILLIS);
    let cold = ["id", "account"];
    let described = |number: u64, owner: u64| [blob(numbers.session(number)), blob(numbers.account(owner))];
    session.copy(&transaction, dead.clone(), cold, |number| described(number, number % size))?;
    let hot = ["id", "session", "account", "session_expires_at", "current_hash", "previous_hash", "idle_expires_at"];
    let (end, idle) = (family.value("session_expires_at")?, family.value("idle_expires_at")?);
    let row = |number: u64, owner: u64, [end, idle]: [&Value; 2]| {
        [
            blob(numbers.family(number)),
            blob(numbers.session(number)),
            blob(numbers.account(owner)),
            end.clone(),
            Value::Blob(numbers.current_hash(number).to_vec()),
            Value::Blob(numbers.previous_hash(number).to_vec()),
            idle.clone(),
        ]
    };
    family.copy(&transaction, dead, hot, |number| row(number, number % size, [&long_ago; 2]))?;
    let dead_bytes = bytes(&transaction)? - before;
    session.copy(&transaction, living.clone(), cold, |number| described(number, number - over))?;
    family.copy(&transaction, living, hot, |number| row(number, number - over, [end, idle]))?;
    let after = bytes(&transaction)?;
    transaction.commit()?;
    connection.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(()))?;
    let bytes_each = (after - before - dead_bytes) as f64 / size as f64;
    Ok(Loaded { numbers, kid, sealed, bytes_each })
}

/// The size of the database, what is in its log included.
pub(crate) fn bytes(connection: &Connection) -> anyhow::Result<i64> {
    let pages: i64 = connection.query_row("PRAGMA page_count", params![], |row| row.get(0))?;
    let page: i64 = connection.query_row("PRAGMA page_size", params![], |row| row.get(0))?;
    Ok(pages * page)
}

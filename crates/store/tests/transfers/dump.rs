//! Everything that a database holds, in a form in which two back-ends can be compared. It finds the tables and columns by itself, so
//! that a new one which no transfer takes along is noticed.

use std::collections::BTreeMap;

use countersign_store::database::Database;

use crate::house::Site;

/// The rows of each table but those of the migrations and of `auth_state`, by its name; every row with the names of its columns.
pub(crate) type Dump = BTreeMap<String, Vec<BTreeMap<String, Option<String>>>>;

pub(crate) async fn dump(site: &Site) -> Dump {
    let is_sqlite = matches!(site.database, Database::Sqlite(_));
    let columns = if is_sqlite {
        "SELECT t.name, c.name, c.type FROM sqlite_schema t JOIN pragma_table_info(t.name) c WHERE t.type = 'table' \
         AND t.name NOT LIKE 'sqlite%'"
    } else {
        "SELECT table_name, column_name, data_type FROM information_schema.columns WHERE table_schema = 'countersign'"
    };
    let mut tables: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
    for row in site.rows(columns).await {
        let [table, column, kind] = row.try_into().unwrap();
        tables.entry(table.unwrap()).or_default().push((column.unwrap(), kind.unwrap()));
    }
    tables.retain(|table, _| table != "migrations" && table != "auth_state");
    let mut dump = Dump::new();
    for (table, columns) in tables {
        let shown: Vec<_> = columns.iter().map(|(column, kind)| as_text(column, kind)).collect();
        let rows = site.rows(&format!("SELECT {} FROM {table}", shown.join(", "))).await;
        let named = |row: Vec<_>| columns.iter().map(|(column, _)| column.clone()).zip(row).collect();
        let mut rows: Vec<_> = rows.into_iter().map(named).collect();
        rows.sort();
        dump.insert(table, rows);
    }
    dump
}

fn as_text(column: &str, kind: &str) -> String {
    match kind {
        "BLOB" => format!("CASE WHEN {column} IS NULL THEN NULL ELSE lower(hex({column})) END"),
        "bytea" => format!("encode({column}, 'hex')"),
        "uuid" => format!("replace({column}::text, '-', '')"),
        _ => format!("CAST({column} AS text)"),
    }
}

/// Takes the event off that tells of the arrival, which the source does not have, and gives what it says.
pub(crate) fn without_arrival(dump: &mut Dump) -> String {
    let events = dump.get_mut("events").unwrap();
    let newest =
        (0..events.len()).max_by_key(|at| events[*at]["id"].as_ref().unwrap().parse::<i64>().unwrap()).unwrap();
    let arrival = events.remove(newest);
    assert_eq!(arrival["kind"].as_deref(), Some("database_moved"));
    assert_eq!(arrival["actor"].as_deref(), Some("command_line"));
    arrival["detail"].clone().unwrap()
}

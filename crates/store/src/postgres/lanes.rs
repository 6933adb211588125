//! The rows in which a node counts its commits, held against what it remembers of them.

use uuid::Uuid;

use crate::postgres::connection::Connection;
use crate::postgres::failures::Outcome;
use crate::postgres::rows::{all, params};

/// The first lane in which there is less than was seen: what there is, and what was seen.
pub(super) fn behind(seen: &[u64], committed: &[(i64, u64)]) -> Option<(u64, u64)> {
    seen.iter().enumerate().find_map(|(lane, seen)| {
        let found = committed.iter().find(|(number, _)| *number == lane as i64).map_or(0, |(_, seq)| *seq);
        (found < *seen).then_some((found, *seen))
    })
}

/// What a node has committed, by lane.
pub(super) async fn committed(connection: &Connection, node: Uuid) -> Outcome<Vec<(i64, u64)>> {
    let sql = "SELECT lane, commit_seq FROM countersign.lanes WHERE node = $1";
    all(&connection.rows(sql, params![node]).await?, |columns| Ok((columns.value()?, columns.counter()?)))
}

//! Throttles: what is used of the allowances, which every process on this database shares.

use countersign_core::throttles::Usage;
use rusqlite::{Connection, params};

use crate::StoreResult;
use crate::sqlite::rows::{execute, one};
use crate::sqlite::writing::Writing;
use crate::verbs::{Bucket, Charge};

pub(super) fn usage(connection: &Connection, buckets: &[Bucket]) -> StoreResult<Vec<Usage>> {
    buckets.iter().map(|bucket| usage_of(connection, *bucket)).collect()
}

fn usage_of(connection: &Connection, bucket: Bucket) -> StoreResult<Usage> {
    let sql = "SELECT spent_until FROM throttles WHERE bucket = ?1";
    let found = one(connection, sql, [bucket.as_bytes()], |columns| columns.millis())?;
    Ok(found.map_or(Usage::NONE, Usage::until))
}

pub(super) fn charge(writing: &Writing<'_>, charges: &[Charge]) -> StoreResult<()> {
    let connection = writing.connection;
    for charge in charges {
        let usage = usage_of(connection, charge.bucket)?.spend(charge.quota, writing.now);
        let sql = "INSERT INTO throttles (bucket, spent_until) VALUES (?1, ?2) \
                   ON CONFLICT (bucket) DO UPDATE SET spent_until = excluded.spent_until";
        execute(connection, sql, params![charge.bucket.as_bytes(), usage.grown_back_at().get()])?;
    }
    Ok(())
}

//! Throttles: what is used of the allowances, which every node shares.

use std::collections::{BTreeMap, HashMap};

use countersign_core::throttles::Usage;

use crate::postgres::connection::Connection;
use crate::postgres::failures::Outcome;
use crate::postgres::rows::{Columns, all, corrupt, params};
use crate::postgres::writing::Writing;
use crate::verbs::{Bucket, Charge};

pub(super) async fn usage(connection: &Connection, buckets: &[Bucket]) -> Outcome<Vec<Usage>> {
    let keys: Vec<Vec<u8>> = buckets.iter().map(|bucket| bucket.as_bytes().to_vec()).collect();
    let sql = "SELECT bucket, spent_until FROM countersign.throttles WHERE bucket = ANY($1)";
    let found: HashMap<Bucket, Usage> = all(&connection.rows(sql, params![keys]).await?, stored)?.into_iter().collect();
    Ok(buckets.iter().map(|bucket| found.get(bucket).copied().unwrap_or(Usage::NONE)).collect())
}

pub(super) async fn charge(writing: &Writing, charges: &[Charge]) -> Outcome<()> {
    let mut wanted: BTreeMap<Bucket, Vec<Charge>> = BTreeMap::new();
    for charge in charges {
        wanted.entry(charge.bucket).or_default().push(*charge);
    }
    // Makes the rows that are missing and holds all of them, in one statement: between two, pruning could remove a row that has grown
    // back. In one order for everybody.
    let keys: Vec<Vec<u8>> = wanted.keys().map(|bucket| bucket.as_bytes().to_vec()).collect();
    let sql = "INSERT INTO countersign.throttles (bucket, spent_until) SELECT bucket, 0 FROM unnest($1) AS u (bucket) \
               ORDER BY bucket ON CONFLICT (bucket) DO UPDATE SET spent_until = throttles.spent_until \
               RETURNING bucket, spent_until";
    let held = all(&writing.rows(sql, params![keys]).await?, stored)?;
    let (mut keys, mut spent) = (vec![], vec![]);
    for (bucket, usage) in held {
        let charges = wanted.get(&bucket).map_or(&[][..], Vec::as_slice);
        let usage = charges.iter().fold(usage, |usage, charge| usage.spend(charge.quota, writing.now));
        keys.push(bucket.as_bytes().to_vec());
        spent.push(usage.grown_back_at().get());
    }
    let sql = "UPDATE countersign.throttles t SET spent_until = u.spent_until FROM unnest($1, $2) AS u (bucket, spent_until) \
               WHERE t.bucket = u.bucket";
    writing.execute_on(wanted.len() as u64, sql, params![keys, spent]).await
}

/// `bucket, spent_until`.
fn stored(columns: &mut Columns<'_>) -> Outcome<(Bucket, Usage)> {
    let bucket: Vec<u8> = columns.value()?;
    let bucket = bucket.try_into().map_err(|_| corrupt("a bucket has another length than it is written with"))?;
    Ok((Bucket::from_bytes(bucket), Usage::until(columns.millis()?)))
}

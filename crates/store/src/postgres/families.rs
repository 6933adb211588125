//! The hot rows: one family each, written as the core left it.

use countersign_core::ids::SessionId;
use countersign_core::sessions::recent::Mark;
use countersign_core::sessions::state::Family;
use tokio_postgres::types::Type;
use uuid::Uuid;

use crate::postgres::connection::{Connection, Prepared};
use crate::postgres::failures::Outcome;
use crate::postgres::rows::params;
use crate::postgres::writing::Writing;

/// With `ANY` it finds the rows by their index: joined with the array alone, a small table would be read whole. Rows are made of one array, and
/// what belongs to each is looked up in the others: made of all of them, they would cost a transaction of 44 a fourteenth more.
const UPDATE: &str = "UPDATE countersign.families f SET generation = ($3)[u.nth], current_hash = ($4)[u.nth], \
    previous_hash = ($5)[u.nth], nonce = ($6)[u.nth], retry_hash = ($7)[u.nth], rotated_at = ($8)[u.nth], \
    idle_expires_at = ($9)[u.nth], access_expires_at = ($10)[u.nth], reissues = ($11)[u.nth], \
    reissue_streak = ($12)[u.nth], older_generation = ($13)[u.nth], older_at = ($14)[u.nth], \
    newer_generation = ($15)[u.nth], newer_at = ($16)[u.nth] FROM unnest($1) WITH ORDINALITY AS u (id, nth) \
    WHERE f.id = ANY($1) AND f.id = u.id AND f.generation = ($2)[u.nth]";
/// The types of what it is given, in its order.
const UPDATED: [Type; 16] = [
    Type::UUID_ARRAY,
    Type::INT8_ARRAY,
    Type::INT8_ARRAY,
    Type::BYTEA_ARRAY,
    Type::BYTEA_ARRAY,
    Type::BYTEA_ARRAY,
    Type::BYTEA_ARRAY,
    Type::INT8_ARRAY,
    Type::INT8_ARRAY,
    Type::INT8_ARRAY,
    Type::INT8_ARRAY,
    Type::INT8_ARRAY,
    Type::INT8_ARRAY,
    Type::INT8_ARRAY,
    Type::INT8_ARRAY,
    Type::INT8_ARRAY,
];

/// Writes the family of a session that begins.
pub(super) async fn insert(writing: &Writing, session: SessionId, family: &Family) -> Outcome<()> {
    let sql = "INSERT INTO countersign.families (id, session, client, generation, current_hash, idle_expires_at, \
               access_expires_at, reissues, reissue_streak) VALUES ($1, $2, $3, $4, $5, $6, $7, 0, 0)";
    let parameters = params![
        family.id.as_uuid(),
        session.as_uuid(),
        family.client.as_str(),
        i64::from(family.generation),
        family.current.as_bytes().as_slice(),
        family.idle_expires_at.get(),
        family.access_expires_at.get(),
    ];
    writing.execute(sql, parameters).await?;
    Ok(())
}

/// Families as the core left them, and the generation that it had seen of each; one statement writes them all.
#[derive(Default)]
pub(super) struct Advance {
    ids: Vec<Uuid>,
    seen: Vec<i64>,
    generation: Vec<i64>,
    current_hash: Vec<Vec<u8>>,
    previous_hash: Vec<Option<Vec<u8>>>,
    nonce: Vec<Option<Vec<u8>>>,
    retry_hash: Vec<Option<Vec<u8>>>,
    rotated_at: Vec<Option<i64>>,
    idle_expires_at: Vec<i64>,
    access_expires_at: Vec<i64>,
    reissues: Vec<i64>,
    reissue_streak: Vec<i64>,
    older: Marks,
    newer: Marks,
}

#[derive(Default)]
struct Marks {
    generation: Vec<Option<i64>>,
    at: Vec<Option<i64>>,
}

impl Marks {
    fn push(&mut self, mark: Option<Mark>) {
        self.generation.push(mark.map(|mark| i64::from(mark.generation)));
        self.at.push(mark.map(|mark| mark.at.get()));
    }
}

impl Advance {
    pub(super) fn push(&mut self, family: &Family, seen: u32) {
        let last = family.last.as_ref();
        self.ids.push(family.id.as_uuid());
        self.seen.push(i64::from(seen));
        self.generation.push(i64::from(family.generation));
        self.current_hash.push(family.current.as_bytes().to_vec());
        self.previous_hash.push(last.map(|last| last.previous.as_bytes().to_vec()));
        self.nonce.push(last.map(|last| last.nonce.to_vec()));
        self.retry_hash.push(last.and_then(|last| last.retry.as_ref()).map(|retry| retry.as_bytes().to_vec()));
        self.rotated_at.push(last.map(|last| last.rotated_at.get()));
        self.idle_expires_at.push(family.idle_expires_at.get());
        self.access_expires_at.push(family.access_expires_at.get());
        self.reissues.push(i64::from(family.reissues));
        self.reissue_streak.push(i64::from(family.reissue_streak));
        self.older.push(family.recent.older);
        self.newer.push(family.recent.newer);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Makes the statement ready that writes them: whoever sends COMMIT right behind it does so before.
    pub(super) async fn prepare(connection: &Connection) -> Outcome<Prepared<'static>> {
        connection.prepare(UPDATE, &UPDATED).await
    }

    /// Writes them; only the generation that the core has seen may be replaced. The request is sent when this is polled for the
    /// first time.
    pub(super) async fn write(self, connection: &Connection, update: &Prepared<'_>) -> Outcome<()> {
        let count = self.ids.len() as u64;
        let parameters = params![
            self.ids,
            self.seen,
            self.generation,
            self.current_hash,
            self.previous_hash,
            self.nonce,
            self.retry_hash,
            self.rotated_at,
            self.idle_expires_at,
            self.access_expires_at,
            self.reissues,
            self.reissue_streak,
            self.older.generation,
            self.older.at,
            self.newer.generation,
            self.newer.at,
        ];
        connection.change_on(count, update, parameters).await
    }
}

//! The hot rows: one family each, written as the core left it.

use std::collections::HashSet;

use countersign_core::ids::{ClientId, FamilyId, Incarnation};
use countersign_core::sessions::recent::Mark;
use countersign_core::sessions::state::{Family, Session};
use tokio_postgres::types::Type;
use uuid::Uuid;

use crate::postgres::connection::{Connection, Parameter};
use crate::postgres::failures::Outcome;
use crate::postgres::rows::{all, corrupt, params};
use crate::postgres::writing::Writing;

/// Families as the core left them, where each is still as it was read. With `ANY` they are found by their index: joined with the array alone, a small
/// table would be read whole. Rows are made of one array, and what belongs to each is looked up in the others: made of all of them, they would cost
/// a batch of 44 a fourteenth more.
macro_rules! update {
    ($which:literal, $with:literal) => {
        concat!(
            "UPDATE countersign.families f SET generation = ($4)[u.nth], current_hash = ($5)[u.nth], \
             previous_hash = ($6)[u.nth], nonce = ($7)[u.nth], retry_hash = ($8)[u.nth], rotated_at = ($9)[u.nth], \
             idle_expires_at = ($10)[u.nth], access_expires_at = ($11)[u.nth], reissues = ($12)[u.nth], \
             reissue_streak = ($13)[u.nth], older_generation = ($14)[u.nth], older_at = ($15)[u.nth], \
             newer_generation = ($16)[u.nth], newer_at = ($17)[u.nth] FROM ",
            $which,
            " AS u (id, nth)",
            $with,
            " WHERE f.id = ANY($1) AND f.id = u.id AND f.generation = ($2)[u.nth] AND f.reissues = ($3)[u.nth] \
             AND f.ended_at IS NULL"
        )
    };
}
/// Of families that the transaction holds.
const UPDATE: &str = update!("unnest($1) WITH ORDINALITY", "");
/// A transaction by itself, which counts in its lane, and does nothing in another history or where the database is not to be served. The
/// number that was counted, and which of the families are written.
macro_rules! count_and_update {
    ($which:literal) => {
        concat!(
            "WITH counted AS (INSERT INTO countersign.lanes (node, lane, commit_seq) SELECT $18, $19, 1 \
             FROM countersign.auth_state WHERE incarnation = $20 AND moved_to IS NULL AND arriving IS NULL \
             ON CONFLICT (node, lane) DO UPDATE SET commit_seq = lanes.commit_seq + 1 RETURNING commit_seq) ",
            update!($which, ", counted"),
            " RETURNING counted.commit_seq, u.nth"
        )
    };
}
const COUNT_AND_UPDATE: &str = count_and_update!("unnest($1) WITH ORDINALITY");
/// The same of those that nobody else holds. To lock them first costs a batch a tenth more.
const COUNT_AND_UPDATE_WHAT_IS_FREE: &str = count_and_update!(
    "(SELECT w.id, w.nth FROM unnest($1) WITH ORDINALITY AS w (id, nth) CROSS JOIN LATERAL \
     (SELECT 1 FROM countersign.families l WHERE l.id = w.id FOR NO KEY UPDATE SKIP LOCKED) AS free)"
);
/// The types of what they are given, in its order; the first one is given no lane.
const UPDATED: [Type; 20] = [
    Type::UUID_ARRAY,
    Type::INT8_ARRAY,
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
    Type::UUID,
    Type::INT8,
    Type::UUID,
];
const OF_FAMILIES: usize = 17;

/// Writes the family of a session that begins, with what a refresh has to know of that.
pub(super) async fn insert(writing: &Writing, session: &Session, family: &Family) -> Outcome<()> {
    let sql = "INSERT INTO countersign.families (id, session, account, born_global, born_session, session_expires_at, \
               client, generation, current_hash, idle_expires_at, access_expires_at, reissues, reissue_streak) \
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, 0, 0)";
    let parameters = params![
        family.id.as_uuid(),
        session.id.as_uuid(),
        session.account.as_uuid(),
        session.born.global.get(),
        session.born.session.get(),
        session.expires_at.get(),
        other_client(&family.client),
        i64::from(family.generation),
        family.current.as_bytes().as_slice(),
        family.idle_expires_at.get(),
        family.access_expires_at.get(),
    ];
    writing.execute(sql, parameters).await?;
    Ok(())
}

/// What tells one state of a living family from the next: every rotation and every reissue change it.
#[derive(Clone, Copy)]
pub(super) struct Version {
    generation: u32,
    reissues: u32,
}

impl Version {
    pub(super) fn of(family: &Family) -> Self {
        Self { generation: family.generation, reissues: family.reissues }
    }
}

/// Families as the core left them, and the version that it had seen of each; one statement writes them all.
#[derive(Default)]
pub(super) struct Advance {
    ids: Vec<Uuid>,
    seen: Versions,
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

/// Which families a transaction by itself writes.
#[derive(Clone, Copy)]
pub(super) enum Which {
    /// All of them, after a wait for whoever holds one.
    All,
    /// Those that nobody holds.
    Free,
}

/// What a transaction by itself has written.
pub(super) struct Written {
    /// The number that it counted in its lane; `None`: it wrote no family, and what it counted is not known.
    pub(super) commit_seq: Option<u64>,
    /// The families that were no longer as they had been read, or that were not free. They are as they were.
    pub(super) left: HashSet<FamilyId>,
}

#[derive(Default)]
struct Versions {
    generation: Vec<i64>,
    reissues: Vec<i64>,
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
    pub(super) fn push(&mut self, family: &Family, seen: Version) {
        let last = family.last.as_ref();
        self.ids.push(family.id.as_uuid());
        self.seen.generation.push(i64::from(seen.generation));
        self.seen.reissues.push(i64::from(seen.reissues));
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

    pub(super) fn families(&self) -> HashSet<FamilyId> {
        self.ids.iter().copied().map(FamilyId::new).collect()
    }

    /// Writes them in the transaction that holds them.
    pub(super) async fn write_held(&self, connection: &Connection) -> Outcome<()> {
        let update = connection.prepare(UPDATE, &UPDATED[..OF_FAMILIES]).await?;
        connection.change_on(self.ids.len() as u64, &update, &self.parameters()).await
    }

    /// Writes those that are still as they were read, in a transaction by itself that counts in this lane.
    pub(super) async fn commit_alone(
        &self,
        which: Which,
        connection: &Connection,
        node: Uuid,
        lane: i64,
        history: Incarnation,
    ) -> Outcome<Written> {
        let sql = match which {
            Which::All => COUNT_AND_UPDATE,
            Which::Free => COUNT_AND_UPDATE_WHAT_IS_FREE,
        };
        let update = connection.prepare(sql, &UPDATED).await?;
        let (history, mut parameters) = (history.as_uuid(), self.parameters());
        parameters.extend_from_slice(params![node, lane, history]);
        let rows = connection.run_and_commit(&update, &parameters).await?;
        let written = all(&rows, |columns| Ok((columns.counter()?, columns.counter()?)))?;
        let mut left = self.families();
        for (_, nth) in &written {
            // PostgreSQL counts from one.
            let id = usize::try_from(*nth).ok().and_then(|nth| self.ids.get(nth.checked_sub(1)?));
            left.remove(&FamilyId::new(*id.ok_or_else(|| corrupt("a family was written that nobody gave"))?));
        }
        Ok(Written { commit_seq: written.first().map(|(commit_seq, _)| *commit_seq), left })
    }

    fn parameters(&self) -> Vec<Parameter<'_>> {
        let parameters: &[Parameter<'_>; OF_FAMILIES] = params![
            self.ids,
            self.seen.generation,
            self.seen.reissues,
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
        parameters.to_vec()
    }
}

/// The client as it is stored.
fn other_client(client: &ClientId) -> Option<&str> {
    (*client != ClientId::first_party()).then(|| client.as_str())
}

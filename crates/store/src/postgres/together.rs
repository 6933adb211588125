//! Rotation of many families at once, of which none is held meanwhile: read them, ask the core, write those that are still as they were read.
//!
//! What was read is one moment of the database, and whatever takes a step of a rotation, or ends a session by name, changes the family as
//! well. So what is written follows from what the database holds of it, as if the row had been locked. Of accounts and of everyone a
//! revocation may come between, as it may where rows are locked: [`REVOCATION_MARGIN`](crate::verbs::REVOCATION_MARGIN) is for those.

use std::collections::{BTreeMap, HashSet};

use countersign_core::ids::FamilyId;
use countersign_core::sessions::rotation::{Decision, Refusal};
use countersign_core::sessions::stall::Stall;
use futures_util::future::try_join;
use tokio_postgres::types::Type;
use uuid::Uuid;

use crate::error::StoreError;
use crate::fail_points::{after_commit, before_commit};
use crate::postgres::base::{Base, Counted, counted_columns};
use crate::postgres::connection::{Connection, Parameter};
use crate::postgres::failures::{Fault, Outcome};
use crate::postgres::families::{Advance, Which, Written};
use crate::postgres::family_rows::{FamilyRows, Presentation, rotation_sql};
use crate::postgres::node::Lane;
use crate::postgres::rows::{
    all, database_time, family_columns, params, session_columns, standing_columns, subject_columns,
};
use crate::verbs::RotatedIn;

const LOOK: &str = concat!(
    "SELECT ",
    counted_columns!("coalesce(l.commit_seq, 0) + 1"),
    " FROM countersign.auth_state g LEFT JOIN countersign.lanes l ON l.node = $1 AND l.lane = $2"
);
const READ: &str = rotation_sql!("f.id = ANY($1)");

/// The answer to one of several that were presented together; `None`: its family needs a transaction of its own.
pub(super) type BatchAnswer = Option<RotatedIn>;

/// Families as they were at one moment, on the way to what they will be.
pub(super) struct Batch<'b> {
    base: &'b Base,
    connection: Connection,
    lane: Lane,
    counted: Counted,
    /// In the order of their ids, which makes it rarer that two batches wait for each other; the time limit of their locks parts those that do.
    families: BTreeMap<FamilyId, FamilyRows>,
}

impl<'b> Batch<'b> {
    /// Reads the families that were presented, after a look whether the database still knows everything that it had committed.
    pub(super) async fn read(base: &'b Base, presented: &[Presentation]) -> Outcome<Self> {
        base.node.check().map_err(StoreError::from)?;
        let connection = base.connection_for_a_batch().await?;
        let look = connection.prepare(LOOK, &[Type::UUID, Type::INT8]).await?;
        let read = connection.prepare(READ, &[Type::UUID_ARRAY]).await?;
        let (lane, before) = (base.node.lane(), base.node.position());
        let of_this_lane: &[Parameter<'_>] = params![base.node.id, lane.number()];
        let wanted: HashSet<Uuid> = presented.iter().map(|presentation| presentation.family().as_uuid()).collect();
        let wanted: &[Parameter<'_>] = params![Vec::from_iter(wanted)];
        let (looked, found) = try_join(connection.run(&look, of_this_lane), connection.run(&read, wanted)).await?;
        let counted = base.counted(&looked)?;
        base.goes_on(&connection, &lane, &before, &counted).await?;
        let families = all(&found, FamilyRows::read)?.into_iter().map(|rows| (rows.id(), rows)).collect();
        Ok(Self { base, connection, lane, counted, families })
    }

    /// Answers what changes families alone. What ends a session, and what comes after it in the same family, is left.
    pub(super) fn answer(&mut self, presented: &[Presentation]) -> Vec<BatchAnswer> {
        let stalls = self.base.commits.stalls(self.counted.now);
        let mut left = HashSet::new();
        let mut answers = Vec::with_capacity(presented.len());
        for presentation in presented {
            let family = presentation.family();
            let answer = if left.contains(&family) { None } else { self.answer_one(presentation, stalls.as_slice()) };
            if answer.is_none() {
                left.insert(family);
            }
            answers.push(answer);
        }
        answers
    }

    fn answer_one(&mut self, Presentation { rotate, .. }: &Presentation, stalls: &[Stall]) -> BatchAnswer {
        let Some(rows) = self.families.get_mut(&rotate.presented.token.family) else {
            return Some(RotatedIn::Refused(Refusal::UnknownFamily));
        };
        let now = self.counted.now;
        match rows.ask(rotate, stalls, now) {
            Decision::Refused(refusal) => Some(RotatedIn::Refused(refusal)),
            // A transaction of its own notes how long access tokens live from now on.
            _ if self.counted.is_exceeded_by(rotate.lifetimes.access_token) => None,
            Decision::Rotated { family, successor } => Some(rows.rotated(family, successor, now)),
            Decision::Reissued { family, successor, recurring: false } => Some(rows.reissued(family, successor, now)),
            Decision::Reissued { recurring: true, .. } | Decision::Replayed(_) => None,
        }
    }

    /// Writes what was answered and commits it; the families that are left as they were, since somebody else has changed them meanwhile,
    /// or holds them.
    pub(super) async fn commit(&mut self) -> Outcome<HashSet<FamilyId>> {
        let mut advance = Advance::default();
        self.families.values_mut().for_each(|rows| rows.advance(&mut advance));
        if advance.is_empty() {
            return Ok(HashSet::new());
        }
        before_commit();
        let written = match self.try_commit(&advance, Which::All).await {
            // Somebody holds one of them: the others shall not wait any longer.
            Err(Fault::Held(_)) => self.try_commit(&advance, Which::Free).await,
            written => written,
        };
        let Written { commit_seq, left } = match written {
            // It is the row of the lane, or a whole table: each alone waits for longer.
            Err(Fault::Held(_)) => {
                self.lane.rest();
                return Ok(advance.families());
            }
            written => written?,
        };
        after_commit(true);
        if let Some(commit_seq) = commit_seq {
            let follows = self.lane.follows(commit_seq);
            // Whatever it is: it was committed, and is not done again.
            follows.map_err(|error| self.base.lost(error, &self.connection).into_error())?;
            self.lane.committed(commit_seq, self.counted.position.incarnation);
            self.base.node.saw(self.counted.position);
        }
        Ok(left)
    }

    async fn try_commit(&self, advance: &Advance, which: Which) -> Outcome<Written> {
        let (node, history) = (self.base.node.id, self.counted.position.incarnation);
        let asked = self.base.commits.ask(self.counted.now);
        asked.answer(advance.commit_alone(which, &self.connection, node, self.lane.number(), history).await)
    }
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        if self.connection.is_stuck() {
            // The server may hold the row of the lane until it is done.
            self.lane.rest();
        }
    }
}

//! Rotation of one family alone: lock its row, ask the core, write what it says.

use countersign_core::events::{EventKind, Origin};
use countersign_core::ids::FamilyId;
use countersign_core::sessions::rotation::{Decision, Refusal, Replay};
use countersign_core::sessions::state::{EndReason, Ended};
use futures_util::future::try_join;
use tokio_postgres::types::Type;

use crate::postgres::connection::{Connection, Parameter};
use crate::postgres::events::Record;
use crate::postgres::failures::Outcome;
use crate::postgres::families::Advance;
use crate::postgres::family_rows::{FamilyRows, Presentation, rotation_sql};
use crate::postgres::rows::{family_columns, first, params, session_columns, standing_columns, subject_columns};
use crate::postgres::writing::Writing;
use crate::postgres::{ending, state};
use crate::verbs::{FeedPosition, RotatedIn};

const LOCK: &str = "SELECT id FROM countersign.families WHERE id = $1 FOR NO KEY UPDATE";
const READ: &str = rotation_sql!("f.id = $1");

/// Answers one after the other what was presented of one family, whatever comes of it; where somebody else holds its row, it waits.
pub(super) async fn rotate_in_turn(
    writing: &mut Writing,
    family: FamilyId,
    presented: &[Presentation],
) -> Outcome<Vec<RotatedIn>> {
    let mut found = hold(writing.connection()?, family).await?;
    writing.look_at_the_clock().await?;
    let Some(rows) = &mut found else {
        return Ok(presented.iter().map(|_| RotatedIn::Refused(Refusal::UnknownFamily)).collect());
    };
    let stalls = writing.base.commits.stalls(writing.now);
    let mut answers = Vec::with_capacity(presented.len());
    for Presentation { rotate, origin } in presented {
        let answer = match rows.ask(rotate, stalls.as_slice(), writing.now) {
            Decision::Refused(refusal) => RotatedIn::Refused(refusal),
            Decision::Rotated { family, successor } => rows.rotated(family, successor, writing.now),
            Decision::Reissued { family, successor, recurring } => {
                if recurring {
                    recurs(writing, rows, *origin).await?;
                }
                rows.reissued(family, successor, writing.now)
            }
            Decision::Replayed(replay) => {
                // Before the feed is told, which has to come last: whoever comes after a replay changes nothing.
                write(writing, rows, presented).await?;
                let position = replayed(writing, rows, replay, *origin).await?;
                rows.session.ended = Some(Ended { at: writing.now, reason: EndReason::Replayed });
                RotatedIn::Replayed(replay, position)
            }
        };
        answers.push(answer);
    }
    write(writing, rows, presented).await?;
    Ok(answers)
}

async fn recurs(writing: &Writing, rows: &FamilyRows, origin: Origin) -> Outcome<()> {
    let detail = "retries in three generations in a row: perhaps two hold one refresh token";
    let record = Record::new(EventKind::RetriesRecurring, origin).detail(detail);
    record.account(rows.subject.id).session(rows.session.id).write(writing).await
}

async fn replayed(writing: &Writing, rows: &FamilyRows, replay: Replay, origin: Origin) -> Outcome<FeedPosition> {
    let record = Record::new(EventKind::RefreshReplayed, origin).detail(replay.as_str());
    ending::end_with(writing, rows.subject.id, rows.session.id, EndReason::Replayed, record).await
}

/// Locks a family, however long that takes, and reads it: in a statement of its own, which sees what was committed before the lock was given up.
async fn hold(connection: &Connection, family: FamilyId) -> Outcome<Option<FamilyRows>> {
    let lock = connection.prepare(LOCK, &[Type::UUID]).await?;
    let read = connection.prepare(READ, &[Type::UUID]).await?;
    let id: &[Parameter<'_>] = params![family.as_uuid()];
    let (_, found) = try_join(connection.run(&lock, id), connection.run(&read, id)).await?;
    first(&found, FamilyRows::read)
}

/// Writes what has changed of one family.
async fn write(writing: &Writing, rows: &mut FamilyRows, presented: &[Presentation]) -> Outcome<()> {
    let mut advance = Advance::default();
    rows.advance(&mut advance);
    if advance.is_empty() {
        return Ok(());
    }
    writing.rotated();
    writing.counts();
    if let Some(longest) = presented.iter().map(|presentation| presentation.rotate.lifetimes.access_token).max() {
        state::note_access_lifetime(writing, longest).await?;
    }
    advance.write_held(writing.connection()?).await
}

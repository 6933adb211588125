//! Rotation: lock the rows, ask the core, write what it says, for all that arrived together.

use std::collections::{HashMap, HashSet};

use countersign_core::events::{EventKind, Origin};
use countersign_core::ids::FamilyId;
use countersign_core::sessions::refresh_token::RefreshToken;
use countersign_core::sessions::rotation::{self, Decision, Refusal, Replay, decide};
use countersign_core::sessions::state::{Dead, EndReason, Ended, Epochs, Family, Session, Standing};
use countersign_core::time::Millis;
use futures_util::future::try_join;
use tokio_postgres::types::Type;
use uuid::Uuid;

use crate::postgres::connection::{Connection, Prepared};
use crate::postgres::events::Record;
use crate::postgres::failures::Outcome;
use crate::postgres::families::Advance;
use crate::postgres::rows::{all, family_columns, params, session_columns, subject_columns};
use crate::postgres::writing::Writing;
use crate::postgres::{ending, state};
use crate::verbs::{FeedPosition, Granted, REVOCATION_MARGIN, Rotate, RotatedIn, Subject};

const LOCK: &str = "SELECT id FROM countersign.families WHERE id = $1 FOR NO KEY UPDATE";
/// The rows of families, with the clause that locks them.
///
/// Whatever that is, it keeps the planner from reading whole tables for the sake of a few rows, as it would with tables that are small, and with
/// all of the dead rows in them.
macro_rules! read {
    ($locking:literal) => {
        concat!(
            "SELECT found.*, g.global_epoch FROM unnest($1) AS wanted (id) CROSS JOIN LATERAL (SELECT ",
            family_columns!(),
            ", ",
            session_columns!(),
            ", ",
            subject_columns!(),
            ", a.disabled_at IS NOT NULL, a.session_epoch \
             FROM countersign.families f JOIN countersign.sessions s ON s.id = f.session \
             JOIN countersign.accounts a ON a.id = s.account WHERE f.id = wanted.id ",
            $locking,
            ") AS found CROSS JOIN countersign.auth_state g"
        )
    };
}
/// A statement of its own, after the lock: what another transaction had committed before it gave that up is seen.
const READ: &str = read!("OFFSET 0");
/// Of what another transaction has committed since this began to look, the family is seen and nothing else. So whoever ends a session marks its
/// families as well.
const LOCK_AND_READ_WHAT_IS_FREE: &str = read!("FOR NO KEY UPDATE OF f SKIP LOCKED");
const WHICH_ARE_THERE: &str = "SELECT id FROM countersign.families WHERE id = ANY($1)";

struct Rows {
    family: Family,
    session: Session,
    standing: Standing,
    subject: Subject,
    /// The generation in the database.
    seen: u32,
    changed: bool,
}

/// What a client presents, and where it comes from.
#[derive(Clone)]
pub(super) struct Presentation {
    pub(super) rotate: Rotate,
    pub(super) origin: Origin,
}

/// The answer to one of several that were presented together; `None`: its family needs a transaction of its own.
pub(super) type Answer = Option<RotatedIn>;

/// What a transaction has found of the families that it asked for. Those that are in neither are held by somebody else.
pub(super) struct Families {
    locked: HashMap<FamilyId, Rows>,
    unknown: HashSet<FamilyId>,
}

/// Locks and reads those of the families that nobody else holds.
pub(super) async fn find(connection: &Connection, presented: &[Presentation]) -> Outcome<Families> {
    let mut missing: HashSet<FamilyId> = presented.iter().map(Presentation::family).collect();
    let lock_and_read = connection.prepare(LOCK_AND_READ_WHAT_IS_FREE, &[Type::UUID_ARRAY]).await?;
    let locked = rows(connection, &lock_and_read, &missing).await?;
    missing.retain(|family| !locked.contains_key(family));
    if !missing.is_empty() {
        let ids = ids(&missing);
        let which = connection.prepare(WHICH_ARE_THERE, &[Type::UUID_ARRAY]).await?;
        for held in all(&connection.run(&which, params![ids]).await?, |columns| Ok(FamilyId::new(columns.value()?)))? {
            missing.remove(&held);
        }
    }
    Ok(Families { locked, unknown: missing })
}

/// Rotates many at once. What is locked by somebody else, and what ends a session, is left for a transaction of its own, so that
/// it holds up nobody.
pub(super) async fn rotate_together(
    writing: &mut Writing,
    found: Families,
    presented: &[Presentation],
) -> Outcome<Vec<Answer>> {
    let Families { mut locked, unknown } = found;
    let mut answers = Vec::with_capacity(presented.len());
    let mut left = HashSet::new();
    for presentation in presented {
        let family = presentation.family();
        let answer = match locked.get_mut(&family) {
            Some(rows) if !left.contains(&family) => answer(rows, &presentation.rotate, writing.now),
            None if unknown.contains(&family) => Some(RotatedIn::Refused(Refusal::UnknownFamily)),
            _ => None,
        };
        if answer.is_none() {
            // Whoever comes after it in the same family must not overtake it.
            left.insert(family);
        }
        answers.push(answer);
    }
    let advance = advance(writing, locked.values_mut(), presented).await?;
    if !advance.is_empty() {
        writing.write_at_last(advance);
    }
    Ok(answers)
}

/// The answer where it changes the family alone.
fn answer(rows: &mut Rows, rotate: &Rotate, now: Millis) -> Answer {
    // What looks idle, or nearly, may bear the mark of its session's end, by a clock that was read later than this one. Only a transaction of
    // its own can tell.
    let may_have_ended = rows.family.idle_expires_at <= now + REVOCATION_MARGIN;
    match rows.ask(rotate, now) {
        Decision::Refused(Refusal::Dead(Dead::IdleExpired)) => None,
        Decision::Refused(refusal) => Some(RotatedIn::Refused(refusal)),
        _ if may_have_ended => None,
        Decision::Rotated { family, successor } => Some(rows.rotated(family, successor, now)),
        Decision::Reissued { family, successor, recurring: false } => Some(rows.reissued(family, successor, now)),
        Decision::Reissued { recurring: true, .. } | Decision::Replayed(_) => None,
    }
}

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
    let mut answers = Vec::with_capacity(presented.len());
    for Presentation { rotate, origin } in presented {
        let answer = match rows.ask(rotate, writing.now) {
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

async fn recurs(writing: &Writing, rows: &Rows, origin: Origin) -> Outcome<()> {
    let detail = "retries in three generations in a row: perhaps two hold one refresh token";
    let record = Record::new(EventKind::RetriesRecurring, origin).detail(detail);
    record.account(rows.subject.id).session(rows.session.id).write(writing).await
}

async fn replayed(writing: &Writing, rows: &Rows, replay: Replay, origin: Origin) -> Outcome<FeedPosition> {
    let record = Record::new(EventKind::RefreshReplayed, origin).detail(replay.as_str());
    ending::end_with(writing, rows.subject.id, rows.session.id, EndReason::Replayed, record).await
}

/// Locks a family, however long that takes, and reads it.
async fn hold(connection: &Connection, family: FamilyId) -> Outcome<Option<Rows>> {
    let lock = connection.prepare(LOCK, &[Type::UUID]).await?;
    let read = connection.prepare(READ, &[Type::UUID_ARRAY]).await?;
    let (id, wanted) = (family.as_uuid(), HashSet::from([family]));
    let (_, mut found) = try_join(connection.run(&lock, params![id]), rows(connection, &read, &wanted)).await?;
    Ok(found.remove(&family))
}

/// The request is sent when this is polled for the first time.
async fn rows(
    connection: &Connection,
    read: &Prepared<'_>,
    families: &HashSet<FamilyId>,
) -> Outcome<HashMap<FamilyId, Rows>> {
    let ids = ids(families);
    let found = connection.run(read, params![ids]).await?;
    let found = all(&found, |columns| {
        let family = columns.family()?;
        let (id, seen) = (family.id, family.generation);
        let (session, subject) = (columns.session()?, columns.subject()?);
        let account_disabled = columns.value()?;
        let (session_epoch, global_epoch) = (columns.epoch()?, columns.epoch()?);
        let standing = Standing { account_disabled, epochs: Epochs { global: global_epoch, session: session_epoch } };
        Ok((id, Rows { family, session, standing, subject, seen, changed: false }))
    })?;
    Ok(found.into_iter().collect())
}

fn ids(families: &HashSet<FamilyId>) -> Vec<Uuid> {
    families.iter().map(FamilyId::as_uuid).collect()
}

/// What is to be written of the given rows.
async fn advance(
    writing: &Writing,
    rows: impl IntoIterator<Item = &mut Rows>,
    presented: &[Presentation],
) -> Outcome<Advance> {
    let mut advance = Advance::default();
    for rows in rows.into_iter().filter(|rows| rows.changed) {
        advance.push(&rows.family, rows.seen);
        rows.seen = rows.family.generation;
        rows.changed = false;
    }
    if !advance.is_empty() {
        writing.rotated();
        if let Some(longest) = presented.iter().map(|presentation| presentation.rotate.lifetimes.access_token).max() {
            state::note_access_lifetime(writing, longest).await?;
        }
    }
    Ok(advance)
}

/// Writes what has changed of one family.
async fn write(writing: &Writing, rows: &mut Rows, presented: &[Presentation]) -> Outcome<()> {
    let advance = advance(writing, [rows], presented).await?;
    if advance.is_empty() {
        return Ok(());
    }
    writing.counts();
    let connection = writing.connection()?;
    advance.write(connection, &Advance::prepare(connection).await?).await
}

impl Presentation {
    pub(super) fn family(&self) -> FamilyId {
        self.rotate.presented.token.family
    }
}

impl Rows {
    fn ask(&self, rotate: &Rotate, now: Millis) -> Decision {
        let found = rotation::Found { family: &self.family, session: &self.session, standing: &self.standing };
        decide(&rotate.presented, Some(found), &rotate.lifetimes, rotate.nonce, now)
    }

    fn rotated(&mut self, family: Family, successor: RefreshToken, now: Millis) -> RotatedIn {
        self.take(family);
        RotatedIn::Rotated(Box::new(self.granted(now)), successor)
    }

    fn reissued(&mut self, family: Family, successor: RefreshToken, now: Millis) -> RotatedIn {
        self.take(family);
        RotatedIn::Reissued(Box::new(self.granted(now)), successor)
    }

    fn take(&mut self, family: Family) {
        self.family = family;
        self.changed = true;
    }

    fn granted(&self, now: Millis) -> Granted {
        Granted {
            subject: self.subject.clone(),
            session: self.session.id,
            client: self.family.client.clone(),
            global_epoch: self.standing.epochs.global,
            now,
            session_expires_at: self.session.expires_at,
        }
    }
}

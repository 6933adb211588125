//! Rotation of one family: lock its row, ask the core, write what it says.

use countersign_core::events::{EventKind, Origin};
use countersign_core::ids::FamilyId;
use countersign_core::sessions::refresh_token::RefreshToken;
use countersign_core::sessions::rotation::{self, Decision, Refusal, Replay, decide};
use countersign_core::sessions::state::{EndReason, Ended, Family, Session, Standing};
use countersign_core::time::Millis;
use futures_util::future::try_join;
use tokio_postgres::types::Type;

use crate::postgres::connection::{Connection, Parameter};
use crate::postgres::events::Record;
use crate::postgres::failures::Outcome;
use crate::postgres::families::{Advance, Version};
use crate::postgres::rows::{
    Columns, family_columns, first, params, session_columns, standing_columns, subject_columns,
};
use crate::postgres::writing::Writing;
use crate::postgres::{ending, state};
use crate::verbs::{FeedPosition, Granted, Rotate, RotatedIn, Subject};

const LOCK: &str = "SELECT id FROM countersign.families WHERE id = $1 FOR NO KEY UPDATE";
/// The rows of families, all as they were at the same moment.
macro_rules! read {
    ($which:literal) => {
        concat!(
            "SELECT ",
            family_columns!(),
            ", ",
            session_columns!(),
            ", ",
            subject_columns!(),
            ", ",
            standing_columns!(),
            " FROM countersign.families f JOIN countersign.sessions s ON s.id = f.session \
             JOIN countersign.accounts a ON a.id = s.account CROSS JOIN countersign.auth_state g WHERE ",
            $which
        )
    };
}
pub(super) use read;
const READ: &str = read!("f.id = $1");

/// What is known of a family, and what becomes of it.
pub(super) struct Rows {
    family: Family,
    session: Session,
    standing: Standing,
    subject: Subject,
    /// What it is in the database.
    seen: Version,
    changed: bool,
}

/// What a client presents, and where it comes from.
#[derive(Clone)]
pub(super) struct Presentation {
    pub(super) rotate: Rotate,
    pub(super) origin: Origin,
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

/// Locks a family, however long that takes, and reads it: in a statement of its own, which sees what was committed before the lock was given up.
async fn hold(connection: &Connection, family: FamilyId) -> Outcome<Option<Rows>> {
    let lock = connection.prepare(LOCK, &[Type::UUID]).await?;
    let read = connection.prepare(READ, &[Type::UUID]).await?;
    let id: &[Parameter<'_>] = params![family.as_uuid()];
    let (_, found) = try_join(connection.run(&lock, id), connection.run(&read, id)).await?;
    first(&found, Rows::read)
}

/// Writes what has changed of one family.
async fn write(writing: &Writing, rows: &mut Rows, presented: &[Presentation]) -> Outcome<()> {
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
    advance.write(writing.connection()?).await
}

impl Presentation {
    pub(super) fn family(&self) -> FamilyId {
        self.rotate.presented.token.family
    }
}

impl Rows {
    pub(super) fn read(columns: &mut Columns<'_>) -> Outcome<Self> {
        let family = columns.family()?;
        let (session, subject, standing) = (columns.session()?, columns.subject()?, columns.standing()?);
        let seen = Version::of(&family);
        Ok(Self { family, session, standing, subject, seen, changed: false })
    }

    pub(super) fn id(&self) -> FamilyId {
        self.family.id
    }

    /// Adds what is to be written, where something is.
    pub(super) fn advance(&mut self, advance: &mut Advance) {
        if self.changed {
            advance.push(&self.family, self.seen);
            (self.seen, self.changed) = (Version::of(&self.family), false);
        }
    }

    pub(super) fn ask(&self, rotate: &Rotate, now: Millis) -> Decision {
        let found = rotation::Found { family: &self.family, session: &self.session, standing: &self.standing };
        decide(&rotate.presented, Some(found), &rotate.lifetimes, rotate.nonce, now)
    }

    pub(super) fn rotated(&mut self, family: Family, successor: RefreshToken, now: Millis) -> RotatedIn {
        self.take(family);
        RotatedIn::Rotated(Box::new(self.granted(now)), successor)
    }

    pub(super) fn reissued(&mut self, family: Family, successor: RefreshToken, now: Millis) -> RotatedIn {
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

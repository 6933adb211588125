//! Rotation: read the rows, ask the core, write what it says.

use countersign_core::events::{EventKind, Origin};
use countersign_core::sessions::rotation::{Decision, Found, Refusal, Replay, decide};
use countersign_core::sessions::state::{EndReason, Family, Session, Standing};
use countersign_core::time::Millis;

use crate::StoreResult;
use crate::sqlite::events::Record;
use crate::sqlite::rows::{family_columns, one, session_columns, standing_columns, subject_columns};
use crate::sqlite::writing::Writing;
use crate::sqlite::{ending, families, state};
use crate::verbs::{Granted, Rotate, RotatedIn, Subject};

/// Everything that a rotation has to know.
pub(super) const FIND: &str = concat!(
    "SELECT ",
    family_columns!(),
    ", ",
    session_columns!(),
    ", ",
    standing_columns!(),
    ", ",
    subject_columns!(),
    " FROM families f JOIN accounts a ON a.id = f.account, auth_state g WHERE f.id = ?1"
);

struct Rows {
    family: Family,
    session: Session,
    standing: Standing,
    subject: Subject,
}

/// To be run without a guard: it asks for one where it writes more than one statement.
pub(super) fn rotate(writing: &Writing<'_>, rotate: &Rotate, origin: Origin) -> StoreResult<RotatedIn> {
    let rows = find(writing, rotate)?;
    let stalls = writing.stalls;
    let found = rows.as_ref().map(|Rows { family, session, standing, .. }| Found { family, session, standing, stalls });
    let decision = decide(&rotate.presented, found, &rotate.lifetimes, rotate.nonce, writing.now);
    let Some(rows) = rows else {
        return Ok(RotatedIn::Refused(Refusal::UnknownFamily));
    };
    match decision {
        Decision::Refused(refusal) => Ok(RotatedIn::Refused(refusal)),
        Decision::Replayed(replay) => replayed(writing, &rows, replay, origin),
        Decision::Rotated { family, successor } => {
            state::note_access_lifetime(writing, rotate.lifetimes.access_token)?;
            families::advance(writing, &family, rows.family.generation)?;
            writing.rotated();
            Ok(RotatedIn::Rotated(Box::new(granted(rows, writing.now)), successor))
        }
        Decision::Reissued { family, successor, recurring } => {
            if recurring {
                writing.guard()?;
                let record = Record::new(EventKind::RetriesRecurring, origin);
                let detail = "retries in three generations in a row: perhaps two hold one refresh token";
                record.account(rows.subject.id).session(rows.session.id).detail(detail).write(writing)?;
            }
            state::note_access_lifetime(writing, rotate.lifetimes.access_token)?;
            families::count_reissue(writing, &family)?;
            Ok(RotatedIn::Reissued(Box::new(granted(rows, writing.now)), successor))
        }
    }
}

fn find(writing: &Writing<'_>, rotate: &Rotate) -> StoreResult<Option<Rows>> {
    one(writing.connection, FIND, [rotate.presented.token.family.as_bytes()], |columns| {
        Ok(Rows {
            family: columns.family()?,
            session: columns.session()?,
            standing: columns.standing()?,
            subject: columns.subject()?,
        })
    })
}

fn replayed(writing: &Writing<'_>, rows: &Rows, replay: Replay, origin: Origin) -> StoreResult<RotatedIn> {
    writing.guard()?;
    let record = Record::new(EventKind::RefreshReplayed, origin).detail(replay.as_str());
    let position = ending::end_with(writing, rows.subject.id, rows.session.id, EndReason::Replayed, record)?;
    Ok(RotatedIn::Replayed(replay, position))
}

fn granted(rows: Rows, now: Millis) -> Granted {
    Granted {
        subject: rows.subject,
        session: rows.session.id,
        client: rows.family.client,
        global_epoch: rows.standing.epochs.global,
        now,
        session_expires_at: rows.session.expires_at,
    }
}

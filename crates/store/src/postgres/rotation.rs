//! Rotation: lock the rows, ask the core, write what it says, for all that arrived together.

use std::collections::{HashMap, HashSet};

use countersign_core::accounts::Account;
use countersign_core::events::{EventKind, Origin};
use countersign_core::ids::FamilyId;
use countersign_core::sessions::rotation::{Decision, Found, Refusal, Replay, decide};
use countersign_core::sessions::state::{EndReason, Family, Session, Standing};
use countersign_core::time::Millis;
use futures_util::future::try_join;
use tokio_postgres::types::Type;
use uuid::Uuid;

use crate::postgres::events::Record;
use crate::postgres::failures::Outcome;
use crate::postgres::families::Advance;
use crate::postgres::rows::{account_columns, all, family_columns, params, session_columns, standing_columns};
use crate::postgres::writing::Writing;
use crate::postgres::{ending, state};
use crate::verbs::{Granted, Rotate, RotatedIn};

const LOCK: &str = "SELECT id FROM countersign.families WHERE id = ANY($1) ORDER BY id FOR NO KEY UPDATE";
const LOCK_WHAT_IS_FREE: &str =
    "SELECT id FROM countersign.families WHERE id = ANY($1) ORDER BY id FOR NO KEY UPDATE SKIP LOCKED";
/// A statement of its own, after the locks: what another transaction had committed before it gave them up is seen.
const READ: &str = concat!(
    "SELECT ",
    family_columns!(),
    ", ",
    session_columns!(),
    ", ",
    standing_columns!(),
    ", ",
    account_columns!(),
    " FROM countersign.families f JOIN countersign.sessions s ON s.id = f.session \
     JOIN countersign.accounts a ON a.id = s.account CROSS JOIN countersign.auth_state g WHERE f.id = ANY($1)"
);

struct Rows {
    family: Family,
    session: Session,
    standing: Standing,
    account: Account,
    /// The generation in the database.
    seen: u32,
    changed: bool,
}

/// The answer to one of several that were presented together; `None`: it needs a transaction of its own.
pub(super) type Answer = Option<RotatedIn>;

/// Rotates many at once. What is locked by somebody else, and what ends a session, is left for a transaction of its own, so that
/// it holds up nobody.
pub(super) async fn rotate_together(writing: &Writing, presented: &[Rotate]) -> Outcome<Vec<Answer>> {
    let ids: HashSet<Uuid> = presented.iter().map(|rotate| rotate.presented.token.family.as_uuid()).collect();
    let ids: Vec<Uuid> = ids.into_iter().collect();
    let (locked, mut rows) = lock_and_read(writing, LOCK_WHAT_IS_FREE, ids).await?;
    let mut answers = Vec::with_capacity(presented.len());
    let mut left = HashSet::new();
    for rotate in presented {
        let family = rotate.presented.token.family;
        let answer = match rows.get_mut(&family) {
            None => Some(RotatedIn::Refused(Refusal::UnknownFamily)),
            Some(_) if !locked.contains(&family) || left.contains(&family) => None,
            Some(rows) => answer(rows, rotate, writing.now),
        };
        if answer.is_none() {
            // Whoever comes after it in the same family must not overtake it.
            left.insert(family);
        }
        answers.push(answer);
    }
    write(writing, &rows, presented).await?;
    Ok(answers)
}

/// The answer where it changes the family alone.
fn answer(rows: &mut Rows, rotate: &Rotate, now: Millis) -> Answer {
    match ask(rows, rotate, now) {
        Decision::Refused(refusal) => Some(RotatedIn::Refused(refusal)),
        Decision::Replayed(_) | Decision::Reissued { recurring: true, .. } => None,
        Decision::Rotated { family, successor } => {
            rows.take(family);
            Some(RotatedIn::Rotated(Box::new(rows.granted(now)), successor))
        }
        Decision::Reissued { family, successor, recurring: false } => {
            rows.take(family);
            Some(RotatedIn::Reissued(Box::new(rows.granted(now)), successor))
        }
    }
}

/// Rotates one, whatever comes of it; where somebody else holds its row, it waits.
pub(super) async fn rotate_alone(writing: &mut Writing, rotate: &Rotate, origin: Origin) -> Outcome<RotatedIn> {
    let family = rotate.presented.token.family;
    let (_, mut rows) = lock_and_read(writing, LOCK, vec![family.as_uuid()]).await?;
    writing.look_at_the_clock().await?;
    let Some(rows_of_it) = rows.get_mut(&family) else {
        return Ok(RotatedIn::Refused(Refusal::UnknownFamily));
    };
    if let Some(answer) = answer(rows_of_it, rotate, writing.now) {
        write(writing, &rows, std::slice::from_ref(rotate)).await?;
        return Ok(answer);
    }
    match ask(rows_of_it, rotate, writing.now) {
        Decision::Replayed(replay) => replayed(writing, rows_of_it, replay, origin).await,
        Decision::Reissued { family, successor, .. } => {
            rows_of_it.take(family);
            let granted = rows_of_it.granted(writing.now);
            let record = Record::new(EventKind::RetriesRecurring, origin);
            let detail = "retries in three generations in a row: perhaps two hold one refresh token";
            let record = record.account(rows_of_it.account.id).session(rows_of_it.session.id).detail(detail);
            write(writing, &rows, std::slice::from_ref(rotate)).await?;
            record.write(writing).await?;
            Ok(RotatedIn::Reissued(Box::new(granted), successor))
        }
        Decision::Refused(refusal) => Ok(RotatedIn::Refused(refusal)),
        Decision::Rotated { .. } => {
            Err(crate::StoreError::Internal("one decision was made in two ways".to_owned()).into())
        }
    }
}

fn ask(rows: &Rows, rotate: &Rotate, now: Millis) -> Decision {
    let found = Found { family: &rows.family, session: &rows.session, standing: &rows.standing };
    decide(&rotate.presented, Some(found), &rotate.lifetimes, rotate.nonce, now)
}

async fn lock_and_read(
    writing: &Writing,
    lock: &str,
    ids: Vec<Uuid>,
) -> Outcome<(HashSet<FamilyId>, HashMap<FamilyId, Rows>)> {
    let connection = writing.connection()?;
    let lock = connection.prepare(lock, &[Type::UUID_ARRAY]).await?;
    let read = connection.prepare(READ, &[Type::UUID_ARRAY]).await?;
    let ids = params![ids];
    let (locked, found) = try_join(connection.run(&lock, ids), connection.run(&read, ids)).await?;
    let locked = all(&locked, |columns| Ok(FamilyId::new(columns.value()?)))?.into_iter().collect();
    let found = all(&found, |columns| {
        let family = columns.family()?;
        let (id, seen) = (family.id, family.generation);
        let (session, standing, account) = (columns.session()?, columns.standing()?, columns.account()?);
        Ok((id, Rows { family, session, standing, account, seen, changed: false }))
    })?;
    Ok((locked, found.into_iter().collect()))
}

async fn write(writing: &Writing, rows: &HashMap<FamilyId, Rows>, presented: &[Rotate]) -> Outcome<()> {
    let mut advance = Advance::default();
    for rows in rows.values().filter(|rows| rows.changed) {
        advance.push(&rows.family, rows.seen);
    }
    advance.write(writing).await?;
    if rows.values().any(|rows| rows.changed) {
        writing.rotated();
        if let Some(longest) = presented.iter().map(|rotate| rotate.lifetimes.access_token).max() {
            state::note_access_lifetime(writing, longest).await?;
        }
    }
    Ok(())
}

async fn replayed(writing: &Writing, rows: &Rows, replay: Replay, origin: Origin) -> Outcome<RotatedIn> {
    let record = Record::new(EventKind::RefreshReplayed, origin).detail(replay.as_str());
    let position = ending::end_with(writing, rows.account.id, rows.session.id, EndReason::Replayed, record).await?;
    Ok(RotatedIn::Replayed(replay, position))
}

impl Rows {
    fn take(&mut self, family: Family) {
        self.family = family;
        self.changed = true;
    }

    fn granted(&self, now: Millis) -> Granted {
        Granted {
            account: self.account.clone(),
            session: self.session.id,
            client: self.family.client.clone(),
            global_epoch: self.standing.epochs.global,
            now,
            session_expires_at: self.session.expires_at,
        }
    }
}

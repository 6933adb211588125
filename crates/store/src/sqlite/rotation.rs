//! Rotation: read the rows, ask the core, write what it says.

use countersign_core::accounts::Account;
use countersign_core::events::{EventKind, Origin};
use countersign_core::ids::SessionId;
use countersign_core::sessions::recent::Mark;
use countersign_core::sessions::rotation::{Decision, Found, Refusal, Replay, decide};
use countersign_core::sessions::state::{EndReason, Family, Session, Standing};
use countersign_core::time::Millis;
use rusqlite::{ToSql, named_params};

use crate::StoreResult;
use crate::sqlite::events::Record;
use crate::sqlite::rows::{account_columns, execute, execute_on_one, family_columns, one, session_columns};
use crate::sqlite::sessions::{self, standing_columns};
use crate::sqlite::state;
use crate::sqlite::writer::Writing;
use crate::verbs::{Granted, Rotate, RotatedIn};

struct Rows {
    family: Family,
    session: Session,
    standing: Standing,
    account: Account,
}

pub(super) fn rotate(writing: &Writing<'_>, rotate: &Rotate, origin: Origin) -> StoreResult<RotatedIn> {
    let rows = find(writing, rotate)?;
    let found =
        rows.as_ref().map(|rows| Found { family: &rows.family, session: &rows.session, standing: &rows.standing });
    let decision = decide(&rotate.presented, found, &rotate.lifetimes, rotate.nonce, writing.now);
    let Some(rows) = rows else {
        return Ok(RotatedIn::Refused(Refusal::UnknownFamily));
    };
    match decision {
        Decision::Refused(refusal) => Ok(RotatedIn::Refused(refusal)),
        Decision::Replayed(replay) => replayed(writing, &rows, replay, origin),
        Decision::Rotated { family, successor } => {
            advance(writing, &family, rows.family.generation)?;
            state::note_access_lifetime(writing, rotate.lifetimes.access_token)?;
            writing.rotated();
            Ok(RotatedIn::Rotated(Box::new(granted(rows, writing.now)), successor))
        }
        Decision::Reissued { family, successor, recurring } => {
            count_reissue(writing, &family)?;
            state::note_access_lifetime(writing, rotate.lifetimes.access_token)?;
            if recurring {
                let record = Record::new(EventKind::RetriesRecurring, origin);
                let detail = "retries in three generations in a row: perhaps two hold one refresh token";
                record.account(rows.account.id).session(rows.session.id).detail(detail).write(writing)?;
            }
            Ok(RotatedIn::Reissued(Box::new(granted(rows, writing.now)), successor))
        }
    }
}

fn find(writing: &Writing<'_>, rotate: &Rotate) -> StoreResult<Option<Rows>> {
    let sql = concat!(
        "SELECT ",
        family_columns!(),
        ", ",
        session_columns!(),
        ", ",
        standing_columns!(),
        ", ",
        account_columns!(),
        " FROM families f JOIN sessions s ON s.id = f.session JOIN accounts a ON a.id = s.account, auth_state g ",
        "WHERE f.id = ?1"
    );
    one(writing.connection, sql, [rotate.presented.token.family.as_bytes()], |columns| {
        Ok(Rows {
            family: columns.family()?,
            session: columns.session()?,
            standing: columns.standing()?,
            account: columns.account()?,
        })
    })
}

fn replayed(writing: &Writing<'_>, rows: &Rows, replay: Replay, origin: Origin) -> StoreResult<RotatedIn> {
    let record = Record::new(EventKind::RefreshReplayed, origin).detail(replay.as_str());
    let position = sessions::end_with(writing, rows.account.id, rows.session.id, EndReason::Replayed, record)?;
    Ok(RotatedIn::Replayed(replay, position))
}

fn granted(rows: Rows, now: Millis) -> Granted {
    Granted {
        account: rows.account,
        session: rows.session.id,
        client: rows.family.client,
        global_epoch: rows.standing.epochs.global,
        now,
        session_expires_at: rows.session.expires_at,
    }
}

/// Writes the family of a session that begins.
pub(super) fn insert(writing: &Writing<'_>, session: SessionId, family: &Family) -> StoreResult<()> {
    let sql = "INSERT INTO families (id, session, client, generation, current_hash, previous_hash, nonce, retry_hash, \
               rotated_at, idle_expires_at, access_expires_at, reissues, reissue_streak, older_generation, older_at, \
               newer_generation, newer_at) VALUES (:id, :session, :client, :generation, :current_hash, :previous_hash, \
               :nonce, :retry_hash, :rotated_at, :idle_expires_at, :access_expires_at, :reissues, :reissue_streak, \
               :older_generation, :older_at, :newer_generation, :newer_at)";
    let extra: [(&str, &dyn ToSql); 2] = [(":session", session.as_bytes()), (":client", &family.client.as_str())];
    with_hot_columns(family, |hot| execute(writing.connection, sql, [hot, &extra].concat().as_slice()))?;
    Ok(())
}

/// Writes the family as the core left it; only the generation that the core has seen may be replaced.
fn advance(writing: &Writing<'_>, family: &Family, seen: u32) -> StoreResult<()> {
    let sql = "UPDATE families SET generation = :generation, current_hash = :current_hash, \
               previous_hash = :previous_hash, nonce = :nonce, retry_hash = :retry_hash, rotated_at = :rotated_at, \
               idle_expires_at = :idle_expires_at, access_expires_at = :access_expires_at, reissues = :reissues, \
               reissue_streak = :reissue_streak, older_generation = :older_generation, older_at = :older_at, \
               newer_generation = :newer_generation, newer_at = :newer_at WHERE id = :id AND generation = :seen";
    let extra: [(&str, &dyn ToSql); 1] = [(":seen", &seen)];
    with_hot_columns(family, |hot| execute_on_one(writing.connection, sql, [hot, &extra].concat().as_slice()))
}

/// A reissue changes its counter and how long the newest access token lives, and nothing else.
fn count_reissue(writing: &Writing<'_>, family: &Family) -> StoreResult<()> {
    let sql = "UPDATE families SET reissues = :reissues, access_expires_at = :access_expires_at \
               WHERE id = :id AND generation = :generation";
    let parameters = named_params! {
        ":reissues": family.reissues,
        ":access_expires_at": family.access_expires_at.get(),
        ":id": family.id.as_bytes(),
        ":generation": family.generation,
    };
    execute_on_one(writing.connection, sql, parameters)
}

fn with_hot_columns<T>(family: &Family, run: impl FnOnce(&[(&str, &dyn ToSql)]) -> T) -> T {
    let last = family.last.as_ref();
    let generation = |mark: Option<Mark>| mark.map(|mark| mark.generation);
    let at = |mark: Option<Mark>| mark.map(|mark| mark.at.get());
    let (older, newer) = (family.recent.older, family.recent.newer);
    run(named_params! {
        ":id": family.id.as_bytes(),
        ":generation": family.generation,
        ":current_hash": family.current.as_bytes(),
        ":previous_hash": last.map(|last| last.previous.as_bytes()),
        ":nonce": last.map(|last| last.nonce),
        ":retry_hash": last.and_then(|last| last.retry.as_ref()).map(|retry| retry.as_bytes()),
        ":rotated_at": last.map(|last| last.rotated_at.get()),
        ":idle_expires_at": family.idle_expires_at.get(),
        ":access_expires_at": family.access_expires_at.get(),
        ":reissues": family.reissues,
        ":reissue_streak": family.reissue_streak,
        ":older_generation": generation(older),
        ":older_at": at(older),
        ":newer_generation": generation(newer),
        ":newer_at": at(newer),
    })
}

//! Ending sessions by name: the one place that marks them and tells the feed.

use countersign_core::events::{EventKind, Origin, RevocationScope};
use countersign_core::ids::{AccountId, SessionId};
use countersign_core::sessions::state::{EndReason, Session, Standing, alive};
use countersign_core::time::Millis;
use rusqlite::params;

use crate::StoreResult;
use crate::error::StoreError;
use crate::sqlite::events::Record;
use crate::sqlite::rows::{many, one, session_columns, standing_columns};
use crate::sqlite::writing::Writing;
use crate::verbs::{Ended, FeedPosition, has_to_be_told};

/// For whoever asks whether a session was revoked, and not whether its refresh token is still good.
pub(super) const NEVER_IDLE: Millis = Millis::new(i64::MAX);

pub(super) fn end_one(writing: &Writing<'_>, ended: Ended, origin: Origin) -> StoreResult<Option<FeedPosition>> {
    let alive = alive_among(writing, ended.account, Some(ended.session))?;
    if alive.is_empty() {
        return Ok(None);
    }
    let record = Record::new(EventKind::SessionEnded, origin).detail(ended.reason.as_str());
    end_with(writing, ended.account, ended.session, ended.reason, record).map(Some)
}

/// The sessions of an account that nothing has ended; whether they were used lately does not matter, since their access tokens
/// may still live.
pub(super) fn alive_of(writing: &Writing<'_>, account: AccountId) -> StoreResult<Vec<SessionId>> {
    alive_among(writing, account, None)
}

fn alive_among(writing: &Writing<'_>, account: AccountId, only: Option<SessionId>) -> StoreResult<Vec<SessionId>> {
    let sql = match only {
        Some(_) => concat!(
            "SELECT ",
            session_columns!(),
            ", ",
            standing_columns!(),
            " FROM families f JOIN accounts a ON a.id = f.account, auth_state g WHERE f.session = ?2 AND f.account = ?1"
        ),
        None => concat!(
            "SELECT ",
            session_columns!(),
            ", ",
            standing_columns!(),
            " FROM sessions s JOIN families f ON f.session = s.id JOIN accounts a ON a.id = s.account, auth_state g \
             WHERE s.account = ?1 AND ?2 IS NULL ORDER BY s.id"
        ),
    };
    let parameters = params![account.as_bytes(), only.as_ref().map(SessionId::as_bytes)];
    let found = many(writing.connection, sql, parameters, |columns| Ok((columns.session()?, columns.standing()?)))?;
    let alive = |(session, standing): &(Session, Standing)| alive(session, NEVER_IDLE, standing, writing.now).is_ok();
    Ok(found.into_iter().filter(alive).map(|(session, _)| session.id).collect())
}

/// Ends sessions that are alive; the event of each is still to be written, in this order. The feed is told where somebody may still accept
/// an access token.
pub(super) fn end_many(
    writing: &Writing<'_>,
    account: AccountId,
    sessions: Vec<SessionId>,
    reason: EndReason,
    origin: Origin,
) -> StoreResult<Vec<Record>> {
    let end = |session: SessionId| {
        let expires_at = close(writing, session, reason)?;
        let record = Record::new(EventKind::SessionEnded, origin);
        let record = record.account(account).session(session).detail(reason.as_str());
        Ok(if has_to_be_told(expires_at, writing.now) {
            record.revokes(RevocationScope::Session(session), expires_at)
        } else {
            record
        })
    };
    sessions.into_iter().map(end).collect()
}

/// Ends a session that is alive; the given event is the entry of the feed.
pub(super) fn end_with(
    writing: &Writing<'_>,
    account: AccountId,
    session: SessionId,
    reason: EndReason,
    record: Record,
) -> StoreResult<FeedPosition> {
    let expires_at = close(writing, session, reason)?;
    record.account(account).session(session).publish(writing, RevocationScope::Session(session), expires_at)
}

/// Marks a session as ended; when its newest access token expires.
fn close(writing: &Writing<'_>, session: SessionId, reason: EndReason) -> StoreResult<Millis> {
    let sql = "UPDATE families SET ended_at = ?2, end_reason = ?3 WHERE session = ?1 AND ended_at IS NULL RETURNING access_expires_at";
    let parameters = params![session.as_bytes(), writing.now.get(), reason.as_str()];
    let expires_at = one(writing.connection, sql, parameters, |columns| columns.millis())?;
    expires_at.ok_or_else(|| StoreError::Internal("a session that was alive cannot be ended".to_owned()))
}

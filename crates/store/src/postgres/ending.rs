//! Ending sessions by name: by their holder, by a change of the password, by a replay, by a sign-in too many.

use std::collections::HashMap;

use countersign_core::events::{EventKind, Origin, RevocationScope};
use countersign_core::ids::{AccountId, SessionId};
use countersign_core::sessions::state::{EndReason, alive};
use countersign_core::time::Millis;

use crate::error::StoreError;
use crate::postgres::events::Record;
use crate::postgres::failures::Outcome;
use crate::postgres::rows::{all, params, session_columns, standing_columns};
use crate::postgres::writing::Writing;
use crate::verbs::{Ended, FeedPosition, has_to_be_told};

/// For whoever asks whether a session was revoked, and not whether its refresh token is still good.
pub(super) const NEVER_IDLE: Millis = Millis::new(i64::MAX);

pub(super) async fn end_one(writing: &Writing, ended: Ended, origin: Origin) -> Outcome<Option<FeedPosition>> {
    let alive = hold_alive(writing, vec![ended.session], ended.account).await?;
    if alive.is_empty() {
        return Ok(None);
    }
    let record = Record::new(EventKind::SessionEnded, origin).detail(ended.reason.as_str());
    end_with(writing, ended.account, ended.session, ended.reason, record).await.map(Some)
}

/// The sessions of an account that nothing has ended, and they are held; whether they were used lately does not matter,
/// since their access tokens may still live. The account must be held: no session can begin meanwhile.
pub(super) async fn hold_alive_of(writing: &Writing, account: AccountId) -> Outcome<Vec<SessionId>> {
    let sql = "SELECT f.session FROM countersign.sessions s JOIN countersign.families f ON f.session = s.id \
               WHERE s.account = $1 AND f.ended_at IS NULL";
    let sessions = all(&writing.rows(sql, params![account.as_uuid()]).await?, |columns| columns.session_id())?;
    hold_alive(writing, sessions, account).await
}

/// Those of the sessions that are the account's and alive. No rotation can extend them until the end of the transaction.
pub(super) async fn hold_alive(
    writing: &Writing,
    sessions: Vec<SessionId>,
    account: AccountId,
) -> Outcome<Vec<SessionId>> {
    if sessions.is_empty() {
        return Ok(vec![]);
    }
    let ids: Vec<_> = sessions.iter().map(SessionId::as_uuid).collect();
    let sql = "SELECT id FROM countersign.families WHERE session = ANY($1) ORDER BY id FOR NO KEY UPDATE";
    writing.rows(sql, params![ids]).await?;
    let sql = concat!(
        "SELECT ",
        session_columns!(),
        ", ",
        standing_columns!(),
        " FROM countersign.families f JOIN countersign.accounts a ON a.id = f.account CROSS JOIN countersign.auth_state g \
         WHERE f.session = ANY($1) AND f.account = $2 ORDER BY f.session"
    );
    let rows = writing.rows(sql, params![ids, account.as_uuid()]).await?;
    let found = all(&rows, |columns| Ok((columns.session()?, columns.standing()?)))?;
    let alive = |(session, standing): &(_, _)| alive(session, NEVER_IDLE, standing, writing.now).is_ok();
    Ok(found.into_iter().filter(alive).map(|(session, _)| session.id).collect())
}

/// Ends sessions that are alive and held; the event of each is still to be written, in this order. The feed is told where somebody may
/// still accept an access token.
pub(super) async fn end_many(
    writing: &Writing,
    account: AccountId,
    sessions: Vec<SessionId>,
    reason: EndReason,
    origin: Origin,
) -> Outcome<Vec<Record>> {
    if sessions.is_empty() {
        return Ok(vec![]);
    }
    let expiries = close(writing, &sessions, reason).await?;
    let record = |session: SessionId| {
        let record = Record::new(EventKind::SessionEnded, origin);
        let record = record.account(account).session(session).detail(reason.as_str());
        match expiries.get(&session) {
            Some(expires_at) if has_to_be_told(*expires_at, writing.now) => {
                record.revokes(RevocationScope::Session(session), *expires_at)
            }
            _ => record,
        }
    };
    Ok(sessions.into_iter().map(record).collect())
}

/// Ends a session that is alive and whose families are held; the given event is the entry of the feed.
pub(super) async fn end_with(
    writing: &Writing,
    account: AccountId,
    session: SessionId,
    reason: EndReason,
    record: Record,
) -> Outcome<FeedPosition> {
    let expiries = close(writing, &[session], reason).await?;
    let expires_at = expiries.get(&session).copied().unwrap_or(writing.now);
    record.account(account).session(session).publish(writing, RevocationScope::Session(session), expires_at).await
}

/// Marks sessions as ended, which must be alive and held; when the newest access token of each expires.
async fn close(writing: &Writing, sessions: &[SessionId], reason: EndReason) -> Outcome<HashMap<SessionId, Millis>> {
    let ids: Vec<_> = sessions.iter().map(SessionId::as_uuid).collect();
    // A rotation that read the family before, and writes it afterwards, sees that it has ended.
    let sql = "UPDATE countersign.families SET ended_at = $2, end_reason = $3 WHERE session = ANY($1) AND ended_at IS NULL \
               RETURNING session, access_expires_at";
    writing.counts();
    let marked = writing.rows(sql, params![ids, writing.now.get(), reason.as_str()]).await?;
    let expiries: HashMap<_, _> =
        all(&marked, |columns| Ok((columns.session_id()?, columns.millis()?)))?.into_iter().collect();
    if expiries.len() != sessions.len() {
        let what = format!("{} sessions were to end and {} did", sessions.len(), expiries.len());
        return Err(StoreError::Internal(what).into());
    }
    Ok(expiries)
}

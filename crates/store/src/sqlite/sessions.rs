//! Sessions: begun, looked at, listed and ended.

use countersign_core::accounts::Account;
use countersign_core::events::{EventKind, Origin, RevocationScope};
use countersign_core::ids::{AccountId, SessionId};
use countersign_core::sessions::rotation;
use countersign_core::sessions::state::{EndReason, Epochs, Session, Standing, alive};
use countersign_core::time::Millis;
use rusqlite::{Connection, params};

use crate::StoreResult;
use crate::sqlite::events::Record;
use crate::sqlite::passwords::Stored;
use crate::sqlite::rows::{
    Columns, account_columns, address_bytes, execute, execute_on_one, many, one, session_columns,
};
use crate::sqlite::writer::Writing;
use crate::sqlite::{rotation as families, state};
use crate::verbs::{AccessDenied, Begin, Begun, Ended, FeedPosition, Granted, ListedSession, SessionAccount};

/// The most sessions that one query gives.
const PAGE: u32 = 1000;

/// For whoever asks whether a session was revoked, and not whether its refresh token is still good.
const NEVER_IDLE: Millis = Millis::new(i64::MAX);

/// The columns of [`Columns::standing`], of accounts named `a` and auth_state named `g`.
macro_rules! standing_columns {
    () => {
        "a.disabled_at IS NOT NULL, g.global_epoch, a.session_epoch"
    };
}
pub(super) use standing_columns;

impl Columns<'_> {
    /// See `standing_columns`.
    pub(super) fn standing(&mut self) -> StoreResult<Standing> {
        let account_disabled = self.value()?;
        Ok(Standing { account_disabled, epochs: Epochs { global: self.epoch()?, session: self.epoch()? } })
    }
}

pub(super) fn begin(writing: &Writing<'_>, begin: &Begin, origin: Origin) -> StoreResult<Begun> {
    let (connection, now) = (writing.connection, writing.now);
    let Some(stored) = Stored::of(connection, begin.account)? else {
        return Ok(Begun::CredentialsChanged);
    };
    if !stored.still_is(&begin.verified) {
        return Ok(Begun::CredentialsChanged);
    }
    let Some((account, standing)) = account_and_standing(connection, begin.account)? else {
        return Ok(Begun::CredentialsChanged);
    };
    if standing.account_disabled {
        return Ok(Begun::AccountDisabled);
    }
    let session = Session {
        id: begin.session,
        account: begin.account,
        expires_at: now + begin.session_lifetime,
        ended: None,
        born: standing.epochs,
    };
    insert(writing, &session, begin)?;
    let family = rotation::begin(&begin.token, begin.client.clone(), &session, &begin.lifetimes, now);
    families::insert(writing, session.id, &family)?;
    if let Some(stronger) = &begin.rehashed {
        stored.rehash(writing, begin.account, &begin.verified, stronger)?;
    }
    let mut record = Record::new(EventKind::SignedIn, origin).account(begin.account).session(session.id);
    if let Some(device) = &begin.device {
        record = record.detail(device.as_str());
    }
    record.write(writing)?;
    state::note_access_lifetime(writing, begin.lifetimes.access_token)?;
    Ok(Begun::Live(Box::new(Granted {
        account,
        session: session.id,
        client: begin.client.clone(),
        global_epoch: standing.epochs.global,
        now,
        session_expires_at: session.expires_at,
    })))
}

fn insert(writing: &Writing<'_>, session: &Session, begin: &Begin) -> StoreResult<()> {
    let sql = "INSERT INTO sessions (id, account, born_global, born_session, device, address, created_at, expires_at) \
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
    let parameters = params![
        session.id.as_bytes(),
        session.account.as_bytes(),
        session.born.global.get(),
        session.born.session.get(),
        begin.device,
        address_bytes(begin.address),
        writing.now.get(),
        session.expires_at.get(),
    ];
    execute(writing.connection, sql, parameters)?;
    Ok(())
}

fn account_and_standing(connection: &Connection, id: AccountId) -> StoreResult<Option<(Account, Standing)>> {
    let sql = concat!(
        "SELECT ",
        account_columns!(),
        ", ",
        standing_columns!(),
        " FROM accounts a, auth_state g WHERE a.id = ?1"
    );
    one(connection, sql, [id.as_bytes()], |columns| Ok((columns.account()?, columns.standing()?)))
}

pub(super) fn session_account(
    connection: &Connection,
    id: SessionId,
    now: Millis,
) -> StoreResult<Result<SessionAccount, AccessDenied>> {
    let sql = concat!(
        "SELECT ",
        session_columns!(),
        ", ",
        standing_columns!(),
        ", ",
        account_columns!(),
        " FROM sessions s JOIN accounts a ON a.id = s.account, auth_state g WHERE s.id = ?1"
    );
    let found = one(connection, sql, [id.as_bytes()], |columns| {
        Ok((columns.session()?, columns.standing()?, columns.account()?))
    })?;
    let Some((session, standing, account)) = found else {
        return Ok(Err(AccessDenied::UnknownSession));
    };
    let answer = alive(&session, NEVER_IDLE, &standing, now).map_err(AccessDenied::Dead);
    Ok(answer.map(|()| SessionAccount { account, global_epoch: standing.epochs.global }))
}

pub(super) fn list(
    connection: &Connection,
    account: AccountId,
    limit: u32,
    now: Millis,
) -> StoreResult<Vec<ListedSession>> {
    let sql = concat!(
        "SELECT ",
        session_columns!(),
        ", ",
        standing_columns!(),
        ", s.device, s.address, s.created_at, ",
        "(SELECT max(f.rotated_at) FROM families f WHERE f.session = s.id), ",
        "(SELECT max(f.idle_expires_at) FROM families f WHERE f.session = s.id) ",
        "FROM sessions s JOIN accounts a ON a.id = s.account, auth_state g WHERE s.account = ?1 ",
        "ORDER BY s.created_at DESC, s.id DESC LIMIT ?2"
    );
    many(connection, sql, params![account.as_bytes(), limit.min(PAGE)], |columns| {
        let (session, standing) = (columns.session()?, columns.standing()?);
        let (device, address, created_at) = (columns.value()?, columns.address()?, columns.millis()?);
        let last_used_at = columns.maybe_millis()?.unwrap_or(created_at);
        let idle_expires_at = columns.maybe_millis()?.unwrap_or(created_at);
        let dead = alive(&session, idle_expires_at, &standing, now).err();
        let expires_at = session.expires_at;
        Ok(ListedSession { id: session.id, device, address, created_at, last_used_at, expires_at, dead })
    })
}

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
            " FROM sessions s JOIN accounts a ON a.id = s.account, auth_state g WHERE s.id = ?2 AND s.account = ?1"
        ),
        None => concat!(
            "SELECT ",
            session_columns!(),
            ", ",
            standing_columns!(),
            " FROM sessions s JOIN accounts a ON a.id = s.account, auth_state g WHERE s.account = ?1 AND ?2 IS NULL"
        ),
    };
    let parameters = params![account.as_bytes(), only.as_ref().map(SessionId::as_bytes)];
    let found = many(writing.connection, sql, parameters, |columns| Ok((columns.session()?, columns.standing()?)))?;
    let alive = |(session, standing): &(Session, Standing)| alive(session, NEVER_IDLE, standing, writing.now).is_ok();
    Ok(found.into_iter().filter(alive).map(|(session, _)| session.id).collect())
}

/// Ends a session that is alive, with its event; the feed is told where an access token of it may still live.
pub(super) fn end_where_it_matters(
    writing: &Writing<'_>,
    account: AccountId,
    session: SessionId,
    reason: EndReason,
    origin: Origin,
) -> StoreResult<()> {
    let record = Record::new(EventKind::SessionEnded, origin).account(account).session(session).detail(reason.as_str());
    let expires_at = close(writing, session, reason)?;
    if expires_at <= writing.now {
        return record.write(writing);
    }
    record.publish(writing, RevocationScope::Session(session), expires_at).map(|_| ())
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
    let sql = "SELECT max(access_expires_at) FROM families WHERE session = ?1";
    let expires_at = one(writing.connection, sql, [session.as_bytes()], |columns| columns.maybe_millis())?.flatten();
    let sql = "UPDATE sessions SET ended_at = ?2, end_reason = ?3 WHERE id = ?1 AND ended_at IS NULL";
    execute_on_one(writing.connection, sql, params![session.as_bytes(), writing.now.get(), reason.as_str()])?;
    Ok(expires_at.unwrap_or(writing.now))
}

//! Sessions: begun, looked at, listed and ended.

use countersign_core::accounts::Account;
use countersign_core::events::{EventKind, Origin};
use countersign_core::ids::{AccountId, SessionId};
use countersign_core::sessions::rotation;
use countersign_core::sessions::state::{Session, Standing, alive};
use countersign_core::time::Millis;
use rusqlite::{Connection, params};

use crate::StoreResult;
use crate::sqlite::ending::NEVER_IDLE;
use crate::sqlite::events::Record;
use crate::sqlite::passwords::Stored;
use crate::sqlite::rows::{account_columns, address_bytes, execute, many, one, session_columns, standing_columns};
use crate::sqlite::writer::Writing;
use crate::sqlite::{families, state};
use crate::verbs::{AccessDenied, Begin, Begun, Granted, ListedSession, SessionAccount};

/// The most sessions that one query gives.
const PAGE: u32 = 1000;

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

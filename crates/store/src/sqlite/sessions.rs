//! Sessions: begun, looked at, listed and ended.

use std::iter;
use std::num::NonZeroU32;

use countersign_core::accounts::Account;
use countersign_core::events::{EventKind, Origin};
use countersign_core::ids::AccountId;
use countersign_core::sessions::limit::{Used, making_room};
use countersign_core::sessions::rotation;
use countersign_core::sessions::state::{EndReason, Session, Standing, alive};
use countersign_core::time::Millis;
use rusqlite::{Connection, params};

use crate::StoreResult;
use crate::sqlite::events::Record;
use crate::sqlite::passwords::Stored;
use crate::sqlite::rows::{
    Columns, account_columns, address_bytes, execute, many, one, session_columns, standing_columns,
};
use crate::sqlite::writing::Writing;
use crate::sqlite::{ending, families, state};
use crate::verbs::{Begin, Begun, Granted, ListedSession};

/// The most sessions that one query gives.
const PAGE: u32 = 1000;

/// The columns of [`used`], of sessions named `s` and families named `f`.
macro_rules! use_columns {
    () => {
        "s.created_at, f.rotated_at, f.idle_expires_at"
    };
}

pub(super) fn begin(writing: &Writing<'_>, begin: &Begin, origin: Origin) -> StoreResult<Begun> {
    let (connection, now) = (writing.connection, writing.now);
    let Some(stored) = Stored::of(connection, begin.account)? else {
        return Ok(Begun::CredentialsChanged);
    };
    if !stored.still_is(&begin.verified) {
        return Ok(Begun::CredentialsChanged);
    }
    let Some(found) = find_account(connection, begin.account, begin.session_limit)? else {
        return Ok(Begun::CredentialsChanged);
    };
    let FoundAccount { account, standing, unended } = found;
    if standing.account_disabled {
        return Ok(Begun::AccountDisabled);
    }
    let ended = match begin.session_limit {
        Some(limit) if unended >= u64::from(limit.get()) => {
            make_room(writing, begin.account, &standing, limit, origin)?
        }
        _ => vec![],
    };
    let session = Session {
        id: begin.session,
        account: begin.account,
        expires_at: now + begin.session_lifetime,
        ended: None,
        born: standing.epochs,
    };
    insert(writing, &session, begin)?;
    let family = rotation::begin(&begin.token, begin.client.clone(), &session, &begin.lifetimes, now);
    families::insert(writing, &session, &family)?;
    if let Some(stronger) = &begin.rehashed {
        stored.rehash(writing, begin.account, &begin.verified, stronger)?;
    }
    let mut record = Record::new(EventKind::SignedIn, origin).account(begin.account).session(session.id);
    if let Some(device) = &begin.device {
        record = record.detail(device.as_str());
    }
    state::note_access_lifetime(writing, begin.lifetimes.access_token)?;
    let made_room = !ended.is_empty();
    let position = Record::write_all(writing, iter::once(record).chain(ended).collect())?;
    let granted = Granted {
        subject: account.into(),
        session: session.id,
        client: begin.client.clone(),
        global_epoch: standing.epochs.global,
        now,
        session_expires_at: session.expires_at,
    };
    Ok(Begun::Live(Box::new(granted), made_room.then_some(position)))
}

fn insert(writing: &Writing<'_>, session: &Session, begin: &Begin) -> StoreResult<()> {
    let sql = "INSERT INTO sessions (id, account, device, address, created_at) VALUES (?1, ?2, ?3, ?4, ?5)";
    let parameters = params![
        session.id.as_bytes(),
        session.account.as_bytes(),
        begin.device,
        address_bytes(begin.address),
        writing.now.get(),
    ];
    execute(writing.connection, sql, parameters)?;
    Ok(())
}

/// An account for which a session is to begin.
struct FoundAccount {
    account: Account,
    standing: Standing,
    /// How many of its sessions were not ended, by name or by an epoch; counted up to the limit.
    unended: u64,
}

fn find_account(
    connection: &Connection,
    id: AccountId,
    limit: Option<NonZeroU32>,
) -> StoreResult<Option<FoundAccount>> {
    // Newest first, so that of an account with as many, those that were ended long ago are not looked at.
    let sql = concat!(
        "SELECT ",
        account_columns!(),
        ", ",
        standing_columns!(),
        ", (SELECT count(*) FROM (SELECT 1 FROM sessions s JOIN families f ON f.session = s.id WHERE s.account = ?1 \
         AND f.ended_at IS NULL AND f.born_session >= a.session_epoch AND f.born_global >= g.global_epoch \
         ORDER BY s.created_at DESC LIMIT ?2)) FROM accounts a, auth_state g WHERE a.id = ?1"
    );
    one(connection, sql, params![id.as_bytes(), limit.map_or(0, NonZeroU32::get)], |columns| {
        Ok(FoundAccount { account: columns.account()?, standing: columns.standing()?, unended: columns.counter()? })
    })
}

/// Ends what has to end so that one session more is not one too many; the events are still to be written.
fn make_room(
    writing: &Writing<'_>,
    account: AccountId,
    standing: &Standing,
    limit: NonZeroU32,
    origin: Origin,
) -> StoreResult<Vec<Record>> {
    let sql = concat!(
        "SELECT ",
        session_columns!(),
        ", ",
        use_columns!(),
        " FROM sessions s JOIN families f ON f.session = s.id WHERE s.account = ?1 AND f.ended_at IS NULL \
         AND f.born_session >= ?2 AND f.born_global >= ?3"
    );
    let epochs = standing.epochs;
    let parameters = params![account.as_bytes(), epochs.session.get(), epochs.global.get()];
    let sessions = many(writing.connection, sql, parameters, |columns| {
        let session = columns.session()?;
        Ok(used(columns, session)?.0)
    })?;
    let ending = making_room(sessions, standing, limit, writing.now);
    ending::end_many(writing, account, ending, EndReason::SessionLimit, origin)
}

/// See `use_columns`; and when the session began.
fn used(columns: &mut Columns<'_>, session: Session) -> StoreResult<(Used, Millis)> {
    let created_at = columns.millis()?;
    let last_used_at = columns.maybe_millis()?.unwrap_or(created_at);
    Ok((Used { session, last_used_at, idle_expires_at: columns.millis()? }, created_at))
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
        ", s.device, s.address, ",
        use_columns!(),
        " FROM sessions s JOIN families f ON f.session = s.id JOIN accounts a ON a.id = s.account, auth_state g ",
        "WHERE s.account = ?1 ORDER BY s.created_at DESC, s.id DESC LIMIT ?2"
    );
    many(connection, sql, params![account.as_bytes(), limit.min(PAGE)], |columns| {
        let (session, standing) = (columns.session()?, columns.standing()?);
        let (device, address) = (columns.value()?, columns.address()?);
        let (Used { session, last_used_at, idle_expires_at }, created_at) = used(columns, session)?;
        let dead = alive(&session, idle_expires_at, &standing, now).err();
        let expires_at = session.expires_at;
        Ok(ListedSession { id: session.id, device, address, created_at, last_used_at, expires_at, dead })
    })
}

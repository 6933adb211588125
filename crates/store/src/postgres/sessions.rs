//! Sessions: begun, looked at and listed.

use std::iter;
use std::num::NonZeroU32;

use countersign_core::accounts::Account;
use countersign_core::events::{EventKind, Origin};
use countersign_core::ids::AccountId;
use countersign_core::sessions::limit::{Used, making_room};
use countersign_core::sessions::rotation;
use countersign_core::sessions::state::{EndReason, Session, Standing, alive};
use countersign_core::time::Millis;

use crate::postgres::base::Base;
use crate::postgres::connection::Connection;
use crate::postgres::events::Record;
use crate::postgres::failures::Outcome;
use crate::postgres::passwords::Stored;
use crate::postgres::rows::{
    Columns, account_columns, address_bytes, all, database_time, first, params, session_columns, standing_columns,
};
use crate::postgres::writing::Writing;
use crate::postgres::{ending, families, state};
use crate::verbs::{Begin, Begun, Granted, ListedSession};

/// The most sessions that one query gives.
const PAGE: u32 = 1000;

/// The columns of [`used`], of sessions named `s` and families named `f`.
macro_rules! use_columns {
    () => {
        "s.created_at, f.rotated_at, f.idle_expires_at"
    };
}

pub(super) async fn begin(writing: &Writing, begin: &Begin, origin: Origin) -> Outcome<Begun> {
    let now = writing.now;
    let Some(stored) = Stored::hold(writing, begin.account).await? else {
        return Ok(Begun::CredentialsChanged);
    };
    if !stored.still_is(&begin.verified) {
        return Ok(Begun::CredentialsChanged);
    }
    let Some(found) = find_account(writing, begin.account, begin.session_limit).await? else {
        return Ok(Begun::CredentialsChanged);
    };
    let FoundAccount { account, standing, unended } = found;
    if standing.account_disabled {
        return Ok(Begun::AccountDisabled);
    }
    let ended = match begin.session_limit {
        Some(limit) if unended >= u64::from(limit.get()) => {
            make_room(writing, begin.account, &standing, limit, origin).await?
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
    insert(writing, &session, begin).await?;
    let family = rotation::begin(&begin.token, begin.client.clone(), &session, &begin.lifetimes, now);
    families::insert(writing, &session, &family).await?;
    if let Some(stronger) = &begin.rehashed {
        stored.rehash(writing, begin.account, &begin.verified, stronger).await?;
    }
    let mut record = Record::new(EventKind::SignedIn, origin).account(begin.account).session(session.id);
    if let Some(device) = &begin.device {
        record = record.detail(device.as_str());
    }
    state::note_access_lifetime(writing, begin.lifetimes.access_token).await?;
    let made_room = !ended.is_empty();
    let position = Record::write_all(writing, iter::once(record).chain(ended).collect()).await?;
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

async fn insert(writing: &Writing, session: &Session, begin: &Begin) -> Outcome<()> {
    let sql = "INSERT INTO countersign.sessions (id, account, device, address, created_at) VALUES ($1, $2, $3, $4, $5)";
    let parameters = params![
        session.id.as_uuid(),
        session.account.as_uuid(),
        begin.device,
        address_bytes(begin.address),
        writing.now.get(),
    ];
    writing.execute(sql, parameters).await?;
    Ok(())
}

/// An account for which a session is to begin.
struct FoundAccount {
    account: Account,
    standing: Standing,
    /// How many of its sessions were not ended, by name or by an epoch; counted up to the limit.
    unended: u64,
}

async fn find_account(writing: &Writing, id: AccountId, limit: Option<NonZeroU32>) -> Outcome<Option<FoundAccount>> {
    // Newest first, so that of an account with as many, those that were ended long ago are not looked at.
    let sql = concat!(
        "SELECT ",
        account_columns!(),
        ", ",
        standing_columns!(),
        ", (SELECT count(*) FROM (SELECT 1 FROM countersign.sessions s JOIN countersign.families f ON f.session = s.id WHERE s.account = $1 \
         AND f.ended_at IS NULL AND f.born_session >= a.session_epoch AND f.born_global >= g.global_epoch \
         ORDER BY s.created_at DESC LIMIT $2) unended) \
         FROM countersign.accounts a CROSS JOIN countersign.auth_state g WHERE a.id = $1"
    );
    let limit = limit.map_or(0, |limit| i64::from(limit.get()));
    first(&writing.rows(sql, params![id.as_uuid(), limit]).await?, |columns| {
        Ok(FoundAccount { account: columns.account()?, standing: columns.standing()?, unended: columns.counter()? })
    })
}

/// Ends what has to end so that one session more is not one too many; the events are still to be written. The account must be held:
/// no other session can begin meanwhile. One that is refreshed between the look and the lock ends all the same.
async fn make_room(
    writing: &Writing,
    account: AccountId,
    standing: &Standing,
    limit: NonZeroU32,
    origin: Origin,
) -> Outcome<Vec<Record>> {
    let sql = concat!(
        "SELECT ",
        session_columns!(),
        ", ",
        use_columns!(),
        " FROM countersign.sessions s JOIN countersign.families f ON f.session = s.id WHERE s.account = $1 AND f.ended_at IS NULL \
         AND f.born_session >= $2 AND f.born_global >= $3"
    );
    let epochs = standing.epochs;
    let parameters = params![account.as_uuid(), epochs.session.get(), epochs.global.get()];
    let sessions = all(&writing.rows(sql, parameters).await?, |columns| {
        let session = columns.session()?;
        Ok(used(columns, session)?.0)
    })?;
    let ending = making_room(sessions, standing, limit, writing.now);
    let ending = ending::hold_alive(writing, ending, account).await?;
    ending::end_many(writing, account, ending, EndReason::SessionLimit, origin).await
}

/// See `use_columns`; and when the session began.
fn used(columns: &mut Columns<'_>, session: Session) -> Outcome<(Used, Millis)> {
    let created_at = columns.millis()?;
    let last_used_at = columns.maybe_millis()?.unwrap_or(created_at);
    Ok((Used { session, last_used_at, idle_expires_at: columns.millis()? }, created_at))
}

pub(super) async fn list(
    base: &Base,
    connection: &Connection,
    account: AccountId,
    limit: u32,
) -> Outcome<Vec<ListedSession>> {
    let sql = concat!(
        "SELECT ",
        database_time!(),
        ", ",
        session_columns!(),
        ", ",
        standing_columns!(),
        ", s.device, s.address, ",
        use_columns!(),
        " FROM countersign.sessions s JOIN countersign.families f ON f.session = s.id \
         JOIN countersign.accounts a ON a.id = s.account CROSS JOIN countersign.auth_state g WHERE s.account = $1 ORDER BY s.created_at DESC, s.id DESC LIMIT $2"
    );
    let rows = connection.rows(sql, params![account.as_uuid(), i64::from(limit.min(PAGE))]).await?;
    all(&rows, |columns| {
        let now = base.settle(columns.millis()?);
        let (session, standing) = (columns.session()?, columns.standing()?);
        let (device, address) = (columns.value()?, columns.address()?);
        let (Used { session, last_used_at, idle_expires_at }, created_at) = used(columns, session)?;
        let dead = alive(&session, idle_expires_at, &standing, now).err();
        let expires_at = session.expires_at;
        Ok(ListedSession { id: session.id, device, address, created_at, last_used_at, expires_at, dead })
    })
}

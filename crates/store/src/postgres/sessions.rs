//! Sessions: begun, looked at and listed.

use countersign_core::accounts::Account;
use countersign_core::events::{EventKind, Origin};
use countersign_core::ids::{AccountId, SessionId};
use countersign_core::sessions::rotation;
use countersign_core::sessions::state::{Session, Standing, alive};
use countersign_core::time::Millis;

use crate::error::MovedError;
use crate::postgres::connection::Connection;
use crate::postgres::ending::NEVER_IDLE;
use crate::postgres::events::Record;
use crate::postgres::failures::Outcome;
use crate::postgres::passwords::Stored;
use crate::postgres::rows::{
    account_columns, address_bytes, all, database_time, first, params, session_columns, standing_columns,
};
use crate::postgres::writing::{Base, Writing};
use crate::postgres::{families, state};
use crate::verbs::{AccessDenied, Begin, Begun, FeedPosition, Granted, ListedSession, SessionAccount};

/// The most sessions that one query gives.
const PAGE: u32 = 1000;

pub(super) async fn begin(writing: &Writing, begin: &Begin, origin: Origin) -> Outcome<Begun> {
    let now = writing.now;
    let Some(stored) = Stored::hold(writing, begin.account).await? else {
        return Ok(Begun::CredentialsChanged);
    };
    if !stored.still_is(&begin.verified) {
        return Ok(Begun::CredentialsChanged);
    }
    let Some((account, standing)) = account_and_standing(writing, begin.account).await? else {
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
    insert(writing, &session, begin).await?;
    let family = rotation::begin(&begin.token, begin.client.clone(), &session, &begin.lifetimes, now);
    families::insert(writing, session.id, &family).await?;
    if let Some(stronger) = &begin.rehashed {
        stored.rehash(writing, begin.account, &begin.verified, stronger).await?;
    }
    let mut record = Record::new(EventKind::SignedIn, origin).account(begin.account).session(session.id);
    if let Some(device) = &begin.device {
        record = record.detail(device.as_str());
    }
    record.write(writing).await?;
    state::note_access_lifetime(writing, begin.lifetimes.access_token).await?;
    Ok(Begun::Live(Box::new(Granted {
        account,
        session: session.id,
        client: begin.client.clone(),
        global_epoch: standing.epochs.global,
        now,
        session_expires_at: session.expires_at,
    })))
}

async fn insert(writing: &Writing, session: &Session, begin: &Begin) -> Outcome<()> {
    let sql = "INSERT INTO countersign.sessions (id, account, born_global, born_session, device, address, created_at, \
               expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
    let parameters = params![
        session.id.as_uuid(),
        session.account.as_uuid(),
        session.born.global.get(),
        session.born.session.get(),
        begin.device,
        address_bytes(begin.address),
        writing.now.get(),
        session.expires_at.get(),
    ];
    writing.execute(sql, parameters).await?;
    Ok(())
}

async fn account_and_standing(writing: &Writing, id: AccountId) -> Outcome<Option<(Account, Standing)>> {
    let sql = concat!(
        "SELECT ",
        account_columns!(),
        ", ",
        standing_columns!(),
        " FROM countersign.accounts a CROSS JOIN countersign.auth_state g WHERE a.id = $1"
    );
    let rows = writing.rows(sql, params![id.as_uuid()]).await?;
    first(&rows, |columns| Ok((columns.account()?, columns.standing()?)))
}

/// Asked at every request, so it also tells when the database has lost something or has moved.
pub(super) async fn session_account(
    base: &Base,
    connection: &Connection,
    id: SessionId,
) -> Outcome<Result<SessionAccount, AccessDenied>> {
    let before = base.node.position();
    let Some(mut found) = find(connection, id).await? else {
        return Ok(Err(AccessDenied::UnknownSession));
    };
    base.continues(&before, &found.position, connection).await?;
    base.node.stays_unless(found.moved.take())?;
    base.node.saw(found.position);
    let now = base.settle(found.time);
    Ok(found.alive_at(now))
}

/// The same for a transaction that holds the rows.
pub(super) async fn session_account_held(
    writing: &Writing,
    id: SessionId,
) -> Outcome<Result<SessionAccount, AccessDenied>> {
    let found = find(writing.connection()?, id).await?;
    Ok(found.map_or(Err(AccessDenied::UnknownSession), |found| found.alive_at(writing.now)))
}

/// A session with what decides over it.
struct FoundSession {
    time: Millis,
    position: FeedPosition,
    moved: Option<MovedError>,
    session: Session,
    standing: Standing,
    account: Account,
}

impl FoundSession {
    fn alive_at(self, now: Millis) -> Result<SessionAccount, AccessDenied> {
        let Self { session, standing, account, .. } = self;
        alive(&session, NEVER_IDLE, &standing, now).map_err(AccessDenied::Dead)?;
        Ok(SessionAccount { account, global_epoch: standing.epochs.global })
    }
}

async fn find(connection: &Connection, id: SessionId) -> Outcome<Option<FoundSession>> {
    let sql = concat!(
        "SELECT ",
        database_time!(),
        ", g.incarnation, g.feed_seq, g.global_epoch, g.moved_to, g.arriving IS NOT NULL, ",
        session_columns!(),
        ", ",
        standing_columns!(),
        ", ",
        account_columns!(),
        " FROM countersign.sessions s JOIN countersign.accounts a ON a.id = s.account CROSS JOIN countersign.auth_state g \
         WHERE s.id = $1"
    );
    first(&connection.rows(sql, params![id.as_uuid()]).await?, |columns| {
        Ok(FoundSession {
            time: columns.millis()?,
            position: columns.position()?,
            moved: columns.moved()?,
            session: columns.session()?,
            standing: columns.standing()?,
            account: columns.account()?,
        })
    })
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
        ", s.device, s.address, s.created_at, \
         (SELECT max(f.rotated_at) FROM countersign.families f WHERE f.session = s.id), \
         (SELECT max(f.idle_expires_at) FROM countersign.families f WHERE f.session = s.id) \
         FROM countersign.sessions s JOIN countersign.accounts a ON a.id = s.account CROSS JOIN countersign.auth_state g \
         WHERE s.account = $1 ORDER BY s.created_at DESC, s.id DESC LIMIT $2"
    );
    let rows = connection.rows(sql, params![account.as_uuid(), i64::from(limit.min(PAGE))]).await?;
    all(&rows, |columns| {
        let now = base.settle(columns.millis()?);
        let (session, standing) = (columns.session()?, columns.standing()?);
        let (device, address, created_at) = (columns.value()?, columns.address()?, columns.millis()?);
        let last_used_at = columns.maybe_millis()?.unwrap_or(created_at);
        let idle_expires_at = columns.maybe_millis()?.unwrap_or(created_at);
        let dead = alive(&session, idle_expires_at, &standing, now).err();
        let expires_at = session.expires_at;
        Ok(ListedSession { id: session.id, device, address, created_at, last_used_at, expires_at, dead })
    })
}

//! Accounts: registered, found, given roles, disabled.

use countersign_core::accounts::{Account, Username};
use countersign_core::epochs::Epoch;
use countersign_core::events::{EventKind, Origin, RevocationScope};
use countersign_core::ids::{AccountId, SessionId};
use countersign_core::roles::{Role, Roles};

use crate::error::StoreError;
use crate::postgres::access;
use crate::postgres::connection::Connection;
use crate::postgres::events::{Record, Until};
use crate::postgres::failures::{Fault, Outcome};
use crate::postgres::rows::{account_columns, all, first, params, roles_text};
use crate::postgres::writing::Writing;
use crate::verbs::{FeedPosition, NewAccount, Registered};

/// The most accounts that one query gives.
const PAGE: u32 = 1000;

pub(super) async fn register(writing: &Writing, new: &NewAccount, origin: Origin) -> Outcome<Registered> {
    if let Some(authority) = new.authority
        && !is_administrators(writing, authority).await?
    {
        return Ok(Registered::NotAdministrator);
    }
    let account = Account {
        id: new.id,
        username: new.username.clone(),
        email: new.email.clone(),
        roles: new.roles.clone(),
        claims_version: Epoch::new(0),
        disabled_at: None,
        created_at: writing.now,
    };
    // Where somebody else registers the same name at this moment, this waits for what becomes of it.
    let sql = "INSERT INTO countersign.accounts (id, username, username_canonical, email, email_canonical, roles, \
               password_hash, session_epoch, claims_version, created_at) \
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $8, $9) ON CONFLICT DO NOTHING";
    let parameters = params![
        account.id.as_uuid(),
        account.username.as_str(),
        account.username.canonical(),
        account.email.as_str(),
        account.email.canonical(),
        roles_text(&account.roles)?,
        new.password.expose(),
        account.claims_version.get(),
        writing.now.get(),
    ];
    if writing.execute(sql, parameters).await? == 0 {
        return taken(writing, new).await;
    }
    let detail = format!("roles {}", account.roles);
    Record::new(EventKind::AccountRegistered, origin).account(account.id).detail(detail).write(writing).await?;
    Ok(Registered::Done(account))
}

async fn taken(writing: &Writing, new: &NewAccount) -> Outcome<Registered> {
    let sql = "SELECT 1 FROM countersign.accounts WHERE username_canonical = $1";
    if !writing.rows(sql, params![new.username.canonical()]).await?.is_empty() {
        return Ok(Registered::UsernameTaken);
    }
    let sql = "SELECT 1 FROM countersign.accounts WHERE email_canonical = $1";
    if !writing.rows(sql, params![new.email.canonical()]).await?.is_empty() {
        return Ok(Registered::EmailTaken);
    }
    Err(StoreError::Conflict(crate::Constraint::Identity).into())
}

/// Whether the session is alive and its account an administrator's: hashing took its time since that was asked first. Both are
/// held, so that it stays so until the account is there.
async fn is_administrators(writing: &Writing, session: SessionId) -> Outcome<bool> {
    let sql = "SELECT a.id FROM countersign.accounts a \
               WHERE a.id = (SELECT account FROM countersign.families WHERE session = $1) FOR SHARE";
    writing.rows(sql, params![session.as_uuid()]).await?;
    let sql = "SELECT id FROM countersign.families WHERE session = $1 FOR SHARE";
    writing.rows(sql, params![session.as_uuid()]).await?;
    let found = access::session_account_held(writing, session).await?;
    Ok(found.is_ok_and(|found| found.account.roles.contains(Role::ADMIN)))
}

pub(super) async fn find(connection: &Connection, id: AccountId) -> Outcome<Option<Account>> {
    let sql = concat!("SELECT ", account_columns!(), " FROM countersign.accounts a WHERE a.id = $1");
    first(&connection.rows(sql, params![id.as_uuid()]).await?, |columns| columns.account())
}

/// The account, which nobody else changes until the end of the transaction.
async fn hold(writing: &Writing, id: AccountId) -> Outcome<Option<Account>> {
    let sql = concat!("SELECT ", account_columns!(), " FROM countersign.accounts a WHERE a.id = $1 FOR NO KEY UPDATE");
    first(&writing.rows(sql, params![id.as_uuid()]).await?, |columns| columns.account())
}

pub(super) async fn find_named(connection: &Connection, username: &Username) -> Outcome<Option<Account>> {
    let sql = concat!("SELECT ", account_columns!(), " FROM countersign.accounts a WHERE a.username_canonical = $1");
    first(&connection.rows(sql, params![username.canonical()]).await?, |columns| columns.account())
}

pub(super) async fn list(connection: &Connection, after: Option<&Username>, limit: u32) -> Outcome<Vec<Account>> {
    let sql = concat!(
        "SELECT ",
        account_columns!(),
        " FROM countersign.accounts a WHERE a.username_canonical > $1 ORDER BY a.username_canonical LIMIT $2"
    );
    // Every name sorts after the empty one.
    let after = after.map_or("", Username::canonical);
    all(&connection.rows(sql, params![after, i64::from(limit.min(PAGE))]).await?, |columns| columns.account())
}

pub(super) async fn set_roles(
    writing: &Writing,
    id: AccountId,
    roles: &Roles,
    origin: Origin,
) -> Outcome<Option<FeedPosition>> {
    let Some(account) = hold(writing, id).await? else {
        return Ok(None);
    };
    if account.roles == *roles {
        return Ok(Some(writing.position()));
    }
    let version = account.claims_version.next(writing.now);
    let sql = "UPDATE countersign.accounts SET roles = $2, claims_version = $3 WHERE id = $1";
    writing.execute_on_one(sql, params![id.as_uuid(), roles_text(roles)?, version.get()]).await?;
    let detail = format!("from {} to {}", account.roles, roles);
    let record = Record::new(EventKind::RolesChanged, origin).account(id).detail(detail);
    record.publish(writing, RevocationScope::Account(id, version), Until::AllExpired).await.map(Some)
}

pub(super) async fn disable(writing: &Writing, id: AccountId, origin: Origin) -> Outcome<Option<FeedPosition>> {
    let Some(account) = hold(writing, id).await? else {
        return Ok(None);
    };
    if account.disabled_at.is_some() {
        return Ok(Some(writing.position()));
    }
    let (_, since) = end_all_sessions(writing, id).await?;
    let sql = "UPDATE countersign.accounts SET disabled_at = $2 WHERE id = $1";
    writing.execute_on_one(sql, params![id.as_uuid(), writing.now.get()]).await?;
    let record = Record::new(EventKind::AccountDisabled, origin).account(id);
    record.publish(writing, RevocationScope::Account(id, since), Until::AllExpired).await.map(Some)
}

pub(super) async fn enable(writing: &Writing, id: AccountId, origin: Origin) -> Outcome<Option<()>> {
    let Some(account) = hold(writing, id).await? else {
        return Ok(None);
    };
    if account.disabled_at.is_some() {
        let sql = "UPDATE countersign.accounts SET disabled_at = NULL WHERE id = $1";
        writing.execute_on_one(sql, params![id.as_uuid()]).await?;
        Record::new(EventKind::AccountEnabled, origin).account(id).write(writing).await?;
    }
    Ok(Some(()))
}

/// Moves both epochs of an account on to the same number; the session epoch before, and the number. The account must be there.
pub(super) async fn end_all_sessions(writing: &Writing, id: AccountId) -> Outcome<(Epoch, Epoch)> {
    let sql = "SELECT session_epoch, claims_version FROM countersign.accounts WHERE id = $1 FOR NO KEY UPDATE";
    let rows = writing.rows(sql, params![id.as_uuid()]).await?;
    let epochs = first(&rows, |columns| Ok((columns.epoch()?, columns.epoch()?)))?;
    let (session_epoch, claims_version) =
        epochs.ok_or_else(|| Fault::from(StoreError::Internal("no such account".into())))?;
    let since = session_epoch.max(claims_version).next(writing.now);
    let sql = "UPDATE countersign.accounts SET session_epoch = $2, claims_version = $2 WHERE id = $1";
    writing.execute_on_one(sql, params![id.as_uuid(), since.get()]).await?;
    Ok((session_epoch, since))
}

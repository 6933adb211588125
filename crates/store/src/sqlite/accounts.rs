//! Accounts: registered, found, given roles, disabled.

use countersign_core::accounts::{Account, Username};
use countersign_core::epochs::Epoch;
use countersign_core::events::{EventKind, Origin, RevocationScope};
use countersign_core::ids::{AccountId, SessionId};
use countersign_core::roles::{Role, Roles};
use rusqlite::{Connection, params};

use crate::StoreResult;
use crate::sqlite::events::Record;
use crate::sqlite::rows::{account_columns, execute, execute_on_one, many, one, roles_text};
use crate::sqlite::writing::Writing;
use crate::sqlite::{access, state};
use crate::verbs::{FeedPosition, NewAccount, Registered};

/// The most accounts that one query gives.
const PAGE: u32 = 1000;

pub(super) fn register(writing: &Writing<'_>, new: NewAccount, origin: Origin) -> StoreResult<Registered> {
    let connection = writing.connection;
    if let Some(authority) = new.authority
        && !is_administrators(writing, authority)?
    {
        return Ok(Registered::NotAdministrator);
    }
    // No time passes between the question and the answer: there is one writer.
    let taken = |sql, name: &str| Ok::<_, crate::StoreError>(one(connection, sql, [name], |_| Ok(()))?.is_some());
    if taken("SELECT 1 FROM accounts WHERE username_canonical = ?1", new.username.canonical())? {
        return Ok(Registered::UsernameTaken);
    }
    if taken("SELECT 1 FROM accounts WHERE email_canonical = ?1", new.email.canonical())? {
        return Ok(Registered::EmailTaken);
    }
    let account = Account {
        id: new.id,
        username: new.username,
        email: new.email,
        roles: new.roles,
        claims_version: Epoch::new(0),
        disabled_at: None,
        created_at: writing.now,
    };
    let sql = "INSERT INTO accounts (id, username, username_canonical, email, email_canonical, roles, password_hash, \
               session_epoch, claims_version, created_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?8, ?9)";
    let parameters = params![
        account.id.as_bytes(),
        account.username.as_str(),
        account.username.canonical(),
        account.email.as_str(),
        account.email.canonical(),
        roles_text(&account.roles)?,
        new.password.expose(),
        account.claims_version.get(),
        writing.now.get(),
    ];
    execute(connection, sql, parameters)?;
    let detail = format!("roles {}", account.roles);
    Record::new(EventKind::AccountRegistered, origin).account(account.id).detail(detail).write(writing)?;
    Ok(Registered::Done(account))
}

/// Whether the session is alive and its account an administrator's: hashing took its time since that was asked first.
fn is_administrators(writing: &Writing<'_>, session: SessionId) -> StoreResult<bool> {
    let found = access::session_account(writing.connection, session, writing.now)?;
    Ok(found.is_ok_and(|found| found.account.roles.contains(Role::ADMIN)))
}

pub(super) fn find(connection: &Connection, id: AccountId) -> StoreResult<Option<Account>> {
    let sql = concat!("SELECT ", account_columns!(), " FROM accounts a WHERE a.id = ?1");
    one(connection, sql, [id.as_bytes()], |columns| columns.account())
}

pub(super) fn find_named(connection: &Connection, username: &Username) -> StoreResult<Option<Account>> {
    let sql = concat!("SELECT ", account_columns!(), " FROM accounts a WHERE a.username_canonical = ?1");
    one(connection, sql, [username.canonical()], |columns| columns.account())
}

pub(super) fn list(connection: &Connection, after: Option<&Username>, limit: u32) -> StoreResult<Vec<Account>> {
    let sql = concat!(
        "SELECT ",
        account_columns!(),
        " FROM accounts a WHERE a.username_canonical > ?1 ORDER BY a.username_canonical LIMIT ?2"
    );
    // Every name sorts after the empty one.
    let after = after.map_or("", Username::canonical);
    many(connection, sql, params![after, limit.min(PAGE)], |columns| columns.account())
}

pub(super) fn set_roles(
    writing: &Writing<'_>,
    id: AccountId,
    roles: &Roles,
    origin: Origin,
) -> StoreResult<Option<FeedPosition>> {
    let connection = writing.connection;
    let Some(account) = find(connection, id)? else {
        return Ok(None);
    };
    if account.roles == *roles {
        return state::position(connection).map(Some);
    }
    let version = account.claims_version.next(writing.now);
    let sql = "UPDATE accounts SET roles = ?2, claims_version = ?3 WHERE id = ?1";
    execute_on_one(connection, sql, params![id.as_bytes(), roles_text(roles)?, version.get()])?;
    let detail = format!("from {} to {}", account.roles, roles);
    let record = Record::new(EventKind::RolesChanged, origin).account(id).detail(detail);
    let expires_at = state::last_access_expiry(writing)?;
    record.publish(writing, RevocationScope::Account(id, version), expires_at).map(Some)
}

pub(super) fn disable(writing: &Writing<'_>, id: AccountId, origin: Origin) -> StoreResult<Option<FeedPosition>> {
    let connection = writing.connection;
    let Some(account) = find(connection, id)? else {
        return Ok(None);
    };
    if account.disabled_at.is_some() {
        return state::position(connection).map(Some);
    }
    let (_, since) = end_all_sessions(writing, id)?;
    let sql = "UPDATE accounts SET disabled_at = ?2 WHERE id = ?1";
    execute_on_one(connection, sql, params![id.as_bytes(), writing.now.get()])?;
    let expires_at = state::last_access_expiry(writing)?;
    let record = Record::new(EventKind::AccountDisabled, origin).account(id);
    record.publish(writing, RevocationScope::Account(id, since), expires_at).map(Some)
}

pub(super) fn enable(writing: &Writing<'_>, id: AccountId, origin: Origin) -> StoreResult<Option<()>> {
    let Some(account) = find(writing.connection, id)? else {
        return Ok(None);
    };
    if account.disabled_at.is_some() {
        let sql = "UPDATE accounts SET disabled_at = NULL WHERE id = ?1";
        execute_on_one(writing.connection, sql, [id.as_bytes()])?;
        Record::new(EventKind::AccountEnabled, origin).account(id).write(writing)?;
    }
    Ok(Some(()))
}

/// Moves both epochs of an account on to the same number; the session epoch before, and the number. The account must be there.
pub(super) fn end_all_sessions(writing: &Writing<'_>, id: AccountId) -> StoreResult<(Epoch, Epoch)> {
    let sql = "SELECT session_epoch, claims_version FROM accounts WHERE id = ?1";
    let epochs = one(writing.connection, sql, [id.as_bytes()], |columns| Ok((columns.epoch()?, columns.epoch()?)))?;
    let (session_epoch, claims_version) =
        epochs.ok_or_else(|| crate::StoreError::Internal("no such account".into()))?;
    let since = session_epoch.max(claims_version).next(writing.now);
    let sql = "UPDATE accounts SET session_epoch = ?2, claims_version = ?2 WHERE id = ?1";
    execute_on_one(writing.connection, sql, params![id.as_bytes(), since.get()])?;
    Ok((session_epoch, since))
}

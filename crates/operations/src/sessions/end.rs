//! Ending sessions: one, those of an account, those of everyone.

use std::net::IpAddr;

use countersign_core::accounts::Username;
use countersign_core::events::Origin;
use countersign_core::ids::SessionId;
use countersign_core::sessions::state::EndReason;
use countersign_core::time::Millis;
use countersign_store::StoreError;
use countersign_store::verbs::{Ended, ListedSession, REVOCATION_MARGIN, Receipt};
use countersign_token::MAX_LEEWAY_SECONDS;

use super::LISTED;
use crate::Operations;
use crate::administrators::Administrator;
use crate::callers::Caller;

const _: () = assert!(
    REVOCATION_MARGIN.as_secs() >= MAX_LEEWAY_SECONDS.unsigned_abs(),
    "the feed tells of an access token for as long as a verifier may accept it"
);

/// Ends the caller's own session.
///
/// # Errors
/// [`StoreError`].
pub async fn sign_out(operations: &Operations, caller: &Caller, address: Option<IpAddr>) -> Result<(), StoreError> {
    end(operations, caller, caller.session, EndReason::SignedOut, address).await.map(|_| ())
}

/// Ends one of the caller's sessions; `false`: they have no such session, or it had ended before.
///
/// # Errors
/// [`StoreError`].
pub async fn end_one(
    operations: &Operations,
    caller: &Caller,
    session: SessionId,
    address: Option<IpAddr>,
) -> Result<bool, StoreError> {
    end(operations, caller, session, EndReason::Revoked, address).await
}

async fn end(
    operations: &Operations,
    caller: &Caller,
    session: SessionId,
    reason: EndReason,
    address: Option<IpAddr>,
) -> Result<bool, StoreError> {
    let ended = Ended { account: caller.account.id, session, reason };
    let Some(_) = operations.store.end_session(ended, caller.origin(address)).await? else {
        return Ok(false);
    };
    operations.feed.catch_up(&*operations.store).await?;
    Ok(true)
}

/// The caller's sessions: those alive and those that ended lately, newest first.
///
/// # Errors
/// [`StoreError`].
pub async fn list(operations: &Operations, caller: &Caller) -> Result<Vec<ListedSession>, StoreError> {
    operations.store.sessions(caller.account.id, LISTED).await
}

/// What a revocation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Revoked {
    /// How many sessions were alive.
    pub sessions_ended: u64,
    /// When the last access token among them expires by itself: resource servers that do not read the feed refuse from then.
    pub last_access_expiry: Option<Millis>,
}

/// Why a revocation was refused.
#[derive(Debug, thiserror::Error)]
pub enum RevokeError {
    /// The caller may not do this.
    #[error("only an administrator may end the sessions of others")]
    Forbidden,
    /// There is nobody of that name. Only administrators are told.
    #[error("there is no account of that name")]
    NotFound,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Ends all sessions of an account: the caller's own, or anybody's where the caller is an administrator.
///
/// `count` asks for a receipt, which costs a look at the account's sessions.
///
/// # Errors
/// See [`RevokeError`].
pub async fn revoke_account(
    operations: &Operations,
    caller: &Caller,
    name: &str,
    count: bool,
    address: Option<IpAddr>,
) -> Result<Option<Revoked>, RevokeError> {
    let username = Username::parse(name).ok();
    let own = username.as_ref().is_some_and(|name| name.canonical() == caller.account.username.canonical());
    if !own && !caller.is_admin() {
        return Err(RevokeError::Forbidden);
    }
    let username = username.ok_or(RevokeError::NotFound)?;
    let receipt = revoke_named(operations, &username, caller.origin(address)).await?;
    Ok(revoked(operations, &receipt, count).await?)
}

/// Ends all sessions of an account, for the operator.
///
/// # Errors
/// See [`RevokeError`].
pub async fn revoke_account_by_operator(operations: &Operations, name: &str) -> Result<Revoked, RevokeError> {
    let username = Username::parse(name).map_err(|_| RevokeError::NotFound)?;
    let receipt = revoke_named(operations, &username, Origin::COMMAND_LINE).await?;
    Ok(counted(operations, &receipt).await?)
}

async fn revoke_named(operations: &Operations, username: &Username, origin: Origin) -> Result<Receipt, RevokeError> {
    let account = operations.store.account_named(username).await?.ok_or(RevokeError::NotFound)?;
    operations.store.revoke_account(account.id, origin).await?.ok_or(RevokeError::NotFound)
}

/// Ends all sessions of everyone, the administrator's own too.
///
/// # Errors
/// [`StoreError`].
pub async fn revoke_everyone(
    operations: &Operations,
    by: &Administrator,
    count: bool,
) -> Result<Option<Revoked>, StoreError> {
    let receipt = operations.store.revoke_everyone(by.origin).await?;
    revoked(operations, &receipt, count).await
}

async fn revoked(operations: &Operations, receipt: &Receipt, count: bool) -> Result<Option<Revoked>, StoreError> {
    operations.feed.catch_up(&*operations.store).await?;
    if count { counted(operations, receipt).await.map(Some) } else { Ok(None) }
}

async fn counted(operations: &Operations, receipt: &Receipt) -> Result<Revoked, StoreError> {
    let outstanding = operations.store.count_ended(receipt).await?;
    Ok(Revoked { sessions_ended: outstanding.sessions, last_access_expiry: outstanding.last_access_expiry })
}

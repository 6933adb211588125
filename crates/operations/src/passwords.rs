//! Passwords: changed by their owner, set by the operator.

use std::net::IpAddr;

use countersign_core::events::Origin;
use countersign_core::passwords::Password;
use countersign_store::StoreError;
use countersign_store::verbs::{PasswordChange, PasswordWritten};
use zeroize::Zeroizing;

use crate::Operations;
use crate::accounts::{ManageError, UnfitPassword, fit_password, named};
use crate::callers::Caller;
use crate::hashing::{HashingError, Match};
use crate::throttles::{Target, Throttled};

/// Why a password was not changed.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// The present password is another one.
    #[error("the current password is wrong")]
    CurrentWrong,
    /// The session ended while the passwords were hashed.
    #[error("the session has ended")]
    SessionDead,
    /// The new one cannot be set.
    #[error(transparent)]
    Unfit(#[from] UnfitPassword),
    /// The present password was guessed wrong too often.
    #[error("too many attempts")]
    Throttled(Throttled),
    /// Nothing was hashed.
    #[error(transparent)]
    Hashing(#[from] HashingError),
    /// The account is gone.
    #[error(transparent)]
    Manage(#[from] ManageError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Changes the caller's password and ends all of their other sessions.
///
/// # Errors
/// See [`ChangeError`].
pub async fn change(
    operations: &Operations,
    caller: &Caller,
    current: Zeroizing<String>,
    new: Zeroizing<String>,
    address: Option<IpAddr>,
) -> Result<(), ChangeError> {
    let account = &caller.account;
    let new = fit_password(operations, new, &[account.username.as_str(), account.email.as_str()])?;
    let current = Password::parse(current).map_err(|_| ChangeError::CurrentWrong)?;
    let credentials = operations.store.credentials_of(account.id).await?.ok_or(ChangeError::CurrentWrong)?;
    // Whoever holds a stolen access token must not have more guesses here than at the sign-in.
    let throttles = &operations.throttles;
    let guess = throttles.guess(&*operations.store, Target::Account(account.id.as_bytes()), address).await?;
    let mut attempt = throttles.sign_in(&guess, true, operations.store.now()).map_err(ChangeError::Throttled)?;
    match operations.hasher.verify(current, credentials.password.clone()).await {
        Ok(Match::No) => return Err(ChangeError::CurrentWrong),
        Ok(Match::Yes { .. }) => attempt.forgive(),
        Err(error) => {
            attempt.forgive();
            return Err(error.into());
        }
    }
    let change = PasswordChange {
        account: account.id,
        expected: Some(credentials.password),
        new: operations.hasher.hash(new).await?,
        keep: Some(caller.session),
    };
    match operations.store.write_password(change, caller.origin(address)).await? {
        PasswordWritten::Done(_) => Ok(operations.feed.catch_up(&*operations.store).await?),
        PasswordWritten::SessionDead => Err(ChangeError::SessionDead),
        PasswordWritten::NoSuchAccount | PasswordWritten::Superseded => Err(ChangeError::CurrentWrong),
    }
}

/// Sets the password of an account for the operator, and ends all of its sessions.
///
/// # Errors
/// See [`ChangeError`].
pub async fn set_by_operator(operations: &Operations, name: &str, new: Zeroizing<String>) -> Result<(), ChangeError> {
    let account = named(operations, name).await?;
    let new = fit_password(operations, new, &[account.username.as_str(), account.email.as_str()])?;
    let change =
        PasswordChange { account: account.id, expected: None, new: operations.hasher.hash(new).await?, keep: None };
    match operations.store.write_password(change, Origin::COMMAND_LINE).await? {
        PasswordWritten::Done(_) => Ok(()),
        PasswordWritten::NoSuchAccount | PasswordWritten::Superseded | PasswordWritten::SessionDead => {
            Err(ManageError::NotFound(name.to_owned()).into())
        }
    }
}

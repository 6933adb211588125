//! Accounts: registering them, and what an operator does to them.

use std::net::IpAddr;

use countersign_core::accounts::{Account, Email, InvalidEmail, InvalidUsername, Username};
use countersign_core::events::{Actor, Origin};
use countersign_core::ids::{AccountId, SessionId};
use countersign_core::passwords::{InvalidPassword, Password, WeakPassword};
use countersign_core::roles::Roles;
use countersign_store::StoreError;
use countersign_store::verbs::{NewAccount, Registered};
use zeroize::Zeroizing;

use crate::administrators::{Administrator, NotAdministrator};
use crate::hashing::HashingError;
use crate::policy::Registration;
use crate::throttles::Throttled;
use crate::{Operations, random};

/// What somebody who registers has typed.
pub struct NewRegistration {
    /// The wanted name.
    pub username: String,
    /// Their address.
    pub email: String,
    /// The wanted password.
    pub password: Zeroizing<String>,
}

/// What is wrong with a registration, field by field.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InvalidRegistration {
    /// The name.
    pub username: Option<InvalidUsername>,
    /// The address.
    pub email: Option<InvalidEmail>,
    /// The password.
    pub password: Option<UnfitPassword>,
}

/// Why a password cannot be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnfitPassword {
    /// It is no password at all.
    #[error(transparent)]
    Invalid(#[from] InvalidPassword),
    /// It is too weak.
    #[error(transparent)]
    Weak(#[from] WeakPassword),
}

/// Why an account was not registered.
#[derive(Debug, thiserror::Error)]
pub enum RegisterError {
    /// Something that was typed is unfit.
    #[error("the registration is invalid")]
    Invalid(InvalidRegistration),
    /// Somebody has the name.
    #[error("the username is taken")]
    UsernameTaken,
    /// Somebody has the address.
    #[error("the e-mail address is taken")]
    EmailTaken,
    /// Whoever registers an administrator is none any more.
    #[error(transparent)]
    NotAdministrator(NotAdministrator),
    /// Registration is closed.
    #[error("registration is closed")]
    Closed,
    /// Too many registrations came from the address.
    #[error("too many registrations")]
    Throttled(Throttled),
    /// The password was not hashed.
    #[error(transparent)]
    Hashing(#[from] HashingError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Registers an account for whoever asks, with the role User.
///
/// # Errors
/// See [`RegisterError`].
pub async fn register(
    operations: &Operations,
    new: NewRegistration,
    address: Option<IpAddr>,
) -> Result<Account, RegisterError> {
    if operations.policy.registration == Registration::Closed {
        return Err(RegisterError::Closed);
    }
    let origin = Origin { actor: Actor::Anonymous, address };
    let new = Checked::check(operations, new).map_err(RegisterError::Invalid)?;
    let throttles = &operations.throttles;
    let registration = throttles.registration(&*operations.store, address).await?;
    let _place = throttles.register(&registration, operations.store.now()).map_err(RegisterError::Throttled)?;
    create(operations, new, Roles::user(), origin, None).await
}

/// Registers an account with roles that only an administrator may give.
///
/// # Errors
/// See [`RegisterError`].
pub async fn register_with_roles(
    operations: &Operations,
    by: &Administrator,
    new: NewRegistration,
    roles: Roles,
) -> Result<Account, RegisterError> {
    let new = Checked::check(operations, new).map_err(RegisterError::Invalid)?;
    create(operations, new, roles, by.origin, by.session).await
}

/// A registration whose fields are all fit.
struct Checked {
    username: Username,
    email: Email,
    password: Password,
}

impl Checked {
    /// Looks at every field, so that all faults are told at once.
    fn check(operations: &Operations, new: NewRegistration) -> Result<Self, InvalidRegistration> {
        let password = fit_password(operations, new.password, &[&new.username, &new.email]);
        let email = Email::parse(&new.email);
        let username = Username::parse(&new.username).and_then(|username| {
            if let Ok(email) = &email {
                username.suits(email)?;
            }
            Ok(username)
        });
        match (username, email, password) {
            (Ok(username), Ok(email), Ok(password)) => Ok(Self { username, email, password }),
            (username, email, password) => {
                Err(InvalidRegistration { username: username.err(), email: email.err(), password: password.err() })
            }
        }
    }
}

/// Reads a new password and asks the policy.
pub(crate) fn fit_password(
    operations: &Operations,
    text: Zeroizing<String>,
    context: &[&str],
) -> Result<Password, UnfitPassword> {
    let password = Password::parse(text)?;
    operations.policy.passwords.check(&password, context)?;
    Ok(password)
}

async fn create(
    operations: &Operations,
    new: Checked,
    roles: Roles,
    origin: Origin,
    authority: Option<SessionId>,
) -> Result<Account, RegisterError> {
    let new = NewAccount {
        id: AccountId::new(random::id(operations.store.now())),
        username: new.username,
        email: new.email,
        password: operations.hasher.hash(new.password).await?,
        roles,
        authority,
    };
    match operations.store.register(new, origin).await? {
        Registered::Done(account) => {
            metrics::counter!("countersign_registrations_total").increment(1);
            Ok(account)
        }
        Registered::UsernameTaken => Err(RegisterError::UsernameTaken),
        Registered::EmailTaken => Err(RegisterError::EmailTaken),
        Registered::NotAdministrator => Err(RegisterError::NotAdministrator(NotAdministrator)),
    }
}

/// Why an operator's change of an account did not happen.
#[derive(Debug, thiserror::Error)]
pub enum ManageError {
    /// There is no account of that name.
    #[error("there is no account named {0:?}")]
    NotFound(String),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The account with this name.
///
/// # Errors
/// See [`ManageError`].
pub async fn named(operations: &Operations, name: &str) -> Result<Account, ManageError> {
    let missing = || ManageError::NotFound(name.to_owned());
    let username = Username::parse(name).map_err(|_| missing())?;
    operations.store.account_named(&username).await?.ok_or_else(missing)
}

/// Accounts in the order of their names, a page at a time.
///
/// # Errors
/// [`StoreError`].
pub async fn list(operations: &Operations, after: Option<&Username>, limit: u32) -> Result<Vec<Account>, StoreError> {
    operations.store.accounts(after, limit).await
}

/// Sets the roles of an account: its access tokens die, its sessions live and bring the new roles at their next refresh.
///
/// # Errors
/// See [`ManageError`].
pub async fn set_roles(operations: &Operations, name: &str, roles: Roles) -> Result<(), ManageError> {
    let account = named(operations, name).await?;
    let done = operations.store.set_roles(account.id, roles, Origin::COMMAND_LINE).await?;
    done.map(|_| ()).ok_or_else(|| ManageError::NotFound(name.to_owned()))
}

/// Disables an account and ends its sessions.
///
/// # Errors
/// See [`ManageError`].
pub async fn disable(operations: &Operations, name: &str) -> Result<(), ManageError> {
    let account = named(operations, name).await?;
    let done = operations.store.disable_account(account.id, Origin::COMMAND_LINE).await?;
    done.map(|_| ()).ok_or_else(|| ManageError::NotFound(name.to_owned()))
}

/// Enables an account again.
///
/// # Errors
/// See [`ManageError`].
pub async fn enable(operations: &Operations, name: &str) -> Result<(), ManageError> {
    let account = named(operations, name).await?;
    let done = operations.store.enable_account(account.id, Origin::COMMAND_LINE).await?;
    done.ok_or_else(|| ManageError::NotFound(name.to_owned()))
}

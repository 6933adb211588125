//! Signing in: the proof of who somebody is, and the session that follows from it.

use std::net::IpAddr;

use countersign_core::accounts::{Account, Login, PasswordHash};
use countersign_core::events::{Actor, Origin};
use countersign_core::ids::{ClientId, FamilyId, SessionId};
use countersign_core::passwords::Password;
use countersign_core::secret::Secret;
use countersign_core::sessions::refresh_token::RefreshToken;
use countersign_store::StoreError;
use countersign_store::verbs::{Begin, Begun, Credentials};
use countersign_token::SignError;
use zeroize::Zeroizing;

use super::{DEVICE_CHARS, LISTED};
use crate::hashing::{HashingError, Match};
use crate::throttles::{Attempt, Cause, Target, Throttled, network};
use crate::{Operations, TokenPair, random};

/// What somebody who signs in has typed.
pub struct SignIn {
    /// A username or an e-mail address.
    pub login: String,
    /// The password.
    pub password: Zeroizing<String>,
    /// What the device calls itself.
    pub device: Option<String>,
}

/// Why a sign-in was refused.
#[derive(Debug, thiserror::Error)]
pub enum SignInError {
    /// Nobody has this name and password.
    #[error("the username or the password is wrong")]
    InvalidCredentials,
    /// The password is right and the account is disabled.
    #[error("the account is disabled")]
    AccountDisabled,
    /// Too many attempts failed.
    #[error("too many attempts failed")]
    Throttled(Throttled),
    /// Nothing was hashed.
    #[error(transparent)]
    Hashing(#[from] HashingError),
    /// The access token could not be signed.
    #[error(transparent)]
    Signing(#[from] SignError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Somebody whose identity was proven, by whatever means: the only thing that [`begin`] accepts.
struct Authenticated {
    account: Account,
    verified: PasswordHash,
    rehashed: Option<PasswordHash>,
}

/// Signs in with a password and begins a session.
///
/// For a name that nobody has, the same work is done and the same answer given.
///
/// # Errors
/// See [`SignInError`].
pub async fn sign_in(
    operations: &Operations,
    request: SignIn,
    address: Option<IpAddr>,
) -> Result<TokenPair, SignInError> {
    let device = request.device.map(|device| device.chars().filter(|c| !c.is_control()).take(DEVICE_CHARS).collect());
    let outcome = match authenticate(operations, &request.login, request.password, address).await {
        Ok(authenticated) => begin(operations, authenticated, device, address).await,
        Err(error) => Err(error),
    };
    let label = match &outcome {
        Ok(_) => "signed_in",
        Err(SignInError::InvalidCredentials) => "invalid_credentials",
        Err(SignInError::AccountDisabled) => "account_disabled",
        Err(SignInError::Throttled(_)) => "throttled",
        Err(SignInError::Hashing(_) | SignInError::Signing(_) | SignInError::Store(_)) => "failed",
    };
    metrics::counter!("countersign_sign_ins_total", "outcome" => label).increment(1);
    outcome
}

/// Proves by a password who somebody is.
async fn authenticate(
    operations: &Operations,
    login: &str,
    password: Zeroizing<String>,
    address: Option<IpAddr>,
) -> Result<Authenticated, SignInError> {
    let origin = Origin { actor: Actor::Anonymous, address };
    let login = Login::parse(login);
    let found = match &login {
        Some(login) => operations.store.credentials(login).await?,
        None => None,
    };
    let nobody = login.as_ref().map_or("", Login::canonical);
    let mut attempt = throttle(operations, found.as_ref(), nobody, address).await?;
    let proven = prove(operations, found, password, origin).await;
    // Where the store fails, the password had been found wrong, and that could not be recorded.
    if matches!(proven, Ok(_) | Err(SignInError::Hashing(_))) {
        attempt.forgive();
    }
    proven
}

/// Compares the password; where there is no account, the same work is done.
async fn prove(
    operations: &Operations,
    found: Option<Credentials>,
    password: Zeroizing<String>,
    origin: Origin,
) -> Result<Authenticated, SignInError> {
    let Ok(password) = Password::parse(password) else {
        return Err(SignInError::InvalidCredentials);
    };
    let Some(Credentials { account, password: hash }) = found else {
        operations.hasher.verify_nobody(password).await?;
        operations.store.refuse_sign_in(None, "unknown_account", origin).await?;
        return Err(SignInError::InvalidCredentials);
    };
    let Match::Yes { outdated } = operations.hasher.verify(password.clone(), hash.clone()).await? else {
        operations.store.refuse_sign_in(Some(account.id), "wrong_password", origin).await?;
        return Err(SignInError::InvalidCredentials);
    };
    // A busy pool is no reason to refuse a right password: the stronger hash can wait for the next sign-in.
    let rehashed = if outdated { operations.hasher.hash(password).await.ok() } else { None };
    Ok(Authenticated { account, verified: hash, rehashed })
}

/// Whether one may try; an address that the account knows is not counted among the strangers.
async fn throttle<'a>(
    operations: &'a Operations,
    found: Option<&Credentials>,
    nobody: &str,
    address: Option<IpAddr>,
) -> Result<Attempt<'a>, SignInError> {
    let now = operations.store.now();
    let id = found.map(|found| found.account.id);
    let target = id.as_ref().map_or(Target::Nobody(nobody), |id| Target::Account(id.as_bytes()));
    let guess = operations.throttles.guess(&*operations.store, target, address).await?;
    let refused = match operations.throttles.sign_in(&guess, false, now) {
        Ok(attempt) => return Ok(attempt),
        Err(refused) => refused,
    };
    let (Some(id), Some(address), true) = (id, address, refused.cause == Cause::Strangers) else {
        return Err(SignInError::Throttled(refused));
    };
    let sessions = operations.store.sessions(id, LISTED).await?;
    let known = sessions.iter().filter_map(|session| session.address).any(|known| network(known) == network(address));
    if !known {
        return Err(SignInError::Throttled(refused));
    }
    operations.throttles.sign_in(&guess, true, now).map_err(SignInError::Throttled)
}

/// Begins a session: the only place that does.
async fn begin(
    operations: &Operations,
    who: Authenticated,
    device: Option<String>,
    address: Option<IpAddr>,
) -> Result<TokenPair, SignInError> {
    let now = operations.store.now();
    let token = RefreshToken::first(FamilyId::new(random::id(now)), Secret::new(random::bytes()));
    let account = who.account.id;
    let begin = Begin {
        session: SessionId::new(random::id(now)),
        account,
        verified: who.verified,
        rehashed: who.rehashed,
        client: ClientId::first_party(),
        token: token.clone(),
        device,
        address,
        session_lifetime: operations.policy.session_lifetime,
        session_limit: Some(operations.policy.sessions_per_account),
        lifetimes: operations.policy.lifetimes,
    };
    let origin = Origin { actor: Actor::Account(account), address };
    match operations.store.begin_session(begin, origin).await? {
        Begun::Live(granted, made_room) => {
            if made_room.is_some() {
                operations.feed.catch_up(&*operations.store).await?;
            }
            Ok(operations.mint(&granted, &token)?)
        }
        Begun::AccountDisabled => {
            let origin = Origin { actor: Actor::Anonymous, address };
            operations.store.refuse_sign_in(Some(account), "account_disabled", origin).await?;
            Err(SignInError::AccountDisabled)
        }
        Begun::CredentialsChanged => Err(SignInError::InvalidCredentials),
    }
}

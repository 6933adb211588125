//! Sessions: signing in, refreshing, and the three sizes of revocation.

use std::net::IpAddr;

use countersign_core::accounts::{Account, Login, PasswordHash, Username};
use countersign_core::events::{Actor, Origin};
use countersign_core::ids::{ClientId, FamilyId, SessionId};
use countersign_core::passwords::Password;
use countersign_core::secret::Secret;
use countersign_core::sessions::refresh_token::{InvalidRetryKey, Malformed, RefreshToken, RetryKey};
use countersign_core::sessions::rotation::{Presented, Refusal, Replay};
use countersign_core::sessions::state::EndReason;
use countersign_core::time::Millis;
use countersign_store::StoreError;
use countersign_store::verbs::{Begin, Begun, Credentials, Ended, Granted, ListedSession, Receipt, Rotate, RotatedIn};
use countersign_token::{SignError, VerifyError, verify};
use zeroize::Zeroizing;

use crate::callers::{Administrator, Caller};
use crate::hashing::{HashingError, Match};
use crate::throttles::{Taken, Target, Throttled, network};
use crate::{Countersign, TokenPair, random};

/// The most characters of a device's name that are kept.
pub const DEVICE_CHARS: usize = 128;

/// The most sessions that a list shows.
pub const LISTED: u32 = 200;

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
    countersign: &Countersign,
    request: SignIn,
    address: Option<IpAddr>,
) -> Result<TokenPair, SignInError> {
    let device = request.device.map(|device| device.chars().filter(|c| !c.is_control()).take(DEVICE_CHARS).collect());
    let outcome = match authenticate(countersign, &request.login, request.password, address).await {
        Ok(authenticated) => begin(countersign, authenticated, device, address).await,
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
    countersign: &Countersign,
    login: &str,
    password: Zeroizing<String>,
    address: Option<IpAddr>,
) -> Result<Authenticated, SignInError> {
    let origin = Origin { actor: Actor::Anonymous, address };
    let login = Login::parse(login);
    let found = match &login {
        Some(login) => countersign.store.credentials(login).await?,
        None => None,
    };
    let nobody = login.as_ref().map_or("", Login::canonical);
    let taken = throttle(countersign, found.as_ref(), nobody, address).await?;
    let Ok(password) = Password::parse(password) else {
        return Err(SignInError::InvalidCredentials);
    };
    let Some(Credentials { account, password: hash }) = found else {
        countersign.hasher.verify_nobody(password).await?;
        countersign.store.refuse_sign_in(None, "unknown_account", origin).await?;
        return Err(SignInError::InvalidCredentials);
    };
    let Match::Yes { outdated } = countersign.hasher.verify(password.clone(), hash.clone()).await? else {
        countersign.store.refuse_sign_in(Some(account.id), "wrong_password", origin).await?;
        return Err(SignInError::InvalidCredentials);
    };
    countersign.throttles.give_back(taken);
    // A busy pool is no reason to refuse a right password: the stronger hash can wait for the next sign-in.
    let rehashed = if outdated { countersign.hasher.hash(password).await.ok() } else { None };
    Ok(Authenticated { account, verified: hash, rehashed })
}

/// Takes one attempt; an address that the account knows is not counted among the strangers.
async fn throttle(
    countersign: &Countersign,
    found: Option<&Credentials>,
    nobody: &str,
    address: Option<IpAddr>,
) -> Result<Taken, SignInError> {
    let now = countersign.clock.now();
    let id = found.map(|found| found.account.id);
    let target = id.as_ref().map_or(Target::Nobody(nobody), |id| Target::Account(id.as_bytes()));
    let refused = match countersign.throttles.sign_in(target, address, false, now) {
        Ok(taken) => return Ok(taken),
        Err(refused) => refused,
    };
    let (Some(id), Some(address), true) = (id, address, refused.strangers_only) else {
        return Err(SignInError::Throttled(refused));
    };
    let sessions = countersign.store.sessions(id, LISTED).await?;
    let known = sessions.iter().filter_map(|session| session.address).any(|known| network(known) == network(address));
    if !known {
        return Err(SignInError::Throttled(refused));
    }
    countersign.throttles.sign_in(target, Some(address), true, now).map_err(SignInError::Throttled)
}

/// Begins a session: the only place that does.
async fn begin(
    countersign: &Countersign,
    who: Authenticated,
    device: Option<String>,
    address: Option<IpAddr>,
) -> Result<TokenPair, SignInError> {
    let now = countersign.clock.now();
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
        session_lifetime: countersign.policy.session_lifetime,
        lifetimes: countersign.policy.lifetimes,
    };
    let origin = Origin { actor: Actor::Account(account), address };
    match countersign.store.begin_session(begin, origin).await? {
        Begun::Live(granted) => Ok(countersign.mint(&granted, &token)?),
        Begun::AccountDisabled => {
            let origin = Origin { actor: Actor::Anonymous, address };
            countersign.store.refuse_sign_in(Some(account), "account_disabled", origin).await?;
            Err(SignInError::AccountDisabled)
        }
        Begun::CredentialsChanged => Err(SignInError::InvalidCredentials),
    }
}

/// What a client presents to get new tokens.
pub struct Refresh {
    /// The refresh token.
    pub refresh_token: Zeroizing<String>,
    /// The access token that went with it, expired or not.
    pub access_token: Option<Zeroizing<String>>,
    /// The retry key.
    pub retry_key: Option<String>,
}

/// Why a refresh was refused.
#[derive(Debug, thiserror::Error)]
pub enum RefreshError {
    /// The text is no refresh token of ours.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The retry key is too short or too long.
    #[error(transparent)]
    RetryKey(#[from] InvalidRetryKey),
    /// The access token that came along is not genuine.
    #[error("the access token that came along is not genuine: {0}")]
    AccessToken(VerifyError),
    /// The decision: nothing was handed out.
    #[error("the refresh token was refused")]
    Refused(Refusal),
    /// The decision: the token was used twice, and its session has ended.
    #[error("the refresh token was used before, so its session has ended")]
    Replayed(Replay),
    /// The access token could not be signed.
    #[error(transparent)]
    Signing(#[from] SignError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Gives new tokens for a refresh token.
///
/// # Errors
/// See [`RefreshError`].
pub async fn refresh(
    countersign: &Countersign,
    request: Refresh,
    address: Option<IpAddr>,
) -> Result<TokenPair, RefreshError> {
    let outcome = rotate(countersign, request, address).await;
    let label = match &outcome {
        Ok((_, reissued)) => {
            if *reissued {
                "reissued"
            } else {
                "rotated"
            }
        }
        Err(RefreshError::Replayed(_)) => "replayed",
        Err(RefreshError::Signing(_) | RefreshError::Store(_)) => "failed",
        Err(
            RefreshError::Malformed(_)
            | RefreshError::RetryKey(_)
            | RefreshError::AccessToken(_)
            | RefreshError::Refused(_),
        ) => "refused",
    };
    metrics::counter!("countersign_refreshes_total", "outcome" => label).increment(1);
    outcome.map(|(pair, _)| pair)
}

async fn rotate(
    countersign: &Countersign,
    request: Refresh,
    address: Option<IpAddr>,
) -> Result<(TokenPair, bool), RefreshError> {
    let token = countersign.keys.current().tags.open(&request.refresh_token)?;
    let presented = Presented {
        token,
        client: ClientId::first_party(),
        retry_key: request.retry_key.as_deref().map(RetryKey::parse).transpose()?,
        access_token_session: match &request.access_token {
            Some(access_token) => Some(session_of(countersign, access_token).map_err(RefreshError::AccessToken)?),
            None => None,
        },
    };
    let rotate = Rotate { presented, nonce: random::bytes(), lifetimes: countersign.policy.lifetimes };
    let origin = Origin { actor: Actor::Anonymous, address };
    let mint = |granted: Box<Granted>, successor: RefreshToken| countersign.mint(&granted, &successor);
    match countersign.store.rotate(rotate, origin).await? {
        RotatedIn::Rotated(granted, successor) => Ok((mint(granted, successor)?, false)),
        RotatedIn::Reissued(granted, successor) => Ok((mint(granted, successor)?, true)),
        RotatedIn::Refused(refusal) => Err(RefreshError::Refused(refusal)),
        RotatedIn::Replayed(replay, _) => {
            countersign.feed.catch_up(&*countersign.store).await?;
            Err(RefreshError::Replayed(replay))
        }
    }
}

/// The session of an access token: it may have expired, and everything else about it must be right.
fn session_of(countersign: &Countersign, access_token: &str) -> Result<SessionId, VerifyError> {
    let expected = countersign_token::Expected { allow_expired: true, ..countersign.policy.expected() };
    let now = countersign.clock.now().unix_seconds();
    let claims = verify(access_token, &countersign.verifying_keys(), &expected, now)?;
    Ok(SessionId::new(claims.sid))
}

/// Ends the caller's own session.
///
/// # Errors
/// [`StoreError`].
pub async fn sign_out(countersign: &Countersign, caller: &Caller, address: Option<IpAddr>) -> Result<(), StoreError> {
    end(countersign, caller, caller.session, EndReason::SignedOut, address).await.map(|_| ())
}

/// Ends one of the caller's sessions; `false`: they have no such session, or it had ended before.
///
/// # Errors
/// [`StoreError`].
pub async fn end_one(
    countersign: &Countersign,
    caller: &Caller,
    session: SessionId,
    address: Option<IpAddr>,
) -> Result<bool, StoreError> {
    end(countersign, caller, session, EndReason::Revoked, address).await
}

async fn end(
    countersign: &Countersign,
    caller: &Caller,
    session: SessionId,
    reason: EndReason,
    address: Option<IpAddr>,
) -> Result<bool, StoreError> {
    let ended = Ended { account: caller.account.id, session, reason };
    let Some(_) = countersign.store.end_session(ended, caller.origin(address)).await? else {
        return Ok(false);
    };
    countersign.feed.catch_up(&*countersign.store).await?;
    Ok(true)
}

/// The caller's sessions: those alive and those that ended lately, newest first.
///
/// # Errors
/// [`StoreError`].
pub async fn list(countersign: &Countersign, caller: &Caller) -> Result<Vec<ListedSession>, StoreError> {
    countersign.store.sessions(caller.account.id, LISTED).await
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
    countersign: &Countersign,
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
    let receipt = revoke_named(countersign, &username, caller.origin(address)).await?;
    Ok(revoked(countersign, &receipt, count).await?)
}

/// Ends all sessions of an account, for the operator.
///
/// # Errors
/// See [`RevokeError`].
pub async fn revoke_account_by_operator(countersign: &Countersign, name: &str) -> Result<Revoked, RevokeError> {
    let username = Username::parse(name).map_err(|_| RevokeError::NotFound)?;
    let receipt = revoke_named(countersign, &username, Origin::COMMAND_LINE).await?;
    Ok(counted(countersign, &receipt).await?)
}

async fn revoke_named(countersign: &Countersign, username: &Username, origin: Origin) -> Result<Receipt, RevokeError> {
    let account = countersign.store.account_named(username).await?.ok_or(RevokeError::NotFound)?;
    countersign.store.revoke_account(account.id, origin).await?.ok_or(RevokeError::NotFound)
}

/// Ends all sessions of everyone, the administrator's own too.
///
/// # Errors
/// [`StoreError`].
pub async fn revoke_everyone(
    countersign: &Countersign,
    by: &Administrator,
    count: bool,
) -> Result<Option<Revoked>, StoreError> {
    let receipt = countersign.store.revoke_everyone(by.origin).await?;
    revoked(countersign, &receipt, count).await
}

async fn revoked(countersign: &Countersign, receipt: &Receipt, count: bool) -> Result<Option<Revoked>, StoreError> {
    countersign.feed.catch_up(&*countersign.store).await?;
    if count { counted(countersign, receipt).await.map(Some) } else { Ok(None) }
}

async fn counted(countersign: &Countersign, receipt: &Receipt) -> Result<Revoked, StoreError> {
    let outstanding = countersign.store.count_ended(receipt).await?;
    Ok(Revoked { sessions_ended: outstanding.sessions, last_access_expiry: outstanding.last_access_expiry })
}

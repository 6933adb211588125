//! Callers: who presents an access token to Countersign's own API.

use std::net::IpAddr;

use countersign_core::accounts::Account;
use countersign_core::events::{Actor, Origin};
use countersign_core::ids::SessionId;
use countersign_core::roles::Role;
use countersign_core::sessions::state::Dead;
use countersign_store::StoreError;
use countersign_store::verbs::AccessDenied;
use countersign_token::VerifyError;

use crate::Operations;
use crate::access_tokens::Doubt;
use crate::administrators::{Administrator, NotAdministrator};

/// The holder of a live session, as its account is now.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The account, read just now: its roles are not those of the token.
    pub account: Account,
    /// The session that the token belongs to.
    pub session: SessionId,
}

/// Why an access token was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum CallerError {
    /// It is not a good token of ours.
    #[error(transparent)]
    Token(#[from] VerifyError),
    /// Its session is dead; `None`: so long that nothing is known of it.
    #[error("the session has ended")]
    SessionDead(Option<Dead>),
    /// The session lives, and the token is older than a change of the account's roles.
    #[error("the account has changed since the token was issued")]
    Outdated,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<Doubt> for CallerError {
    fn from(doubt: Doubt) -> Self {
        match doubt {
            Doubt::Token(error) => Self::Token(error),
            Doubt::Store(error) => Self::Store(error),
        }
    }
}

impl Caller {
    /// True where the account administers this installation.
    #[must_use]
    pub fn is_admin(&self) -> bool {
        self.account.roles.contains(Role::ADMIN)
    }

    /// The caller as an administrator, where they are one.
    ///
    /// # Errors
    /// [`NotAdministrator`].
    pub fn administrator(&self, address: Option<IpAddr>) -> Result<Administrator, NotAdministrator> {
        if self.is_admin() {
            Ok(Administrator { origin: self.origin(address), session: Some(self.session) })
        } else {
            Err(NotAdministrator)
        }
    }

    pub(crate) fn origin(&self, address: Option<IpAddr>) -> Origin {
        Origin { actor: Actor::Account(self.account.id), address }
    }
}

/// Who presents this access token. It asks the store and not a copy in memory, so that its answer is never late.
///
/// # Errors
/// See [`CallerError`].
pub async fn authenticate(operations: &Operations, access_token: &str) -> Result<Caller, CallerError> {
    let claims = operations.claims(access_token).await?;
    let session = SessionId::new(claims.sid);
    let found = match operations.store.session_account(session).await? {
        Ok(found) => found,
        Err(AccessDenied::UnknownSession) => return Err(CallerError::SessionDead(None)),
        Err(AccessDenied::Dead(dead)) => return Err(CallerError::SessionDead(Some(dead))),
    };
    let [global_epoch, claims_version] = claims.ver;
    if found.account.id.as_uuid() != claims.sub {
        return Err(CallerError::SessionDead(None));
    }
    if global_epoch < found.global_epoch.get() || claims_version < found.account.claims_version.get() {
        return Err(CallerError::Outdated);
    }
    Ok(Caller { account: found.account, session })
}

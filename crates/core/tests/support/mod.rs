//! What every test of the decision begins with: one session of one client, and a token to present.

use std::time::Duration;

use countersign_core::epochs::Epoch;
use countersign_core::ids::{AccountId, ClientId, FamilyId, SessionId};
use countersign_core::secret::Secret;
use countersign_core::sessions::refresh_token::{RefreshToken, RetryKey};
use countersign_core::sessions::rotation::{Lifetimes, Presented};
use countersign_core::sessions::state::{Epochs, Session, Standing};
use countersign_core::time::Millis;

/// The family of every test.
pub(crate) const FAMILY: FamilyId = FamilyId::from_bytes([1; 16]);

/// The session of that family.
pub(crate) const SESSION: SessionId = SessionId::from_bytes([2; 16]);

/// The epochs that the session was born under.
pub(crate) const BORN: Epochs = Epochs { global: Epoch::new(1000), session: Epoch::new(2000) };

/// Lifetimes of five minutes and thirty days.
pub(crate) const fn lifetimes(rotation_overlap: Duration) -> Lifetimes {
    Lifetimes {
        access_token: Duration::from_secs(300),
        refresh_token_idle: Duration::from_secs(30 * 86_400),
        rotation_overlap,
    }
}

/// A live session that ends at `expires_at`.
pub(crate) const fn session(expires_at: Millis) -> Session {
    Session { id: SESSION, account: AccountId::from_bytes([3; 16]), expires_at, ended: None, born: BORN }
}

/// The standing of an account of which nothing was revoked.
pub(crate) const fn standing() -> Standing {
    Standing { account_disabled: false, epochs: BORN }
}

/// The token that the session begins with.
pub(crate) const fn first_token() -> RefreshToken {
    RefreshToken::first(FAMILY, Secret::new([4; 32]))
}

/// The token as its own client presents it: with the retry key, without an access token.
pub(crate) fn present(token: &RefreshToken, retry_key: Option<&str>) -> Presented {
    Presented {
        token: token.clone(),
        client: ClientId::first_party(),
        retry_key: retry_key.map(|key| RetryKey::parse(key).unwrap()),
        access_token_session: None,
    }
}

//! Refreshing: a refresh token for a new pair of tokens.

use std::net::IpAddr;

use countersign_core::events::{Actor, Origin};
use countersign_core::ids::{ClientId, SessionId};
use countersign_core::sessions::refresh_token::{InvalidRetryKey, Malformed, RetryKey};
use countersign_core::sessions::rotation::{Presented, Refusal, Replay};
use countersign_store::StoreError;
use countersign_store::verbs::{Rotate, RotatedIn};
use countersign_token::{SignError, VerifyError};
use zeroize::Zeroizing;

use crate::access_tokens::Doubt;
use crate::{Operations, TokenPair, random};

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

impl From<Doubt> for RefreshError {
    fn from(doubt: Doubt) -> Self {
        match doubt {
            Doubt::Token(error) => Self::AccessToken(error),
            Doubt::Store(error) => Self::Store(error),
        }
    }
}

/// Gives new tokens for a refresh token.
///
/// # Errors
/// See [`RefreshError`].
pub async fn refresh(
    operations: &Operations,
    request: Refresh,
    address: Option<IpAddr>,
) -> Result<TokenPair, RefreshError> {
    let outcome = rotate(operations, request, address).await;
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
    operations: &Operations,
    request: Refresh,
    address: Option<IpAddr>,
) -> Result<(TokenPair, bool), RefreshError> {
    if operations.keys.current().tags.lack_the_key_of(&request.refresh_token) {
        operations.keys.renew(&*operations.store).await?;
    }
    let token = operations.keys.current().tags.open(&request.refresh_token)?;
    let presented = Presented {
        token,
        client: ClientId::first_party(),
        retry_key: request.retry_key.as_deref().map(RetryKey::parse).transpose()?,
        access_token_session: match &request.access_token {
            Some(access_token) => Some(SessionId::new(operations.claims_of_the_past(access_token).await?.sid)),
            None => None,
        },
    };
    let rotate = Rotate { presented, nonce: random::bytes(), lifetimes: operations.policy.lifetimes };
    let origin = Origin { actor: Actor::Anonymous, address };
    // The signature is made while the commit is written and flushed.
    let answer = |rotated: &RotatedIn| match rotated {
        RotatedIn::Rotated(granted, successor) => Ok((operations.mint(granted, successor)?, false)),
        RotatedIn::Reissued(granted, successor) => Ok((operations.mint(granted, successor)?, true)),
        RotatedIn::Refused(refusal) => Err(RefreshError::Refused(*refusal)),
        RotatedIn::Replayed(replay, _) => Err(RefreshError::Replayed(*replay)),
    };
    let answer = operations.store.rotate(rotate, origin).await?.meanwhile(answer).await?;
    if let Err(RefreshError::Replayed(replay)) = &answer {
        // Once for a session, however often a token of it comes again.
        tracing::warn!(replay = replay.as_str(), "a refresh token was replayed: its session has ended");
        operations.feed.catch_up(&*operations.store).await?;
    }
    answer
}

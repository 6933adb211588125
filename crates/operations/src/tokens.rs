//! What a granted session hands out: an access token and the refresh token that goes with it.

use std::fmt;

use countersign_core::sessions::refresh_token::RefreshToken;
use countersign_core::time::Millis;
use countersign_store::verbs::Granted;
use countersign_token::{AccessClaims, SignError};
use zeroize::Zeroizing;

use crate::{Operations, random};

/// An access token and the refresh token that goes with it.
pub struct TokenPair {
    /// The access token: a JWT (RFC 9068).
    pub access_token: Zeroizing<String>,
    /// The refresh token.
    pub refresh_token: Zeroizing<String>,
    /// When the access token expires.
    pub expires_at: Millis,
    /// For how many seconds from now the access token is good.
    pub expires_in_seconds: i64,
}

impl fmt::Debug for TokenPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenPair(redacted, expires at {})", self.expires_at.get())
    }
}

impl Operations {
    /// Mints the tokens of a session. The claims come from the rows that granted it, never from an older token.
    pub(crate) fn mint(&self, granted: &Granted, refresh: &RefreshToken) -> Result<TokenPair, SignError> {
        let keys = self.keys.current();
        let issued = granted.now.unix_seconds();
        let end = (granted.now + self.policy.lifetimes.access_token).min(granted.session_expires_at);
        let expires = end.unix_seconds();
        let claims = AccessClaims {
            iss: self.policy.issuer.clone(),
            aud: self.policy.audience.clone(),
            sub: granted.subject.id.as_uuid(),
            client_id: granted.client.as_str().to_owned(),
            iat: issued,
            exp: expires,
            jti: random::id(granted.now),
            nbf: None,
            sid: granted.session.as_uuid(),
            name: granted.subject.username.clone(),
            roles: granted.subject.roles.iter().map(str::to_owned).collect(),
            ver: [granted.global_epoch.get(), granted.subject.claims_version.get()],
        };
        Ok(TokenPair {
            access_token: Zeroizing::new(keys.signing.sign(&claims)?),
            refresh_token: keys.tags.seal(refresh),
            expires_at: Millis::from_unix_seconds(expires),
            expires_in_seconds: expires - issued,
        })
    }
}

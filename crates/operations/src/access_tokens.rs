//! Access tokens that are presented to Countersign itself.

use std::sync::Arc;

use countersign_token::{AccessClaims, Expected, VerifyError, verify};

use crate::keys::Keys;
use crate::{Operations, StoreError};

/// Why the claims of an access token are not believed.
pub(crate) enum Doubt {
    Token(VerifyError),
    Store(StoreError),
}

impl Operations {
    /// The claims of an access token that is genuine and in time; whether its session lives is the next question.
    pub(crate) async fn claims(&self, token: &str) -> Result<Arc<AccessClaims>, Doubt> {
        let expected = self.policy.expected();
        let now = self.now().unix_seconds();
        let remembered = self.keys.current().genuine.find(token);
        if let Some(claims) = remembered {
            claims.check_time(now, expected.leeway_seconds).map_err(Doubt::Token)?;
            return Ok(claims);
        }
        self.verified(|keys| {
            let claims = Arc::new(verify(token, &keys.verifying, &expected, now)?);
            keys.genuine.keep(token, &claims);
            Ok(claims)
        })
        .await
    }

    /// The claims of an access token that is genuine and has perhaps expired, maybe by a key that has retired since. Whether its time
    /// has come is asked when it is first seen.
    pub(crate) async fn claims_of_the_past(&self, token: &str) -> Result<Arc<AccessClaims>, Doubt> {
        if let Some(claims) = self.keys.current().genuine.find(token) {
            return Ok(claims);
        }
        let expected = Expected { allow_expired: true, ..self.policy.expected() };
        let now = self.now().unix_seconds();
        self.verified(|keys| verify(token, &keys.with_retired, &expected, now).map(Arc::new)).await
    }

    /// Tries once more with newer keys where none of those in memory is the token's.
    async fn verified(
        &self,
        verify: impl Fn(&Keys) -> Result<Arc<AccessClaims>, VerifyError>,
    ) -> Result<Arc<AccessClaims>, Doubt> {
        let verified = verify(&self.keys.current());
        let verified = match verified {
            Err(VerifyError::UnknownKey) => {
                self.keys.renew(&*self.store).await.map_err(Doubt::Store)?;
                verify(&self.keys.current())
            }
            verified => verified,
        };
        verified.map_err(Doubt::Token)
    }
}

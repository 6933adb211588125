//! How a handler learns who calls.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use axum_core::extract::{FromRequestParts, OptionalFromRequestParts};
use countersign_token::AccessClaims;
use http::Extensions;
use http::request::Parts;
use zeroize::Zeroizing;

use crate::{Refusal, header};

/// What a [`Bearer`](crate::Bearer) layer leaves in the extensions of a request.
#[derive(Clone)]
pub(crate) enum Caller {
    Anonymous,
    Holder(Arc<AccessClaims>),
}

impl Caller {
    /// Who calls, where a layer has looked. A missing layer is never taken for an anonymous caller.
    pub(crate) fn of(extensions: &Extensions) -> Result<&Self, Refusal> {
        extensions.get().ok_or_else(|| {
            tracing::error!("a route asks for the claims of an access token and has no Bearer layer around it");
            Refusal::LayerMissing
        })
    }

    fn claims(&self) -> Option<&Arc<AccessClaims>> {
        match self {
            Self::Anonymous => None,
            Self::Holder(claims) => Some(claims),
        }
    }
}

/// The claims of the access token that the [`Bearer`](crate::Bearer) layer around the route has accepted.
///
/// As an extractor it refuses a request without a token (behind [`Bearer::optional`](crate::Bearer::optional)) with 401;
/// `Option<Claims>` takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims(pub Arc<AccessClaims>);

impl Claims {
    /// The claims in the extensions of a request, for services that are not axum's.
    ///
    /// # Errors
    ///
    /// [`Refusal::LayerMissing`], or [`Refusal::TokenMissing`] where an optional layer let the request through.
    pub fn of(extensions: &Extensions) -> Result<Self, Refusal> {
        Caller::of(extensions)?.claims().cloned().map(Self).ok_or(Refusal::TokenMissing)
    }
}

impl Deref for Claims {
    type Target = AccessClaims;

    fn deref(&self) -> &AccessClaims {
        &self.0
    }
}

impl<S: Sync> FromRequestParts<S> for Claims {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        Self::of(&parts.extensions)
    }
}

impl<S: Sync> OptionalFromRequestParts<S> for Claims {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Refusal> {
        Ok(Caller::of(&parts.extensions)?.claims().cloned().map(Self))
    }
}

/// The claims of the access token, or `None` where the request came without one and
/// [`Bearer::optional`](crate::Bearer::optional) let it through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OptionalClaims(pub Option<Claims>);

impl<S: Sync> FromRequestParts<S> for OptionalClaims {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        Ok(Self(Caller::of(&parts.extensions)?.claims().cloned().map(Claims)))
    }
}

/// The access token itself, accepted by the [`Bearer`](crate::Bearer) layer around the route: to call another service in the
/// name of its holder. Hidden in `Debug`, wiped when dropped.
#[derive(Clone)]
pub struct AccessToken(Zeroizing<String>);

impl AccessToken {
    /// The token. The name is there to be searched for.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccessToken(redacted)")
    }
}

impl<S: Sync> FromRequestParts<S> for AccessToken {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        Claims::of(&parts.extensions)?;
        let token = header::presented(&parts.headers)?.ok_or(Refusal::TokenMissing)?;
        Ok(Self(Zeroizing::new(token.to_owned())))
    }
}

//! The layer and the service that it makes.

use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum_core::response::{IntoResponse, Response};
use countersign_token::{AccessClaims, Expected};
use http::header::AUTHORIZATION;
use http::{HeaderMap, Request};
use tower::{Layer, Service};

use crate::builder::{Builder, DEFAULT_CACHE_CAPACITY, DEFAULT_MAX_STALE};
use crate::extract::Caller;
use crate::verifier::{Local, Trust, Verifier};
use crate::{Refusal, Stale, TrustSource, header, metrics};

/// Lets requests through that carry a good access token of one Countersign, and refuses the others.
///
/// A tower [`Layer`] for any service that takes `http` requests. Clones share everything: the keys, the feed, the cache.
/// Handlers learn who calls through [`Claims`](crate::Claims).
///
/// A CORS layer belongs around this one: a browser sends no token with its preflight.
#[derive(Clone)]
pub struct Bearer {
    verifier: Arc<Verifier>,
    stale: Stale,
    optional: bool,
}

impl Bearer {
    /// Trusts the Countersign at this URL, such as `https://login.example`: everything else about it is discovered
    /// (RFC 8414).
    ///
    /// Discovery runs in the background and is repeated until it succeeds; until then requests with a token get 503.
    pub fn discover(authority: impl Into<String>) -> Builder {
        Builder::new(authority.into())
    }

    /// Trusts an issuer in the same process. `issuer` and `audience` are what tokens must carry, byte by byte.
    ///
    /// It fails closed where the source's [`age`](TrustSource::age) is over ten seconds; see [`with_stale`](Self::with_stale).
    pub fn trusting(source: Arc<dyn TrustSource>, issuer: impl Into<String>, audience: impl Into<String>) -> Self {
        let local = Local::new(source, Expected::new(issuer, audience));
        Self::new(Verifier::new(Trust::Local(local), DEFAULT_CACHE_CAPACITY, DEFAULT_MAX_STALE), Stale::FailClosed)
    }

    pub(crate) fn new(verifier: Verifier, stale: Stale) -> Self {
        Self { verifier: Arc::new(verifier), stale, optional: false }
    }

    /// The same layer with another choice for when revocations cannot be known, for some routes.
    #[must_use]
    pub fn with_stale(&self, stale: Stale) -> Self {
        Self { stale, ..self.clone() }
    }

    /// The same layer, which lets requests without a token through too, for routes that know
    /// [`OptionalClaims`](crate::OptionalClaims). A token that is sent must still be good.
    #[must_use]
    pub fn optional(&self) -> Self {
        Self { optional: true, ..self.clone() }
    }

    /// Checks a token that came another way than in a request's header, such as the first message of a socket.
    ///
    /// # Errors
    ///
    /// Why the token is not good, or cannot be known to be.
    pub async fn verify(&self, token: &str) -> Result<Arc<AccessClaims>, Refusal> {
        self.verifier.verify(token, self.stale).await
    }

    /// Whether the keys and, with a reader key, the revocations have been read at least once.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.verifier.is_ready()
    }

    /// Waits until the layer [`is_ready`](Self::is_ready). It waits for as long as the issuer is away: put a time limit
    /// around it.
    pub async fn ready(&self) {
        self.verifier.ready().await;
    }

    async fn caller(&self, headers: &HeaderMap) -> Result<Caller, Refusal> {
        let token = match header::presented(headers) {
            Ok(Some(token)) => token,
            Ok(None) if self.optional => return Ok(Caller::Anonymous),
            Ok(None) => return Err(counted(Refusal::TokenMissing)),
            Err(refusal) => return Err(counted(refusal)),
        };
        Ok(Caller::Holder(self.verify(token).await?))
    }
}

fn counted(refusal: Refusal) -> Refusal {
    metrics::refused(refusal);
    refusal
}

impl fmt::Debug for Bearer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bearer").field("stale", &self.stale).field("optional", &self.optional).finish_non_exhaustive()
    }
}

impl<S> Layer<S> for Bearer {
    type Service = BearerService<S>;

    fn layer(&self, inner: S) -> BearerService<S> {
        BearerService { bearer: self.clone(), inner }
    }
}

/// The service that a [`Bearer`] makes of another.
#[derive(Clone, Debug)]
pub struct BearerService<S> {
    bearer: Bearer,
    inner: S,
}

/// What a [`BearerService`] and a [`RequireRoleService`](crate::RequireRoleService) answer with.
pub type ResponseFuture<E = Infallible> = Pin<Box<dyn Future<Output = Result<Response, E>> + Send>>;

impl<S, B> Service<Request<B>> for BearerService<S>
where
    S: Service<Request<B>, Response: IntoResponse, Future: Send> + Clone + Send + 'static,
    B: Send + 'static,
{
    type Response = Response;
    type Error = S::Error;
    type Future = ResponseFuture<S::Error>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        // The service that was polled ready is the one to be called.
        let next = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, next);
        let bearer = self.bearer.clone();
        Box::pin(async move {
            // Whoever prints the headers of a request shall not print the token.
            if let Some(value) = request.headers_mut().get_mut(AUTHORIZATION) {
                value.set_sensitive(true);
            }
            // Taken out, so that the body, which need not be Sync, is not borrowed while waiting.
            let (parts, body) = request.into_parts();
            let caller = bearer.caller(&parts.headers).await;
            let mut request = Request::from_parts(parts, body);
            match caller {
                Ok(caller) => {
                    request.extensions_mut().insert(caller);
                    inner.call(request).await.map(IntoResponse::into_response)
                }
                Err(refusal) => Ok(refusal.into_response()),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layer_is_cheap_to_share() {
        fn shared<T: Clone + Send + Sync + 'static>() {}
        shared::<Bearer>();
        shared::<BearerService<()>>();
        assert!(size_of::<Bearer>() <= 16);
    }
}

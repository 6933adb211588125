//! Guards that want a role.

use std::sync::Arc;
use std::task::{Context, Poll};

use axum_core::response::{IntoResponse, Response};
use countersign_token::AccessClaims;
use http::Request;
use tower::{Layer, Service};

use crate::layer::ResponseFuture;
use crate::{Claims, Refusal, metrics};

/// Refuses with 403 whoever lacks a role. As a [`Layer`] it belongs inside a [`Bearer`](crate::Bearer) layer; in a handler ask
/// [`check`](Self::check).
///
/// The roles are those of the token. Where a Countersign's roles change, tokens issued before are refused as revoked, so the
/// roles of an accepted token are those of now.
#[derive(Clone, Debug)]
pub struct RequireRole {
    roles: Arc<[String]>,
    wanted: Wanted,
}

#[derive(Clone, Copy, Debug)]
enum Wanted {
    Any,
    All,
}

impl RequireRole {
    /// Wants at least one of these roles, compared byte by byte. Of no roles nobody has one.
    pub fn any<R: Into<String>>(roles: impl IntoIterator<Item = R>) -> Self {
        Self { roles: roles.into_iter().map(Into::into).collect(), wanted: Wanted::Any }
    }

    /// Wants every one of these roles, compared byte by byte.
    pub fn all<R: Into<String>>(roles: impl IntoIterator<Item = R>) -> Self {
        Self { roles: roles.into_iter().map(Into::into).collect(), wanted: Wanted::All }
    }

    /// Whether these claims have what is wanted.
    ///
    /// # Errors
    ///
    /// [`Refusal::Forbidden`].
    pub fn check(&self, claims: &AccessClaims) -> Result<(), Refusal> {
        let mut roles = self.roles.iter();
        let has = |role: &String| claims.has_role(role);
        let enough = match self.wanted {
            Wanted::Any => roles.any(has),
            Wanted::All => roles.all(has),
        };
        if enough { Ok(()) } else { Err(Refusal::Forbidden) }
    }
}

impl<S> Layer<S> for RequireRole {
    type Service = RequireRoleService<S>;

    fn layer(&self, inner: S) -> RequireRoleService<S> {
        RequireRoleService { guard: self.clone(), inner }
    }
}

/// The service that a [`RequireRole`] makes of another.
#[derive(Clone, Debug)]
pub struct RequireRoleService<S> {
    guard: RequireRole,
    inner: S,
}

impl<S, B> Service<Request<B>> for RequireRoleService<S>
where
    S: Service<Request<B>, Response: IntoResponse, Future: Send + 'static>,
{
    type Response = Response;
    type Error = S::Error;
    type Future = ResponseFuture<S::Error>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let allowed = Claims::of(request.extensions()).and_then(|claims| self.guard.check(&claims));
        match allowed {
            Ok(()) => {
                let answer = self.inner.call(request);
                Box::pin(async move { answer.await.map(IntoResponse::into_response) })
            }
            Err(refusal) => {
                metrics::refused(refusal);
                Box::pin(async move { Ok(refusal.into_response()) })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn holder(roles: &[&str]) -> AccessClaims {
        let id = "0198a8a6-0000-7000-8000-000000000001";
        serde_json::from_value(serde_json::json!({
            "iss": "i", "aud": "a", "sub": id, "client_id": "web", "iat": 0, "exp": 300, "jti": id, "sid": id, "name": "ada",
            "roles": roles, "ver": [0, 0],
        }))
        .unwrap()
    }

    #[test]
    fn any_wants_one_and_all_wants_every_one() {
        let any = RequireRole::any(["Admin", "Auditor"]);
        let all = RequireRole::all(["Admin", "Auditor"]);
        for (roles, by_any, by_all) in [
            (&[][..], false, false),
            (&["User"], false, false),
            (&["admin"], false, false),
            (&["User", "Auditor"], true, false),
            (&["Auditor", "Admin"], true, true),
        ] {
            assert_eq!(any.check(&holder(roles)).is_ok(), by_any, "{roles:?}");
            assert_eq!(all.check(&holder(roles)).is_ok(), by_all, "{roles:?}");
        }
        assert_eq!(RequireRole::any::<String>([]).check(&holder(&["Admin"])), Err(Refusal::Forbidden));
    }
}

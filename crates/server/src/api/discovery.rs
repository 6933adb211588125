//! What clients and resource servers find by the issuer's URL alone.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use countersign_operations::keys::PUBLISHED_AHEAD;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use serde::Serialize;
use utoipa::ToSchema;

use super::Api;
use crate::config::Settings;

/// The metadata of the issuer (RFC 8414 §2, OpenID Connect Discovery §3): what there is so far, and nothing more.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Metadata {
    /// The `iss` of every token.
    #[schema(example = "http://localhost:5000")]
    issuer: String,
    /// Where the keys are.
    jwks_uri: String,
    /// The algorithm that signs access tokens.
    access_token_signing_alg_values_supported: [&'static str; 1],
    /// None: there is no authorization endpoint.
    response_types_supported: [&'static str; 0],
    /// None of the grants of OAuth: tokens come from `/api/auth`.
    grant_types_supported: [&'static str; 0],
    /// What `sub` is: the same for every client.
    subject_types_supported: [&'static str; 1],
    /// Countersign's own: where resource servers read revocations.
    countersign_revocations_endpoint: String,
    /// Countersign's own: where the holder of an access token learns whether it still is good.
    countersign_token_status_endpoint: String,
}

impl Metadata {
    pub(super) fn new(settings: &Settings) -> Self {
        let issuer = settings.issuer.as_str();
        let at = |path: &str| format!("{}{path}", issuer.trim_end_matches('/'));
        Self {
            issuer: issuer.to_owned(),
            jwks_uri: at("/.well-known/jwks.json"),
            access_token_signing_alg_values_supported: [settings.signing_algorithm.as_str()],
            response_types_supported: [],
            grant_types_supported: [],
            subject_types_supported: ["public"],
            countersign_revocations_endpoint: at("/revocations"),
            countersign_token_status_endpoint: at("/api/auth/me"),
        }
    }
}

/// The keys that verify access tokens (RFC 7517 §5).
#[utoipa::path(
    get, path = "/.well-known/jwks.json", tag = "discovery",
    responses((status = 200, body = Object, content_type = "application/jwk-set+json", description = "A JWK set")),
)]
pub(super) async fn jwks(State(api): State<Api>) -> Response {
    let keys = api.operations.verifying_keys().to_jwks();
    let headers = [(CONTENT_TYPE, "application/jwk-set+json".to_owned()), (CACHE_CONTROL, kept())];
    (headers, keys.to_string()).into_response()
}

/// The metadata, for OpenID Connect clients.
#[utoipa::path(
    get, path = "/.well-known/openid-configuration", tag = "discovery", responses((status = 200, body = Metadata)),
)]
pub(super) async fn openid_configuration(State(api): State<Api>) -> Response {
    metadata(&api)
}

/// The metadata, for OAuth clients.
#[utoipa::path(
    get, path = "/.well-known/oauth-authorization-server", tag = "discovery", responses((status = 200, body = Metadata)),
)]
pub(super) async fn authorization_server(State(api): State<Api>) -> Response {
    metadata(&api)
}

fn metadata(api: &Api) -> Response {
    ([(CACHE_CONTROL, kept())], Json(&api.discovery)).into_response()
}

/// For as long as a new key is published before it signs, nobody misses anything by keeping what was fetched.
fn kept() -> String {
    format!("public, max-age={}", PUBLISHED_AHEAD.as_secs())
}

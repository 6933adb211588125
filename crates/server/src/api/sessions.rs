//! `/api/auth`: signing in, refreshing, and ending sessions.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use countersign_core::ids::SessionId;
use countersign_operations::TokenPair;
use countersign_operations::sessions::{self, Refresh, Revoked, SignIn};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::Api;
use super::caller::Bearer;
use super::time::Rfc3339;
use crate::http::{ClientAddress, JsonBody, PathOf, QueryOf};
use crate::problem::{Code, Problem};

/// A sign-in.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct LoginRequest {
    /// The username, or the e-mail address.
    #[serde(alias = "Username")]
    #[schema(example = "alice")]
    username: String,
    /// The password.
    #[serde(alias = "Password")]
    #[schema(value_type = String, format = Password, example = "correct horse battery")]
    password: Zeroizing<String>,
    /// What the device calls itself, for the list of sessions; cut at 128 characters.
    #[serde(alias = "Device", default)]
    #[schema(example = "Firefox on the desk")]
    device: Option<String>,
}

/// The tokens of a new session.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct LoginResponse {
    /// The access token: a JWT (RFC 9068).
    #[schema(value_type = String)]
    token: Zeroizing<String>,
    /// The refresh token.
    #[schema(value_type = String, example = "cs_rt_…")]
    refresh_token: Zeroizing<String>,
    /// When the access token expires.
    expiration: Rfc3339,
    /// How to present it (RFC 6750).
    #[schema(example = "Bearer")]
    token_type: &'static str,
    /// For how many seconds it is good.
    #[schema(example = 300)]
    expires_in: i64,
}

/// Sign in. Every sign-in begins a session of its own.
#[utoipa::path(
    post, path = "/api/auth/login", tag = "sessions", request_body = LoginRequest,
    responses(
        (status = 200, body = LoginResponse),
        (status = 400, description = "validation_failed, json_malformed, body_unreadable"),
        (status = 401, description = "invalid_credentials, account_disabled"),
        (status = 429, description = "too_many_attempts"),
    ),
)]
pub(super) async fn login(
    State(api): State<Api>,
    ClientAddress(address): ClientAddress,
    JsonBody(request): JsonBody<LoginRequest>,
) -> Result<Json<LoginResponse>, Problem> {
    let sign_in = SignIn { login: request.username, password: request.password, device: request.device };
    let pair = sessions::sign_in(&api.operations, sign_in, Some(address)).await?;
    Ok(Json(LoginResponse {
        token: pair.access_token,
        refresh_token: pair.refresh_token,
        expiration: Rfc3339(pair.expires_at),
        token_type: "Bearer",
        expires_in: pair.expires_in_seconds,
    }))
}

/// A refresh token to rotate.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct RefreshRequest {
    /// The newest refresh token of the session.
    #[serde(alias = "RefreshToken")]
    #[schema(value_type = String, example = "cs_rt_…")]
    refresh_token: Zeroizing<String>,
    /// The access token that goes with it, expired or not; if present, it must be genuine and of the same session.
    #[serde(alias = "AccessToken", default)]
    #[schema(value_type = Option<String>)]
    access_token: Option<Zeroizing<String>>,
    /// 16 to 64 bytes that a retry of this very request repeats and nobody else can know. With it a retry is answered however
    /// late it comes.
    #[serde(alias = "RetryKey", default)]
    retry_key: Option<String>,
}

/// New tokens of a session.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct RefreshResponse {
    /// The access token: a JWT (RFC 9068).
    #[schema(value_type = String)]
    access_token: Zeroizing<String>,
    /// The refresh token that takes the place of the one presented.
    #[schema(value_type = String, example = "cs_rt_…")]
    refresh_token: Zeroizing<String>,
    /// When the access token expires.
    expiration: Rfc3339,
    /// How to present it (RFC 6750).
    #[schema(example = "Bearer")]
    token_type: &'static str,
    /// For how many seconds it is good.
    #[schema(example = 300)]
    expires_in: i64,
}

impl From<TokenPair> for RefreshResponse {
    fn from(pair: TokenPair) -> Self {
        Self {
            access_token: pair.access_token,
            refresh_token: pair.refresh_token,
            expiration: Rfc3339(pair.expires_at),
            token_type: "Bearer",
            expires_in: pair.expires_in_seconds,
        }
    }
}

/// Rotate a refresh token. A retry gets the same successor again; a second use after that ends the session.
#[utoipa::path(
    post, path = "/api/auth/refresh-token", tag = "sessions", request_body = RefreshRequest,
    responses(
        (status = 200, body = RefreshResponse),
        (status = 400, description = "refresh_token_malformed, refresh_token_expired, refresh_token_revoked, refresh_token_replayed, refresh_token_late_duplicate, access_token_mismatch, validation_failed, json_malformed, body_unreadable"),
    ),
)]
pub(super) async fn refresh_token(
    State(api): State<Api>,
    ClientAddress(address): ClientAddress,
    JsonBody(request): JsonBody<RefreshRequest>,
) -> Result<Json<RefreshResponse>, Problem> {
    let refresh = Refresh {
        refresh_token: request.refresh_token,
        access_token: request.access_token,
        retry_key: request.retry_key,
    };
    Ok(Json(sessions::refresh(&api.operations, refresh, Some(address)).await?.into()))
}

/// Sign out: this session ends.
#[utoipa::path(
    post, path = "/api/auth/logout", tag = "sessions", security(("bearer" = [])),
    responses(
        (status = 204, description = "The session has ended"),
        (status = 401, description = "token_missing, token_expired, …"),
    ),
)]
pub(super) async fn logout(
    State(api): State<Api>,
    ClientAddress(address): ClientAddress,
    Bearer(caller): Bearer,
) -> Result<StatusCode, Problem> {
    sessions::sign_out(&api.operations, &caller, Some(address)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Whether to count what is ended.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct ReceiptQuery {
    /// `true`: answer 200 with a receipt instead of 204.
    #[serde(default)]
    receipt: bool,
}

/// What a revocation ended.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ReceiptResponse {
    /// How many sessions were alive.
    sessions_ended: u64,
    /// When the last access token among them expires by itself: resource servers that do not read the revocation feed refuse it
    /// from then on at the latest. `null`: none is outstanding.
    last_access_token_expires_at: Option<Rfc3339>,
}

/// 204, or 200 with what was counted.
fn receipt(revoked: Option<Revoked>) -> Response {
    let Some(revoked) = revoked else {
        return StatusCode::NO_CONTENT.into_response();
    };
    Json(ReceiptResponse {
        sessions_ended: revoked.sessions_ended,
        last_access_token_expires_at: revoked.last_access_expiry.map(Rfc3339),
    })
    .into_response()
}

/// End all sessions of an account: one's own, or anybody's as an administrator.
#[utoipa::path(
    post, path = "/api/auth/revoke/{username}", tag = "sessions", security(("bearer" = [])),
    params(("username" = String, Path, description = "The username of the account"), ReceiptQuery),
    responses(
        (status = 200, body = ReceiptResponse, description = "Ended; with `receipt=true`"),
        (status = 204, description = "Ended"),
        (status = 400, description = "validation_failed"),
        (status = 401, description = "token_missing, token_expired, …"),
        (status = 403, description = "forbidden"),
        (status = 404, description = "account_not_found (administrators only)"),
    ),
)]
pub(super) async fn revoke(
    State(api): State<Api>,
    ClientAddress(address): ClientAddress,
    Bearer(caller): Bearer,
    PathOf(username): PathOf<String>,
    QueryOf(query): QueryOf<ReceiptQuery>,
) -> Result<Response, Problem> {
    let revoked = sessions::revoke_account(&api.operations, &caller, &username, query.receipt, Some(address)).await?;
    Ok(receipt(revoked))
}

/// End all sessions of everyone, the caller's too, as an administrator.
#[utoipa::path(
    post, path = "/api/auth/revoke-all", tag = "sessions", security(("bearer" = [])), params(ReceiptQuery),
    responses(
        (status = 200, body = ReceiptResponse, description = "Ended; with `receipt=true`"),
        (status = 204, description = "Ended"),
        (status = 400, description = "validation_failed"),
        (status = 401, description = "token_missing, token_expired, …"),
        (status = 403, description = "forbidden"),
    ),
)]
pub(super) async fn revoke_all(
    State(api): State<Api>,
    ClientAddress(address): ClientAddress,
    Bearer(caller): Bearer,
    QueryOf(query): QueryOf<ReceiptQuery>,
) -> Result<Response, Problem> {
    let by = caller.administrator(Some(address))?;
    Ok(receipt(sessions::revoke_everyone(&api.operations, &by, query.receipt).await?))
}

/// One of one's own sessions.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct SessionResponse {
    /// `sid` of its access tokens.
    id: Uuid,
    /// What the device called itself at the sign-in.
    device: Option<String>,
    /// The address it was begun from.
    ip: Option<String>,
    created_at: Rfc3339,
    /// When it was last refreshed.
    last_used_at: Rfc3339,
    /// When it ends at the latest.
    expires_at: Rfc3339,
    /// Whether it is the session of this request.
    current: bool,
    /// Why it has ended: signed_out, revoked, replayed, password_changed, session_limit (it made room for a later sign-in),
    /// account_revoked, everyone_revoked, account_disabled, idle_expired or expired; `null` while it lives.
    #[schema(example = json!(null))]
    ended_reason: Option<&'static str>,
}

/// One's own sessions: those alive and those that ended lately, newest first.
#[utoipa::path(
    get, path = "/api/auth/sessions", tag = "sessions", security(("bearer" = [])),
    responses(
        (status = 200, body = Vec<SessionResponse>),
        (status = 401, description = "token_missing, token_expired, …"),
    ),
)]
pub(super) async fn list(
    State(api): State<Api>,
    Bearer(caller): Bearer,
) -> Result<Json<Vec<SessionResponse>>, Problem> {
    let sessions = sessions::list(&api.operations, &caller).await?;
    let shown = sessions.into_iter().map(|session| SessionResponse {
        id: session.id.as_uuid(),
        device: session.device,
        ip: session.address.map(|address| address.to_string()),
        created_at: Rfc3339(session.created_at),
        last_used_at: Rfc3339(session.last_used_at),
        expires_at: Rfc3339(session.expires_at),
        current: session.id == caller.session,
        ended_reason: session.dead.map(countersign_core::sessions::state::Dead::as_str),
    });
    Ok(Json(shown.collect()))
}

/// End one of one's own sessions.
#[utoipa::path(
    delete, path = "/api/auth/sessions/{id}", tag = "sessions", security(("bearer" = [])),
    params(("id" = Uuid, Path, description = "The id of the session")),
    responses(
        (status = 204, description = "Ended"),
        (status = 401, description = "token_missing, token_expired, …"),
        (status = 404, description = "session_not_found, not_found"),
    ),
)]
pub(super) async fn end(
    State(api): State<Api>,
    ClientAddress(address): ClientAddress,
    Bearer(caller): Bearer,
    PathOf(id): PathOf<Uuid>,
) -> Result<StatusCode, Problem> {
    let ended = sessions::end_one(&api.operations, &caller, SessionId::new(id), Some(address)).await?;
    if ended { Ok(StatusCode::NO_CONTENT) } else { Err(Problem::new(Code::SessionNotFound)) }
}

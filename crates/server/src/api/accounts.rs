//! `/api/auth`: registering, and one's own account.

use axum::Json;
use axum::extract::State;
use countersign_core::roles::Roles;
use countersign_operations::accounts::{self, NewRegistration};
use countersign_operations::passwords;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::Api;
use super::caller::Bearer;
use super::time::Rfc3339;
use crate::http::{ClientAddress, JsonBody};
use crate::problem::Problem;

/// An account to register.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct RegisterRequest {
    /// 2 to 64 letters, digits or punctuation; upper and lower case do not differ (RFC 8265 UsernameCaseMapped).
    #[serde(alias = "Username")]
    #[schema(example = "alice")]
    username: String,
    /// An e-mail address.
    #[serde(alias = "Email")]
    #[schema(example = "alice@example.com")]
    email: String,
    /// At least 8 characters, and none of the common ones.
    #[serde(alias = "Password")]
    #[schema(value_type = String, format = Password, example = "correct horse battery")]
    password: Zeroizing<String>,
}

/// What the tutorial's front ends look for.
#[derive(Serialize, ToSchema)]
pub(super) struct RegisterResponse {
    #[schema(example = "Success")]
    status: &'static str,
    #[schema(example = "User created successfully!")]
    message: &'static str,
}

const REGISTERED: RegisterResponse = RegisterResponse { status: "Success", message: "User created successfully!" };

impl From<RegisterRequest> for NewRegistration {
    fn from(request: RegisterRequest) -> Self {
        Self { username: request.username, email: request.email, password: request.password }
    }
}

/// Register an account with the role User.
#[utoipa::path(
    post, path = "/api/auth/register", tag = "accounts", request_body = RegisterRequest,
    responses(
        (status = 200, body = RegisterResponse),
        (status = 400, description = "validation_failed, json_malformed, body_unreadable"),
        (status = 403, description = "registration_closed"),
        (status = 409, description = "username_taken, email_taken"),
        (status = 429, description = "too_many_attempts"),
    ),
)]
pub(super) async fn register(
    State(api): State<Api>,
    ClientAddress(address): ClientAddress,
    JsonBody(request): JsonBody<RegisterRequest>,
) -> Result<Json<RegisterResponse>, Problem> {
    accounts::register(&api.operations, request.into(), Some(address)).await?;
    Ok(Json(REGISTERED))
}

/// Register an administrator, as an administrator.
#[utoipa::path(
    post, path = "/api/auth/register-admin", tag = "accounts", request_body = RegisterRequest, security(("bearer" = [])),
    responses(
        (status = 200, body = RegisterResponse),
        (status = 400, description = "validation_failed, json_malformed, body_unreadable"),
        (status = 401, description = "token_missing, token_expired, …"),
        (status = 403, description = "forbidden"),
        (status = 409, description = "username_taken, email_taken"),
    ),
)]
pub(super) async fn register_admin(
    State(api): State<Api>,
    ClientAddress(address): ClientAddress,
    Bearer(caller): Bearer,
    JsonBody(request): JsonBody<RegisterRequest>,
) -> Result<Json<RegisterResponse>, Problem> {
    let by = caller.administrator(Some(address))?;
    accounts::register_with_roles(&api.operations, &by, request.into(), Roles::admin()).await?;
    Ok(Json(REGISTERED))
}

/// One's own account.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct MeResponse {
    /// The stable id: `sub` of the access token.
    id: Uuid,
    #[schema(example = "alice")]
    username: String,
    #[schema(example = "alice@example.com")]
    email: String,
    #[schema(example = json!(["User"]))]
    roles: Vec<String>,
    created_at: Rfc3339,
}

/// The account of the access token. Resource servers that do not read the feed ask here whether a token still is good.
#[utoipa::path(
    get, path = "/api/auth/me", tag = "accounts", security(("bearer" = [])),
    responses(
        (status = 200, body = MeResponse),
        (status = 401, description = "token_missing, token_expired, session_revoked, …"),
    ),
)]
pub(super) async fn me(Bearer(caller): Bearer) -> Json<MeResponse> {
    let account = caller.account;
    Json(MeResponse {
        id: account.id.as_uuid(),
        username: account.username.as_str().to_owned(),
        email: account.email.as_str().to_owned(),
        roles: account.roles.iter().map(str::to_owned).collect(),
        created_at: Rfc3339(account.created_at),
    })
}

/// A change of password.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ChangePasswordRequest {
    /// The password in force.
    #[serde(alias = "CurrentPassword")]
    #[schema(value_type = String, format = Password)]
    current_password: Zeroizing<String>,
    /// The one to set.
    #[serde(alias = "NewPassword")]
    #[schema(value_type = String, format = Password)]
    new_password: Zeroizing<String>,
}

/// Change one's own password. All other sessions of the account end.
#[utoipa::path(
    post, path = "/api/auth/change-password", tag = "accounts", request_body = ChangePasswordRequest, security(("bearer" = [])),
    responses(
        (status = 204, description = "Changed; all other sessions have ended"),
        (status = 400, description = "validation_failed, current_password_wrong, json_malformed, body_unreadable"),
        (status = 401, description = "token_missing, token_expired, …"),
        (status = 429, description = "too_many_attempts"),
    ),
)]
pub(super) async fn change_password(
    State(api): State<Api>,
    ClientAddress(address): ClientAddress,
    Bearer(caller): Bearer,
    JsonBody(request): JsonBody<ChangePasswordRequest>,
) -> Result<StatusCode, Problem> {
    let ChangePasswordRequest { current_password, new_password } = request;
    passwords::change(&api.operations, &caller, current_password, new_password, Some(address)).await?;
    Ok(StatusCode::NO_CONTENT)
}

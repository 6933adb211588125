//! Health, for whoever runs it.

use axum::extract::State;

use super::Api;
use crate::problem::Problem;

/// Whether the process answers.
#[utoipa::path(
    get, path = "/livez", tag = "health",
    responses((status = 200, body = String, content_type = "text/plain", description = "ok")),
)]
pub(super) async fn livez() -> &'static str {
    "ok\n"
}

/// Whether the database answers and can be locked for writing. A full disk is told by the calls that meet it.
#[utoipa::path(
    get, path = "/readyz", tag = "health",
    responses((status = 200, body = String, content_type = "text/plain", description = "ok")),
)]
pub(super) async fn readyz(State(api): State<Api>) -> Result<&'static str, Problem> {
    api.operations.ready().await?;
    Ok("ok\n")
}

//! The description of the API, for programs and for people.

use axum::routing::get;
use axum::{Json, Router};
use utoipa::openapi::OpenApi as Document;
use utoipa_swagger_ui::{Config, SwaggerUi};

/// `/openapi.json` and Swagger UI at `/swagger`.
pub(super) fn router(document: Document) -> Router {
    let config = Config::from("/openapi.json").try_it_out_enabled(true).persist_authorization(false);
    let ui = SwaggerUi::new("/swagger").config(config);
    Router::new().route("/openapi.json", get(move || async move { Json(document) })).merge(ui)
}

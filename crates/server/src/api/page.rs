//! The description of the API, for programs and for people.

use axum::middleware::map_response;
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::get;
use axum::{Json, Router};
use http::StatusCode;
use utoipa::openapi::OpenApi as Document;
use utoipa_swagger_ui::{Config, SwaggerUi};

use crate::problem::{Code, Problem};

/// `/openapi.json` and Swagger UI at `/swagger`.
pub(super) fn router(document: Document) -> Router {
    let config = Config::from("/openapi.json").try_it_out_enabled(true).persist_authorization(false);
    let ui = SwaggerUi::new("/swagger").config(config);
    let pages = Router::new().merge(ui).layer(map_response(told));
    Router::new().route("/openapi.json", get(move || async move { Json(document) })).merge(pages)
}

/// The address alone leads to Swagger UI: it is what a person types who has started a server. For one that stands alone.
pub(crate) fn front_door() -> Router {
    Router::new().route("/", get(async || Redirect::temporary("/swagger/")))
}

/// Swagger UI says nothing where it has no such file.
async fn told(response: Response) -> Response {
    if response.status() == StatusCode::NOT_FOUND { Problem::new(Code::NotFound).into_response() } else { response }
}

//! A protected API: the weather, for whoever has an access token of a Countersign.

mod forecast;

use axum::routing::get;
use axum::{Json, Router};
use countersign_bearer::{Bearer, RequireRole};
use http::header::{AUTHORIZATION, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, Method};
use tower_http::cors::{AllowOrigin, CorsLayer};

pub use forecast::{Forecast, forecasts};

/// How many days are forecast, from tomorrow on.
const DAYS: usize = 5;

/// The routes: `/weatherforecast` wants an access token, `/weatherforecast/admin` one with the role Admin. Pages of
/// `cors_origins` may call them.
pub fn router(bearer: Bearer, cors_origins: impl IntoIterator<Item = HeaderValue>) -> Router {
    let allowed: Vec<HeaderValue> = cors_origins.into_iter().collect();
    let cors = CorsLayer::new()
        // The layer is copied for every request, which would copy a list.
        .allow_origin(AllowOrigin::predicate(move |origin, _| allowed.contains(origin)))
        .allow_methods([Method::GET])
        .allow_headers([AUTHORIZATION])
        .expose_headers([WWW_AUTHENTICATE, RETRY_AFTER]);
    Router::new()
        .route("/weatherforecast", get(weather))
        .route("/weatherforecast/admin", get(weather).layer(RequireRole::any(["Admin"])))
        // CORS goes around the bearer layer: a browser asks without a token whether it may send one.
        .layer((cors, bearer))
}

async fn weather() -> Json<Vec<Forecast>> {
    Json(forecasts(forecast::today(), DAYS))
}

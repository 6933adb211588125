//! Which web sites a browser lets call the API.

use std::time::Duration;

use http::Method;
use http::header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use tower_http::cors::{AllowOrigin, CorsLayer};

use super::{HttpSettings, REQUEST_ID};

/// `None` where no front end of another origin is named. Credentials stay off: tokens travel in a header that a page
/// sets itself.
pub(super) fn layer(settings: &HttpSettings) -> Option<CorsLayer> {
    if settings.cors_origins.is_empty() {
        return None;
    }
    let allowed = settings.cors_origins.clone();
    let layer = CorsLayer::new()
        // The layer is copied for every request, which would copy a list.
        .allow_origin(AllowOrigin::predicate(move |origin, _| allowed.contains(origin)))
        .allow_methods([Method::GET, Method::POST, Method::DELETE])
        .allow_headers([AUTHORIZATION, CONTENT_TYPE])
        .expose_headers([WWW_AUTHENTICATE, RETRY_AFTER, REQUEST_ID])
        .max_age(Duration::from_secs(600));
    Some(layer)
}

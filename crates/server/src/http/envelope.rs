//! The outermost layer: the request's id, its span, its metrics, and the headers that every answer has.

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{MatchedPath, Request};
use axum::response::Response;
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, Method};
use tokio::time::Instant;
use tower::ServiceExt as _;
use tracing::Instrument as _;

use super::{HttpSettings, Inside, REQUEST_ID, RequestId, security_headers};
use crate::problem::Problem;

pub(super) async fn envelope(
    settings: Arc<HttpSettings>,
    mut request: Request,
    inside: impl Inside,
) -> Result<Response, Infallible> {
    let started = Instant::now();
    let id = RequestId::new();
    request.extensions_mut().insert(id);
    let method = method_name(request.method());
    // The route as declared: a path may hold a user name, and a client can write anything into it.
    let route = request.extensions().get::<MatchedPath>().cloned();
    let route = route.as_ref().map_or("unmatched", MatchedPath::as_str);
    let page = security_headers::is_page(request.uri().path());

    let span = tracing::info_span!("request", id = %id, method, route);
    let response = async {
        let response = inside.oneshot(request).await?;
        tracing::debug!(status = response.status().as_u16(), elapsed = ?started.elapsed(), "answered");
        Ok::<_, Infallible>(response)
    };
    let mut response = stamp(response.instrument(span).await?, id);
    security_headers::set(response.headers_mut(), page, settings.https);
    count(method, route, &response, started);
    Ok(response)
}

/// Writes the id into the answer's header and, where it tells a problem, into its body.
fn stamp(mut response: Response, id: RequestId) -> Response {
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        let body = problem.render(Some(&id.to_string()));
        response.headers_mut().remove(CONTENT_LENGTH);
        *response.body_mut() = Body::from(body);
    }
    set_unless_set(response.headers_mut(), id);
    response
}

/// A router of ours mounted in another hardened one would be stamped twice: the inner id is the one that was logged.
fn set_unless_set(headers: &mut HeaderMap, id: RequestId) {
    headers.entry(REQUEST_ID).or_insert_with(|| id.header());
}

fn count(method: &'static str, route: &str, response: &Response, started: Instant) {
    let status = response.status().as_str().to_owned();
    let route = route.to_owned();
    metrics::counter!("countersign_http_requests_total", "method" => method, "route" => route.clone(), "status" => status)
        .increment(1);
    metrics::histogram!("countersign_http_request_seconds", "method" => method, "route" => route)
        .record(started.elapsed());
}

/// A name from a fixed set: a client could otherwise make up methods, and each would be a time series of its own.
fn method_name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

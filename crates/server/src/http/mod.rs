//! What every request passes before a handler sees it, and every answer before a client does.
//!
//! From the outside in: the envelope (id, span, metrics, security headers), CORS, a net for panics, the intake (client
//! address, whole body, time limits), then the route. So an answer of any layer carries what the layers around it add.

mod body;
mod client_address;
mod cors;
mod envelope;
mod extract;
mod intake;
mod json_body;
mod json_shape;
mod request_id;
mod security_headers;

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use http::HeaderValue;
use ipnet::IpNet;
use tower::util::option_layer;
use tower_http::catch_panic::CatchPanicLayer;

use crate::config::{Origin, Settings};
use crate::problem::{Code, Problem};

pub use client_address::ClientAddress;
pub use extract::{PathOf, QueryOf};
pub use json_body::JsonBody;
pub use request_id::{REQUEST_ID, RequestId};

/// How much and how long the server reads and works for one request.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The largest body that reaches a handler, in bytes.
    pub body_bytes: usize,
    /// The largest body that is read and thrown away so that the client, still sending, gets its 413, in bytes.
    pub discarded_bytes: u64,
    /// How long a body may take to arrive.
    pub body_time: Duration,
    /// How long a handler may take.
    pub handler_time: Duration,
}

impl Default for Limits {
    /// Small, as every request of the API is; with the listener's time for the head, a slow one is cut within 30 s.
    fn default() -> Self {
        Self {
            body_bytes: 64 * 1024,
            discarded_bytes: 8 * 1024 * 1024,
            body_time: Duration::from_secs(15),
            handler_time: Duration::from_secs(30),
        }
    }
}

/// What the middleware needs to know.
#[derive(Clone, Debug, Default)]
pub struct HttpSettings {
    /// The origins of browser front ends, as `Origin` names them.
    pub cors_origins: Vec<HeaderValue>,
    /// The networks of proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Whether clients reach the server through TLS, so that browsers may be told to insist on it.
    pub https: bool,
    /// Routes, as they were declared, that answer late on purpose and so have no time limit for the handler.
    pub long_polls: &'static [&'static str],
    /// Limits of one request.
    pub limits: Limits,
}

impl From<&Settings> for HttpSettings {
    fn from(settings: &Settings) -> Self {
        Self {
            cors_origins: settings.cors_origins.iter().map(Origin::header).cloned().collect(),
            trusted_proxies: settings.trusted_proxies.clone(),
            https: settings.issuer.is_https(),
            long_polls: &[],
            limits: Limits::default(),
        }
    }
}

/// Puts the middleware around the routes of a router that stands alone: unknown addresses are answered here too.
///
/// Serve it with connection info (as [`crate::listener`] does), or [`ClientAddress`] has nothing to tell.
pub fn harden(router: Router, settings: &HttpSettings) -> Router {
    harden_mounted(router.fallback(not_found), settings)
}

/// Puts the middleware around the routes of a router that is merged into another application's, whose own fallback
/// answers unknown addresses.
pub fn harden_mounted(router: Router, settings: &HttpSettings) -> Router {
    let shared = Arc::new(settings.clone());
    // All in one, since a router keeps each of its layers in a box of its own and copies them all for every request.
    let layers = (
        from_fn_with_state(Arc::clone(&shared), envelope::envelope),
        option_layer(cors::layer(settings)),
        CatchPanicLayer::custom(panicked),
        from_fn_with_state(shared, intake::intake),
    );
    router.method_not_allowed_fallback(method_not_allowed).layer(layers)
}

async fn not_found() -> Problem {
    Problem::new(Code::NotFound)
}

async fn method_not_allowed() -> Problem {
    Problem::new(Code::MethodNotAllowed)
}

/// The panic itself is logged where it happens, by the panic hook; it may say what no client should read.
fn panicked(_: Box<dyn Any + Send + 'static>) -> Response {
    Problem::new(Code::Internal).into_response()
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod socket_tests;

//! What every request passes before a handler sees it, and every answer before a client does.
//!
//! From the outside in: the envelope (id, span, metrics, security headers), CORS, the intake (a net for panics, client
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

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::response::Response;
use http::HeaderValue;
use ipnet::IpNet;
use tower::layer::layer_fn;
use tower::util::option_layer;
use tower::{Layer, Service, service_fn};

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
    let layers =
        (around(&shared, envelope::envelope), option_layer(cors::layer(settings)), around(&shared, intake::intake));
    router.method_not_allowed_fallback(method_not_allowed).layer(layers)
}

/// A layer of one function that is given what it goes around. Its type is known where it is put together, so that nothing of it is in a box
/// of its own for every request, as with axum's `from_fn`.
fn around<S, F, A>(settings: &Arc<HttpSettings>, function: F) -> impl Layer<S, Service = impl Inside> + Clone + 'static
where
    S: Clone + Send + Sync + 'static,
    F: Fn(Arc<HttpSettings>, Request, S) -> A + Clone + Send + Sync + 'static,
    A: Future<Output = Result<Response, Infallible>> + Send + 'static,
{
    let settings = Arc::clone(settings);
    layer_fn(move |inside: S| {
        let (settings, function) = (Arc::clone(&settings), function.clone());
        service_fn(move |request| function(Arc::clone(&settings), request, inside.clone()))
    })
}

/// What a layer goes around.
trait Inside:
    Service<Request, Response = Response, Error = Infallible, Future: Send + 'static> + Clone + Send + Sync + 'static
{
}

impl<S> Inside for S where
    S: Service<Request, Response = Response, Error = Infallible, Future: Send + 'static>
        + Clone
        + Send
        + Sync
        + 'static
{
}

async fn not_found() -> Problem {
    Problem::new(Code::NotFound)
}

async fn method_not_allowed() -> Problem {
    Problem::new(Code::MethodNotAllowed)
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod socket_tests;

//! The innermost layer: a net for panics, who asks, the whole body, and a limit on how long the handler may take.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{ConnectInfo, MatchedPath, Request};
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt as _;
use tokio::time::timeout;
use tower::ServiceExt as _;

use super::{ClientAddress, HttpSettings, Inside, body};
use crate::problem::{Code, Problem};
use crate::rarely::Rarely;

pub(super) async fn intake(
    settings: Arc<HttpSettings>,
    request: Request,
    inside: impl Inside,
) -> Result<Response, Infallible> {
    // What a panic leaves behind of this request is dropped with it.
    let answer = AssertUnwindSafe(take_in(&settings, request, inside)).catch_unwind().await;
    // The panic itself is logged where it happens, by the panic hook; it may say what no client should read.
    answer.unwrap_or_else(|_| Ok(Problem::new(Code::Internal).into_response()))
}

async fn take_in(settings: &HttpSettings, request: Request, inside: impl Inside) -> Result<Response, Infallible> {
    let (mut parts, body) = request.into_parts();
    if let Some(ConnectInfo(peer)) = parts.extensions.get::<ConnectInfo<SocketAddr>>() {
        let address = ClientAddress::resolve(peer.ip(), &parts.headers, &settings.trusted_proxies);
        parts.extensions.insert(address);
    }
    let bytes = match body::read(&parts, body, &settings.limits).await {
        Ok(bytes) => bytes,
        Err(problem) => return Ok(problem.into_response()),
    };
    let is_long_poll =
        parts.extensions.get::<MatchedPath>().is_some_and(|path| settings.long_polls.contains(&path.as_str()));
    let answer = inside.oneshot(Request::from_parts(parts, Body::from(bytes)));
    if is_long_poll {
        return answer.await;
    }
    timeout(settings.limits.handler_time, answer).await.unwrap_or_else(|_| {
        static TROUBLE: Rarely = Rarely::new();
        if let Some(unsaid) = TROUBLE.is_time() {
            tracing::error!(unsaid, "the handler did not finish in time");
        }
        Ok(Problem::new(Code::ServerBusy).into_response())
    })
}

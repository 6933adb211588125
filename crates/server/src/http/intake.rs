//! The innermost layer: who asks, the whole body, and a limit on how long the handler may take.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{ConnectInfo, MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::time::timeout;

use super::{ClientAddress, HttpSettings, body};
use crate::problem::{Code, Problem};
use crate::rarely::Rarely;

pub(super) async fn intake(State(settings): State<Arc<HttpSettings>>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    if let Some(ConnectInfo(peer)) = parts.extensions.get::<ConnectInfo<SocketAddr>>() {
        let address = ClientAddress::resolve(peer.ip(), &parts.headers, &settings.trusted_proxies);
        parts.extensions.insert(address);
    }
    let bytes = match body::read(&parts, body, &settings.limits).await {
        Ok(bytes) => bytes,
        Err(problem) => return problem.into_response(),
    };
    let is_long_poll =
        parts.extensions.get::<MatchedPath>().is_some_and(|path| settings.long_polls.contains(&path.as_str()));
    let answer = next.run(Request::from_parts(parts, Body::from(bytes)));
    if is_long_poll {
        return answer.await;
    }
    timeout(settings.limits.handler_time, answer).await.unwrap_or_else(|_| {
        static TROUBLE: Rarely = Rarely::new();
        if let Some(unsaid) = TROUBLE.is_time() {
            tracing::error!(unsaid, "the handler did not finish in time");
        }
        Problem::new(Code::ServerBusy).into_response()
    })
}

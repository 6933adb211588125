//! `countersign serve`: the server, from its settings to its end.

use std::io;
use std::pin::Pin;

use axum::Extension;
use axum::Router;
use countersign_operations::accounts;

use super::{Call, Failure};
use crate::config::{Environment, Settings};
use crate::installation::Countersign;
use crate::listener::{Listener, Shutdown, asked_to_stop};
use crate::telemetry;

/// A router and where it is served.
struct Served {
    listener: Listener,
    router: Router,
}

pub(super) async fn run(call: &mut Call<'_>) -> Result<(), Failure> {
    let loaded = call.load()?;
    let settings = loaded.settings.clone();
    telemetry::start_logs(settings.log_format, &settings.log_level).map_err(Failure::failed)?;
    // The ports first: a second server on them must not touch the database.
    let api = bind("listen", settings.listen)?;
    let metrics = settings.metrics_listen.map(|address| bind("metrics_listen", address)).transpose()?;
    let handle = metrics.as_ref().map(|_| telemetry::start_metrics()).transpose().map_err(Failure::failed)?;
    let countersign = Countersign::open(loaded).await?;
    let outcome = async {
        advise(&countersign, &api).await?;
        let shutdown = Shutdown::new();
        let address = api.address();
        // Long polls look for the shutdown among the extensions of their request.
        let router = countersign.standalone_router().layer(Extension(shutdown.clone()));
        let api = Served { listener: api, router };
        let metrics = metrics.zip(handle).map(|(listener, handle)| {
            tracing::info!(address = %listener.address(), "metrics are served");
            (Served { listener, router: telemetry::metrics_router(handle.clone()) }, handle)
        });
        let serving = async {
            let metrics = async {
                let Some((served, handle)) = metrics else { return Ok(()) };
                tokio::select! {
                    ended = served.listener.serve(served.router, &shutdown) => ended,
                    () = telemetry::tend(handle) => Ok(()),
                }
            };
            tokio::try_join!(api.listener.serve(api.router, &shutdown), metrics).map(|_| ())
        };
        let mut stop = std::pin::pin!(asked_to_stop());
        listen_for(stop.as_mut()).await.map_err(Failure::failed)?;
        // Where nobody reads standard output, the server serves all the same.
        let _ = call.console.line(format_args!("countersign listening on http://{address}"));
        let _ = call.console.flush();
        until_stopped(serving, stop, &shutdown).await
    }
    .await;
    let closed = countersign.close().await.map_err(Failure::from);
    if outcome.is_ok() && closed.is_ok() {
        tracing::info!("stopped");
    }
    outcome.and(closed)
}

fn bind(setting: &str, address: std::net::SocketAddr) -> Result<Listener, Failure> {
    Listener::bind(address).map_err(|error| Failure::failed(format!("cannot listen on {address} ({setting}): {error}")))
}

/// Registers for the signals, so that one which comes right after the ready line finds somebody who listens.
async fn listen_for(mut stop: Pin<&mut impl Future<Output = io::Result<()>>>) -> io::Result<()> {
    tokio::select! {
        biased;
        stopped = &mut stop => stopped,
        () = std::future::ready(()) => Ok(()),
    }
}

/// Serves until a listener fails or somebody asks for the end, and then until the requests in flight are answered. Asked a
/// second time, it does not wait for them.
async fn until_stopped(
    serving: impl Future<Output = io::Result<()>>,
    stop: Pin<&mut impl Future<Output = io::Result<()>>>,
    shutdown: &Shutdown,
) -> Result<(), Failure> {
    let mut serving = std::pin::pin!(serving);
    tokio::select! {
        ended = &mut serving => return ended.map_err(Failure::failed),
        asked = stop => asked.map_err(Failure::failed)?,
    }
    tracing::info!("stopping: the requests in flight are finished first");
    shutdown.begin();
    tokio::select! {
        ended = serving => ended.map_err(Failure::failed),
        again = asked_to_stop() => {
            again.map_err(Failure::failed)?;
            Err(Failure::failed("asked a second time to stop: requests in flight were broken off"))
        }
    }
}

/// What an operator should know before the first request comes.
async fn advise(countersign: &Countersign, api: &Listener) -> Result<(), Failure> {
    if accounts::list(countersign.operations(), None, 1).await?.is_empty() {
        tracing::warn!(
            "there is no account yet: make the first administrator with \
             `countersign account create --admin NAME --email ADDRESS` (and the same settings)"
        );
    }
    let Settings { issuer, .. } = countersign.settings();
    if !api.address().ip().is_loopback() && !issuer.is_https() {
        tracing::warn!(
            listen = %api.address(),
            issuer = issuer.as_str(),
            "passwords and tokens cross the network in the clear: put a proxy with TLS in front, and set issuer to its https:// URL"
        );
    }
    Ok(())
}

/// Switches on the fail points that the environment names; only builds for tests have any.
pub(super) fn arm_fail_points(environment: &Environment) -> Result<(), Failure> {
    let Some(named) = environment.fail_points().filter(|_| fail::has_failpoints()) else { return Ok(()) };
    for point in named.split(';').map(str::trim).filter(|point| !point.is_empty()) {
        let (name, actions) = point
            .split_once('=')
            .ok_or_else(|| Failure::misused(format!("a fail point is name=action, not {point:?}")))?;
        fail::cfg(name, actions).map_err(|error| Failure::misused(format!("fail point {name}: {error}")))?;
    }
    Ok(())
}

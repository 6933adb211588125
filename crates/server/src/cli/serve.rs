//! `countersign serve`: the server, from its settings to its end.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;

use axum::Extension;
use axum::Router;
use countersign_operations::accounts;
use countersign_store::StoreError;

use super::{Call, Failure};
use crate::config::table::{self, Setting};
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
    let api = bind(&table::LISTEN, settings.listen)?;
    let metrics = settings.metrics_listen.map(|address| bind(&table::METRICS_LISTEN, address)).transpose()?;
    let handle = metrics.as_ref().map(|_| telemetry::start_metrics()).transpose().map_err(Failure::failed)?;
    let countersign = Countersign::open(loaded.listening_on(api.address())).await?;
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
        tracing::info!(%address, "ready");
        until_stopped(serving, stop, countersign.failure(), &shutdown).await
    }
    .await;
    let closed = countersign.close().await.map_err(Failure::from);
    if outcome.is_ok() && closed.is_ok() {
        tracing::info!("stopped");
    }
    outcome.and(closed)
}

fn bind(setting: &Setting, address: SocketAddr) -> Result<Listener, Failure> {
    Listener::bind(address).map_err(|error| {
        let name = setting.key;
        let advice = match error.kind() {
            io::ErrorKind::AddrInUse => "; stop the program that has it, or choose another address",
            io::ErrorKind::AddrNotAvailable => "; choose one of this machine, 0.0.0.0 or [::]",
            io::ErrorKind::PermissionDenied => "; choose a port from 1024 on",
            _ => return Failure::failed(format!("cannot listen on {address} ({name}): {error}")),
        };
        Failure::failed(format!("cannot listen on {address} ({name}): {error}{advice} with --{}", setting.flag()))
    })
}

/// Registers for the signals, so that one which comes right after the ready line finds somebody who listens.
async fn listen_for(mut stop: Pin<&mut impl Future<Output = io::Result<()>>>) -> io::Result<()> {
    tokio::select! {
        biased;
        stopped = &mut stop => stopped,
        () = std::future::ready(()) => Ok(()),
    }
}

/// Serves until a listener or the database fails or somebody asks for the end, and then until the requests in flight are answered.
/// Asked a second time, it does not wait for them.
async fn until_stopped(
    serving: impl Future<Output = io::Result<()>>,
    stop: Pin<&mut impl Future<Output = io::Result<()>>>,
    failure: impl Future<Output = StoreError>,
    shutdown: &Shutdown,
) -> Result<(), Failure> {
    let mut serving = std::pin::pin!(serving);
    let outcome = tokio::select! {
        ended = &mut serving => return ended.map_err(Failure::failed),
        asked = stop => { asked.map_err(Failure::failed)?; Ok(()) }
        error = failure => Err(Failure::from(error)),
    };
    let mut again = std::pin::pin!(asked_to_stop());
    listen_for(again.as_mut()).await.map_err(Failure::failed)?;
    tracing::info!("stopping: the requests in flight are finished first");
    shutdown.begin();
    tokio::select! {
        ended = serving => outcome.and(ended.map_err(Failure::failed)),
        again = again => {
            again.map_err(Failure::failed)?;
            outcome?;
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

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use std::time::Duration;

    use axum::body::Body;
    use countersign_core::ids::Incarnation;
    use countersign_operations::administrators::Administrator;
    use countersign_operations::readers;
    use http::{Request, StatusCode};
    use tokio::time::timeout;
    use tower::ServiceExt as _;

    use super::*;
    use crate::config::{self, Flags};

    #[tokio::test]
    async fn who_waits_for_a_revocation_is_answered_when_the_server_stops() {
        let folder = tempfile::tempdir().unwrap();
        let database = format!("sqlite:{}", folder.path().join("countersign.db").display());
        let environment: Environment = [("COUNTERSIGN_DATABASE_URL", database)].into_iter().collect();
        let loaded = config::load(&Flags::default(), &environment).unwrap();
        let countersign = Countersign::open(loaded).await.unwrap();
        let shutdown = Shutdown::new();
        let router = countersign.standalone_router().layer(Extension(shutdown.clone()));
        let (_, key) =
            readers::admit(countersign.operations(), &Administrator::OPERATOR, "reader".to_owned()).await.unwrap();
        let ask = async |query: &str| {
            let request = Request::get(format!("/revocations{query}"))
                .header("authorization", format!("Bearer {}", *key.expose()))
                .body(Body::empty())
                .unwrap();
            let answer = router.clone().oneshot(request).await.unwrap();
            assert_eq!(answer.status(), StatusCode::OK);
            let body = axum::body::to_bytes(answer.into_body(), 1 << 20).await.unwrap();
            serde_json::from_slice::<serde_json::Value>(&body).unwrap()
        };
        let first = ask("").await;
        let incarnation: Incarnation = first["incarnation"].as_str().unwrap().parse().unwrap();
        let query = format!("?incarnation={incarnation}&after={}&wait=60", first["seq"]);
        let mut waiting = std::pin::pin!(ask(&query));
        assert!(timeout(Duration::from_millis(50), &mut waiting).await.is_err(), "it waits while nothing happens");
        shutdown.begin();
        let page = timeout(Duration::from_secs(20), waiting).await.expect("it does not wait for its 60 seconds");
        assert_eq!((page["snapshot"].as_bool(), page["events"].as_array().map(Vec::len)), (Some(false), Some(0)));
        countersign.close().await.unwrap();
    }
}

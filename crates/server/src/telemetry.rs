//! What the server tells its operator: log lines on standard error, and metrics for Prometheus.

use std::io::IsTerminal as _;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use http::HeaderValue;
use http::header::CONTENT_TYPE;
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use tokio::time::{MissedTickBehavior, interval};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::util::TryInitError;

use crate::config::LogFormat;

/// The media type of Prometheus' text format.
const TEXT_FORMAT: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

/// Upper bounds of the buckets for lengths of time, in seconds: from a refresh at rest to the longest handler.
const SECONDS: [f64; 14] =
    [0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];

/// Logging or metrics could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter does not parse; settings that were loaded have one that does.
    #[error("log_level is not a filter: {0}")]
    Filter(#[from] ParseError),
    /// This process logs already.
    #[error("logging was set up before: {0}")]
    Logs(#[from] TryInitError),
    /// This process keeps metrics already.
    #[error("metrics were set up before: {0}")]
    Metrics(#[from] BuildError),
}

/// Sends log lines to standard error, and panics with them.
///
/// # Errors
///
/// [`TelemetryError`], as where the process of an embedding application has set up its own logging.
pub fn start_logs(format: LogFormat, level: &str) -> Result<(), TelemetryError> {
    use tracing_subscriber::fmt::fmt;
    use tracing_subscriber::util::SubscriberInitExt as _;

    // A line that cannot be written is lost. The subscriber's own complaint about it would go the same way and panic.
    let lines =
        fmt().with_env_filter(EnvFilter::try_new(level)?).with_writer(std::io::stderr).log_internal_errors(false);
    // On a terminal the subscriber decides itself, since NO_COLOR has a say.
    let lines = if std::io::stderr().is_terminal() { lines } else { lines.with_ansi(false) };
    match format {
        LogFormat::Text => lines.finish().try_init()?,
        LogFormat::Json => {
            lines.json().flatten_event(true).with_current_span(true).with_span_list(false).finish().try_init()?
        }
    }
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string);
        tracing::error!(place, reason = panic.payload_as_str(), "panicked");
    }));
    Ok(())
}

/// Starts to keep metrics. Without this, counting costs next to nothing and keeps nothing.
///
/// # Errors
///
/// [`TelemetryError`], as where the process of an embedding application keeps its own.
pub fn start_metrics() -> Result<PrometheusHandle, TelemetryError> {
    let metrics = builder()?.install_recorder()?;
    describe();
    Ok(metrics)
}

/// What this crate counts, in words for whoever reads `/metrics`.
fn describe() {
    metrics::describe_counter!("countersign_http_requests_total", "Requests answered, by method, route and status");
    metrics::describe_histogram!("countersign_http_request_seconds", "Time from a request's head to its answer");
    metrics::describe_counter!(
        "countersign_connections_refused_total",
        "Connections that could not be accepted or found every place taken"
    );
}

fn builder() -> Result<PrometheusBuilder, BuildError> {
    PrometheusBuilder::new().set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)
}

/// `GET /metrics`, for a listener of its own.
pub fn metrics_router(metrics: PrometheusHandle) -> Router {
    let metrics = move || {
        let text = metrics.render();
        async move { ([(CONTENT_TYPE, TEXT_FORMAT)], text) }
    };
    Router::new().route("/metrics", get(metrics))
}

/// Folds what was recorded into the histograms, for as long as it is polled: else it would pile up between two scrapes.
pub async fn tend(metrics: PrometheusHandle) {
    let mut ticks = interval(Duration::from_secs(5));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        metrics.run_upkeep();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use axum::body::Body;
    use http::Request;
    use tower::ServiceExt as _;

    use super::*;

    #[tokio::test]
    async fn metrics_are_served_as_text_with_buckets_in_seconds() {
        let recorder = builder().unwrap().build_recorder();
        let router = metrics_router(recorder.handle());
        metrics::with_local_recorder(&recorder, || {
            describe();
            metrics::counter!("countersign_connections_refused_total").increment(1);
            metrics::counter!("countersign_test_total", "route" => "/x").increment(2);
            metrics::histogram!("countersign_test_seconds").record(0.003);
        });
        let response = router.oneshot(Request::get("/metrics").body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(response.headers()[CONTENT_TYPE], TEXT_FORMAT);
        let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
        let text = std::str::from_utf8(&body).unwrap();
        assert!(text.contains("# HELP countersign_connections_refused_total Connections that"), "{text}");
        assert!(text.contains("countersign_test_total{route=\"/x\"} 2"), "{text}");
        assert!(text.contains("countersign_test_seconds_bucket{le=\"0.0025\"} 0"), "{text}");
        assert!(text.contains("countersign_test_seconds_bucket{le=\"0.005\"} 1"), "{text}");
    }

    #[test]
    fn a_filter_that_does_not_parse_is_refused_before_anything_is_set_up() {
        assert!(matches!(start_logs(LogFormat::Text, "a=b=c"), Err(TelemetryError::Filter(_))));
    }
}

//! What the layer tells through the `metrics` facade.

use countersign_token::revocation::Revocation;
use metrics_exporter_prometheus::PrometheusBuilder;

use crate::issuer::{Issuer, call_with, code_of, eventually, now};

#[test]
fn requests_cache_and_feed_are_measured() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let rendered = recorder.handle();
    let value = |name: &str| {
        let text = rendered.render();
        let line = text.lines().find(|line| line.starts_with(name) && line[name.len()..].starts_with([' ', '{']));
        line.and_then(|line| line.rsplit_once(' ')).map(|(_, value)| value.parse::<f64>().unwrap())
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    metrics::with_local_recorder(&recorder, || {
        runtime.block_on(async {
            let issuer = Issuer::start().await;
            let bearer = issuer.reader().await;
            let token = issuer.sign(&issuer.claims());
            for _ in 0..3 {
                assert_eq!(code_of(&bearer, &token).await, "ok");
            }
            call_with(&bearer, &[]).await;
            code_of(&bearer, "nonsense").await;
            assert_eq!(value("countersign_bearer_verified_total"), Some(3.0));
            let text = rendered.render();
            for line in [
                "countersign_bearer_refused_total{code=\"token_missing\"} 1",
                "countersign_bearer_refused_total{code=\"token_malformed\"} 1",
                "countersign_bearer_cache_hits_total 2",
                "countersign_bearer_cache_misses_total 2",
                "countersign_bearer_key_fetches_total{outcome=\"ok\"} 1",
                &format!("countersign_bearer_feed_connected{{authority=\"{}\"}} 1", issuer.url()),
                &format!("countersign_bearer_feed_entries{{authority=\"{}\"}} 0", issuer.url()),
            ] {
                assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
            }
            issuer.revoke(Revocation::Session { sid: issuer.claims().sid, expires: now() + 300 });
            eventually("the event is counted", || async { value("countersign_bearer_feed_entries") == Some(1.0) })
                .await;
            let lag = || value("countersign_bearer_feed_lag_seconds");
            eventually("the lag is measured", || async { lag().is_some_and(|lag| lag < 6.0) }).await;
            issuer.go_away().await;
            eventually("the lag grows", || async { lag().is_some_and(|lag| lag > 1.5) }).await;
            assert_eq!(value("countersign_bearer_feed_connected"), Some(0.0));
        });
    });
}

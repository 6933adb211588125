//! What the layer tells through the `metrics` facade. The names stand in the README.

use metrics::{counter, gauge};

use crate::Refusal;

pub(crate) fn verified() {
    counter!("countersign_bearer_verified_total").increment(1);
}

pub(crate) fn refused(refusal: Refusal) {
    counter!("countersign_bearer_refused_total", "code" => refusal.code()).increment(1);
}

pub(crate) fn cache_hit() {
    counter!("countersign_bearer_cache_hits_total").increment(1);
}

pub(crate) fn cache_miss() {
    counter!("countersign_bearer_cache_misses_total").increment(1);
}

pub(crate) fn keys_fetched(outcome: &'static str) {
    counter!("countersign_bearer_key_fetches_total", "outcome" => outcome).increment(1);
}

pub(crate) fn status_asked(outcome: &'static str) {
    counter!("countersign_bearer_status_questions_total", "outcome" => outcome).increment(1);
}

pub(crate) fn feed_connected(authority: &str, connected: bool) {
    gauge!("countersign_bearer_feed_connected", "authority" => authority.to_owned())
        .set(f64::from(u8::from(connected)));
}

/// Infinite until the feed was read once.
pub(crate) fn feed_lag(authority: &str, seconds: f64) {
    gauge!("countersign_bearer_feed_lag_seconds", "authority" => authority.to_owned()).set(seconds);
}

pub(crate) fn feed_entries(authority: &str, entries: usize) {
    gauge!("countersign_bearer_feed_entries", "authority" => authority.to_owned()).set(entries as f64);
}

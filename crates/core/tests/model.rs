//! An exhaustive search of a small world around the real decision: up to four rotations, two tabs of one owner, a
//! network that loses, repeats and reorders, crashes, a clock in ticks, revocations and a thief.
//!
//! Each search also shows that it can find what it looks for: outside the promised bounds the promises do break.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

#[path = "model/search.rs"]
mod search;
#[path = "model/state.rs"]
mod state;
mod support;
#[path = "model/world.rs"]
mod world;

use search::search;
use state::OVERLAP;
use world::{HONEST, Rules, World};

/// Searches everything, breaks no promise, and visits at least so many states: an empty search proves nothing.
#[track_caller]
fn holds(name: &str, rules: Rules, at_least: usize) {
    let found = search(&World::new(rules));
    println!("{name}: {} states", found.states);
    assert_eq!(found.broken, None);
    assert!(found.states >= at_least, "only {} states: the search did not search", found.states);
}

/// Finds the broken promise.
#[track_caller]
fn breaks(rules: Rules, promise: &str) {
    let broken = search(&World::new(rules)).broken.expect("the search finds what it should");
    assert!(broken.starts_with(promise), "{broken}");
}

#[test]
fn an_honest_client_with_a_retry_key_never_loses_its_session() {
    holds("keyed", Rules { revocations: true, ..HONEST }, 30_000);
}

#[test]
fn an_honest_client_without_a_retry_key_loses_its_session_only_after_the_overlap() {
    holds("keyless", Rules { keyed: false, revocations: true, ..HONEST }, 30_000);
}

#[test]
fn a_thief_beside_a_client_with_a_retry_key_is_always_noticed() {
    holds("keyed, with thief", Rules { thief: true, sharing_is_forbidden: true, ..HONEST }, 200_000);
}

#[test]
fn a_thief_beside_a_client_without_a_retry_key_shares_only_inside_the_overlap() {
    holds("keyless, with thief", Rules { keyed: false, thief: true, rotations: 3, ..HONEST }, 100_000);
}

#[test]
fn revocation_ends_it_for_owner_and_thief() {
    let rules = Rules { thief: true, revocations: true, rotations: 2, ..HONEST };
    holds("keyed, with thief and revocations", rules, 9_000);
}

#[test]
fn the_search_finds_the_owner_whose_request_took_too_long() {
    breaks(Rules { delay: 3 * OVERLAP, ..HONEST }, "an honest owner loses the session: Ancestor");
}

#[test]
fn the_search_finds_the_sharing_inside_the_overlap() {
    let rules = Rules { keyed: false, thief: true, sharing_is_forbidden: true, ..HONEST };
    breaks(rules, "owner and thief share a session");
}

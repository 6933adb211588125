//! What PostgreSQL alone has to do: several nodes, lost commits, broken connections, locks that others hold.
#![allow(clippy::unwrap_used, clippy::expect_used)]
#![allow(dead_code, reason = "the helpers are those of the conformance suite")]

#[path = "../conformance/harness.rs"]
mod harness;
#[path = "../conformance/postgres_harness.rs"]
mod postgres_harness;
#[path = "../conformance/world.rs"]
mod world;

mod batches;
mod clocks;
mod connections;
mod losses;
mod past_the_store;
mod pruning;
mod revocations;
mod schema;
mod stalls;

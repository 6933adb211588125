//! What every back-end must do, run once per back-end: a further one is a harness and one line here.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod cases;
mod harness;
mod suite;
mod world;

use harness::SqliteHarness;
use suite::conformance;

conformance!(sqlite, SqliteHarness);

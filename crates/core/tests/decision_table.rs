//! The table of the decision, row by row, each boundary at its exact instant.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "decision_table/case.rs"]
mod case;
#[path = "decision_table/handed_out.rs"]
mod handed_out;
#[path = "decision_table/refused.rs"]
mod refused;
#[path = "decision_table/replayed.rs"]
mod replayed;
mod support;

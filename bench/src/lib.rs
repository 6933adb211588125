//! Measures Countersign beside the limits of the machine and beside what somebody would pick instead.
//!
//! One run takes every figure and its yardstick on one machine, one after the other: ratios are worth more than figures. Every answer is
//! checked; a load with one wrong answer is no figure and fails the run. `scripts/bench` builds and calls it.
#![cfg(target_os = "linux")]

mod bench;
mod chains;
mod cli;
mod clock;
mod drive;
mod figures;
mod http;
mod loader;
mod machine;
mod peers;
mod plan;
mod postgres;
mod process;
mod processors;
mod report;
mod rows;
mod scenarios;
mod server;
mod terminal;
mod usage;
mod yardsticks;

pub use cli::main;

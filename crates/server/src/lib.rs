//! Countersign, a login server for anyone's API: how the world talks to it.
//!
//! This crate is the outermost layer: settings, listeners, HTTP, the one map from errors to the wire, and the command
//! line. What Countersign can do stands in the operations crate; what is allowed stands in the core.

pub mod api;
pub mod cli;
pub mod config;
pub mod http;
mod installation;
mod key_file;
pub mod listener;
pub mod problem;
mod rarely;
pub mod telemetry;
mod trust;

pub use installation::{Countersign, OpenError, StoreError};

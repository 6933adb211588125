//! The black-box floor: each test starts the built `countersign` (and the weather example) and drives it over HTTP, as
//! its users do.
//!
//! `support` starts, stops and asks; every other module is named after the URL or the promise that it is about.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

mod backup;
mod bad_input;
mod change_password;
mod clients;
mod clocks;
mod crash;
mod deploying;
mod discovery;
mod disk_failing;
#[cfg(target_os = "linux")]
mod disk_full;
mod failover;
mod feed;
mod headers;
mod keys;
mod least_rights;
mod load;
mod login;
mod logs;
mod me;
mod nodes;
mod openapi;
mod outage;
mod poolers;
mod readme;
mod refresh;
mod register;
mod restore;
mod revoke;
mod revoke_all;
mod roles;
mod session_limit;
mod sessions;
mod settings;
mod throttles;
mod transfer;
mod walk;
mod weather;

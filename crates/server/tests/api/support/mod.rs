//! Starting, stopping and asking: what every test needs.

mod claims;
mod honest;
mod http;
mod kept;
mod postgres;
mod process;
mod proxy;
mod server;
mod user;
mod weather;

use std::time::{Duration, Instant};

pub(crate) use claims::{claims, decoded};
pub(crate) use honest::{Honest, KEY};
pub(crate) use http::{Answer, Connection, Request};
pub(crate) use kept::{hand_to_unprivileged, spawn, unprivileged};
pub(crate) use postgres::{Database, Postgres, psql};
pub(crate) use process::{Finished, Process, run};
pub(crate) use proxy::{Proxy, Wire};
pub(crate) use server::{ISSUER, PROGRAM, Server, Settings, free_port};
pub(crate) use user::{PASSWORD, Tokens, refreshed};
pub(crate) use weather::Weather;

/// Asks again and again until there is something, and fails when it takes too long.
#[track_caller]
pub(crate) fn until<T>(patience: Duration, what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = ask() {
            return found;
        }
        assert!(started.elapsed() < patience, "within {patience:?}: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Shows what a person may want to judge, with `--nocapture` or a failure.
#[expect(clippy::print_stdout, reason = "the harness decides who sees it")]
pub(crate) fn show(text: impl std::fmt::Display) {
    println!("{text}");
}

/// Runs the same thing on several threads at once and gives back what each came to.
pub(crate) fn at_once<T: Send>(threads: usize, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let barrier = std::sync::Barrier::new(threads);
    std::thread::scope(|scope| {
        let (barrier, work) = (&barrier, &work);
        let spawn = |number| {
            scope.spawn(move || {
                barrier.wait();
                work(number)
            })
        };
        let running: Vec<_> = (0..threads).map(spawn).collect();
        running.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

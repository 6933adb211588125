//! What takes turns with a load.

use std::time::Duration;

use super::MANY;
use super::in_turns::TURNS;
use super::scale::sessions_each;
use super::site::{Backend, Site};
use crate::bench::Run;
use crate::chains::{Asking, Refreshing};
use crate::drive::{Drive, Turns};
use crate::figures::{count, mean};
use crate::process::Process;
use crate::yardsticks::{hello, pgbench::Pgbench};

pub(super) enum Yardstick {
    /// The bare axum.
    Hello {
        server: Process,
        turns: Box<Turns<Asking>>,
    },
    Pgbench {
        pgbench: Pgbench,
        seconds: usize,
        rates: Vec<f64>,
    },
    /// A server with few sessions.
    Few {
        site: Box<Site>,
        turns: Box<Turns<Refreshing>>,
    },
    /// Bare refreshes of few rows.
    Bare {
        server: Process,
        turns: Box<Turns<Refreshing>>,
    },
}

/// How long a turn is measured.
pub(super) fn each_turn(run: &Run<'_>) -> Duration {
    run.plan().load / TURNS
}

pub(super) fn whole_seconds(duration: Duration) -> usize {
    usize::try_from(duration.as_secs()).unwrap_or(1).max(1)
}

impl Yardstick {
    /// What the machine does at the most that a server on this back-end has to do.
    pub(super) fn limit(run: &Run<'_>, backend: Backend, figure: &str) -> anyhow::Result<Self> {
        match backend {
            Backend::Sqlite => Self::hello(run, figure),
            Backend::Postgres => {
                let pgbench = Pgbench::prepare(run.bench.postgres()?, &run.dir)?;
                Ok(Self::Pgbench { pgbench, seconds: whole_seconds(each_turn(run)), rates: Vec::new() })
            }
        }
    }

    pub(super) fn hello(run: &Run<'_>, figure: &str) -> anyhow::Result<Self> {
        let server = hello::start(&run.bench.programs, &run.dir)?;
        let drive = hello::load(hello_beside(figure), &server, MANY);
        Ok(Self::Hello { server, turns: Box::new(Turns::of(drive, each_turn(run))) })
    }

    /// Refreshes all over a few sessions, after each was met once.
    pub(super) fn few(run: &Run<'_>, backend: Backend, figure: &str) -> anyhow::Result<Self> {
        let few = run.plan().smallest();
        let mut site = Site::new(run, &format!("few_{}", backend.name().to_lowercase()), backend, few, 0)?;
        let chains = site.refreshing(MANY, sessions_each(few)?)?;
        let drive = site.drive(run, format!("few sessions in turns with {figure}, c{MANY}"), chains);
        let drive = drive.warmed(run.plan().warm_up_all_over(), run.terminal())?;
        Ok(Self::Few { site: Box::new(site), turns: Box::new(Turns::of(drive, each_turn(run))) })
    }

    pub(super) fn bare(run: &Run<'_>, server: Process, drive: Drive<Refreshing>) -> Self {
        Self::Bare { server, turns: Box::new(Turns::of(drive, each_turn(run))) }
    }

    /// One turn.
    pub(super) fn take(&mut self, run: &Run<'_>) -> anyhow::Result<()> {
        match self {
            Self::Hello { turns, .. } => turns.take(run.terminal()),
            Self::Few { turns, .. } | Self::Bare { turns, .. } => turns.take(run.terminal()),
            Self::Pgbench { pgbench, seconds, rates } => {
                run.terminal().progress("pgbench");
                rates.push(pgbench.updates(*seconds)?);
                Ok(())
            }
        }
    }

    /// Stops what was driven; how much it did a second.
    pub(super) fn stop(self, run: &mut Run<'_>) -> anyhow::Result<f64> {
        let load = match self {
            Self::Hello { server, turns } => {
                let (load, _) = turns.ended()?;
                server.stop()?;
                run.report(load)
            }
            Self::Few { site, turns } => {
                let (load, chains) = turns.ended()?;
                site.insist_on(&chains)?;
                site.end()?;
                run.report(load)
            }
            Self::Bare { server, turns } => {
                let (load, _) = turns.ended()?;
                server.stop()?;
                run.report(load)
            }
            Self::Pgbench { rates, .. } => {
                let rate = mean(&rates);
                run.terminal().result(&format!("pgbench in turns with it: {} updates/s", count(rate)));
                return Ok(rate);
            }
        };
        Ok(run.loads[load].per_second())
    }
}

/// The name of the load on the bare axum in turns with a figure.
pub(crate) fn hello_beside(figure: &str) -> String {
    format!("hello in turns with {figure}, c{MANY}")
}

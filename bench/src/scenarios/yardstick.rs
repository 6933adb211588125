//! What takes turns with a load.

use std::time::Duration;

use super::in_turns::TURNS;
use super::scale::sessions_each;
use super::site::{Backend, Site};
use super::{MANY, bare};
use crate::bench::Run;
use crate::chains::{Asking, Refreshing};
use crate::drive::{Chain, Drive, Turns};
use crate::figures::{Figure, mean};
use crate::process::Process;
use crate::yardsticks::sqlite::{Commits, Raw};
use crate::yardsticks::{crypto, hello, pgbench::Pgbench};

/// Something that has its turns, and the name of the figure that it gives.
pub(super) struct Yardstick {
    figure: String,
    kind: Kind,
}

enum Kind {
    /// The bare axum.
    Hello {
        server: Process,
        turns: Box<Turns<Asking>>,
    },
    /// Bare refreshes.
    Bare {
        server: Process,
        turns: Box<Turns<Refreshing>>,
    },
    /// Refreshes of another Countersign.
    Countersign {
        site: Box<Site>,
        turns: Box<Turns<Refreshing>>,
    },
    Pgbench {
        pgbench: Pgbench,
        rates: Vec<f64>,
    },
    /// Raw commits of one row, of which the median is taken.
    Commits {
        raw: Raw,
        commits: Commits,
    },
    /// Bare Argon2id.
    Hashes {
        rates: Vec<f64>,
    },
}

/// A load that is to have its turns.
pub(super) fn turns_of<C: Chain>(run: &Run<'_>, drive: Drive<C>) -> Turns<C> {
    Turns::of(drive, run.plan().warm_up, each_turn(run))
}

/// How long a turn is measured.
fn each_turn(run: &Run<'_>) -> Duration {
    run.plan().load / TURNS as u32
}

fn whole_seconds(duration: Duration) -> usize {
    usize::try_from(duration.as_secs()).unwrap_or(1).max(1)
}

impl Yardstick {
    /// What the machine does at the most that a server on this back-end has to do.
    pub(super) fn limit(run: &Run<'_>, backend: Backend, beside: &str) -> anyhow::Result<Self> {
        match backend {
            Backend::Sqlite => Self::hello(run, beside),
            Backend::Postgres => {
                let pgbench = Pgbench::prepare(run.bench.postgres()?, &run.dir)?;
                Ok(Self::beside(beside, Kind::Pgbench { pgbench, rates: Vec::new() }))
            }
        }
    }

    pub(super) fn hello(run: &Run<'_>, beside: &str) -> anyhow::Result<Self> {
        let server = hello::start(&run.bench.programs, &run.dir)?;
        let turns = turns_of(run, hello::load(hello_beside(beside), &server, MANY));
        Ok(Self::beside(beside, Kind::Hello { server, turns: Box::new(turns) }))
    }

    pub(super) fn commits(run: &Run<'_>, beside: &str) -> anyhow::Result<Self> {
        let raw = Raw::new(&run.dir.join("raw_in_turns.db"))?;
        Ok(Self::beside(beside, Kind::Commits { raw, commits: Commits::of(1) }))
    }

    pub(super) fn hashes(beside: &str) -> Self {
        Self::beside(beside, Kind::Hashes { rates: Vec::new() })
    }

    /// Refreshes all over a few sessions, after each was met once.
    pub(super) fn few(run: &Run<'_>, backend: Backend, beside: &str) -> anyhow::Result<Self> {
        let few = run.plan().smallest();
        let name = format!("few sessions in turns with {beside}, c{MANY}");
        let (site, drive) = countersign(run, "few", backend, name, sessions_each(few)?)?;
        let drive = drive.warmed(run.plan().warm_up_all_over(), run.terminal())?;
        let turns = Box::new(turns_of(run, drive));
        Ok(Self::beside(beside, Kind::Countersign { site: Box::new(site), turns }))
    }

    /// The refreshes of the main row.
    pub(super) fn refreshes(run: &Run<'_>, figure: String, backend: Backend) -> anyhow::Result<Self> {
        let (site, drive) = countersign(run, "beside", backend, format!("{figure}, c{MANY}"), 1)?;
        let turns = Box::new(turns_of(run, drive));
        Ok(Self { figure, kind: Kind::Countersign { site: Box::new(site), turns } })
    }

    /// Bare refreshes of few rows.
    pub(super) fn bare_refreshes(run: &Run<'_>, figure: String, backend: Backend) -> anyhow::Result<Self> {
        let started = bare::start(run, backend, &figure, run.plan().smallest(), 1)?;
        Ok(Self::bare(run, figure, started))
    }

    pub(super) fn bare(run: &Run<'_>, figure: String, (server, drive): (Process, Drive<Refreshing>)) -> Self {
        Self { figure, kind: Kind::Bare { server, turns: Box::new(turns_of(run, drive)) } }
    }

    fn beside(figure: &str, kind: Kind) -> Self {
        Self { figure: super::yardstick_of(figure), kind }
    }

    /// One turn.
    pub(super) fn take(&mut self, run: &Run<'_>) -> anyhow::Result<()> {
        let each = each_turn(run);
        match &mut self.kind {
            Kind::Hello { turns, .. } => turns.take(run.terminal())?,
            Kind::Bare { turns, .. } | Kind::Countersign { turns, .. } => turns.take(run.terminal())?,
            Kind::Pgbench { pgbench, rates } => {
                run.terminal().progress("pgbench");
                rates.push(pgbench.updates(whole_seconds(each))?);
            }
            Kind::Commits { raw, commits } => {
                run.terminal().progress("raw commits");
                raw.commit(commits, each)?;
            }
            Kind::Hashes { rates } => {
                run.terminal().progress("bare Argon2id");
                rates.push(crypto::argon2id(each)?);
            }
        }
        Ok(())
    }

    /// Stops what was driven, and keeps its figure.
    pub(super) fn stop(self, run: &mut Run<'_>) -> anyhow::Result<()> {
        let load = match self.kind {
            Kind::Hello { server, turns } => {
                server.stop()?;
                turns.ended()?.0
            }
            Kind::Bare { server, turns } => {
                server.stop()?;
                turns.ended()?.0
            }
            Kind::Countersign { site, turns } => {
                let (load, chains) = turns.ended()?;
                site.insist_on(&chains)?;
                site.end()?;
                load
            }
            Kind::Pgbench { rates, .. } | Kind::Hashes { rates } => {
                tell(run, &self.figure, Figure::per_second(mean(&rates)));
                return Ok(());
            }
            Kind::Commits { commits, .. } => {
                tell(run, &self.figure, Figure::seconds(commits.quantile(0.5)));
                return Ok(());
            }
        };
        let load = run.report(load);
        run.figures.per_second(&self.figure, run.loads[load].per_second());
        Ok(())
    }
}

/// Shows and keeps the figure of what is no load.
fn tell(run: &mut Run<'_>, name: &str, figure: Figure) {
    run.terminal().result(&format!("{name}: {}", figure.shown()));
    run.figures.put(name, figure);
}

/// A Countersign with few sessions, and a load of that name on it, each of whose connections refreshes so many of them.
fn countersign(
    run: &Run<'_>,
    folder: &str,
    backend: Backend,
    name: String,
    sessions_each: usize,
) -> anyhow::Result<(Site, Drive<Refreshing>)> {
    let folder = format!("{folder}_{}", backend.name().to_lowercase());
    let mut site = Site::new(run, &folder, backend, run.plan().smallest(), 0)?;
    let chains = site.refreshing(MANY, sessions_each)?;
    let drive = site.drive(run, name, chains);
    Ok((site, drive))
}

/// The name of the load on the bare axum in turns with a figure.
pub(crate) fn hello_beside(figure: &str) -> String {
    format!("hello in turns with {figure}, c{MANY}")
}

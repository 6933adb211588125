//! The yardsticks.

use std::time::Duration;

use super::in_turns::{in_turns, yardstick_of};
use super::scale::sessions_each;
use super::yardstick::{Yardstick, whole_seconds};
use super::{Backend, MANY};
use crate::bench::{Run, Step};
use crate::chains::Refreshing;
use crate::drive::Drive;
use crate::figures::{count, seconds};
use crate::plan::size_name;
use crate::process::Process;
use crate::yardsticks::pgbench::Pgbench;
use crate::yardsticks::{bare, crypto, hello, sqlite};

pub(super) fn steps(quick: bool) -> Vec<Step> {
    let mut steps = vec![
        Step::new("limit: a bare axum that says hello", hello),
        Step::new(bare_step(Backend::Sqlite), |run| bare(run, Backend::Sqlite)),
        Step::new(bare_step(Backend::Postgres), |run| bare(run, Backend::Postgres)),
        Step::new(bare_all_over_step(Backend::Sqlite), |run| bare_all_over(run, Backend::Sqlite)),
        Step::new("limit: SQLite commits", commits),
        Step::new("limit: ES256 signatures", signatures),
        Step::new("limit: Argon2id hashes", hashes),
        Step::new("limit: pgbench", updates),
    ];
    if !quick {
        steps.push(Step::new(bare_all_over_step(Backend::Postgres), |run| bare_all_over(run, Backend::Postgres)));
    }
    steps
}

fn hello(run: &mut Run<'_>) -> anyhow::Result<()> {
    let server = hello::start(&run.bench.programs, &run.dir)?;
    let (load, _) = run.drive(hello::load(format!("hello, c{MANY}"), &server, MANY))?;
    run.figures.per_second("hello", run.loads[load].per_second());
    server.stop()
}

/// The name of the step that measures the least that a refresh can do.
pub(crate) fn bare_step(backend: Backend) -> String {
    format!("limit: a bare refresh, {}", backend.name())
}

/// And of its figure.
pub(crate) fn bare_figure(backend: Backend) -> String {
    format!("bare refresh, {}", backend.name())
}

/// The name of the step that measures it where rows are met all over.
pub(crate) fn bare_all_over_step(backend: Backend) -> String {
    format!("limit: bare refreshes all over, {}", backend.name())
}

/// And of its figure at a size.
pub(crate) fn bare_all_over_figure(backend: Backend, size: u64) -> String {
    format!("bare refresh all over, {}, {}", backend.name(), size_name(size))
}

fn bare(run: &mut Run<'_>, backend: Backend) -> anyhow::Result<()> {
    let name = bare_figure(backend);
    let (server, drive) = start_bare(run, backend, &name, run.plan().smallest(), 1)?;
    let limit = Yardstick::limit(run, backend, &name)?;
    in_turns(run, &name, drive, limit)?;
    server.stop()
}

/// The same where the rows are many and each is met once in a while, and where they are few.
fn bare_all_over(run: &mut Run<'_>, backend: Backend) -> anyhow::Result<()> {
    let (few, many) = (run.plan().smallest(), run.plan().largest());
    match backend {
        Backend::Sqlite => {
            let (of_few, drive_of_few) = warmed(run, backend, few)?;
            let (of_many, drive_of_many) = warmed(run, backend, many)?;
            let yardstick = Yardstick::bare(run, of_few, drive_of_few);
            in_turns(run, &bare_all_over_figure(backend, many), drive_of_many, yardstick)?;
            of_many.stop()
        }
        // Not in turns, as Countersign's own are not.
        Backend::Postgres => {
            let mut alone = |size: u64| {
                let (server, drive) = warmed(run, backend, size)?;
                let (load, _) = run.drive(drive)?;
                server.stop()?;
                anyhow::Ok(run.loads[load].per_second())
            };
            let (of_few, of_many) = (alone(few)?, alone(many)?);
            let figure = bare_all_over_figure(backend, many);
            run.figures.per_second(&figure, of_many);
            run.figures.per_second(&yardstick_of(&figure), of_few);
            Ok(())
        }
    }
}

/// A server with so many rows, and a load all over them that has met each once.
fn warmed(run: &Run<'_>, backend: Backend, size: u64) -> anyhow::Result<(Process, Drive<Refreshing>)> {
    let name = bare_all_over_figure(backend, size);
    let (server, drive) = start_bare(run, backend, &name, size, sessions_each(size)?)?;
    Ok((server, drive.warmed(run.plan().warm_up_all_over(), run.terminal())?))
}

fn start_bare(
    run: &Run<'_>,
    backend: Backend,
    name: &str,
    rows: u64,
    rows_each: usize,
) -> anyhow::Result<(Process, Drive<Refreshing>)> {
    let (server, chains) = bare::start(run, backend, rows, MANY, rows_each)?;
    let drive = Drive::new(format!("{name}, c{MANY}"), server.address, chains).watching("server", server.tree());
    let drive = match backend {
        Backend::Sqlite => drive,
        Backend::Postgres => drive.watching(backend.name(), run.bench.postgres()?.tree.clone()),
    };
    Ok((server, drive))
}

fn commits(run: &mut Run<'_>) -> anyhow::Result<()> {
    let mut raw = sqlite::Raw::new(&run.dir)?;
    let duration = run.plan().load / 4;
    for updates in [1, 8, sqlite::GROUP, 256] {
        let commits = raw.commits(updates, duration)?;
        run.terminal().result(&format!(
            "{updates} updates a commit: {} updates/s, p50 of a commit {}, p99 {}; processor time an update {}",
            count(commits.updates_per_second),
            seconds(commits.p50),
            seconds(commits.p99),
            seconds(commits.cpu_each)
        ));
        run.figures.per_second(&format!("SQLite updates, {updates} a commit"), commits.updates_per_second);
        run.figures.seconds(&format!("SQLite commit of {updates}, p50"), commits.p50);
        if updates == sqlite::GROUP {
            run.figures.seconds(&sqlite::row_figure(), commits.cpu_each);
        }
    }
    Ok(())
}

fn signatures(run: &mut Run<'_>) -> anyhow::Result<()> {
    let rounds = if run.plan().load > Duration::from_secs(1) { 40 } else { 5 };
    let times = crypto::signatures(rounds)?;
    run.terminal().result(&format!(
        "sign {}, verify {}; the bearer layer: a new token {}, one that it has seen {}",
        seconds(times.sign),
        seconds(times.verify),
        seconds(times.first_sight),
        seconds(times.seen)
    ));
    run.figures.seconds("ES256 sign", times.sign);
    run.figures.seconds("ES256 verify", times.verify);
    run.figures.seconds("first sight", times.first_sight);
    run.figures.seconds("token seen", times.seen);
    Ok(())
}

fn hashes(run: &mut Run<'_>) -> anyhow::Result<()> {
    let rate = crypto::argon2id((run.plan().load / 2).max(Duration::from_secs(1)))?;
    run.terminal().result(&format!("{} hashes/s on all cores", count(rate)));
    run.figures.per_second("Argon2id", rate);
    Ok(())
}

fn updates(run: &mut Run<'_>) -> anyhow::Result<()> {
    let postgres = run.bench.postgres()?;
    let rate = Pgbench::prepare(postgres, &run.dir)?.updates(whole_seconds(run.plan().load))?;
    run.terminal().result(&format!("{} updates/s", count(rate)));
    run.figures.per_second("pgbench", rate);
    Ok(())
}

//! The yardsticks.

use std::time::Duration;

use super::scale::sessions_each;
use super::{Backend, MANY};
use crate::bench::{Run, Step};
use crate::drive::Drive;
use crate::figures::{count, seconds};
use crate::plan::size_name;
use crate::yardsticks::{bare, crypto, hello, pgbench, sqlite};

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
    let chains = (0..MANY).map(|_| hello::asking()).collect();
    let drive = Drive::new(format!("hello, c{MANY}"), server.address, chains).watching("server", server.tree());
    let (load, _) = run.drive(drive)?;
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
    drive_bare(run, backend, bare_figure(backend), run.plan().smallest(), 1, run.plan().warm_up)
}

/// The same where the rows are many and each is met once in a while.
fn bare_all_over(run: &mut Run<'_>, backend: Backend) -> anyhow::Result<()> {
    for size in [run.plan().smallest(), run.plan().largest()] {
        let (name, warm_up) = (bare_all_over_figure(backend, size), run.plan().warm_up_all_over());
        drive_bare(run, backend, name, size, sessions_each(size)?, warm_up)?;
    }
    Ok(())
}

fn drive_bare(
    run: &mut Run<'_>,
    backend: Backend,
    name: String,
    rows: u64,
    rows_each: usize,
    warm_up: Duration,
) -> anyhow::Result<()> {
    let (server, chains) = bare::start(run, backend, rows, MANY, rows_each)?;
    let mut drive = Drive::new(format!("{name}, c{MANY}"), server.address, chains).watching("server", server.tree());
    if backend == Backend::Postgres {
        drive = drive.watching(backend.name(), run.bench.postgres()?.tree.clone());
    }
    let (load, _) = run.drive_after(warm_up, drive)?;
    run.figures.per_second(&name, run.loads[load].per_second());
    server.stop()
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
    let rate = pgbench::run(postgres, &run.dir, run.plan().warm_up, run.plan().load)?;
    run.terminal().result(&format!("{} updates/s", count(rate)));
    run.figures.per_second("pgbench", rate);
    Ok(())
}

//! The yardsticks.

use std::time::Duration;

use super::bare::bare_all_over_step;
use super::{Backend, MANY, bare};
use crate::bench::{Run, Step};
use crate::figures::{count, seconds};
use crate::yardsticks::{crypto, hello, sqlite};

pub(super) fn steps(quick: bool) -> Vec<Step> {
    let mut steps = vec![
        Step::new("limit: a bare axum that says hello", hello),
        Step::new(bare_all_over_step(Backend::Sqlite), |run| bare::all_over(run, Backend::Sqlite)),
        Step::new("limit: SQLite commits", commits),
        Step::new("limit: ES256 signatures", signatures),
        Step::new("limit: Argon2id hashes", hashes),
    ];
    if !quick {
        steps.push(Step::new(bare_all_over_step(Backend::Postgres), |run| bare::all_over(run, Backend::Postgres)));
    }
    steps
}

fn hello(run: &mut Run<'_>) -> anyhow::Result<()> {
    let server = hello::start(&run.bench.programs, &run.dir)?;
    let (load, _) = run.drive(hello::load(format!("hello, c{MANY}"), &server, MANY))?;
    run.figures.per_second("hello", run.loads[load].per_second());
    server.stop()
}

fn commits(run: &mut Run<'_>) -> anyhow::Result<()> {
    let mut raw = sqlite::Raw::new(&run.dir.join("raw.db"))?;
    let duration = run.plan().load / 4;
    for updates in [1, 8, sqlite::GROUP, 256] {
        let mut commits = sqlite::Commits::of(updates);
        raw.commit(&mut commits, duration)?;
        run.terminal().result(&format!(
            "{updates} updates a commit: {} updates/s, p50 of a commit {}, p99 {}; processor time an update {}",
            count(commits.updates_per_second()),
            seconds(commits.quantile(0.5)),
            seconds(commits.quantile(0.99)),
            seconds(commits.cpu_each())
        ));
        run.figures.per_second(&format!("SQLite updates, {updates} a commit"), commits.updates_per_second());
        run.figures.seconds(&format!("SQLite commit of {updates}, p50"), commits.quantile(0.5));
        if updates == sqlite::GROUP {
            run.figures.seconds(&sqlite::row_figure(), commits.cpu_each());
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

//! Refreshes: the main figure, how long one takes alone, and what they leave behind.

use super::bare::bare_figure;
use super::in_turns::in_turns;
use super::site::{Backend, Site};
use super::yardstick::Yardstick;
use super::{FEW, MANY};
use crate::bench::Run;
use crate::chains::Refreshing;
use crate::figures::{bytes, count};

pub(super) fn measure(run: &mut Run<'_>, backend: Backend) -> anyhow::Result<()> {
    let name = backend.name();
    let mut site = Site::new(run, &format!("refresh_{}", name.to_lowercase()), backend, run.plan().smallest(), 0)?;

    let alone = site.refreshing(1, 1)?;
    let figure = format!("refresh c1, {name}");
    let beside = match backend {
        Backend::Sqlite => vec![Yardstick::commits(run, &figure)?],
        Backend::Postgres => vec![],
    };
    let (load, chains) = in_turns(run, &figure, site.drive(run, format!("refresh, {name}, c1"), alone), beside)?;
    site.insist_on(&chains)?;
    run.figures.seconds(&format!("refresh c1 p50, {name}"), run.loads[load].quantile(0.5));

    // Once around before the database is looked at: what it adds once for many at a time is no growth.
    let chains = site.refreshing(MANY, 1)?;
    let around = site.drive(run, "once around".to_owned(), chains);
    let (_, chains) = around.lasting(run.plan().warm_up, run.plan().warm_up).run(run.terminal())?;
    let (before, answers_before) = (site.contents()?, answers(&chains));
    let drive = site.drive(run, format!("refresh, {name}, c{MANY}"), chains);
    let figure = format!("refresh, {name}");
    let beside =
        vec![Yardstick::limit(run, backend, &figure)?, Yardstick::bare_refreshes(run, bare_figure(backend), backend)?];
    let (load, mut chains) = in_turns(run, &figure, drive, beside)?;
    let quantiles = [0.5, 0.95, 0.99].map(|share| run.loads[load].quantile(share));
    for (quantile, value) in ["p50", "p95", "p99"].into_iter().zip(quantiles) {
        run.figures.seconds(&format!("refresh {quantile}, {name}"), value);
    }
    while answers(&chains) - answers_before < run.plan().refreshes {
        let more = site.drive(run, format!("more refreshes, {name}"), chains);
        (_, chains) = more.lasting(run.plan().warm_up, run.plan().load).run(run.terminal())?;
    }
    site.insist_on(&chains)?;
    let after = site.contents()?;
    let made = (answers(&chains) - answers_before).max(1) as f64;
    let (rows, grown) = ((after.rows - before.rows) as f64, (after.bytes - before.bytes) as f64);
    let shown = format!("{} refreshes added {rows} rows and {}", count(made), bytes(grown));
    run.terminal().result(&shown);
    run.figures.count(&format!("rows added, {name}"), rows);
    run.figures.bytes(&format!("bytes added each, {name}"), grown / made);
    run.figures.count(&format!("refreshes made, {name}"), made);

    if !run.plan().quick {
        let few = site.refreshing(FEW, 1)?;
        run.drive(site.drive(run, format!("refresh, {name}, c{FEW}"), few))?;
        let along: Vec<Refreshing> = site.refreshing(MANY, 1)?;
        let along = along.into_iter().map(|chain| chain.with_access(true)).collect();
        run.drive(site.drive(run, format!("refresh with the access token along, {name}, c{MANY}"), along))?;
    }
    site.end()
}

fn answers(chains: &[Refreshing]) -> u64 {
    chains.iter().map(|chain| chain.answers).sum()
}

//! The same with few and with many accounts and sessions: what grows.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::ensure;

use super::in_turns::in_turns;
use super::login::signing_in;
use super::site::{Backend, Site};
use super::start::IDLE;
use super::yardstick::Yardstick;
use super::{FEW, MANY};
use crate::bench::Run;
use crate::figures::{bytes, median, seconds};
use crate::plan::size_name;

/// The figure of refreshes all over, in turns with those over a few sessions.
pub(crate) const ALL_OVER_IN_TURNS: &str = "refresh all over in turns";
/// The most sessions that one connection goes through; together a wide part of a million.
const SESSIONS_EACH: u64 = 1024;
/// How long pruning may take for each thousand sessions that are over.
const PRUNING: Duration = Duration::from_secs(20);

/// The name of a figure at a size.
pub(crate) fn at(figure: &str, backend: Backend, size: u64) -> String {
    format!("{figure}, {}, {}", backend.name(), size_name(size))
}

pub(super) fn measure(run: &mut Run<'_>, backend: Backend, size: u64) -> anyhow::Result<()> {
    let name = |figure: &str| at(figure, backend, size);
    let folder = format!("scale_{}_{size}", backend.name().to_lowercase());
    let loading = Instant::now();
    let mut site = Site::new(run, &folder, backend, size, run.plan().over())?;
    let loaded =
        format!("loaded in {}, {} a session", seconds(loading.elapsed().as_secs_f64()), bytes(site.crowd.bytes_each));
    run.terminal().result(&loaded);
    run.figures.bytes(&name("bytes a session"), site.crowd.bytes_each);

    // At the first start after loading: on PostgreSQL a node prunes for a while after its last step, and no other does.
    if run.plan().over() > 0 {
        prune(run, &mut site, &name)?;
    }
    let mut times = Vec::new();
    for _ in 0..run.plan().starts {
        let (again, took) = site.restart()?;
        site = again;
        times.push(took);
    }
    let took = median(&times).unwrap_or_default();
    run.figures.seconds(&name("start"), took);
    thread::sleep(IDLE);
    let idle = site.server.process.tree().resident();
    run.figures.bytes(&name("idle memory"), idle as f64);
    run.terminal().result(&format!("start {}, idle memory {}", seconds(took), bytes(idle as f64)));

    // Every connection goes from session to session, so that refreshes meet rows all over the database.
    let chains = site.refreshing(MANY, sessions_each(size)?)?;
    let load_name = format!("refresh all over, {}, {} sessions, c{MANY}", backend.name(), size_name(size));
    let drive = site.drive(run, load_name.clone(), chains);
    let (load, mut chains) = run.drive_after(run.plan().warm_up_all_over(), drive)?;
    run.figures.per_second(&name("refresh all over"), run.loads[load].per_second());
    if size == run.plan().largest() {
        let figure = name(ALL_OVER_IN_TURNS);
        let few = Yardstick::few(run, backend, &figure)?;
        (_, chains) = in_turns(run, &figure, site.drive(run, format!("{load_name}, in turns"), chains), vec![few])?;
    }
    site.insist_on(&chains)?;
    let resident = run.loads[load].resident().unwrap_or_default();
    let p95 = run.loads[load].quantile(0.95);
    run.figures.seconds(&name("refresh all over p95"), p95);
    run.figures.bytes(&name("memory under load"), resident as f64);

    revoke_everyone(run, &site, &name)?;
    if !run.plan().quick {
        let load_name = format!("login, {}, {} sessions, c{FEW}", backend.name(), size_name(size));
        let (load, _) = run.drive(site.drive(run, load_name, signing_in(&site)))?;
        run.figures.per_second(&name("login"), run.loads[load].per_second());
    }
    site.end()
}

/// How many sessions of so many each connection goes through.
pub(super) fn sessions_each(size: u64) -> anyhow::Result<usize> {
    let spare = FEW as u64;
    Ok(usize::try_from((size.saturating_sub(spare) * 3 / 4 / MANY as u64).clamp(1, SESSIONS_EACH))?)
}

/// Refreshes while sessions that ended long ago are removed.
fn prune(run: &mut Run<'_>, site: &mut Site, name: &impl Fn(&str) -> String) -> anyhow::Result<()> {
    let over = run.plan().over();
    let began = site.server.process.spawned;
    let chains = site.refreshing(FEW, 1)?;
    let load_name = name(&format!("refresh while {over} sessions are pruned, c{FEW}"));
    let (load, _) = run.drive(site.drive(run, load_name, chains))?;
    let p95 = run.loads[load].quantile(0.95);
    ensure!(site.has_sessions_over()?, "everything was pruned before the load ended");
    let patience = PRUNING * u32::try_from(over / 1000 + 1)?;
    while site.has_sessions_over()? {
        run.terminal().progress("waiting until what is over is pruned");
        ensure!(began.elapsed() < patience, "sessions that are over are still there");
        thread::sleep(Duration::from_millis(100));
    }
    run.figures.seconds(&name("refresh p95 while pruning"), p95);
    Ok(())
}

fn revoke_everyone(run: &mut Run<'_>, site: &Site, name: &impl Fn(&str) -> String) -> anyhow::Result<()> {
    let mut client = site.server.client();
    let mut times = Vec::new();
    for _ in 0..run.plan().revoke_alls {
        let access = site.server.sign_in_administrator(&mut client)?.access_token;
        let began = Instant::now();
        client.plain("POST", "/api/auth/revoke-all", Some(&access))?.expect(204, "a revoke-all")?;
        times.push(began.elapsed().as_secs_f64());
        client.get("/api/auth/me", Some(&access))?.expect(401, "a token after a revoke-all")?;
    }
    let first = times.first().copied().unwrap_or_default();
    let took = median(&times).unwrap_or_default();
    run.terminal().result(&format!("revoke-all {}, the first one {}", seconds(took), seconds(first)));
    run.figures.seconds(&name("revoke-all"), took);
    Ok(())
}

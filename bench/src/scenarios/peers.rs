//! The peers under the same driver.

use std::process::Command;
use std::sync::Arc;
use std::thread;

use anyhow::{Context as _, anyhow};

use super::in_turns::in_turns;
use super::start::IDLE;
use super::yardstick::Yardstick;
use super::{Backend, MANY};
use crate::bench::{Bench, NotHere, Run, Step};
use crate::drive::{Chain, Drive};
use crate::figures::{bytes, seconds};
use crate::peers::{self, Peer, store_name};
use crate::process::{self, Process};
use crate::usage::Tree;

/// The peer that something is aimed at, and on which back-end.
pub(crate) const AIMED_AT: (&str, Backend) = ("oidc-provider", Backend::Sqlite);
/// The figure of Countersign's own refreshes in turns with a peer's, and of bare ones.
pub(crate) const OURS_BESIDE: &str = "Countersign's refreshes in turns";
pub(crate) const BARE_BESIDE: &str = "bare refreshes in turns";

pub(super) fn steps(bench: &Bench) -> Vec<Step> {
    let mut steps = Vec::new();
    for peer in &bench.peers {
        // The first is the one that it is at its best on.
        let stores = if bench.plan.quick { 1 } else { usize::MAX };
        for store in peer.protocol.stores.iter().take(stores) {
            let (peer, store) = (Arc::clone(peer), store.clone());
            steps.push(Step::new(step_name(&peer, &store), move |run| measure(run, &peer, &store)));
        }
    }
    steps
}

/// The name of the step of a peer on a store.
pub(crate) fn step_name(peer: &Peer, store: &str) -> String {
    format!("peer: {} on {}", peer.protocol.name, store_name(store))
}

fn measure(run: &mut Run<'_>, peer: &Peer, store: &str) -> anyhow::Result<()> {
    peer.install(run.terminal()).clone().map_err(|why| anyhow!(NotHere(why)))?;
    let name = &peer.protocol.name;
    let folder = format!("peer_{}_{store}", name.replace(|c: char| !c.is_ascii_alphanumeric(), "_"));
    let dir = run.dir.join(&folder);
    let data = dir.join("data");
    std::fs::create_dir_all(&data)?;
    let mut command = Command::new(peer.folder.join("start"));
    command.arg(process::free_port()?.to_string()).arg(&data).env("BENCH_USERS", MANY.to_string());
    if store == "postgres" {
        command.env("BENCH_DATABASE_URL", run.bench.postgres()?.fresh(&format!("bench_{folder}").to_lowercase())?);
    } else {
        command.env_remove("BENCH_DATABASE_URL");
    }
    let process = Process::start(command, &dir.join("log"))?;
    let took = process.spawned.elapsed().as_secs_f64();
    thread::sleep(IDLE);
    let idle = process.tree().resident();
    let chains = peers::sign_in(&peer.protocol, process.address, MANY)?;
    run.terminal().result(&format!("start {}, idle memory {}", seconds(took), bytes(idle as f64)));
    let database = match store {
        "postgres" => Some(run.bench.postgres()?.tree.clone()),
        _ => None,
    };
    let what = format!("{}, refresh, c{MANY}", step_name(peer, store));
    let drive = watched(Drive::new(what, process.address, chains), &process, database.clone());
    let backend = Backend::of(store);
    let mut beside = vec![Yardstick::refreshes(run, peer.figure(OURS_BESIDE, store), backend)?];
    if (name.as_str(), backend) == AIMED_AT {
        beside.push(Yardstick::bare_refreshes(run, peer.figure(BARE_BESIDE, store), backend)?);
    }
    let (_, chains) = in_turns(run, &peer.figure("refresh", store), drive, beside)?;
    run.figures.seconds(&peer.figure("start", store), took);
    run.figures.bytes(&peer.figure("idle memory", store), idle as f64);
    if !run.plan().quick {
        let guarded =
            chains.iter().map(|chain| chain.guarded(&peer.protocol)).collect::<anyhow::Result<Option<Vec<_>>>>();
        if let Some(guarded) = guarded.context("the guarded request")? {
            let what = format!("{}, authorized GET, c{MANY}", step_name(peer, store));
            let (load, _) = run.drive(watched(Drive::new(what, process.address, guarded), &process, database))?;
            let rate = run.loads[load].per_second();
            run.figures.per_second(&peer.figure("authorized GET", store), rate);
        }
    }
    process.stop()?;
    Ok(std::fs::remove_dir_all(&dir)?)
}

/// With all the processes whose time and memory are told.
fn watched<C: Chain>(drive: Drive<C>, server: &Process, database: Option<Tree>) -> Drive<C> {
    let drive = drive.watching("server", server.tree());
    match database {
        Some(database) => drive.watching("PostgreSQL", database),
        None => drive,
    }
}

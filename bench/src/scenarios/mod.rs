//! What is measured, in its order.

mod authorized;
mod bare;
mod flood;
mod in_turns;
mod limits;
mod login;
mod mixed;
mod peers;
mod refresh;
mod revocation;
mod scale;
mod site;
mod start;
mod yardstick;

use crate::bench::{Bench, Step};
use crate::plan::size_name;

pub(crate) use bare::{bare_all_over_figure, bare_all_over_step, bare_figure};
pub(crate) use in_turns::yardstick_of;
pub(crate) use peers::{AIMED_AT, BARE_BESIDE, OURS_BESIDE, step_name as peer_step};
pub(crate) use scale::{ALL_OVER_IN_TURNS, at as scale_figure};
pub(crate) use site::Backend;
pub(crate) use yardstick::hello_beside;

/// Connections of the main figures.
pub(crate) const MANY: usize = 64;
/// Connections where each answer costs a password hash.
pub(crate) const FEW: usize = 8;

/// The steps of a run.
pub(crate) fn steps(bench: &Bench) -> Vec<Step> {
    let plan = &bench.plan;
    let mut steps = limits::steps(plan.quick);
    steps.push(Step::new("start on an empty folder", start::on_an_empty_folder));
    steps.push(Step::new("refresh, SQLite", |run| refresh::measure(run, Backend::Sqlite)));
    steps.push(Step::new("refresh, PostgreSQL", |run| refresh::measure(run, Backend::Postgres)));
    steps.push(Step::new("login", login::measure));
    steps.push(Step::new("authorized GET", authorized::measure));
    steps.push(Step::new("refresh beside a flood of logins", flood::measure));
    steps.push(Step::new("revocation, one node", revocation::one_node));
    steps.push(Step::new("revocation, across nodes", revocation::across_nodes));
    if !plan.quick {
        steps.push(Step::new("mixed", mixed::measure));
    }
    for backend in [Backend::Sqlite, Backend::Postgres] {
        if plan.quick && backend == Backend::Postgres {
            continue;
        }
        for &size in &plan.sizes {
            let name = scale_step(backend, size);
            steps.push(Step::new(name, move |run| scale::measure(run, backend, size)));
        }
    }
    steps.extend(peers::steps(bench));
    steps
}

/// The name of the step for one size.
pub(crate) fn scale_step(backend: Backend, size: u64) -> String {
    format!("scale, {}, {} sessions", backend.name(), size_name(size))
}

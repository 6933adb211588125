//! What a front end and its users do: mostly asking, some refreshing, a few signing in.

use super::MANY;
use super::site::{Backend, Site};
use crate::bench::Run;
use crate::chains::{Mixed, SigningIn};

/// Connections that sign in.
const NEWCOMERS: usize = 2;

pub(super) fn measure(run: &mut Run<'_>) -> anyhow::Result<()> {
    let mut site = Site::new(run, "mixed", Backend::Sqlite, run.plan().smallest(), 0)?;
    let mut chains: Vec<Mixed> = site.refreshing(MANY - NEWCOMERS, 1)?.into_iter().map(Mixed::user).collect();
    let each = site.crowd.size / NEWCOMERS as u64;
    chains.extend((0..NEWCOMERS as u64).map(|chain| Mixed::Newcomer(SigningIn::new(chain * each..(chain + 1) * each))));
    let (load, _) = run.drive(site.drive(run, format!("mixed, SQLite, c{MANY}"), chains))?;
    let rates = [0, 1, 2].map(|kind| run.loads[load].rate(kind));
    for (name, rate) in ["questions", "refreshes", "sign-ins"].into_iter().zip(rates) {
        run.figures.per_second(&format!("mixed {name}"), rate);
    }
    site.end()
}

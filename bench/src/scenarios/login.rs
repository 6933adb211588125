//! Sign-ins, each of which costs a password hash.

use super::FEW;
use super::site::{Backend, Site};
use crate::bench::Run;
use crate::chains::SigningIn;

pub(super) fn measure(run: &mut Run<'_>) -> anyhow::Result<()> {
    let site = Site::new(run, "login", Backend::Sqlite, run.plan().smallest(), 0)?;
    let rate = sign_ins(run, &site, format!("login, SQLite, c{FEW}"))?;
    run.figures.per_second("login", rate);
    site.end()
}

/// Sign-ins a second.
pub(super) fn sign_ins(run: &mut Run<'_>, site: &Site, name: String) -> anyhow::Result<f64> {
    let each = site.crowd.size / FEW as u64;
    let chains = (0..FEW as u64).map(|chain| SigningIn::new(chain * each..(chain + 1) * each)).collect();
    let (load, _) = run.drive(site.drive(run, name, chains))?;
    Ok(run.loads[load].per_second())
}

//! Sign-ins, each of which costs a password hash.

use super::FEW;
use super::in_turns::in_turns;
use super::site::{Backend, Site};
use super::yardstick::Yardstick;
use crate::bench::Run;
use crate::chains::SigningIn;

const FIGURE: &str = "login";

pub(super) fn measure(run: &mut Run<'_>) -> anyhow::Result<()> {
    let site = Site::new(run, "login", Backend::Sqlite, run.plan().smallest(), 0)?;
    let drive = site.drive(run, format!("login, SQLite, c{FEW}"), signing_in(&site));
    in_turns(run, FIGURE, drive, vec![Yardstick::hashes(FIGURE)])?;
    site.end()
}

/// A few connections, each of which signs in as accounts of its own.
pub(super) fn signing_in(site: &Site) -> Vec<SigningIn> {
    let each = site.crowd.size / FEW as u64;
    (0..FEW as u64).map(|chain| SigningIn::new(chain * each..(chain + 1) * each)).collect()
}

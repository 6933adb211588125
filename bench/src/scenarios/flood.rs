//! Refreshes while more people sign in than passwords can be hashed.

use std::thread;
use std::time::Duration;

use anyhow::ensure;

use super::site::{Backend, Site};
use super::{FEW, MANY};
use crate::bench::{NotHere, Run};
use crate::chains::SigningIn;
use crate::figures::count;

/// How many times as many sign-ins come as there can be hashes.
const TIMES: f64 = 4.0;
/// Connections of those who sign in: enough for everybody who waits.
const CONNECTIONS: u64 = 320;
/// Addresses that they come from.
const ADDRESSES: u8 = 16;

pub(super) fn measure(run: &mut Run<'_>) -> anyhow::Result<()> {
    let without = || NotHere("how many come depends on the step \"limit: Argon2id hashes\"".to_owned());
    let hashes = run.figures.get("Argon2id").ok_or_else(without)?.value;
    let mut site = Site::new(run, "flood", Backend::Sqlite, run.plan().smallest(), 0)?;
    let connections: &[usize] = if run.plan().quick { &[MANY] } else { &[MANY, FEW] };
    for &connections in connections {
        let chains = site.refreshing(connections, 1)?;
        let (load, chains) = run.drive(site.drive(run, format!("refresh at rest, c{connections}"), chains))?;
        let at_rest = run.loads[load].quantile(0.95);

        let each = (site.crowd.size / CONNECTIONS).max(1);
        let of = |chain: u64| (chain * each) % site.crowd.size;
        let flood = (0..CONNECTIONS).map(|chain| SigningIn::new(of(chain)..of(chain) + each).flood()).collect();
        let flood = site.drive(run, format!("the flood, beside c{connections}"), flood);
        let flood = flood.paced(hashes * TIMES).with_addresses(ADDRESSES);
        let flood = flood.lasting(Duration::ZERO, Duration::from_secs(3600)).start()?;
        // Until as many wait as may.
        thread::sleep(Duration::from_secs(1));
        let beside = site.drive(run, format!("refresh beside the flood, c{connections}"), chains);
        let (load, chains) = run.drive(beside)?;
        let (flood, _) = flood.stop()?;
        site.insist_on(&chains)?;
        let [granted, refused] = [0, 1].map(|kind| flood.rate(kind));
        run.terminal().result(&format!(
            "the flood: {}/s signed in, {}/s told to come back, {} found no connection",
            count(granted),
            count(refused),
            flood.late
        ));
        ensure!(granted > 0.0 && refused > granted, "the flood was none");
        let (p95, resident) = (run.loads[load].quantile(0.95), run.loads[load].resident().unwrap_or_default());
        run.keep(flood);
        run.figures.seconds(&format!("refresh p95 at rest, c{connections}"), at_rest);
        run.figures.seconds(&format!("refresh p95 in the flood, c{connections}"), p95);
        run.figures.bytes(&format!("memory in the flood, c{connections}"), resident as f64);
        run.figures.per_second(&format!("signed in in the flood, c{connections}"), granted);
    }
    site.end()
}

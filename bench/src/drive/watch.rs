//! What the server and the rest of the machine use while a load is on.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::{Shared, Watched};
use crate::terminal::Terminal;
use crate::usage::{self, Machine, Tree};

const EVERY: Duration = Duration::from_millis(100);

/// What was seen.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) watched: Vec<Watched>,
    /// Which share of the machine somebody else used who has nothing to do with it.
    pub(super) others_share: f64,
}

pub(super) fn until_over(
    name: &str,
    shared: &Shared,
    trees: Vec<(&'static str, Tree)>,
    terminal: &Terminal,
) -> anyhow::Result<Seen> {
    while Instant::now() < shared.from && !shared.over.load(Ordering::Relaxed) {
        terminal.progress(&format!("{name}: warming up"));
        std::thread::sleep(EVERY.min(shared.from.saturating_duration_since(Instant::now())));
    }
    let cpu_before: Vec<Duration> = trees.iter().map(|(_, tree)| tree.cpu()).collect();
    let (before, own_before, began) = (Machine::now()?, usage::own(), Instant::now());
    let mut peaks = vec![0; trees.len()];
    loop {
        for (peak, (_, tree)) in peaks.iter_mut().zip(&trees) {
            *peak = tree.resident().max(*peak);
        }
        let now = Instant::now();
        if shared.is_over(now) {
            break;
        }
        let left = shared.until.saturating_duration_since(now);
        terminal.progress(&format!(
            "{name}: {} answers, {} s to go",
            shared.answers.load(Ordering::Relaxed),
            left.as_secs() + 1
        ));
        std::thread::sleep(EVERY.min(left));
    }
    let (after, seconds) = (Machine::now()?, began.elapsed().as_secs_f64());
    let mut known = usage::own().saturating_sub(own_before);
    let mut watched = Vec::new();
    for (((name, tree), before), resident) in trees.iter().zip(cpu_before).zip(peaks) {
        let cpu = tree.cpu().saturating_sub(before);
        known += cpu;
        watched.push(Watched { name, cpu: cpu.as_secs_f64(), resident });
    }
    let others = after.busy.saturating_sub(before.busy).saturating_sub(known).as_secs_f64();
    let whole = seconds * usage::cores() as f64;
    Ok(Seen { watched, others_share: if whole > 0.0 { others / whole } else { 0.0 } })
}

//! What processes and the machine have used, from /proc.

use std::fs;
use std::time::Duration;

use anyhow::Context as _;
use rustix::time::{ClockId, clock_gettime};

/// A process and everything that descends from it.
#[derive(Clone, Debug)]
pub(crate) struct Tree {
    root: u32,
}

impl Tree {
    pub(crate) const fn of(root: u32) -> Self {
        Self { root }
    }

    fn members(&self) -> Vec<u32> {
        let mut parents = Vec::new();
        for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let name = entry.file_name();
            let Some(id) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
            if let Some(fields) = stat(id) {
                parents.push((id, fields.get(1).copied().unwrap_or(0)));
            }
        }
        let mut members = vec![self.root];
        let mut at = 0;
        while let Some(&parent) = members.get(at) {
            members.extend(parents.iter().filter(|(_, of)| *of == u64::from(parent)).map(|(id, _)| *id));
            at += 1;
        }
        members
    }

    /// Processor time used so far, with that of children that have ended.
    pub(crate) fn cpu(&self) -> Duration {
        let of = |id| stat(id).and_then(|fields| fields.get(11..15).map(|times| times.iter().sum::<u64>()));
        ticks(self.members().into_iter().filter_map(of).sum())
    }

    /// Resident memory in bytes. What processes share counts for each.
    pub(crate) fn resident(&self) -> u64 {
        let page = rustix::param::page_size() as u64;
        let of = |id| {
            let text = fs::read_to_string(format!("/proc/{id}/statm")).ok()?;
            text.split(' ').nth(1)?.parse::<u64>().ok()
        };
        self.members().into_iter().filter_map(of).sum::<u64>() * page
    }
}

/// The numbers behind the name of a process: state (as 0), parent, …; field 3 of proc(5) is the first.
fn stat(id: u32) -> Option<Vec<u64>> {
    let text = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    let (_, rest) = text.rsplit_once(')')?;
    Some(rest.split_whitespace().map(|field| field.parse().unwrap_or(0)).collect())
}

/// Processor time that the machine has spent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Machine {
    pub(crate) busy: Duration,
}

impl Machine {
    pub(crate) fn now() -> anyhow::Result<Self> {
        let text = fs::read_to_string("/proc/stat").context("/proc/stat")?;
        let line = text.lines().next().unwrap_or_default();
        let fields: Vec<u64> = line.split_whitespace().skip(1).filter_map(|field| field.parse().ok()).collect();
        // user, nice, system, irq, softirq, steal: what a guest used is in user already.
        let busy = [0, 1, 2, 5, 6, 7].iter().filter_map(|at| fields.get(*at)).sum();
        Ok(Self { busy: ticks(busy) })
    }
}

/// Processor time of this process so far.
pub(crate) fn own() -> Duration {
    let fields = stat(std::process::id()).unwrap_or_default();
    ticks(fields.get(11..13).unwrap_or_default().iter().sum())
}

/// Processor time of this thread so far.
pub(crate) fn thread() -> Duration {
    let cpu = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(cpu.tv_sec.unsigned_abs(), u32::try_from(cpu.tv_nsec).unwrap_or(0))
}

fn ticks(count: u64) -> Duration {
    Duration::from_secs_f64(count as f64 / rustix::param::clock_ticks_per_second().max(1) as f64)
}

pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_memory_and_time() {
        let tree = Tree::of(std::process::id());
        assert!(tree.resident() > 100_000);
        let before = own();
        assert!(tree.cpu() >= before);
        assert!(tree.members().contains(&std::process::id()));
    }
}

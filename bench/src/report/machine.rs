//! On what it was measured, in words.

use std::collections::BTreeMap;

use super::Report;
use crate::drive::Load;
use crate::figures::{bytes, median};

/// The facts, a line each.
pub(super) fn lines(report: &Report) -> Vec<(&'static str, String)> {
    let facts = &report.facts;
    let runs = report.runs.len();
    let kind = if report.quick { "quick" } else { "whole" };
    let busy = format!("{:.0} % of the processors were busy before", facts.busy_before * 100.0);
    let noise = if facts.is_noisy() {
        format!("**the machine had other things to do** ({busy}): these figures are worth little")
    } else {
        format!("quiet ({busy})")
    };
    vec![
        ("when", format!("{}, {runs} {kind} run{}", facts.began, if runs == 1 { "" } else { "s" })),
        ("commit", facts.commit.clone()),
        ("machine", format!("{} cores of {}, {} of memory", facts.cores, facts.processor, bytes(facts.memory as f64))),
        ("system", format!("Linux {}, databases on {}", facts.kernel, facts.file_system)),
        ("built with", format!("{}, {}", facts.rustc, facts.profile)),
        ("databases", format!("SQLite {}; {}", facts.sqlite, facts.postgres)),
        (
            "noise",
            format!(
                "{noise}; at most {:.0} % of the processors went to others during a load{}",
                others(report) * 100.0,
                speeds(report)
            ),
        ),
    ]
}

/// The largest share of the machine that somebody else had during a load.
fn others(report: &Report) -> f64 {
    let loads = report.runs.iter().flat_map(|run| &run.loads);
    loads.map(|load: &Load| load.others_share).fold(0.0, f64::max)
}

/// How much the speed of the machine has changed: the driver does the same for an answer in every run.
fn speeds(report: &Report) -> String {
    let loads = report.runs.iter().flat_map(|run| &run.loads);
    let times = loads.map(|load| (load.name.as_str(), load.an_answer(load.driver_cpu)));
    let Some(times) = unevenness(times) else { return String::new() };
    format!(
        "; for the same load the driver took {times:.2} times as long in the slowest run as in the fastest (median)"
    )
}

/// The longest of what bears the same name as a multiple of the shortest, the median of all names; `None` where nothing was done twice.
fn unevenness<'a>(times: impl Iterator<Item = (&'a str, f64)>) -> Option<f64> {
    let mut of_name: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for (name, time) in times.filter(|(_, time)| *time > 0.0) {
        of_name.entry(name).or_default().push(time);
    }
    let spread = |times: &Vec<f64>| {
        let (least, most) = (times.iter().copied().reduce(f64::min)?, times.iter().copied().reduce(f64::max)?);
        (times.len() > 1).then_some(most / least)
    };
    median(&of_name.values().filter_map(spread).collect::<Vec<_>>())
}

pub(super) fn text(report: &Report) -> String {
    lines(report).iter().map(|(name, value)| format!("{name:<11} {}\n", value.replace("**", ""))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_uneven_machine_is_seen_by_what_the_driver_takes_for_the_same_load() {
        let even = [("a", 2.0), ("b", 5.0), ("a", 2.0), ("b", 5.0)];
        assert_eq!(unevenness(even.into_iter()), Some(1.0));
        let uneven = [("a", 2.0), ("b", 6.0), ("c", 1.0), ("a", 3.0), ("b", 3.0), ("c", 1.0), ("d", 9.0)];
        assert_eq!(unevenness(uneven.into_iter()), Some(1.5));
        assert_eq!(unevenness([("a", 2.0), ("b", 6.0)].into_iter()), None);
        assert_eq!(unevenness([("a", 0.0), ("a", 6.0)].into_iter()), None);
    }
}

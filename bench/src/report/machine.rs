//! On what it was measured, in words.

use super::Report;
use crate::drive::Load;
use crate::figures::bytes;

/// The facts, a line each.
pub(super) fn lines(report: &Report) -> Vec<(&'static str, String)> {
    let facts = &report.facts;
    let runs = report.runs.len();
    let kind = if report.quick { "quick" } else { "whole" };
    let noise = if facts.is_noisy() {
        format!(
            "**the machine had other things to do** (load {} before): these figures are worth little",
            facts.load_before
        )
    } else {
        format!("quiet before (load {})", facts.load_before)
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
            format!("{noise}; at most {:.0} % of the processors went to others during a load", others(report) * 100.0),
        ),
    ]
}

/// The largest share of the machine that somebody else had during a load.
fn others(report: &Report) -> f64 {
    let loads = report.runs.iter().flat_map(|run| &run.loads);
    loads.map(|load: &Load| load.others_share).fold(0.0, f64::max)
}

pub(super) fn text(report: &Report) -> String {
    lines(report).iter().map(|(name, value)| format!("{name:<11} {}\n", value.replace("**", ""))).collect()
}

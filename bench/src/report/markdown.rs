//! The report as a part of a document.

use super::table::{self, Table};
use super::{Report, machine, parts};
use crate::bench::Bench;
use crate::figures::{Figure, three};
use crate::peers::store_name;
use crate::plan::size_name;
use crate::scenarios::{Backend, scale_figure};

pub(super) fn whole(report: &Report, bench: &Bench, picture: &str) -> String {
    let mut facts = Table::new(vec!["", ""]);
    for (name, value) in machine::lines(report) {
        facts.push(vec![name.to_owned(), value]);
    }
    let mut text =
        format!("\n{}\n![The main figures and how far each row is from its target]({picture})\n", facts.as_markdown());
    let several = if report.runs.len() > 1 { "Medians of the runs, in brackets the least and the most. " } else { "" };
    text += &format!(
        "\n### Figures beside their yardsticks\n\n{several}A ratio is taken within one run.\n\n{}",
        table::rows(report).as_markdown()
    );
    let made_of = parts::table(report);
    if !made_of.is_empty() {
        text += &format!("\n### What a refresh is made of\n\n{}", made_of.as_markdown());
    }
    for backend in [Backend::Sqlite, Backend::Postgres] {
        let grows = growth(report, backend);
        if !grows.is_empty() {
            text += &format!("\n### What grows, {}\n\n{}", backend.name(), grows.as_markdown());
        }
    }
    let peers = peers(report, bench);
    if !peers.is_empty() {
        text += &format!("\n### Peers\n\n{}", peers.as_markdown());
    }
    text += &format!("\n### Every load\n\n{}\n", table::loads(report).as_markdown());
    text
}

/// The same at each size, and with which power of the size it grows.
fn growth(report: &Report, backend: Backend) -> Table {
    let figures = [
        ("refresh all over", "refreshes, all over"),
        ("refresh all over p95", "their p95"),
        ("login", "logins"),
        ("revoke-all", "revoke-all"),
        ("refresh p95 while pruning", "refresh p95 while pruning"),
        ("start", "start to first 200"),
        ("idle memory", "memory idle"),
        ("memory under load", "memory under load"),
        ("bytes a session", "database, a session"),
    ];
    let heads: Vec<String> = report.sizes.iter().map(|size| format!("{} sessions", size_name(*size))).collect();
    let mut table = Table::new(vec!["what", "sizes", "figures", "grows with the size to the power of"]);
    for (figure, shown) in figures {
        let at = |size: &u64| report.middle(&scale_figure(figure, backend, *size));
        let values: Vec<Option<Figure>> = report.sizes.iter().map(at).collect();
        if values.iter().all(Option::is_none) {
            continue;
        }
        let cells = values.iter().map(|value| value.map_or_else(|| "–".to_owned(), Figure::shown));
        let power = power(&report.sizes, &values).map_or_else(|| "–".to_owned(), three);
        table.push(vec![shown.to_owned(), heads.join("; "), cells.collect::<Vec<_>>().join("; "), power]);
    }
    table
}

/// By the smallest and the largest.
fn power(sizes: &[u64], values: &[Option<Figure>]) -> Option<f64> {
    let (small, large) = (sizes.first()?, sizes.last()?);
    let (first, last) = (values.first()?.as_ref()?, values.last()?.as_ref()?);
    let grown = (last.value / first.value).ln() / (*large as f64 / *small as f64).ln();
    (grown.is_finite() && large > small).then_some(grown)
}

fn peers(report: &Report, bench: &Bench) -> Table {
    let head =
        vec!["peer", "version", "refreshes", "authorized GET", "start", "memory idle", "what a refresh does there"];
    let mut table = Table::new(head);
    for peer in &bench.peers {
        for store in &peer.protocol.stores {
            let shown =
                |figure: &str| report.middle(&peer.figure(figure, store)).map_or_else(|| "–".to_owned(), Figure::shown);
            table.push(vec![
                format!("{} on {}", peer.protocol.name, store_name(store)),
                peer.protocol.version.clone(),
                shown("refresh"),
                shown("authorized GET"),
                shown("start"),
                shown("idle memory"),
                peer.protocol.does.clone(),
            ]);
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::Unit;

    #[test]
    fn a_power_is_that_of_the_whole_range() {
        let figure = |value| Some(Figure { value, unit: Unit::Seconds });
        assert_eq!(power(&[10, 100, 1000], &[figure(1.0), None, figure(100.0)]), Some(1.0));
        assert_eq!(power(&[10, 1000], &[figure(5.0), figure(5.0)]), Some(0.0));
        assert_eq!(power(&[10, 1000], &[figure(5.0), None]), None);
        assert_eq!(power(&[10], &[figure(5.0)]), None);
    }
}

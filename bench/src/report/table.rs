//! Tables, for the terminal and for Markdown.

use super::Report;
use crate::figures::{count, median, seconds, three};
use crate::rows::{Assessed, Spread, Verdict};

/// A head and rows of as many cells.
#[derive(Debug)]
pub(super) struct Table {
    head: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(super) const fn new(head: Vec<&'static str>) -> Self {
        Self { head, rows: Vec::new() }
    }

    pub(super) fn push(&mut self, row: Vec<String>) {
        self.rows.push(row);
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// In columns.
    pub(super) fn as_text(&self) -> String {
        let head: Vec<String> = self.head.iter().map(|cell| (*cell).to_owned()).collect();
        let all = || std::iter::once(&head).chain(&self.rows);
        let width = |at: usize| all().map(|row| row[at].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..head.len()).map(width).collect();
        let line = |row: &Vec<String>| {
            let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
            cells.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
        };
        let rule = widths.iter().map(|width| "─".repeat(*width)).collect::<Vec<_>>().join("  ") + "\n";
        let mut lines = all().map(line);
        let first = lines.next().unwrap_or_default();
        first + &rule + &lines.collect::<String>()
    }

    pub(super) fn as_markdown(&self) -> String {
        let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | ").replace('\n', " "));
        let head = line(self.head.iter().map(|cell| (*cell).to_owned()).collect());
        let rule = format!("|{}\n", "---|".repeat(self.head.len()));
        let rows: String = self.rows.iter().map(|row| line(row.clone())).collect();
        head + &rule + &rows
    }
}

/// The main table.
pub(super) fn rows(report: &Report) -> Table {
    let mut table = Table::new(vec!["what", "figure", "yardstick", "ratio", "target", "met"]);
    for row in &report.rows {
        let yardstick = match &row.yardstick_name {
            Some(name) => format!("{name}: {}", row.yardstick_shown()),
            None => "–".to_owned(),
        };
        let ratio = row.ratio.map_or_else(|| "–".to_owned(), ratio);
        table.push(vec![row.what.clone(), row.figure_shown(), yardstick, ratio, row.target.clone(), met(row)]);
    }
    table
}

fn ratio(spread: Spread) -> String {
    if spread.least == spread.most {
        return three(spread.median);
    }
    format!("{} ({} – {})", three(spread.median), three(spread.least), three(spread.most))
}

fn met(row: &Assessed) -> String {
    match &row.verdict {
        Verdict::Met => "yes".to_owned(),
        Verdict::Missed => "**no**".to_owned(),
        Verdict::ForInformation => "–".to_owned(),
        Verdict::NotMeasured(why) => format!("not measured: {why}"),
        Verdict::Failed(why) => format!("**no figure**: {why}"),
    }
}

/// Every load, each number the median of the runs.
pub(super) fn loads(report: &Report) -> Table {
    let head = vec!["load", "a second", "p50", "p95", "p99", "processor time an answer", "most memory"];
    let mut table = Table::new(head);
    let Some(first) = report.runs.first() else { return table };
    for load in &first.loads {
        let same = || report.runs.iter().flat_map(|run| &run.loads).filter(|other| other.name == load.name);
        let kinds: Vec<_> = load.kinds.iter().enumerate().filter(|(at, _)| load.has(*at)).collect();
        for (at, kind) in &kinds {
            let at = *at;
            let middle = |value: &dyn Fn(&crate::drive::Load) -> f64| {
                median(&same().map(value).collect::<Vec<_>>()).unwrap_or_default()
            };
            let quantile = |share: f64| seconds(middle(&|load| load.kinds[at].quantile(share)));
            let name = if kinds.len() == 1 { load.name.clone() } else { format!("{}: {}", load.name, kind.name) };
            let used = |at: usize| {
                let each = |load: &crate::drive::Load| load.an_answer(load.watched[at].cpu);
                format!("{} {}", load.watched[at].name, seconds(middle(&each)))
            };
            let driver = seconds(middle(&|load| load.an_answer(load.driver_cpu)));
            let used: Vec<String> = (0..load.watched.len()).map(used).chain([format!("driver {driver}")]).collect();
            let memory = middle(&|load| load.resident().unwrap_or_default() as f64);
            let shared = at > 0;
            table.push(vec![
                name,
                count(middle(&|load| load.rate(at))),
                quantile(0.5),
                quantile(0.95),
                quantile(0.99),
                if shared { "〃".to_owned() } else { used.join(", ") },
                if memory > 0.0 && !shared { crate::figures::bytes(memory) } else { "–".to_owned() },
            ]);
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(vec!["a", "met"]);
        table.push(vec!["≥ 2 ×".to_owned(), "yes".to_owned()]);
        assert_eq!(table.as_text(), "a      met\n─────  ───\n≥ 2 ×  yes\n");
        assert_eq!(table.as_markdown(), "| a | met |\n|---|---|\n| ≥ 2 × | yes |\n");
    }
}

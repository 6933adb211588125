//! What came of the runs: on the terminal, as Markdown, as JSON and as a picture.

mod machine;
mod markdown;
mod parts;
mod picture;
mod table;

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::Serialize;

use crate::bench::{Bench, Outcome};
use crate::figures::{Figure, median};
use crate::machine::Facts;
use crate::rows::{self, Assessed};
use crate::terminal::print;

/// Where the last run stands in the document.
const BEGIN: &str = "<!-- the last run -->";
const END: &str = "<!-- end of the last run -->";

/// Everything that was found.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) facts: Facts,
    pub(crate) quick: bool,
    pub(crate) sizes: Vec<u64>,
    pub(crate) rows: Vec<Assessed>,
    pub(crate) runs: Vec<Outcome>,
}

impl Report {
    pub(crate) fn new(bench: &Bench, facts: Facts, runs: Vec<Outcome>) -> Self {
        let rows = rows::assess(bench, &runs);
        Self { facts, quick: bench.plan.quick, sizes: bench.plan.sizes.clone(), rows, runs }
    }

    /// The median of the runs.
    fn middle(&self, name: &str) -> Option<Figure> {
        let figures: Vec<Figure> = self.runs.iter().filter_map(|run| run.figures.get(name)).collect();
        let unit = figures.first()?.unit;
        let value = median(&figures.iter().map(|figure| figure.value).collect::<Vec<_>>())?;
        Some(Figure { value, unit })
    }

    /// Whether a figure is none because an answer was wrong or did not come.
    pub(crate) fn failed(&self) -> bool {
        self.rows.iter().any(Assessed::failed)
            || self
                .runs
                .iter()
                .flat_map(|run| &run.steps)
                .any(|(_, ended)| matches!(ended, crate::bench::Ended::Failed(_)))
    }

    /// Shows the main table.
    pub(crate) fn show(&self) {
        print(&format!("\n{}\n{}", machine::text(self), table::rows(self).as_text()));
    }

    /// Writes the report, the data and the picture into a folder.
    pub(crate) fn write(&self, folder: &Path, bench: &Bench) -> anyhow::Result<Vec<PathBuf>> {
        std::fs::create_dir_all(folder)?;
        let files = [
            (folder.join("report.md"), markdown::whole(self, bench, "report.svg")),
            (folder.join("report.json"), serde_json::to_string_pretty(self)? + "\n"),
            (folder.join("report.svg"), picture::draw(self, bench)),
        ];
        for (path, text) in &files {
            std::fs::write(path, text).with_context(|| path.display().to_string())?;
        }
        Ok(files.map(|(path, _)| path).to_vec())
    }

    /// Puts the last run into the document, beside which data and picture go.
    pub(crate) fn publish(&self, document: &Path, bench: &Bench) -> anyhow::Result<()> {
        let text = std::fs::read_to_string(document).with_context(|| document.display().to_string())?;
        let picture = document.with_extension("svg");
        let name = picture.file_name().and_then(|name| name.to_str()).context("a document has a name")?.to_owned();
        let placed = between(&text, &markdown::whole(self, bench, &name))?;
        std::fs::write(document, placed)?;
        std::fs::write(&picture, picture::draw(self, bench))?;
        std::fs::write(document.with_extension("json"), serde_json::to_string_pretty(self)? + "\n")?;
        Ok(())
    }
}

fn between(text: &str, new: &str) -> anyhow::Result<String> {
    let (before, rest) = text.split_once(BEGIN).with_context(|| format!("the document has no line {BEGIN}"))?;
    let (_, after) = rest.split_once(END).with_context(|| format!("the document has no line {END}"))?;
    Ok(format!("{before}{BEGIN}\n{new}{END}{after}"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_run_of_a_document_is_replaced() {
        let text = format!("before\n{BEGIN}\nold\n{END}\nafter\n");
        let new = between(&text, "new\n").unwrap();
        assert_eq!(new, format!("before\n{BEGIN}\nnew\n{END}\nafter\n"));
        assert!(between("nothing", "new").is_err());
    }
}

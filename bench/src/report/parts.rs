//! What a refresh is made of, and how many there could be were it made of nothing that can be left out.

use super::Report;
use super::table::Table;
use crate::drive::Load;
use crate::figures::{Figure, median, seconds, three};
use crate::scenarios::{Backend, MANY, hello_beside, yardstick_of};
use crate::usage;
use crate::yardsticks::sqlite::{GROUP, row_figure};

const SQLITE: &str = "refresh, SQLite";
const POSTGRES: &str = "refresh, PostgreSQL";

/// Processor time of one refresh, in seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Parts {
    driver: f64,
    http: f64,
    signature: f64,
    store: f64,
    /// What the server takes beyond these.
    rest: f64,
}

impl Parts {
    fn of(report: &Report, backend: Backend) -> Option<Self> {
        let name = backend.name();
        let refresh = format!("refresh, {name}, c{MANY}");
        let server = each(report, &refresh, |load| watched(load, "server"))?;
        let http = each(report, &hello_beside(SQLITE), |load| watched(load, "server"))?;
        let signature = report.middle("ES256 sign")?.value;
        let stored = match backend {
            Backend::Sqlite => report.middle(&row_figure())?.value,
            Backend::Postgres => each(report, &refresh, |load| watched(load, name))?,
        };
        // The rows of SQLite are written by the server itself.
        let written = if backend == Backend::Sqlite { stored } else { 0.0 };
        let driver = each(report, &refresh, |load| Some(load.driver_cpu))?;
        Some(Self { driver, http, signature, store: stored, rest: server - http - signature - written })
    }

    fn least(&self) -> f64 {
        self.driver + self.http + self.signature + self.store
    }

    fn ceiling(&self, cores: usize) -> f64 {
        cores as f64 / self.least()
    }
}

/// Empty where a part was not measured.
pub(super) fn table(report: &Report) -> Table {
    let mut table = Table::new(vec!["processor time of a refresh", "SQLite", "PostgreSQL"]);
    let parts = [Backend::Sqlite, Backend::Postgres].map(|backend| Parts::of(report, backend));
    if parts.iter().all(Option::is_none) {
        return table;
    }
    let mut push = |what: String, shown: &dyn Fn(&Parts) -> Option<String>| {
        let cells = parts.iter().map(|parts| parts.as_ref().and_then(shown).unwrap_or_else(|| "–".to_owned()));
        table.push(std::iter::once(what).chain(cells).collect());
    };
    let time = |of: fn(&Parts) -> f64| move |parts: &Parts| Some(seconds(of(parts)));
    push("asking, and judging the answer: the driver".to_owned(), &time(|parts| parts.driver));
    push("HTTP: what the bare axum takes".to_owned(), &time(|parts| parts.http));
    push("one ES256 signature".to_owned(), &time(|parts| parts.signature));
    push(
        format!(
            "the store: a raw update of one row, {GROUP} a commit, on SQLite; all that the processes of PostgreSQL take"
        ),
        &time(|parts| parts.store),
    );
    push("everything else in the server".to_owned(), &time(|parts| parts.rest));
    push("all of it".to_owned(), &time(|parts| parts.least() + parts.rest));
    let cores = usage::cores();
    push(format!("were there nothing else, and no moment idle: refreshes on {cores} cores"), &|parts| {
        Some(rate(parts.ceiling(cores)))
    });
    push("that, beside the bare axum".to_owned(), &|parts| beside(report, parts.ceiling(cores), &yardstick_of(SQLITE)));
    push("that, beside pgbench".to_owned(), &|parts| beside(report, parts.ceiling(cores), &yardstick_of(POSTGRES)));
    table
}

fn rate(per_second: f64) -> String {
    Figure::per_second(per_second).shown()
}

fn beside(report: &Report, ceiling: f64, yardstick: &str) -> Option<String> {
    report.middle(yardstick).map(|yardstick| three(ceiling / yardstick.value))
}

fn watched(load: &Load, name: &str) -> Option<f64> {
    load.watched.iter().find(|watched| watched.name == name).map(|watched| watched.cpu)
}

/// The median over the runs of what an answer of this load took.
fn each(report: &Report, name: &str, cpu: impl Fn(&Load) -> Option<f64>) -> Option<f64> {
    let loads = report.runs.iter().flat_map(|run| &run.loads).filter(|load| load.name == name);
    let values: Vec<f64> = loads.filter_map(|load| Some(load.an_answer(cpu(load)?))).collect();
    median(&values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_left_out_bounds_the_rate() {
        let us = 1e-6;
        let parts =
            Parts { driver: 15.0 * us, http: 10.0 * us, signature: 16.0 * us, store: 9.0 * us, rest: 30.0 * us };
        assert_eq!(parts.ceiling(2).round(), 40_000.0);
    }
}

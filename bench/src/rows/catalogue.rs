//! Which rows there are: which figure, beside which yardstick, and what is aimed at.

use super::{Row, Target};
use crate::bench::Bench;
use crate::figures::Figure;
use crate::peers::store_name;
use crate::plan::size_name;
use crate::scenarios::{
    AIMED_AT, ALL_OVER_IN_TURNS, BARE_BESIDE, Backend, FEW, MANY, OURS_BESIDE, bare_all_over_figure,
    bare_all_over_step, bare_figure, peer_step, scale_figure, scale_step, yardstick_of,
};
use crate::usage;

const SQLITE: &str = "refresh, SQLite";
const POSTGRES: &str = "refresh, PostgreSQL";
const HELLO: &str = "bare axum hello";

/// Every row.
pub(super) fn rows(bench: &Bench) -> Vec<Row> {
    let mut rows = main_rows();
    rows.extend(scale_rows(bench));
    rows.extend(peer_rows(bench));
    rows
}

fn main_rows() -> Vec<Row> {
    let ms = 1e-3;
    let hash_memory = usage::cores() as f64 * 19_456.0 * 1024.0;
    let flood = |connections: usize| {
        let what = format!("refresh p95 in a flood of logins, c{connections}");
        let figure = format!("refresh p95 in the flood, c{connections}");
        let yardstick = format!("refresh p95 at rest, c{connections}");
        Row::new("refresh beside a flood of logins", what, figure, Target::AtMost(3.0)).beside("p95 at rest", yardstick)
    };
    vec![
        Row::new(SQLITE, format!("refresh, SQLite, c{MANY}"), "refresh, SQLite", Target::AtLeast(0.25))
            .beside(HELLO, yardstick_of("refresh, SQLite")),
        bare_row(SQLITE, Backend::Sqlite).beside(HELLO, yardstick_of("refresh, SQLite")),
        Row::new(SQLITE, format!("refreshes beside bare ones, SQLite, c{MANY}"), "refresh, SQLite", Target::None)
            .beside("bare refresh", bare_figure(Backend::Sqlite)),
        Row::new(SQLITE, "refresh, SQLite, c1, p50", "refresh c1 p50, SQLite", Target::AtMostAnd(2.0, 0.15 * ms))
            .beside("one raw commit", yardstick_of("refresh c1, SQLite")),
        Row::new(SQLITE, format!("refresh p99, SQLite, c{MANY}"), "refresh p99, SQLite", Target::None)
            .beside("raw commit of 64", "SQLite commit of 64, p50"),
        Row::new(SQLITE, format!("refreshes beside raw updates, SQLite, c{MANY}"), "refresh, SQLite", Target::None)
            .beside("raw updates, 64 a commit", "SQLite updates, 64 a commit"),
        Row::new(POSTGRES, format!("refresh, PostgreSQL, c{MANY}"), "refresh, PostgreSQL", Target::AtLeast(1.0))
            .beside("pgbench, 32 clients", yardstick_of("refresh, PostgreSQL")),
        bare_row(POSTGRES, Backend::Postgres).beside("pgbench, 32 clients", yardstick_of("refresh, PostgreSQL")),
        Row::new(
            POSTGRES,
            format!("refreshes beside bare ones, PostgreSQL, c{MANY}"),
            "refresh, PostgreSQL",
            Target::None,
        )
        .beside("bare refresh", bare_figure(Backend::Postgres)),
        Row::new(
            "authorized GET",
            format!("authorized GET, bearer layer, c{MANY}"),
            "authorized GET",
            Target::AtLeast(0.6),
        )
        .beside(HELLO, yardstick_of("authorized GET")),
        Row::new(
            "authorized GET",
            format!("the bare axum behind the bearer layer, c{MANY}"),
            "authorized hello",
            Target::None,
        )
        .beside(HELLO, yardstick_of("authorized hello")),
        Row::new("authorized GET", format!("GET /api/auth/me, which asks the store, c{MANY}"), "me", Target::None)
            .beside(HELLO, yardstick_of("me")),
        Row::new("limit: ES256 signatures", "first sight of a token", "first sight", Target::AtMost(1.3))
            .beside("bare ES256 verification", "ES256 verify"),
        Row::new("login", format!("login, c{FEW}"), "login", Target::AtLeast(0.9))
            .beside("bare Argon2id", yardstick_of("login")),
        flood(MANY),
        flood(FEW),
        Row::new(
            "refresh beside a flood of logins",
            format!("memory in a flood of logins, c{MANY}"),
            format!("memory in the flood, c{MANY}"),
            Target::Within(Figure::bytes(64e6 + hash_memory)),
        ),
        Row::new(SQLITE, "rows added by refreshes", "rows added, SQLite", Target::Within(Figure::count(0.0))),
        Row::new(
            SQLITE,
            "bytes added by each refresh",
            "bytes added each, SQLite",
            Target::Within(Figure::bytes(10.0)),
        ),
        Row::new(
            "start on an empty folder",
            "start to first 200, empty folder",
            "start, empty folder",
            Target::Within(Figure::seconds(0.2)),
        ),
        Row::new(
            "revocation, one node",
            "revocation to refusal, one node, p99",
            "revocation p99, one node",
            Target::Within(Figure::seconds(0.1)),
        ),
        Row::new(
            "revocation, across nodes",
            "revocation to refusal, across nodes, p99",
            "revocation p99, across nodes",
            Target::Within(Figure::seconds(1.0)),
        ),
        Row::new("mixed", "mixed: questions to /api/auth/me", "mixed questions", Target::None).beside(HELLO, "hello"),
        Row::new("mixed", "mixed: refreshes", "mixed refreshes", Target::None).beside(HELLO, "hello"),
        Row::new("mixed", "mixed: sign-ins", "mixed sign-ins", Target::None).beside("bare Argon2id", "Argon2id"),
    ]
}

/// How many refreshes there are of a server that does nothing else.
fn bare_row(step: &str, backend: Backend) -> Row {
    Row::new(step, format!("a bare refresh, {}, c{MANY}", backend.name()), bare_figure(backend), Target::None)
}

/// The largest crowd beside the smallest.
fn scale_rows(bench: &Bench) -> Vec<Row> {
    let (small, large) = (bench.plan.smallest(), bench.plan.largest());
    let (few, many) = (size_name(small), size_name(large));
    let mut rows = Vec::new();
    for backend in [Backend::Sqlite, Backend::Postgres] {
        if bench.plan.quick && backend == Backend::Postgres {
            continue;
        }
        let store = backend.name();
        let row = |what: String, figure: &str, target: Target| {
            Row::new(scale_step(backend, large), what, scale_figure(figure, backend, large), target)
        };
        let beside =
            |row: Row, figure: &str| row.beside(format!("with {few} sessions"), scale_figure(figure, backend, small));
        let only_sqlite = |target: Target| if backend == Backend::Sqlite { target } else { Target::None };
        let all_over = format!("refresh all over {many} sessions, {store}, c{MANY}");
        let all_over = row(all_over, ALL_OVER_IN_TURNS, Target::AtLeast(0.8))
            .beside(format!("with {few} sessions"), yardstick_of(&scale_figure(ALL_OVER_IN_TURNS, backend, large)));
        rows.extend([
            beside(
                row(format!("revoke-all, {many} sessions, {store}"), "revoke-all", Target::AtMost(2.0)),
                "revoke-all",
            ),
            row(
                format!("revoke-all, {many} sessions, {store}, in itself"),
                "revoke-all",
                Target::Within(Figure::seconds(0.01)),
            ),
            all_over,
            row(
                format!("a session at rest, {store}"),
                "bytes a session",
                only_sqlite(Target::Within(Figure::bytes(400.0))),
            ),
            row(
                format!("start to first 200, {many} sessions, {store}"),
                "start",
                Target::Within(Figure::seconds(0.05)),
            ),
            row(format!("memory idle, {many} sessions, {store}"), "idle memory", Target::Within(Figure::bytes(20e6))),
            row(
                format!("memory under c{MANY} refresh, {many} sessions, {store}"),
                "memory under load",
                Target::Within(Figure::bytes(64e6)),
            ),
        ]);
        if bench.plan.over() > 0 {
            rows.push(beside(
                row(
                    format!("refresh p95 while pruning, {many} sessions, {store}, c{FEW}"),
                    "refresh p95 while pruning",
                    Target::None,
                ),
                "refresh p95 while pruning",
            ));
        }
        let what = format!("bare refreshes all over {many} rows, {store}, c{MANY}");
        let row = Row::new(bare_all_over_step(backend), what, bare_all_over_figure(backend, large), Target::None);
        rows.push(row.beside(format!("with {few} rows"), yardstick_of(&bare_all_over_figure(backend, large))));
    }
    rows
}

fn peer_rows(bench: &Bench) -> Vec<Row> {
    let mut rows = Vec::new();
    for peer in &bench.peers {
        for store in &peer.protocol.stores {
            let backend = Backend::of(store);
            let shown = store_name(store);
            let name = format!("{} on {shown}", peer.protocol.name);
            let beside = |what: &str, figure: &str, target: Target| {
                let what = format!("{what}, {shown}, c{MANY}, beside {name}");
                let row = Row::new(peer_step(peer, store), what, peer.figure(figure, store), target);
                row.beside(name.clone(), peer.figure("refresh", store))
            };
            if (peer.protocol.name.as_str(), backend) == AIMED_AT {
                rows.push(beside("refresh", OURS_BESIDE, Target::AtLeast(20.0)));
                rows.push(beside("a bare refresh", BARE_BESIDE, Target::None));
            } else {
                rows.push(beside("refresh", OURS_BESIDE, Target::None));
            }
        }
    }
    rows
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::*;
    use crate::peers;
    use crate::plan::Plan;
    use crate::scenarios::steps;
    use crate::server::Programs;
    use crate::terminal::Terminal;

    /// A bench that only says what it would do.
    fn bench() -> Bench {
        let nothing = PathBuf::new();
        let programs = Programs { countersign: nothing.clone(), weather: nothing.clone(), own: nothing.clone() };
        let peers = peers::find(&Path::new(env!("CARGO_MANIFEST_DIR")).join("peers")).unwrap();
        let postgres = Err("none is needed".to_owned());
        Bench { programs, plan: Plan::whole(), postgres, peers, work: nothing, terminal: Terminal::new() }
    }

    #[test]
    fn every_row_waits_for_a_step_of_a_whole_run() {
        let bench = bench();
        let steps: Vec<String> = steps(&bench).into_iter().map(|step| step.name).collect();
        let rows = rows(&bench);
        assert!(rows.iter().any(|row| row.step.contains("peer")), "the peers are among them");
        for row in rows {
            assert!(steps.contains(&row.step), "`{}` waits for `{}`: {steps:#?}", row.what, row.step);
        }
    }
}

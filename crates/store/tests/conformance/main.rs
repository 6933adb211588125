//! What every back-end must do, run once per back-end: a further one is a harness and one line here.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod cases;
mod harness;
mod postgres_harness;
mod suite;
mod world;

use harness::SqliteHarness;
use postgres_harness::PostgresHarness;
use suite::conformance;

conformance!(sqlite, SqliteHarness);
conformance!(
    postgres,
    PostgresHarness,
    "needs PostgreSQL: scripts/with-postgres cargo test -p countersign-store -- --ignored"
);

#[test]
#[ignore = "needs PostgreSQL: scripts/with-postgres cargo test -p countersign-store -- --ignored"]
fn sqlite_and_postgresql_give_the_same_answers() {
    cases::random::agree_with_each_other::<SqliteHarness, PostgresHarness>();
}

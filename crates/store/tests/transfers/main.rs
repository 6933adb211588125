//! Moving house, from every back-end to every back-end.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod cases;
mod dump;
#[allow(dead_code, reason = "this suite needs a part of it")]
#[path = "../conformance/harness.rs"]
mod harness;
mod house;
mod postgres_alone;
#[allow(dead_code, reason = "this suite needs a part of it")]
#[path = "../conformance/postgres_harness.rs"]
mod postgres_harness;
mod sqlite_alone;
#[allow(dead_code, reason = "this suite needs a part of it")]
#[path = "../conformance/world.rs"]
mod world;

/// Names every case once for a pair of back-ends, the one that is left and the one that is come to.
macro_rules! transfers {
    ($pair:ident, $from:literal, $to:literal $(, $needs:literal)?) => {
        mod $pair {
            $crate::case! { $from, $to, [$($needs)?], everything_comes_over }
            $crate::case! { $from, $to, [$($needs)?], whatever_interrupts_it_the_same_call_goes_on }
            $crate::case! { $from, $to, [$($needs)?], a_store_that_was_open_before_answers_nothing_any_more }
            $crate::case! { $from, $to, [$($needs)?], what_has_moved_is_looked_at_and_not_served }
            $crate::case! { $from, $to, [$($needs)?], a_move_that_is_not_over_can_be_taken_back }
            $crate::case! { $from, $to, [$($needs)?], a_move_that_is_over_cannot_be_taken_back }
            $crate::case! { $from, $to, [$($needs)?], a_destination_that_holds_something_is_refused }
            $crate::case! { $from, $to, [$($needs)?], a_source_that_is_on_its_way_goes_nowhere_else }
            $crate::case! { $from, $to, [$($needs)?], a_witness_of_what_was_there_before_does_not_object }
        }
    };
}

macro_rules! case {
    ($from:literal, $to:literal, [$($needs:literal)?], $case:ident) => {
        #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
        $(#[ignore = $needs])?
        async fn $case() {
            $crate::cases::$case::<$from, $to>().await;
        }
    };
}
pub(crate) use case;

transfers!(sqlite_to_sqlite, false, false);
transfers!(
    sqlite_to_postgres,
    false,
    true,
    "needs PostgreSQL: scripts/with-postgres cargo test -p countersign-store -- --ignored"
);
transfers!(
    postgres_to_sqlite,
    true,
    false,
    "needs PostgreSQL: scripts/with-postgres cargo test -p countersign-store -- --ignored"
);
transfers!(
    postgres_to_postgres,
    true,
    true,
    "needs PostgreSQL: scripts/with-postgres cargo test -p countersign-store -- --ignored"
);

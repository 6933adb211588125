//! Nodes whose clocks are not the database's: the database's counts.

use std::time::Duration;

use crate::support::{Database, KEY, Settings, psql, refreshed, until};

const SECRET: &str = "a-secret-for-readers-of-the-feed";

/// A database whose clock differs from that of this machine.
fn skewed(by: &str) -> Database {
    let database = Database::new();
    psql(
        &database.url,
        &format!(
            "CREATE SCHEMA another; CREATE FUNCTION another.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE \
             AS $$ SELECT pg_catalog.clock_timestamp() + interval '{by}' $$; DO $$ BEGIN EXECUTE \
             format('ALTER DATABASE %I SET search_path = another, pg_catalog', current_database()); END $$"
        ),
    );
    database
}

#[test]
#[ignore = "needs PostgreSQL: scripts/test"]
fn a_node_whose_clock_is_off_serves_and_remembers_and_says_so_once() {
    for (by, offset) in [("-1 hour", -3600.0), ("1 hour", 3600.0)] {
        let database = skewed(by);
        let server = Settings::node(&database.url).measured().with("revocation_reader_secret", SECRET).start();
        let alice = server.user("alice");
        server.me(&alice.access).expect(200);
        let again = refreshed(server.refresh_keyed(&alice.refresh, KEY));
        server.me(&again.access).expect(200);

        server.post("/api/auth/logout").bearer(&again.access).send().expect(204);
        let told = |name: &str| {
            let metrics = server.settings.metrics().expect(200).text();
            let line = metrics.lines().find(|line| line.starts_with(name));
            line.and_then(|line| line.rsplit_once(' ')).map(|(_, value)| value.to_owned())
        };
        // More than one round of the upkeep.
        let rounds = "countersign_revocations_age_seconds";
        for _ in 0..3 {
            let before = told(rounds);
            until(Duration::from_secs(10), "the upkeep goes round", || (told(rounds) != before).then_some(()));
        }
        let page = server.get("/revocations").bearer(SECRET).send().expect(200).json();
        assert!(page["events"].as_array().unwrap().iter().any(|event| event["type"] == "session"), "{page}");

        server.settings.cli(&["key", "rotate"]).done();
        let states: Vec<_> =
            server.settings.cli_json(&["key", "list"]).iter().map(|key| key["state"].to_string()).collect();
        assert_eq!(states.iter().filter(|state| state.contains("published")).count(), 2, "{states:?}");

        let measured: f64 = told("countersign_database_clock_offset_seconds").unwrap().parse().unwrap();
        assert!((measured - offset).abs() < 1.0, "{measured}");
        let said = server.process.said();
        assert_eq!(said.matches("set both by NTP").count(), 1, "{said}");
    }
}

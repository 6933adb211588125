//! Behind a real PgBouncer that hands every transaction to another connection.

use std::collections::HashSet;
use std::fs;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::support::{
    KEY, Postgres, Server, Settings, Weather, at_once, free_port, hand_to_unprivileged, refreshed, spawn, unprivileged,
    until,
};

/// A PgBouncer that runs.
struct PgBouncer {
    place: TempDir,
    pooler: Child,
    port: u16,
}

impl PgBouncer {
    /// In front of a server, with few connections for many clients, so that no client keeps one.
    #[track_caller]
    fn before(postgres: &Postgres) -> Self {
        let place = tempfile::tempdir().unwrap();
        let port = free_port();
        let configuration = format!(
            "[databases]
* = host=127.0.0.1 port={} user=postgres

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 4
max_client_conn = 400
logfile = pgbouncer.log
",
            postgres.port
        );
        let file = place.path().join("pgbouncer.ini");
        fs::write(&file, configuration).unwrap();
        hand_to_unprivileged(place.path());
        hand_to_unprivileged(&file);
        let mut command = unprivileged(Path::new("pgbouncer"));
        command.args(["--quiet", "pgbouncer.ini"]).current_dir(place.path());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut pooler = Self { pooler: spawn(command), place, port };
        until(Duration::from_secs(20), "PgBouncer listens", || {
            let ended = pooler.pooler.try_wait().unwrap();
            assert!(ended.is_none(), "PgBouncer does not start (scripts/test installs it): {}", pooler.log());
            TcpStream::connect(("127.0.0.1", port)).ok()
        });
        pooler
    }

    fn log(&self) -> String {
        fs::read_to_string(self.place.path().join("pgbouncer.log")).unwrap_or_default()
    }

    fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}?pgbouncer=true", self.port)
    }
}

impl Drop for PgBouncer {
    #[expect(clippy::print_stderr, reason = "shown with the failure of its test, and only then")]
    fn drop(&mut self) {
        let _ = kill_process(Pid::from_child(&self.pooler), Signal::TERM);
        let _ = self.pooler.wait();
        if std::thread::panicking() {
            eprintln!("---- what PgBouncer said ----\n{}", self.log());
        }
    }
}

/// The poll of the other node, which nobody wakes behind a pooler, and some.
const A_POLL: Duration = Duration::from_secs(2);

#[test]
#[ignore = "needs PostgreSQL and PgBouncer: scripts/test"]
fn the_whole_walk_works_behind_a_pooler_of_transactions() {
    let postgres = Postgres::new();
    let database = postgres.new_database();
    let pooler = PgBouncer::before(&postgres);
    let settings = Settings::node(&pooler.url(&database));
    let other = settings.sibling();
    let issuer = other.url();
    let [here, there] = [settings, other].map(|settings| settings.with("issuer", &issuer).start());
    let key = here.settings.cli(&["reader", "create", "weather"]).done();
    let weather = Weather::start(&["--authority", &issuer], &[("COUNTERSIGN_REVOCATION_READER_SECRET", key.trim())]);

    here.settings.create_admin("root");
    here.register("alice");
    there.try_register("alice").refused(409, "username_taken");
    there.try_log_in("alice", "a wrong password").refused(401, "invalid_credentials");
    let first = here.log_in("alice");
    there.me(&first.access).expect(200);
    weather.forecast(&first.access).expect(200);

    let second = refreshed(there.refresh_keyed(&first.refresh, KEY));
    assert_eq!(refreshed(here.refresh_keyed(&first.refresh, KEY)).refresh, second.refresh);
    let answers = at_once(50, |number| [&here, &there][number % 2].refresh_keyed(&second.refresh, KEY));
    let thirds: HashSet<String> = answers.into_iter().map(|answer| refreshed(answer).refresh).collect();
    assert_eq!(thirds.len(), 1);
    // Many different sessions at once, more than there are connections.
    let many = at_once(12, |number| {
        let node = [&here, &there][number % 2];
        let mut tokens = node.log_in("alice");
        for _ in 0..10 {
            tokens = refreshed(node.refresh_keyed(&tokens.refresh, KEY));
        }
        tokens
    });
    // The theft of one ends that one.
    here.refresh_keyed(&second.refresh, "somebody else's key").refused(400, "refresh_token_replayed");
    there.me(&second.access).refused(401, "session_revoked");
    assert_eq!(weather.refused_within(A_POLL, &second.access), "session_revoked");

    here.post("/api/auth/logout").bearer(&many[0].access).send().expect(204);
    there.me(&many[0].access).refused(401, "session_revoked");
    there.refresh(&many[0].refresh).refused(400, "refresh_token_revoked");
    weather.forecast(&many[1].access).expect(200);
    assert_eq!(weather.refused_within(A_POLL, &many[0].access), "session_revoked");

    here.post("/api/auth/revoke/alice").bearer(&many[1].access).send().expect(204);
    there.refresh(&many[2].refresh).refused(400, "refresh_token_revoked");
    assert_eq!(weather.refused_within(A_POLL, &many[2].access), "account_revoked");

    let again = there.log_in("alice");
    let root = here.log_in("root");
    here.post("/api/auth/revoke-all").bearer(&root.access).send().expect(204);
    there.refresh(&again.refresh).refused(400, "refresh_token_revoked");
    assert_eq!(weather.refused_within(A_POLL, &again.access), "everyone_revoked");
    there.settings.cli(&["key", "rotate"]).done();
    let newest = there.log_in("alice");
    weather.forecast(&newest.access).expect(200);
    let [here, there]: [Server; 2] = [here, there];
    let here = here.stop().start();
    here.me(&newest.access).expect(200);
    there.stop();
}

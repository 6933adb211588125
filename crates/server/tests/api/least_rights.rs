//! How little a PostgreSQL user may be allowed, and what is said where it is too little or something else is wrong.

use std::process::Command;
use std::time::Duration;

use crate::support::{Finished, KEY, Postgres, Server, Settings, free_port, psql, refreshed, run, show, until};

const SECRET: &str = "hunter2-and-more";

/// A server that wants a password from everybody but its superuser.
fn strict(with: impl FnOnce(&Postgres)) -> Postgres {
    let mut postgres = Postgres::at_rest();
    postgres.write(
        "pg_hba.conf",
        "host all postgres 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\nhost all all ::1/128 scram-sha-256\n",
    );
    with(&postgres);
    postgres.start();
    postgres.psql(&format!("CREATE ROLE login LOGIN PASSWORD '{SECRET}'"));
    postgres
}

/// A database to which nobody may even connect.
fn closed_database(postgres: &Postgres) -> String {
    let database = postgres.new_database();
    postgres.psql(&format!("REVOKE ALL ON DATABASE {database} FROM PUBLIC"));
    database
}

fn url(postgres: &Postgres, database: &str) -> String {
    format!("postgres://login:{SECRET}@127.0.0.1:{}/{database}", postgres.port)
}

/// Everything that a server does, in short, and the operator beside it.
fn works(server: &Server) {
    let alice = server.user("alice");
    let alice = refreshed(server.refresh_keyed(&alice.refresh, KEY));
    server.me(&alice.access).expect(200);
    let admin = server.admin();
    server.settings.cli(&["key", "rotate"]).done();
    server.settings.cli(&["reader", "create", "weather"]).done();
    server.post("/api/auth/revoke-all").bearer(&admin.access).send().expect(204);
    server.me(&alice.access).refused(401, "everyone_revoked");
    server.log_in("alice");
    assert!(!server.events("account_registered").is_empty());
}

#[test]
#[ignore = "needs PostgreSQL: scripts/test"]
fn a_user_who_may_connect_and_create_in_the_database_is_enough() {
    let postgres = strict(|_| ());
    let database = closed_database(&postgres);
    postgres.psql(&format!("GRANT CONNECT, CREATE ON DATABASE {database} TO login"));
    let server = Settings::node(&url(&postgres, &database)).start();
    works(&server);
    // Once the schema is there, connecting is enough, and migrations still run.
    let settings = server.stop();
    postgres.psql(&format!("REVOKE CREATE ON DATABASE {database} FROM login"));
    let server = settings.start();
    server.log_in("alice");
    server.stop();
    settings_migrate(&postgres, &database);
}

#[test]
#[ignore = "needs PostgreSQL: scripts/test"]
fn a_user_who_owns_the_schema_is_enough() {
    let postgres = strict(|_| ());
    let database = closed_database(&postgres);
    postgres.psql(&format!("GRANT CONNECT ON DATABASE {database} TO login"));
    psql(&postgres.url(&database), "CREATE SCHEMA countersign AUTHORIZATION login");
    works(&Settings::node(&url(&postgres, &database)).start());
    settings_migrate(&postgres, &database);
}

/// The command that migrates finds nothing left to do.
fn settings_migrate(postgres: &Postgres, database: &str) {
    Settings::node(&url(postgres, database)).cli(&["migrate"]).done();
}

/// Starts what cannot start, shows what it said, and insists on what every such message has.
#[track_caller]
fn told(what: &str, settings: &Settings, words: &[&str]) -> Finished {
    let refused = settings.start_refused();
    show(format!("---- {what}, exit code {:?}\n{}", refused.code, refused.err.trim_end()));
    assert!(matches!(refused.code, Some(1 | 2)), "{what}: {refused:?}");
    for secret in [SECRET, "panicked", "RUST_BACKTRACE"] {
        assert!(!refused.err.contains(secret), "{what}: {}", refused.err);
    }
    for word in words {
        assert!(refused.err.contains(word), "{what}: no {word:?} in: {}", refused.err);
    }
    refused
}

#[test]
#[ignore = "needs PostgreSQL: scripts/test"]
fn what_is_wrong_with_the_address_or_the_user_is_told() {
    let postgres = strict(|_| ());
    let database = closed_database(&postgres);
    let port = postgres.port;
    let at = |url: &str| Settings::node(url);

    let garbled = told("a URL that is none", &at(&format!("postgres://login:{SECRET}@")), &["database_url"]);
    assert_eq!(garbled.code, Some(2));
    told("a parameter that is none", &at(&format!("{}?colour=red", url(&postgres, &database))), &["colour"]);
    let nobody = free_port();
    let there = format!("127.0.0.1:{nobody}");
    told("nobody listens", &at(&format!("postgres://login:{SECRET}@{there}/{database}")), &[&there, "is unavailable"]);
    let unknown = format!("postgres://login:{SECRET}@no-such-host.invalid:5432/{database}");
    told("a host that is not there", &at(&unknown), &["no-such-host.invalid"]);
    told("no such database", &at(&url(&postgres, "nowhere")), &["refuses this server", "nowhere"]);
    let wrong = format!("postgres://login:{SECRET}-not@127.0.0.1:{port}/{database}");
    told("a wrong password", &at(&wrong), &["refuses this server", "password"]);
    told(
        "no password",
        &at(&format!("postgres://login@127.0.0.1:{port}/{database}")),
        &["refuses this server", "password"],
    );
    told("a user who may not connect", &at(&url(&postgres, &database)), &["refuses this server", &database]);
    postgres.psql(&format!("GRANT CONNECT ON DATABASE {database} TO login"));
    told(
        "a user who may do nothing there",
        &at(&url(&postgres, &database)),
        &["refuses this server", "permission", "countersign"],
    );
}

#[test]
#[ignore = "needs PostgreSQL: scripts/test"]
fn a_database_that_refuses_a_server_at_run_time_is_told_from_one_that_is_away() {
    let mut postgres = strict(|_| ());
    let database = postgres.new_database();
    postgres.psql(&format!("GRANT CREATE ON DATABASE {database} TO login"));
    let server = Settings::node(&url(&postgres, &database)).start();
    let tells = |what: &str| {
        // A connection that is to end may answer once more.
        let answer = until(Duration::from_secs(20), what, || {
            let answer = server.get("/readyz").send();
            let is_told = server.process.said().lines().any(|line| line.contains("ERROR") && line.contains(what));
            (answer.status != 200 && is_told).then_some(answer)
        });
        answer.refused(503, "store_unavailable");
    };
    postgres.psql("ALTER ROLE login PASSWORD 'another'");
    postgres.psql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'login'");
    tells("the database refuses this server");
    assert!(!server.process.said().contains("the database is unavailable"), "it is not away");
    postgres.stop();
    tells("the database is unavailable");
    assert!(!server.process.said().contains(SECRET));
    postgres.start();
    postgres.psql(&format!("ALTER ROLE login PASSWORD '{SECRET}'"));
    until(Duration::from_secs(20), "it goes on", || (server.get("/readyz").send().status == 200).then_some(()));
}

#[test]
#[ignore = "needs PostgreSQL: scripts/test"]
fn a_database_of_a_newer_version_or_of_somebody_else_is_left_alone() {
    let postgres = strict(|_| ());
    let database = postgres.new_database();
    let settings = Settings::node(&postgres.url(&database));
    settings.start().stop();
    let columns = psql(
        &postgres.url(&database),
        "SELECT string_agg(column_name, ',' ORDER BY ordinal_position) FROM information_schema.columns
         WHERE table_schema = 'countersign' AND table_name = 'migrations'",
    );
    // The newest migration once more under a number that is not known yet.
    let (number, rest) = columns.split_once(',').unwrap_or((&columns, ""));
    let rest = if rest.is_empty() { String::new() } else { format!(", {rest}") };
    let newer = format!(
        "INSERT INTO countersign.migrations ({columns})
         SELECT 9999{rest} FROM countersign.migrations ORDER BY {number} DESC LIMIT 1"
    );
    psql(&postgres.url(&database), &newer);
    let newer = told("a database of a newer version", &settings, &["newer"]);
    assert_eq!(newer.code, Some(1));

    let database = postgres.new_database();
    psql(&postgres.url(&database), "CREATE SCHEMA countersign; CREATE TABLE countersign.accounts (id int)");
    let foreign = Settings::node(&postgres.url(&database));
    told("a schema of somebody else", &foreign, &["countersign"]);
    assert_eq!(psql(&postgres.url(&database), "SELECT count(*) FROM countersign.accounts"), "0");
}

/// An authority, and a certificate of it for 127.0.0.1, as PEM: the authority's, the server's and its key.
fn certificates() -> [String; 3] {
    let place = tempfile::tempdir().unwrap();
    let openssl = |arguments: &str| {
        let mut command = Command::new("openssl");
        command.args(arguments.split_whitespace()).current_dir(place.path());
        run(command, "").done();
    };
    let new = "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
    openssl(&format!("{new} -x509 -days 2 -subj /CN=authority -keyout ca.key -out ca.pem"));
    openssl(&format!("{new} -subj /CN=postgres -keyout server.key -out server.csr"));
    std::fs::write(place.path().join("names"), "subjectAltName=IP:127.0.0.1\nbasicConstraints=CA:FALSE\n").unwrap();
    openssl("x509 -req -days 2 -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -extfile names -out server.crt");
    ["ca.pem", "server.crt", "server.key"].map(|name| std::fs::read_to_string(place.path().join(name)).unwrap())
}

#[test]
#[ignore = "needs PostgreSQL: scripts/test"]
fn a_connection_is_as_safe_as_the_url_says_or_is_none() {
    let plain = strict(|_| ());
    let database = plain.new_database();
    for mode in ["require", "verify-ca", "verify-full"] {
        let unencrypted = Settings::node(&format!("{}?sslmode={mode}", url(&plain, &database)));
        told(&format!("sslmode={mode} and a server without TLS"), &unencrypted, &["TLS"]);
    }

    let [authority, certificate, key] = certificates();
    let secure = strict(|postgres| {
        postgres.write("server.crt", &certificate);
        postgres.write("server.key", &key);
        postgres.configure("ssl = on\n");
    });
    let database = secure.new_database();
    secure.psql(&format!("GRANT CREATE ON DATABASE {database} TO login"));
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("authority.pem");
    std::fs::write(&file, authority).unwrap();
    let [other, _, _] = certificates();
    let other_file = place.path().join("other.pem");
    std::fs::write(&other_file, other).unwrap();
    let [trusted, untrusted] = [&file, &other_file].map(|file| file.to_str().unwrap().replace('/', "%2F"));
    let at = |parameters: &str| Settings::node(&format!("{}?{parameters}", url(&secure, &database)));

    told("a certificate that no known authority has signed", &at("sslmode=verify-full"), &["certificate"]);
    let wrong = at(&format!("sslmode=verify-full&sslrootcert={untrusted}"));
    told("a certificate of another authority", &wrong, &["certificate"]);
    let missing = at("sslmode=verify-full&sslrootcert=%2Fnone%2Fca.pem");
    told("a file of authorities that is not there", &missing, &["/none/ca.pem"]);
    let named = url(&secure, &database).replace("127.0.0.1", "localhost");
    let misnamed = Settings::node(&format!("{named}?sslmode=verify-full&sslrootcert={trusted}"));
    told("a certificate for another name", &misnamed, &["certificate"]);

    // The name does not matter to this one, the authority does.
    Settings::node(&format!("{named}?sslmode=verify-ca&sslrootcert={trusted}")).start().stop();
    let server = at(&format!("sslmode=verify-full&sslrootcert={trusted}")).start();
    works(&server);
    let encrypted =
        secure.psql("SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE usename = 'login'");
    assert_eq!(encrypted, "t");
    // What nobody asked for is not encrypted, on this machine.
    at("sslmode=require").start().stop();
    at("sslmode=disable").start().stop();
}

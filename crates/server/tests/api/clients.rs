//! Clients that nobody here wrote, against a running server. `scripts/test` installs them and runs these tests.

use std::path::Path;
use std::process::Command;

use crate::support::{PASSWORD, Server, Settings, Weather, run};

const RUNNER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/clients/run");

/// Runs one of the clients against a server, with its administrator.
fn client(name: &str, server: &Server, variables: &[(&str, &str)]) -> String {
    server.settings.create_admin("root");
    let mut command = Command::new(Path::new(RUNNER));
    command.arg(name);
    command.env("COUNTERSIGN_URL", &server.process.url);
    command.env("COUNTERSIGN_ADMIN_USERNAME", "root").env("COUNTERSIGN_ADMIN_PASSWORD", PASSWORD);
    command.envs(variables.iter().copied());
    let finished = run(command, "");
    assert_eq!(finished.code, Some(0), "{}\n{}", finished.out, finished.err);
    assert!(!server.process.said().contains(" ERROR "), "{}", server.process.said());
    finished.out
}

#[test]
#[ignore = "needs node, python and chromium: run scripts/test"]
fn newman_walks_the_tutorial() {
    let settings = Settings::new().findable();
    let settings = settings.with("access_token_lifetime", "10s").with("rotation_overlap", "2s");
    let server = settings.start();
    let weather = Weather::trusting(&server);
    client("newman", &server, &[("WEATHER_URL", &weather.process.url)]);
}

#[test]
#[ignore = "needs node, python and chromium: run scripts/test"]
fn jose_verifies_with_nothing_but_the_issuers_url() {
    for algorithm in ["ES256", "EdDSA", "RS256"] {
        let server = Settings::new().findable().with("signing_algorithm", algorithm).start();
        client("jose", &server, &[]);
    }
}

#[test]
#[ignore = "needs node, python and chromium: run scripts/test"]
fn pyjwt_and_authlib_verify_with_nothing_but_the_issuers_url() {
    for (algorithm, who) in [("ES256", ""), ("EdDSA", "-k pyjwt"), ("RS256", "")] {
        let server = Settings::new().findable().with("signing_algorithm", algorithm).start();
        // Authlib itself takes no token signed with EdDSA (joserfc: "not recommended").
        client("python", &server, &[("PYTEST_ADDOPTS", who)]);
    }
}

#[test]
#[ignore = "needs node, python and chromium: run scripts/test"]
fn swagger_ui_authorizes_and_calls_in_a_browser() {
    let server = Settings::new().findable().start();
    client("swagger", &server, &[]);
}

#[test]
#[ignore = "needs node, python and chromium: run scripts/test"]
fn schemathesis_finds_no_server_error_and_no_undocumented_status() {
    let server = Settings::new().findable().with("trusted_proxies", "127.0.0.0/8").start();
    client("schemathesis", &server, &[]);
}

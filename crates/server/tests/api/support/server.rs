//! A Countersign with a directory of its own.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use super::{Answer, Finished, PASSWORD, Process, Request, Tokens, run, until};

/// The issuer of servers that nobody has to find.
pub(crate) const ISSUER: &str = "http://localhost:5000";

/// The program that was built.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_countersign");

/// The settings of a server, by their names in the TOML file.
#[derive(Clone)]
pub(crate) struct Settings {
    dir: Arc<TempDir>,
    values: Vec<(String, String)>,
    /// The directory of the node whose key file this one names too.
    lender: Option<Arc<TempDir>>,
}

/// The key that encrypts signing keys, the same at every node.
const SHARED_KEY: &str = "a2V5IHRoYXQgZXZlcnkgbm9kZSBvZiBhIHRlc3QgaGE=\n";

impl Settings {
    /// The defaults, on a port that the system picks, in a new directory.
    pub(crate) fn new() -> Self {
        let settings = Self { dir: Arc::new(tempfile::tempdir().unwrap()), values: Vec::new(), lender: None };
        // The issuer has a name of its own, so that tokens outlive a restart on another port.
        settings.with("listen", "127.0.0.1:0").with("issuer", ISSUER)
    }

    pub(crate) fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self = self.without(name);
        self.values.push((name.to_owned(), value.into()));
        self
    }

    /// With the default of this setting.
    pub(crate) fn without(mut self, name: &str) -> Self {
        self.values.retain(|(set, _)| set != name);
        self
    }

    /// On a port that is known beforehand, with the issuer that a resource server finds it by.
    pub(crate) fn findable(self) -> Self {
        let port = free_port();
        self.with("listen", format!("127.0.0.1:{port}")).with("issuer", format!("http://127.0.0.1:{port}"))
    }

    /// A node on a PostgreSQL database, on a port that stays the same. Its key file is there for [siblings](Self::sibling) too.
    pub(crate) fn node(database_url: &str) -> Self {
        let settings = Self::new();
        let key = settings.dir().join("shared.key");
        std::fs::write(&key, SHARED_KEY).unwrap();
        let settings = settings.with("database_url", database_url);
        settings
            .with("key_encryption_key_file", key.to_str().unwrap())
            .with("listen", format!("127.0.0.1:{}", free_port()))
    }

    /// Another node: the same settings, in a directory and on a port of its own.
    pub(crate) fn sibling(&self) -> Self {
        let lender = self.lender.clone().unwrap_or_else(|| Arc::clone(&self.dir));
        let sibling =
            Self { dir: Arc::new(tempfile::tempdir().unwrap()), values: self.values.clone(), lender: Some(lender) };
        let sibling = sibling.with("listen", format!("127.0.0.1:{}", free_port()));
        let is_measured = sibling.values.iter().any(|(name, _)| name == "metrics_listen");
        if is_measured { sibling.measured() } else { sibling }
    }

    /// The URL at which it answers once it runs, where its port is known beforehand.
    pub(crate) fn url(&self) -> String {
        let (_, address) = self.values.iter().find(|(name, _)| name == "listen").expect("every server has one");
        format!("http://{address}")
    }

    /// With metrics, on a port that is known beforehand.
    pub(crate) fn measured(self) -> Self {
        let port = free_port();
        self.with("metrics_listen", format!("127.0.0.1:{port}"))
    }

    /// The metrics of the server that runs with these settings.
    pub(crate) fn metrics(&self) -> Answer {
        let (_, address) = self.values.iter().find(|(name, _)| name == "metrics_listen").expect("it is measured");
        Request::new(address.parse().unwrap(), "GET", "/metrics").send()
    }

    /// The directory in which it runs.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.dir().join("data/countersign.db")
    }

    /// The program with these settings and nothing else in its environment.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        self.prepared(Command::new(PROGRAM), arguments)
    }

    fn prepared(&self, mut command: Command, arguments: &[&str]) -> Command {
        command.args(arguments).env_clear().current_dir(self.dir());
        for (name, value) in &self.values {
            command.env(format!("COUNTERSIGN_{}", name.to_ascii_uppercase()), value);
        }
        command
    }

    /// The program behind a shell that ignores the signal for files that grow too large, so that it gets the error.
    pub(crate) fn command_without_xfsz(&self) -> Command {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "trap '' XFSZ; exec \"$0\"", PROGRAM]);
        self.prepared(command, &[])
    }

    /// Runs a command of the program to its end.
    pub(crate) fn cli(&self, arguments: &[&str]) -> Finished {
        self.cli_with(arguments, "")
    }

    pub(crate) fn cli_with(&self, arguments: &[&str], input: &str) -> Finished {
        run(self.command(arguments), input)
    }

    /// Runs a command that prints JSON, one object a line.
    #[track_caller]
    pub(crate) fn cli_json(&self, arguments: &[&str]) -> Vec<Value> {
        let out = self.cli(&[arguments, &["--json"]].concat()).done();
        let object = |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("no JSON ({error}): {line}"));
        out.lines().map(object).collect()
    }

    /// Makes an account with the role Admin, as an operator does.
    #[track_caller]
    pub(crate) fn create_admin(&self, name: &str) {
        let email = format!("{name}@example.com");
        self.cli_with(&["account", "create", "--admin", name, "--email", &email], &format!("{PASSWORD}\n")).done();
    }

    #[track_caller]
    pub(crate) fn start(&self) -> Server {
        self.start_with(self.command(&[]))
    }

    #[track_caller]
    pub(crate) fn start_with(&self, command: Command) -> Server {
        match Process::start(command) {
            Ok(process) => Server::new(self.clone(), process),
            Err(finished) => panic!("the server did not start ({:?}):\n{}", finished.code, finished.err),
        }
    }

    /// Starts what must not start, and gives back what it said.
    #[track_caller]
    pub(crate) fn start_refused(&self) -> Finished {
        match Process::start(self.command(&[])) {
            Ok(process) => panic!("it started on {}", process.url),
            Err(finished) => finished,
        }
    }
}

/// A port that nobody has. The system hands out higher ones by itself, so only these tests compete for these.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = 10_000 + u16::try_from(std::process::id() % 20_000).unwrap();
    loop {
        let port = start + NEXT.fetch_add(1, Ordering::Relaxed) % 2_000;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}

/// A server that runs.
pub(crate) struct Server {
    pub(crate) settings: Settings,
    pub(crate) process: Process,
    pub(crate) address: SocketAddr,
    admin: OnceLock<()>,
}

impl Server {
    /// With the defaults.
    #[track_caller]
    pub(crate) fn start() -> Self {
        Settings::new().start()
    }

    fn new(settings: Settings, process: Process) -> Self {
        let address = process.url.strip_prefix("http://").unwrap().parse().unwrap();
        Self { settings, process, address, admin: OnceLock::new() }
    }

    pub(crate) fn request(&self, method: &'static str, target: &str) -> Request {
        Request::new(self.address, method, target)
    }

    pub(crate) fn get(&self, target: &str) -> Request {
        self.request("GET", target)
    }

    pub(crate) fn post(&self, target: &str) -> Request {
        self.request("POST", target)
    }

    pub(crate) fn delete(&self, target: &str) -> Request {
        self.request("DELETE", target)
    }

    pub(crate) fn me(&self, access_token: &str) -> Answer {
        self.get("/api/auth/me").bearer(access_token).send()
    }

    /// An administrator who just signed in; the operator makes the account the first time.
    #[track_caller]
    pub(crate) fn admin(&self) -> Tokens {
        self.admin.get_or_init(|| self.settings.create_admin("root"));
        self.log_in("root")
    }

    /// Kills it as `kill -9` does and starts it again.
    #[track_caller]
    pub(crate) fn kill_and_restart(mut self) -> Self {
        self.process.kill();
        self.again()
    }

    /// Stops it in peace.
    #[track_caller]
    pub(crate) fn stop(mut self) -> Settings {
        let status = self.process.stop();
        assert_eq!(status.code(), Some(0), "{}", self.process.said());
        self.settings
    }

    /// Starts it again in the same directory, on any port.
    #[track_caller]
    fn again(self) -> Self {
        let Self { settings, admin, .. } = self;
        Self { admin, ..settings.start() }
    }

    /// The events of a kind, newest first, as the operator lists them.
    #[track_caller]
    pub(crate) fn events(&self, kind: &str) -> Vec<Value> {
        self.settings.cli_json(&["events", "--kind", kind, "--limit", "1000"])
    }

    /// Waits until the access token is refused, and gives back the code that says why.
    #[track_caller]
    pub(crate) fn refused_within(&self, patience: Duration, access_token: &str) -> String {
        until(patience, "the access token is refused", || {
            let answer = self.me(access_token);
            (answer.status == 401).then(|| answer.problem()["code"].as_str().unwrap().to_owned())
        })
    }
}

//! PostgreSQL: a database of one's own on the server that the tests share, or a server of one's own that a test may stop, kill,
//! hang and fail over.

use std::fs::{self, File, OpenOptions};
use std::hash::{BuildHasher as _, RandomState};
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::kept::{hand_to_unprivileged, spawn, unprivileged};
use super::server::free_port;
use super::{run, until};

/// A new database on the server that the tests share. It goes with its owner.
pub(crate) struct Database {
    name: String,
    /// The URL of a superuser.
    pub(crate) url: String,
}

impl Database {
    pub(crate) fn new() -> Self {
        let name = new_name();
        psql(shared(), &format!("CREATE DATABASE {name}"));
        Self { url: in_database(shared(), &name), name }
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let _ = run(psql_command(shared()), &format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name));
    }
}

/// The URL of the shared server: the one that the environment names, or one that ends with these tests.
fn shared() -> &'static str {
    static SHARED: OnceLock<(String, Option<Child>)> = OnceLock::new();
    let (url, _) = SHARED.get_or_init(|| match given() {
        Some(url) => (url, None),
        None => {
            // It lives as long as its standard input is open: until this process ends, however it does.
            let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/with-postgres");
            let mut command = Command::new(&script);
            command.args(["sh", "-c", "echo \"$COUNTERSIGN_TEST_POSTGRES_URL\"; exec cat >/dev/null"]);
            let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
            let mut url = String::new();
            BufReader::new(child.stdout.take().unwrap()).read_line(&mut url).unwrap();
            assert!(url.starts_with("postgres"), "{} started no PostgreSQL: {url:?}", script.display());
            (url.trim_end().to_owned(), Some(child))
        }
    });
    url
}

#[expect(clippy::disallowed_methods, reason = "a test has no settings but the environment")]
fn given() -> Option<String> {
    std::env::var("COUNTERSIGN_TEST_POSTGRES_URL").ok().filter(|url| !url.is_empty())
}

/// A name that no other test, nor an earlier run of it, has used.
fn new_name() -> String {
    format!("countersign_{:016x}", RandomState::new().hash_one(()))
}

/// The same server's URL for another database.
fn in_database(url: &str, database: &str) -> String {
    let (address, parameters) = url.split_once('?').map_or((url, None), |(address, rest)| (address, Some(rest)));
    let (server, _) = address.rsplit_once('/').unwrap();
    let parameters = parameters.map_or_else(String::new, |parameters| format!("?{parameters}"));
    format!("{server}/{database}{parameters}")
}

/// Where Debian puts the programs of PostgreSQL, the newest version; elsewhere they are on the path.
fn program(name: &str) -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let found = versions.filter_map(|entry| {
        let version: u32 = entry.file_name().to_str()?.parse().ok()?;
        Some((version, entry.path().join("bin").join(name))).filter(|(_, program)| program.exists())
    });
    found.max().map_or_else(|| name.into(), |(_, program)| program)
}

fn psql_command(url: &str) -> Command {
    let mut command = Command::new(program("psql"));
    let quietly = ["--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1"];
    command.args(quietly).args(["--dbname", url]).env("PGCONNECT_TIMEOUT", "10");
    command
}

/// Runs statements and gives back what they print: a line a row, `|` between the columns.
#[track_caller]
pub(crate) fn psql(url: &str, sql: &str) -> String {
    run(psql_command(url), sql).done().trim_end().to_owned()
}

/// A PostgreSQL of the test's own, on a port that stays the same. What it has committed is on the disk.
pub(crate) struct Postgres {
    place: TempDir,
    pub(crate) port: u16,
    server: Option<Child>,
}

impl Postgres {
    /// A running server with the defaults.
    #[track_caller]
    pub(crate) fn new() -> Self {
        let mut server = Self::at_rest();
        server.start();
        server
    }

    /// A server that has not been started, so that its files can still be changed.
    #[track_caller]
    pub(crate) fn at_rest() -> Self {
        let server = Self { place: tempfile::tempdir().unwrap(), port: free_port(), server: None };
        hand_to_unprivileged(server.place.path());
        let mut initdb = unprivileged(&program("initdb"));
        initdb.args(["--no-sync", "--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C", "--pgdata"]);
        initdb.arg(server.data()).current_dir(server.place.path());
        run(initdb, "").done();
        server.configure("listen_addresses = '127.0.0.1'\nmax_connections = 100\nshared_buffers = 32MB\n");
        server
    }

    fn data(&self) -> PathBuf {
        self.place.path().join("data")
    }

    /// Adds lines to its settings, in force from the next start.
    pub(crate) fn configure(&self, lines: &str) {
        use std::io::Write as _;
        let mut file = OpenOptions::new().append(true).open(self.data().join("postgresql.conf")).unwrap();
        file.write_all(lines.as_bytes()).unwrap();
    }

    /// Writes a file into its folder, readable by the server alone.
    pub(crate) fn write(&self, name: &str, text: &str) {
        use std::os::unix::fs::PermissionsExt as _;
        let path = self.data().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        hand_to_unprivileged(&path);
    }

    /// Starts it and waits until it accepts connections.
    #[track_caller]
    pub(crate) fn start(&mut self) {
        let log = self.place.path().join("log");
        let log = File::options().create(true).append(true).open(log).unwrap();
        let mut command = unprivileged(&program("postgres"));
        command.arg("-D").arg(self.data()).arg("-k").arg(self.place.path()).args(["-p", &self.port.to_string()]);
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).current_dir(self.place.path());
        let mut server = spawn(command);
        until(Duration::from_secs(60), "PostgreSQL accepts connections", || {
            let ended = server.try_wait().unwrap();
            assert!(ended.is_none(), "PostgreSQL does not start: {ended:?}\n{}", self.log());
            self.is_ready().then_some(())
        });
        self.server = Some(server);
    }

    fn is_ready(&self) -> bool {
        let mut command = Command::new(program("pg_isready"));
        command.args(["--quiet", "--host=127.0.0.1", "--timeout=5", "--port", &self.port.to_string()]);
        command.status().unwrap().success()
    }

    /// What it has written into its log.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.place.path().join("log")).unwrap_or_default()
    }

    fn process(&self) -> Pid {
        Pid::from_child(self.server.as_ref().expect("it runs"))
    }

    fn end(&mut self, signal: Signal) {
        kill_process(self.process(), signal).unwrap();
        let mut server = self.server.take().unwrap();
        until(Duration::from_secs(30), "PostgreSQL ends", || server.try_wait().unwrap());
    }

    /// Stops it, and whoever is connected is cut off (`pg_ctl stop -m fast`).
    pub(crate) fn stop(&mut self) {
        self.end(Signal::INT);
    }

    /// Stops it as a power cut would (`pg_ctl stop -m immediate`): the next start recovers from the log.
    pub(crate) fn crash(&mut self) {
        self.end(Signal::QUIT);
    }

    /// The postmaster and its processes, the postmaster first.
    fn processes(&self) -> Vec<Pid> {
        let parent = self.process();
        let entries = fs::read_dir("/proc").unwrap().flatten();
        let children = entries.filter_map(|entry| {
            let number: i32 = entry.file_name().to_str()?.parse().ok()?;
            let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
            // The name stands in brackets and may hold anything; after it come the state and the parent.
            let ppid: i32 = stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()?;
            (ppid == parent.as_raw_nonzero().get()).then(|| Pid::from_raw(number)).flatten()
        });
        std::iter::once(parent).chain(children).collect()
    }

    /// It goes on accepting connections, as far as the system does that, and says nothing any more.
    pub(crate) fn hang(&self) {
        // The postmaster first, so that it starts no further process meanwhile.
        kill_process(self.process(), Signal::STOP).unwrap();
        self.signal_all(Signal::STOP);
    }

    /// Ends a [`hang`](Self::hang).
    pub(crate) fn resume(&self) {
        self.signal_all(Signal::CONT);
    }

    fn signal_all(&self, signal: Signal) {
        for process in self.processes() {
            // One that has just ended is no failure.
            let _ = kill_process(process, signal);
        }
    }

    /// The URL of a superuser.
    pub(crate) fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    /// Runs statements in a database of its own name, `postgres`.
    #[track_caller]
    pub(crate) fn psql(&self, sql: &str) -> String {
        psql(&self.url("postgres"), sql)
    }

    /// A new database; its name.
    #[track_caller]
    pub(crate) fn new_database(&self) -> String {
        let name = new_name();
        self.psql(&format!("CREATE DATABASE {name}"));
        name
    }

    /// A server that follows this one by streaming replication, and has caught up. This one does not wait for it.
    #[track_caller]
    pub(crate) fn standby(&self) -> Self {
        let mut standby = Self { place: tempfile::tempdir().unwrap(), port: free_port(), server: None };
        hand_to_unprivileged(standby.place.path());
        let mut command = unprivileged(&program("pg_basebackup"));
        command.args(["--host=127.0.0.1", "--username=postgres", "--checkpoint=fast", "--no-sync"]);
        command.args(["--write-recovery-conf", "--port", &self.port.to_string(), "--pgdata"]).arg(standby.data());
        command.current_dir(standby.place.path());
        run(command, "").done();
        standby.start();
        self.wait_for(&standby);
        standby
    }

    /// From now on nothing is acknowledged before a standby has it on its disk.
    #[track_caller]
    pub(crate) fn wait_for_standbys(&self) {
        self.psql("ALTER SYSTEM SET synchronous_standby_names = '*'");
        self.psql("SELECT pg_reload_conf()");
        until(Duration::from_secs(10), "the standby is synchronous", || {
            (self.psql("SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'") == "1").then_some(())
        });
    }

    /// Waits until a standby has replayed all that was committed so far.
    #[track_caller]
    pub(crate) fn wait_for(&self, standby: &Self) {
        let position = self.psql("SELECT pg_current_wal_lsn()");
        until(Duration::from_secs(30), "the standby catches up", || {
            (standby.psql(&format!("SELECT pg_last_wal_replay_lsn() >= '{position}'")) == "t").then_some(())
        });
    }

    /// Cuts this standby off: what is committed from now on it never gets.
    #[track_caller]
    pub(crate) fn cut_off(&self) {
        self.psql("ALTER SYSTEM SET primary_conninfo = ''");
        self.psql("SELECT pg_reload_conf()");
        until(Duration::from_secs(10), "the replication ends", || {
            (self.psql("SELECT count(*) FROM pg_stat_wal_receiver") == "0").then_some(())
        });
    }

    /// Makes this standby the primary.
    #[track_caller]
    pub(crate) fn promote(&self) {
        assert_eq!(self.psql("SELECT pg_promote(true, 30)"), "t");
    }
}

impl Drop for Postgres {
    #[expect(clippy::print_stderr, reason = "shown with the failure of its test, and only then")]
    fn drop(&mut self) {
        if self.server.is_some() {
            // One that hangs would not hear that it has to end.
            self.resume();
            let _ = kill_process(self.process(), Signal::QUIT);
        }
        if let Some(server) = &mut self.server {
            let _ = server.wait();
        }
        if std::thread::panicking() {
            eprintln!("---- what PostgreSQL on port {} said ----\n{}", self.port, self.log());
        }
    }
}

//! The program as an operator uses it: the built binary, run in a folder of its own.
// Servers are stopped by signals here.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

/// Far longer than anything here takes; a test that reaches it has failed.
const LONG: Duration = Duration::from_secs(20);

const PASSWORD: &str = "correct horse battery";

// ---- the program ----

/// A folder in which commands run, so that its `data` is theirs.
struct Folder(TempDir);

/// What a command came to.
#[derive(Debug)]
struct Ran {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    #[expect(clippy::disallowed_methods, reason = "settings of whoever runs the tests must not reach the program")]
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_countersign"));
        let ours = std::env::vars_os().map(|(name, _)| name);
        for name in ours.filter(|name| name.to_string_lossy().starts_with("COUNTERSIGN_")) {
            command.env_remove(name);
        }
        command.args(arguments).current_dir(self.0.path());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn run(&self, line: &str) -> Ran {
        self.run_with(line, "")
    }

    /// Runs a command with this text on its standard input.
    fn run_with(&self, line: &str, input: &str) -> Ran {
        let arguments: Vec<_> = line.split_whitespace().collect();
        let mut child = self.command(&arguments).stdin(Stdio::piped()).spawn().unwrap();
        // A command that asks for nothing ends without reading it.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        let output = child.wait_with_output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let ran = Ran { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) };
        assert!(!ran.err.contains("panicked"), "{line}: {ran:?}");
        ran
    }

    /// Runs a command that must succeed, and gives what it printed.
    #[track_caller]
    fn done(&self, line: &str) -> String {
        let ran = self.run(line);
        assert_eq!(ran.code, Some(0), "{line}: {ran:?}");
        ran.out
    }

    /// Runs a command that must succeed with `--json`, and gives the objects it printed.
    #[track_caller]
    fn json(&self, line: &str) -> Vec<Value> {
        let out = self.done(&format!("{line} --json"));
        out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Runs a command that must fail with this code, print no answer, and say why.
    #[track_caller]
    fn fails(&self, line: &str, code: i32, why: &str) {
        let ran = self.run(line);
        assert_eq!((ran.code, ran.out.as_str()), (Some(code), ""), "{line}: {ran:?}");
        assert!(ran.err.contains("error: ") && ran.err.contains(why), "{line}: {ran:?}");
    }

    #[track_caller]
    fn create(&self, name: &str) {
        let line = format!("account create {name} --email {name}@example.com");
        let ran = self.run_with(&line, &format!("{PASSWORD}\n"));
        assert_eq!(ran.code, Some(0), "{line}: {ran:?}");
    }

    #[track_caller]
    fn names(&self) -> Vec<String> {
        let accounts = self.json("account list");
        accounts.iter().map(|account| account["username"].as_str().unwrap().to_owned()).collect()
    }
}

/// A running server.
struct Server {
    child: Child,
    address: SocketAddr,
    log: Option<JoinHandle<String>>,
}

/// A test that fails, or does not ask, leaves no server behind.
impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    fn start(folder: &Folder) -> Self {
        Self::start_with(folder, &[])
    }

    /// Starts it on a free port and waits for the line that says it is ready.
    fn start_with(folder: &Folder, arguments: &[&str]) -> Self {
        let arguments = [&["--listen", "127.0.0.1:0"], arguments].concat();
        let mut child = folder.command(&arguments).spawn().unwrap();
        let (lines, log) = follow(child.stderr.take().unwrap());
        drop(lines);
        let mut line = String::new();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        out.read_line(&mut line).unwrap();
        let address = line.strip_prefix("countersign listening on http://").and_then(|rest| rest.strip_suffix('\n'));
        let Some(address) = address else {
            let _ = child.kill();
            panic!("no ready line but {line:?}; its log: {}", log.join().unwrap());
        };
        Self { address: address.parse().unwrap(), child, log: Some(log) }
    }

    /// Asks it to stop, and gives its exit code and its log.
    fn stop(mut self) -> (Option<i32>, String) {
        terminate(&self.child);
        let code = ended(&mut self.child);
        (code, self.log.take().unwrap().join().unwrap())
    }

    fn get(&self, path: &str, token: &str) -> (u16, Value) {
        http(self.address, "GET", path, token, None)
    }

    fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        http(self.address, "POST", path, "", Some(body))
    }

    fn log_in(&self, name: &str, password: &str) -> (u16, String) {
        let (status, body) = self.post("/api/auth/login", &json!({ "username": name, "password": password }));
        (status, body["token"].as_str().unwrap_or_default().to_owned())
    }
}

/// Reads a log to its end beside the test, so that the program never waits for a reader, and hands out each line.
fn follow(log: ChildStderr) -> (Receiver<String>, JoinHandle<String>) {
    let (send, lines) = channel();
    let whole = std::thread::spawn(move || {
        let mut whole = String::new();
        for line in BufReader::new(log).lines() {
            let line = line.unwrap();
            whole += &line;
            whole.push('\n');
            let _ = send.send(line);
        }
        whole
    });
    (lines, whole)
}

fn terminate(child: &Child) {
    let id = rustix::process::Pid::from_raw(child.id().try_into().unwrap()).unwrap();
    rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
}

/// Waits for the end of a process, which must come soon.
fn ended(child: &mut Child) -> Option<i32> {
    std::thread::scope(|scope| {
        let (send, receive) = channel();
        let id = child.id();
        scope.spawn(move || send.send(child.wait().unwrap().code()));
        receive.recv_timeout(LONG).unwrap_or_else(|_| {
            let id = rustix::process::Pid::from_raw(id.try_into().unwrap()).unwrap();
            let _ = rustix::process::kill_process(id, rustix::process::Signal::KILL);
            panic!("the process did not end");
        })
    })
}

/// One request on a connection of its own.
fn http(address: SocketAddr, method: &str, path: &str, token: &str, body: Option<&Value>) -> (u16, Value) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    let body = body.map(Value::to_string).unwrap_or_default();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {token}\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).unwrap_or(Value::Null))
}

#[track_caller]
fn keys_of(object: &Value) -> Vec<&str> {
    object.as_object().unwrap().keys().map(String::as_str).collect()
}

/// Puts a copy in the place of the database, as docs/operating.md says.
fn restore(folder: &Folder, copy: &Path) {
    for log in ["data/countersign.db-wal", "data/countersign.db-shm"] {
        let _ = std::fs::remove_file(folder.path(log));
    }
    std::fs::copy(copy, folder.path("data/countersign.db")).unwrap();
}

// ---- serving ----

#[test]
fn the_first_start_says_how_to_make_an_administrator_and_the_next_one_does_not() {
    const HINT: &str = "`countersign account create --admin NAME --email ADDRESS`";
    let folder = Folder::new();
    let (code, log) = Server::start(&folder).stop();
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains(HINT), "{log}");
    assert!(log.contains("key-encryption.key"), "{log}");
    // Where the settings say that the witness is, there the store keeps it.
    let settings = &folder.json("config check")[0]["settings"];
    assert!(folder.path(settings["witness_file"]["value"].as_str().unwrap()).exists());

    folder.create("alice");
    let (code, log) = Server::start_with(&folder, &["serve"]).stop();
    assert_eq!(code, Some(0), "{log}");
    assert!(!log.contains(HINT) && !log.contains("key-encryption.key"), "{log}");
}

#[test]
fn nothing_but_the_ready_line_is_on_standard_output() {
    let folder = Folder::new();
    let mut child = folder.command(&["--listen", "127.0.0.1:0"]).spawn().unwrap();
    let (_lines, log) = follow(child.stderr.take().unwrap());
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut first = String::new();
    out.read_line(&mut first).unwrap();
    terminate(&child);
    let mut rest = String::new();
    out.read_to_string(&mut rest).unwrap();
    assert_eq!(ended(&mut child), Some(0));
    assert!(first.starts_with("countersign listening on http://127.0.0.1:"), "{first}");
    assert_eq!(rest, "");
    log.join().unwrap();
}

#[test]
fn a_server_whose_ready_line_nobody_reads_serves_all_the_same() {
    let folder = Folder::new();
    let mut child = folder.command(&["--listen", "127.0.0.1:0"]).spawn().unwrap();
    drop(child.stdout.take());
    let (lines, log) = follow(child.stderr.take().unwrap());
    let address = loop {
        let line = lines.recv_timeout(LONG).expect("the log says that it is ready");
        if let Some((_, address)) = line.split_once("ready address=") {
            break address.parse().unwrap();
        }
    };
    assert_eq!(http(address, "GET", "/livez", "", None).0, 200);
    terminate(&child);
    assert_eq!(ended(&mut child), Some(0));
    assert!(!log.join().unwrap().contains("panicked"));
}

#[test]
fn a_server_whose_log_nobody_reads_serves_all_the_same() {
    let folder = Folder::new();
    let mut child = folder.command(&["--listen", "127.0.0.1:0", "--log-level", "debug"]).spawn().unwrap();
    drop(child.stderr.take());
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let address = line.trim().rsplit('/').next().unwrap().parse().unwrap();
    assert_eq!(http(address, "POST", "/api/auth/login", "", Some(&json!({}))).0, 400);
    terminate(&child);
    assert_eq!(ended(&mut child), Some(0));
}

/// A server that is asked to stop while a request is in flight: its body is still to come.
fn stopping() -> (Folder, Child, Receiver<String>, JoinHandle<String>, TcpStream) {
    let folder = Folder::new();
    let mut child = folder.command(&["--listen", "127.0.0.1:0"]).spawn().unwrap();
    let (lines, log) = follow(child.stderr.take().unwrap());
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let mut request = TcpStream::connect(line.trim().rsplit('/').next().unwrap()).unwrap();
    request.set_read_timeout(Some(LONG)).unwrap();
    let head = "POST /api/auth/login HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-type: application/json\r\n\
                content-length: 2\r\n\r\n";
    request.write_all(head.as_bytes()).unwrap();
    let mut go_on = [0; "HTTP/1.1 100 Continue\r\n\r\n".len()];
    request.read_exact(&mut go_on).unwrap();
    terminate(&child);
    while !lines.recv_timeout(LONG).expect("it says that it stops").contains("stopping") {}
    (folder, child, lines, log, request)
}

#[test]
fn a_request_in_flight_is_answered_before_the_end() {
    let (_folder, mut child, _lines, log, mut request) = stopping();
    request.write_all(b"{}").unwrap();
    let mut answer = String::new();
    request.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("validation_failed"), "{answer}");
    assert_eq!(ended(&mut child), Some(0));
    assert!(log.join().unwrap().contains("stopped"));
}

#[test]
fn who_asks_a_second_time_does_not_wait_for_it() {
    let (_folder, mut child, _lines, log, _request) = stopping();
    terminate(&child);
    assert_eq!(ended(&mut child), Some(1));
    assert!(log.join().unwrap().contains("error: asked a second time to stop"));
}

#[test]
fn who_waits_for_a_revocation_does_not_hold_up_the_end() {
    let folder = Folder::new();
    let server = Server::start(&folder);
    let key = folder.done("reader create weather");
    let (status, page) = server.get("/revocations", key.trim());
    assert_eq!(status, 200);
    let path = format!(
        "/revocations?incarnation={}&after={}&wait=60",
        page["incarnation"].as_str().unwrap(),
        page["seq"].as_u64().unwrap()
    );
    let mut waiting = TcpStream::connect(server.address).unwrap();
    let head = format!("GET {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n\r\n", key.trim());
    waiting.write_all(head.as_bytes()).unwrap();
    assert_eq!(http(server.address, "GET", "/livez", "", None).0, 200);
    let (code, log) = server.stop();
    assert_eq!(code, Some(0), "{log}");
}

#[test]
fn a_second_server_on_the_same_port_is_told_which_setting_is_in_its_way() {
    let (folder, other) = (Folder::new(), Folder::new());
    let server = Server::start(&folder);
    other.fails(&format!("--listen {}", server.address), 1, &format!("cannot listen on {} (listen)", server.address));
    other.fails(&format!("--listen {}", server.address), 1, "choose another address with --listen");
    assert!(!other.path("data").exists(), "it did not touch the database");
}

#[test]
fn listening_to_the_network_without_tls_is_warned_about() {
    let folder = Folder::new();
    let (_, log) = Server::start_with(&folder, &["serve"]).stop();
    assert!(!log.contains("in the clear"), "{log}");
    let (folder, everywhere) = (Folder::new(), ["--listen", "0.0.0.0:0"]);
    let start = |more: &[&str]| {
        let mut child = folder.command(&[&everywhere, more].concat()).spawn().unwrap();
        let (_lines, log) = follow(child.stderr.take().unwrap());
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut String::new()).unwrap();
        terminate(&child);
        assert_eq!(ended(&mut child), Some(0));
        log.join().unwrap()
    };
    assert!(start(&[]).contains("in the clear"));
    assert!(!start(&["--issuer", "https://id.example.com"]).contains("in the clear"));
}

#[test]
fn wrong_settings_end_every_command_with_misuse() {
    let folder = Folder::new();
    for command in ["serve", "account list", "migrate", "health", "config check"] {
        folder.fails(&format!("{command} --listen 5000"), 2, "listen = \"5000\"  (flag --listen)");
    }
    let ran = folder.run("config check --listen 5000 --json");
    let told: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((ran.code, &told["ok"], &told["errors"][0]["setting"]), (Some(2), &json!(false), &json!("listen")));
    assert!(folder.done("config check").contains("127.0.0.1:5000"));
    assert!(!folder.path("data").exists(), "looking at the settings makes nothing");
}

// ---- accounts ----

#[test]
fn an_account_is_made_changed_and_listed() {
    let folder = Folder::new();
    let made = folder.run_with("account create --admin Alice --email alice@example.com", &format!("{PASSWORD}\n"));
    assert_eq!(made.code, Some(0), "{made:?}");
    assert_eq!(made.out, "Made the account Alice, with the roles Admin and User.\n");
    let line = "account create bob --email bob@example.com --json";
    let bob: Value = serde_json::from_str(&folder.run_with(line, PASSWORD).out).unwrap();
    assert_eq!(keys_of(&bob), ["createdAt", "disabledAt", "email", "id", "roles", "username"]);
    assert_eq!((&bob["roles"], &bob["disabledAt"]), (&json!(["User"]), &Value::Null));
    assert!(bob["createdAt"].as_str().unwrap().ends_with('Z'));

    let listed = folder.json("account list");
    assert_eq!(listed[0]["roles"], json!(["Admin", "User"]));
    assert_eq!(listed[1..], [bob]);
    let table = folder.done("account list");
    let lines: Vec<_> = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).collect();
    assert_eq!(lines[0], ["NAME", "E-MAIL", "ROLES", "STATE", "CREATED"]);
    assert_eq!(lines[1][..5], ["Alice", "alice@example.com", "Admin,", "User", "active"]);
    assert_eq!(lines[2][..4], ["bob", "bob@example.com", "User", "active"]);

    assert_eq!(
        folder.done("account set-roles bob User billing:read"),
        "bob has the roles User and billing:read now.\n"
    );
    assert_eq!(folder.json("account set-roles bob User")[0]["roles"], json!(["User"]));
    assert!(folder.json("account disable bob")[0]["disabledAt"].is_string());
    assert!(folder.done("account list").contains("disabled"));
    assert!(folder.json("account enable bob")[0]["disabledAt"].is_null());
    let revoked = folder.json("account revoke bob");
    assert_eq!(revoked, [json!({ "sessionsEnded": 0, "lastAccessTokenExpiresAt": null })]);
    assert_eq!(folder.done("account revoke bob"), "Ended 0 sessions of bob.\n");
}

#[test]
fn an_account_that_cannot_be_made_is_refused_with_the_reason() {
    let folder = Folder::new();
    folder.create("alice");
    let refused = |line: &str, input: &str, code: i32, why: &str| {
        let ran = folder.run_with(line, input);
        assert_eq!((ran.code, ran.out.as_str()), (Some(code), ""), "{line}: {ran:?}");
        assert!(ran.err.contains(why), "{line}: {ran:?}");
    };
    refused("account create ALICE --email a@example.com", PASSWORD, 1, "the username is taken");
    refused("account create bob --email ALICE@example.com", PASSWORD, 1, "another account has this e-mail address");
    refused("account create bob --email bob@example.com", "short\n", 1, "the password must have at least 8 characters");
    refused("account create bob --email bob@example.com", "password123\n", 1, "most common");
    refused("account create bob --email bob@example.com", "", 1, "no password on standard input");
    refused("account create bob --email bob@example.com", "\n", 1, "the password is required");
    let endless = "x".repeat(100_000);
    refused("account create bob --email bob@example.com", &endless, 1, "the password must have at most 1024 bytes");
    refused("account create bob", PASSWORD, 2, "--email <ADDRESS>");
    refused("account create bob --email bob", PASSWORD, 2, "name@example.com");
    refused("account create b@x.example --email bob@example.com", PASSWORD, 2, "the account's own e-mail address");
    refused("account create bob secret123 --email bob@example.com", "", 2, "unexpected argument");
    refused("account create bob --password secret123 --email bob@example.com", "", 2, "unexpected argument");
    assert_eq!(folder.names(), ["alice"]);
}

#[test]
fn nobody_is_told_to_be_changed_who_is_not_there() {
    let folder = Folder::new();
    folder.create("alice");
    for line in ["set-password bob", "set-roles bob User", "disable bob", "enable bob", "revoke bob"] {
        folder.fails(&format!("account {line}"), 1, "`countersign account list` shows all");
    }
    folder.fails("account set-roles alice Ädmin", 2, "ASCII letters");
    folder.fails("account set-password alice", 1, "no password on standard input");
}

#[test]
fn a_command_in_the_wrong_folder_says_so_and_makes_nothing() {
    let folder = Folder::new();
    for line in [
        "account list",
        "account disable alice",
        "events",
        "key list",
        "key rotate",
        "reader list",
        "revoke-all --yes",
        "backup copy.db",
        "accept-restore --yes",
        "migrate --check",
    ] {
        folder.fails(line, 1, "there is no database at data/countersign.db");
    }
    assert_eq!(std::fs::read_dir(folder.0.path()).unwrap().count(), 0);
}

#[test]
fn first_commands_at_the_same_moment_all_succeed() {
    let folder = Folder::new();
    let names = ["ada", "bea", "cia", "dea"];
    std::thread::scope(|scope| {
        for name in names {
            scope.spawn(|| folder.create(name));
        }
    });
    assert_eq!(folder.names(), names);
    let keys = folder.json("key list");
    assert_eq!(keys.len(), 2, "one key of each use: {keys:?}");
}

// ---- beside a running server ----

#[test]
fn commands_act_on_a_running_server() {
    let folder = Folder::new();
    let server = Server::start(&folder);
    folder.create("alice");
    let (status, token) = server.log_in("alice", PASSWORD);
    assert_eq!(status, 200);
    assert_eq!(server.get("/api/auth/me", &token).1["username"], "alice");

    let told = folder.json("account revoke alice");
    assert_eq!(told[0]["sessionsEnded"], 1);
    assert!(told[0]["lastAccessTokenExpiresAt"].as_str().unwrap().ends_with('Z'));
    assert_eq!(server.get("/api/auth/me", &token).0, 401);

    let set = folder.run_with("account set-password alice", "another horse battery\r\n");
    assert_eq!((set.code, set.out.contains("Every session")), (Some(0), true), "{set:?}");
    assert_eq!(server.log_in("alice", PASSWORD).0, 401);
    let (status, token) = server.log_in("alice", "another horse battery");
    assert_eq!(status, 200);

    folder.done("account disable alice");
    assert_eq!(server.get("/api/auth/me", &token).0, 401);
    assert_eq!(server.log_in("alice", "another horse battery").0, 401);
    folder.done("account enable alice");
    let (status, token) = server.log_in("alice", "another horse battery");
    assert_eq!(status, 200);

    folder.fails("revoke-all", 2, "say --yes");
    assert_eq!(server.get("/api/auth/me", &token).0, 200);
    let told = folder.json("revoke-all --yes");
    assert_eq!((told.len(), &told[0]["sessionsEnded"]), (1, &json!(1)));
    assert_eq!(server.get("/api/auth/me", &token).0, 401);
    assert_eq!(server.log_in("alice", "another horse battery").0, 200);
    let (code, log) = server.stop();
    assert_eq!(code, Some(0), "{log}");
}

#[test]
fn health_is_that_of_the_running_server() {
    let folder = Folder::new();
    let server = Server::start(&folder);
    let listen = format!("--listen {}", server.address);
    let url = format!("http://{}/readyz", server.address);
    assert_eq!(folder.done(&format!("health {listen}")), format!("ready: {url}\n"));
    let told = folder.json(&format!("health {listen}"));
    assert_eq!(told, [json!({ "healthy": true, "url": url, "status": 200, "error": null })]);
    server.stop();
    folder.fails(&format!("health {listen}"), 1, &format!("no server answers at {url}"));
    let ran = folder.run(&format!("health {listen} --json"));
    let told: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((ran.code, &told["healthy"], &told["status"]), (Some(1), &json!(false), &Value::Null));
}

#[test]
fn a_reader_is_admitted_listed_and_dismissed() {
    let folder = Folder::new();
    let server = Server::start(&folder);
    let created = folder.run("reader create weather");
    assert_eq!(created.code, Some(0), "{created:?}");
    let key = created.out.trim();
    assert!(key.starts_with("cs_rk_") && created.out.lines().count() == 1, "{created:?}");
    assert!(created.err.contains("shown this once"), "{created:?}");
    assert_eq!(server.get("/revocations", key).0, 200);

    let second = folder.json("reader create orders");
    assert_eq!(keys_of(&second[0]), ["createdAt", "id", "key", "name"]);
    let listed = folder.json("reader list");
    assert_eq!(listed.len(), 2);
    assert_eq!(keys_of(&listed[0]), ["createdAt", "id", "name"], "no list shows a key");
    let weather = listed.iter().find(|reader| reader["name"] == "weather").unwrap()["id"].as_str().unwrap();
    assert!(folder.done("reader list").contains(weather));

    assert!(folder.done(&format!("reader revoke {weather}")).contains(weather));
    assert_eq!(server.get("/revocations", key).0, 401);
    folder.fails(&format!("reader revoke {weather}"), 1, "`countersign reader list` shows all");
    folder.fails("reader revoke weather", 2, "invalid value 'weather'");
    folder.fails(&format!("reader create {}", "x".repeat(65)), 2, "1 to 64 characters");
}

// ---- keys ----

#[test]
fn keys_are_listed_and_rotated() {
    let folder = Folder::new();
    folder.create("alice");
    let keys = folder.json("key list");
    let members = ["activeFrom", "algorithm", "createdAt", "kid", "state", "use", "verifiesUntil"];
    assert_eq!(keys_of(&keys[0]), members);
    let states = |keys: &[Value]| -> Vec<(String, String)> {
        let text = |key: &Value, member: &str| key[member].as_str().unwrap().to_owned();
        keys.iter().map(|key| (text(key, "use"), text(key, "state"))).collect()
    };
    let all = |signing: &[&str], tags: &[&str]| -> Vec<(String, String)> {
        let of = |key_use: &str, states: &[&str]| -> Vec<_> {
            states.iter().map(|state| (key_use.to_owned(), (*state).to_owned())).collect()
        };
        [of("signing", signing), of("refresh_tag", tags)].concat()
    };
    assert_eq!(states(&keys), all(&["active"], &["active"]));
    // A signing key that leaked verifies nothing; refresh tokens stay good, so that nobody is signed out.
    let told = folder.json("key rotate --now");
    assert_eq!(states(&told), all(&["retired", "active"], &["verifying", "active"]));
    let told = folder.done("key rotate");
    assert!(told.contains("takes over at its time") && told.contains("published"), "{told}");
    let keys = folder.json("key list");
    assert_eq!(states(&keys), all(&["retired", "active", "published"], &["verifying", "active", "published"]));
    assert!(keys[2]["activeFrom"].as_str() > keys[2]["createdAt"].as_str(), "{keys:?}");
}

#[test]
fn a_command_without_the_settings_of_the_server_leaves_its_keys_alone() {
    let folder = Folder::new();
    Server::start_with(&folder, &["--signing-algorithm", "EdDSA"]).stop();
    folder.create("alice");
    folder.done("key rotate");
    let keys = folder.json("key list");
    let signing: Vec<_> = keys.iter().filter(|key| key["use"] == "signing").collect();
    assert!(signing.len() == 2 && signing.iter().all(|key| key["algorithm"] == "EdDSA"), "{signing:?}");
}

#[test]
fn without_its_key_encryption_key_the_database_is_only_looked_at() {
    let folder = Folder::new();
    folder.create("alice");
    std::fs::remove_file(folder.path("data/key-encryption.key")).unwrap();
    folder.fails("account disable alice", 1, "data/key-encryption.key is missing");
    folder.fails("--listen 127.0.0.1:0", 1, "data/key-encryption.key is missing");
    assert!(!folder.path("data/key-encryption.key").exists());
    assert_eq!(folder.names(), ["alice"]);
    std::fs::write(folder.path("data/key-encryption.key"), "something else\n").unwrap();
    folder.fails("key list", 1, "must hold 32 bytes in base64");
}

// ---- events ----

#[test]
fn events_are_listed_newest_first_with_names() {
    let folder = Folder::new();
    folder.create("alice");
    folder.create("bob");
    folder.done("account disable bob");
    let server = Server::start(&folder);
    assert_eq!(server.log_in("alice", PASSWORD).0, 200);
    assert_eq!(server.log_in("alice", "wrong horse").0, 401);
    server.stop();

    let events = folder.json("events");
    assert_eq!(keys_of(&events[0]), ["account", "address", "at", "by", "detail", "id", "kind", "session"]);
    let kinds: Vec<_> = events.iter().map(|event| event["kind"].as_str().unwrap()).collect();
    let newest = ["sign_in_refused", "signed_in", "account_disabled", "account_registered", "account_registered"];
    assert_eq!(kinds[..5], newest);
    assert!(kinds[5..].iter().all(|kind| *kind == "key_created"), "{kinds:?}");
    let ids: Vec<_> = events.iter().map(|event| event["id"].as_i64().unwrap()).collect();
    assert!(ids.is_sorted_by(|newer, older| newer > older), "{ids:?}");
    assert_eq!(events[1]["account"]["username"], "alice");
    assert_eq!((&events[1]["address"], &events[2]["by"]["type"]), (&json!("127.0.0.1"), &json!("command_line")));
    assert!(events[1]["session"].is_string() && events[1]["at"].as_str().unwrap().ends_with('Z'));

    assert_eq!(folder.json("events --account bob").len(), 2);
    assert_eq!(folder.json("events --kind signed_in").len(), 1);
    assert_eq!(folder.json("events --kind signed_in --account bob").len(), 0);
    let mut paged = folder.json("events --limit 2");
    paged.extend(folder.json(&format!("events --limit 3 --before {}", paged[1]["id"])));
    assert_eq!(paged, events[..5]);
    folder.fails("events --account nobody", 1, "there is no account named \"nobody\"");
    folder.fails("events --kind nothing", 2, "signed_in");

    let ran = folder.run("events --limit 2");
    let lines: Vec<_> = ran.out.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).collect();
    assert_eq!(lines[0], ["ID", "TIME", "EVENT", "ACCOUNT", "BY", "FROM", "DETAIL"]);
    assert_eq!(lines[2][2..4], ["signed_in", "alice"]);
    assert_eq!(lines.len(), 3);
    assert!(ran.err.contains(&format!("--before {}", ids[1])), "{ran:?}");
}

#[test]
fn no_secret_stands_in_what_commands_print() {
    let folder = Folder::new();
    folder.create("alice");
    let key = folder.done("reader create weather");
    let printed = ["account list", "events", "key list", "reader list", "config check"].map(|line| {
        let ran = folder.run(line);
        ran.out + &ran.err + &folder.run(&format!("{line} --json")).out
    });
    let printed = printed.concat();
    for secret in [PASSWORD, "$argon2", key.trim(), "sealed"] {
        assert!(!printed.contains(secret), "{secret} in {printed}");
    }
}

// ---- the database as a whole ----

#[test]
fn a_schema_is_made_kept_and_checked() {
    let folder = Folder::new();
    assert!(folder.done("migrate").starts_with("Made the database data/countersign.db, with schema version "));
    assert!(folder.done("migrate").contains("already"));
    assert!(folder.done("migrate --check").starts_with("The schema has version "));
    let told = folder.json("migrate --check");
    assert_eq!(keys_of(&told[0]), ["before", "current", "newestKnown", "schemaVersion"]);
    assert_eq!((&told[0]["current"], &told[0]["schemaVersion"]), (&json!(true), &told[0]["newestKnown"]));

    std::fs::write(folder.path("data/other.db"), "this is no database, and long enough to be looked at as one")
        .unwrap();
    for line in ["migrate", "events", "account list", "--listen 127.0.0.1:0"] {
        let line = format!("{line} --database-url sqlite:data/other.db");
        folder.fails(&line, 1, "error: data/other.db: the database holds something unreadable: file is not a database");
    }
}

#[test]
fn a_backup_is_a_database_and_overwrites_nothing() {
    let folder = Folder::new();
    let server = Server::start(&folder);
    folder.create("alice");
    let told = folder.done("backup copy.db");
    assert!(told.starts_with("Copied the database to copy.db (") && told.contains("data/key-encryption.key"), "{told}");
    folder.create("bob");
    folder.fails("backup copy.db", 1, "copy.db exists");
    folder.fails("backup none/copy.db", 1, "none/copy.db");
    let told = folder.json("backup second.db");
    assert_eq!((&told[0]["file"], told[0]["bytes"].as_u64() > Some(4096)), (&json!("second.db"), true));
    server.stop();
    let copied = folder.json("account list --database-url sqlite:copy.db --key-encryption-key-file k");
    assert_eq!(copied.len(), 1);
    assert_eq!(folder.names(), ["alice", "bob"]);
}

#[test]
fn a_restored_database_is_served_once_the_operator_has_accepted_it() {
    let folder = Folder::new();
    let server = Server::start(&folder);
    folder.create("alice");
    folder.done("backup copy.db");
    folder.create("bob");
    let (_, token) = server.log_in("alice", PASSWORD);
    server.stop();
    restore(&folder, &folder.path("copy.db"));

    for line in ["--listen 127.0.0.1:0", "account disable alice", "key rotate"] {
        folder.fails(line, 1, "`countersign accept-restore`");
    }
    // What is there can be looked at all the same.
    assert_eq!(folder.names(), ["alice"]);
    assert!(folder.done("events").contains("account_registered"));

    folder.fails("accept-restore", 2, "say --yes");
    assert!(folder.done("accept-restore --yes").contains("everybody has to sign in again"));
    assert_eq!(folder.json("events --kind restore_accepted")[0]["by"]["type"], "command_line");
    let server = Server::start(&folder);
    assert_eq!(server.get("/api/auth/me", &token).0, 401);
    assert_eq!(server.log_in("alice", PASSWORD).0, 200);
    let (_, token) = server.log_in("alice", PASSWORD);
    // A slip must sign nobody out: this database is the one that was served last.
    folder.fails("accept-restore --yes", 1, "there is nothing to accept");
    assert_eq!(server.get("/api/auth/me", &token).0, 200);
    server.stop();
    folder.fails("accept-restore --yes", 1, "--whole-folder");
    assert_eq!(keys_of(&folder.json("accept-restore --yes --whole-folder")[0]), ["incarnation"]);
}

// ---- PostgreSQL ----

/// A new database on the server that `COUNTERSIGN_TEST_POSTGRES_URL` names; it goes with its owner.
struct Postgres {
    server: String,
    name: String,
}

impl Postgres {
    #[expect(clippy::disallowed_methods, reason = "a test is told by the environment where the server is")]
    fn new() -> Self {
        let server = std::env::var("COUNTERSIGN_TEST_POSTGRES_URL");
        let server = server.expect("COUNTERSIGN_TEST_POSTGRES_URL names a server: scripts/with-postgres starts one");
        let new = Self { server, name: format!("countersign_cli_{}", std::process::id()) };
        new.sql(&format!("CREATE DATABASE {}", new.name));
        new
    }

    fn url(&self) -> String {
        let (base, parameters) = self.server.split_once('?').unwrap_or((&self.server, ""));
        let (host, _) = base.rsplit_once('/').unwrap();
        format!("{host}/{}?{parameters}", self.name)
    }

    /// Runs a statement as the superuser, elsewhere than in the database.
    fn sql(&self, statement: &str) {
        let told = Command::new("psql").args(["-qX", "-d", &self.server, "-c", statement]).output().unwrap();
        assert!(told.status.success(), "{statement}: {told:?}");
    }

    /// Puts what the database is now in the place of what `meanwhile` makes of it.
    fn restored_after(&self, meanwhile: impl FnOnce()) {
        let Self { name, .. } = self;
        self.sql(&format!("CREATE DATABASE {name}_copy TEMPLATE {name}"));
        meanwhile();
        self.sql(&format!("DROP DATABASE {name} WITH (FORCE)"));
        self.sql(&format!("ALTER DATABASE {name}_copy RENAME TO {name}"));
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        for name in [self.name.clone(), format!("{}_copy", self.name)] {
            let drop = format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)");
            let _ = Command::new("psql").args(["-qX", "-d", &self.server, "-c", &drop]).output();
        }
    }
}

#[test]
#[ignore = "needs PostgreSQL: scripts/test"]
fn every_command_works_on_postgres() {
    let (folder, postgres) = (Folder::new(), Postgres::new());
    std::fs::write(folder.path("countersign.toml"), format!("database_url = {:?}\n", postgres.url())).unwrap();
    for line in
        ["account list", "account disable alice", "events", "key list", "accept-restore --yes", "migrate --check"]
    {
        folder.fails(
            line,
            1,
            "has no Countersign tables yet: name the right one (database_url), start `countersign` or",
        );
    }
    assert!(!folder.path("data").exists(), "a command that refuses makes nothing");
    assert!(folder.done("migrate").starts_with("Made the database postgres://"));
    assert!(folder.done("migrate").contains("already"));
    assert_eq!(folder.json("migrate --check")[0]["current"], true);

    folder.create("alice");
    let server = Server::start(&folder);
    let (status, token) = server.log_in("alice", PASSWORD);
    assert_eq!(status, 200);
    assert_eq!(folder.json("account revoke alice")[0]["sessionsEnded"], 1);
    assert_eq!(server.get("/api/auth/me", &token).0, 401);
    let key = folder.done("reader create weather");
    assert_eq!(server.get("/revocations", key.trim()).0, 200);
    folder.done("key rotate");
    assert_eq!(folder.json("key list").len(), 4);
    assert!(folder.json("events").iter().any(|event| event["kind"] == "signed_in"));
    folder.fails("accept-restore --yes", 1, "there is nothing to accept");
    let (code, log) = server.stop();
    assert_eq!(code, Some(0), "{log}");

    postgres.restored_after(|| folder.create("bob"));
    folder.fails("--listen 127.0.0.1:0", 1, "`countersign accept-restore`");
    assert_eq!(folder.names(), ["alice"]);
    assert!(folder.done("accept-restore --yes").contains("everybody has to sign in again"));
    let server = Server::start(&folder);
    assert_eq!(server.log_in("alice", PASSWORD).0, 200);
    let (code, log) = server.stop();
    assert_eq!(code, Some(0), "{log}");
}

#[test]
fn a_postgres_database_that_cannot_be_used_is_named_without_its_password() {
    let folder = Folder::new();
    let away = "--database-url postgres://me:hunter2@127.0.0.1:1/x";
    for line in ["account list", "migrate", "accept-restore --yes", "--listen 127.0.0.1:0"] {
        let ran = folder.run(&format!("{line} {away}"));
        assert_eq!((ran.code, ran.out.as_str()), (Some(1), ""), "{ran:?}");
        let told = "error: postgres://127.0.0.1:1/x: the database is unavailable: ";
        assert!(ran.err.contains(told) && !ran.err.contains("hunter2"), "{line}: {ran:?}");
    }
    folder.fails(&format!("backup copy.db {away}"), 2, "with pg_dump");
    folder.fails("migrate --database-url postgres://me:hunter2@127.0.0.1", 2, "must name a database");
    assert_eq!(std::fs::read_dir(folder.0.path()).unwrap().count(), 0);
}

// ---- a closed standard output ----

#[test]
fn a_reader_that_goes_away_ends_no_command_with_a_panic() {
    let folder = Folder::new();
    folder.create("alice");
    for line in ["account list", "events", "config check", "key list --json", "--help", "account create --help"] {
        let arguments: Vec<_> = line.split(' ').collect();
        let mut child = folder.command(&arguments).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{line}");
    }
}

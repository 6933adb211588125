//! `countersign transfer`: moving house while people are in it.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::revoke_all::begin_sessions;
use crate::support::{
    Database, KEY, PASSWORD, Request, Server, Settings, Tokens, at_once, free_port, refreshed, show, until,
};

const SECRET: &str = "a-secret-for-readers-of-the-feed";

/// A server whose address and keys stay the same wherever its database is.
fn at_home() -> Settings {
    let settings = Settings::new().with("revocation_reader_secret", SECRET).with("sessions_per_account", "1000");
    let key_file = settings.dir().join("the.key").to_str().unwrap().to_owned();
    settings.with("listen", format!("127.0.0.1:{}", free_port())).with("key_encryption_key_file", key_file)
}

fn url_of(settings: &Settings) -> String {
    format!("sqlite:{}", settings.database().display())
}

/// Clients who refresh their sessions for as long as they are let. None of them knows a password.
struct Clients {
    server: SocketAddr,
    over: AtomicBool,
    refreshes: AtomicUsize,
    /// The longest time that one of them went without an answer.
    longest_pause: Mutex<Duration>,
    /// How often each has refreshed.
    turns: Vec<AtomicUsize>,
}

impl Clients {
    fn new(server: SocketAddr, many: usize) -> Self {
        let turns = (0..many).map(|_| AtomicUsize::new(0)).collect();
        Self {
            server,
            over: AtomicBool::new(false),
            refreshes: AtomicUsize::new(0),
            longest_pause: Mutex::default(),
            turns,
        }
    }

    fn refresh_until_over(&self, number: usize, mut tokens: Tokens) -> Tokens {
        let mut answered = Instant::now();
        while !self.over.load(Ordering::Relaxed) {
            let body = json!({ "refreshToken": tokens.refresh, "accessToken": tokens.access, "retryKey": KEY });
            match Request::new(self.server, "POST", "/api/auth/refresh-token").json(&body).try_send() {
                Ok(answer) if answer.status == 503 => _ = answer.refused(503, "store_unavailable"),
                Ok(answer) => {
                    tokens = refreshed(answer);
                    self.refreshes.fetch_add(1, Ordering::Relaxed);
                    self.turns[number].fetch_add(1, Ordering::Relaxed);
                    let mut longest = self.longest_pause.lock().unwrap();
                    *longest = answered.elapsed().max(*longest);
                    answered = Instant::now();
                }
                Err(_) => {}
            }
            assert!(answered.elapsed() < Duration::from_secs(120), "a client has had no answer for two minutes");
            // Not to wait for something: a client that refreshes this often is busy enough.
            thread::sleep(Duration::from_millis(300));
        }
        tokens
    }

    /// Waits until every client has refreshed again.
    fn all_go_on(&self) {
        let before: Vec<_> = self.turns.iter().map(|turns| turns.load(Ordering::Relaxed)).collect();
        until(Duration::from_secs(120), "every client refreshes twice", || {
            let goes_on = |(turns, before): (&AtomicUsize, &usize)| turns.load(Ordering::Relaxed) >= before + 2;
            self.turns.iter().zip(&before).all(goes_on).then_some(())
        });
    }
}

/// Moves everything, and tells how many rows came over.
#[track_caller]
fn transfer(settings: &Settings, from: &str, to: &str) -> Value {
    let mut moved = settings.cli_json(&["transfer", "--from", from, "--to", to, "--yes"]);
    moved.pop().expect("a line")
}

/// Begins to move everything and is killed in the middle of the sessions.
fn break_off(settings: &Settings, from: &str, to: &str) {
    let mut command = settings.command(&["transfer", "--from", from, "--to", to, "--yes"]);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let line = lines.find(|line| line.as_ref().is_ok_and(|line| line.starts_with("sessions 3")));
    child.kill().unwrap();
    let ended = child.wait().unwrap();
    assert!(line.is_some() && !ended.success(), "it was killed in the middle: {ended}");
}

fn revocations(server: &Server, query: &str) -> Value {
    server.get(&format!("/revocations{query}")).bearer(SECRET).send().expect(200).json()
}

#[test]
#[ignore = "needs PostgreSQL: scripts/test"]
fn a_hundred_thousand_sessions_move_to_postgres_and_back_while_clients_refresh() {
    const MANY: usize = 100_000;
    const CLIENTS: usize = 200;
    let settings = at_home();
    let server = settings.start();
    server.register("alice");
    server.register("carol");
    server.user("bob");
    begin_sessions(&server.stop(), "alice", MANY as u128);
    let server = settings.start();
    let sessions = at_once(8, |thread| {
        let mine = (0..CLIENTS).filter(|number| number % 8 == thread);
        mine.map(|_| server.log_in("carol")).collect::<Vec<_>>()
    });
    let sessions: Vec<_> = sessions.into_iter().flatten().collect();
    let one_more = server.log_in("carol");
    let cursor = revocations(&server, "");
    let sign_ins = |settings: &Settings| {
        let events = settings.cli_json(&["events", "--kind", "signed_in", "--limit", "1"]);
        events[0]["id"].as_i64().unwrap()
    };
    let newest_sign_in = sign_ins(&settings);

    let clients = Clients::new(server.address, CLIENTS);
    let ends = thread::scope(|scope| {
        let _over = Over(&clients.over);
        let clients = &clients;
        let running: Vec<_> = sessions
            .into_iter()
            .enumerate()
            .map(|(number, tokens)| scope.spawn(move || clients.refresh_until_over(number, tokens)))
            .collect();
        clients.all_go_on();

        // There, with one transfer that is killed in the middle, while the server runs.
        let (database, home) = (Database::new(), url_of(&settings));
        break_off(&settings, &home, &database.url);
        server.me(&one_more.access).refused(503, "store_unavailable");
        server.get("/readyz").send().refused(503, "store_unavailable");
        let moved = transfer(&settings, &home, &database.url);
        assert_eq!(moved["rows"]["sessions"], MANY + CLIENTS + 2, "{moved}");
        assert_eq!(moved["rows"]["families"], MANY + CLIENTS + 2, "{moved}");
        server.stop();
        let there = settings.clone().with("database_url", database.url.as_str());
        let server = there.start();
        server.me(&one_more.access).expect(200);
        clients.all_go_on();
        let pause = std::mem::take(&mut *clients.longest_pause.lock().unwrap());
        show(format_args!(
            "to PostgreSQL: {MANY} sessions, closed for {} ms in the call that ended it; the longest that one of {CLIENTS} clients \
             went without an answer, with a transfer that was killed and a restart: {pause:.1?}",
            moved["closedForMilliseconds"]
        ));
        let refused = settings.clone().with("listen", "127.0.0.1:0").start_refused();
        assert!(
            refused.err.contains("has moved to postgres://") && !refused.err.contains("postgres@"),
            "{}",
            refused.err
        );

        // The feed goes on from the cursor that a resource server had.
        server.post("/api/auth/logout").bearer(&one_more.access).send().expect(204);
        let after = format!("?incarnation={}&after={}", cursor["incarnation"].as_str().unwrap(), cursor["seq"]);
        let page = revocations(&server, &after);
        assert_eq!((&page["snapshot"], page["events"].as_array().unwrap().len()), (&json!(false), 1), "{page}");

        // And back, into a new file, with the server stopped first.
        server.stop();
        let back =
            settings.clone().with("database_url", format!("sqlite:{}", settings.dir().join("data/back.db").display()));
        let moved =
            transfer(&there, &database.url, &format!("sqlite:{}", settings.dir().join("data/back.db").display()));
        assert_eq!(moved["rows"]["sessions"], MANY + CLIENTS + 2, "{moved}");
        let server = back.start();
        clients.all_go_on();
        let pause = *clients.longest_pause.lock().unwrap();
        show(format_args!(
            "back to SQLite: closed for {} ms; the longest that a client went without an answer, with a restart: {pause:.1?}",
            moved["closedForMilliseconds"]
        ));
        assert_eq!(revocations(&server, &after), page);
        clients.over.store(true, Ordering::Relaxed);
        let ends: Vec<_> = running.into_iter().map(|client| client.join().unwrap()).collect();
        (server, ends)
    });
    let (server, ends) = ends;
    for tokens in &ends {
        server.me(&tokens.access).expect(200);
    }
    assert_eq!(sign_ins(&server.settings), newest_sign_in, "nobody had to sign in again");
    assert!(server.events("refresh_replayed").is_empty());
    assert_eq!(server.events("database_moved").len(), 2);
    server.try_log_in("bob", PASSWORD).expect(200);
    show(format_args!("{} refreshes by {CLIENTS} clients in all", clients.refreshes.load(Ordering::Relaxed)));
}

/// Lets the clients go where a test fails, since their threads are waited for.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_server_whose_database_has_moved_answers_nothing_and_the_next_one_goes_on() {
    let settings = at_home();
    let server = settings.start();
    let alice = server.user("alice");
    let elsewhere = format!("sqlite:{}", settings.dir().join("elsewhere/moved.db").display());
    let told = settings.cli(&["transfer", "--to", &elsewhere, "--yes"]);
    assert!(told.err.contains("accounts 1/1\n") && told.err.contains("sessions 1/1\n"), "{}", told.err);
    let told = told.done();
    assert!(told.contains("Moved 1 account and 1 session ") && told.contains("the.key"), "{told}");

    server.refresh(&alice.refresh).refused(503, "store_unavailable");
    server.me(&alice.access).refused(503, "store_unavailable");
    server.try_log_in("alice", PASSWORD).refused(503, "store_unavailable");
    server.try_register("bob").refused(503, "store_unavailable");
    until(Duration::from_secs(5), "the feed is handed on no longer", || {
        (server.get("/revocations").bearer(SECRET).send().status == 503).then_some(())
    });
    server.get("/.well-known/jwks.json").send().expect(200);
    server.stop();
    let refused = settings.start_refused();
    assert_eq!(refused.code, Some(1));
    assert!(refused.err.contains("has moved to") && refused.err.contains("elsewhere/moved.db"), "{}", refused.err);
    assert_eq!(settings.cli_json(&["events", "--kind", "signed_in"]).len(), 1, "it can still be looked at");

    let server = settings.with("database_url", elsewhere).start();
    server.me(&alice.access).expect(200);
    let alice = refreshed(server.refresh(&alice.refresh));
    server.me(&alice.access).expect(200);
    assert_eq!(server.events("database_moved").len(), 1);
}

//! `kill -9`, at the worst moment and again and again: what was acknowledged is there.

use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{PASSWORD, Server, Settings, Tokens, refreshed, until};

const KEY: &str = "only this client knows";

/// How often a refresh came to this outcome since the server started.
fn counted(server: &Server, outcome: &str) -> u64 {
    let metrics = server.settings.metrics().expect(200).text();
    let line = format!("countersign_refreshes_total{{outcome=\"{outcome}\"}} ");
    metrics.lines().find_map(|found| found.strip_prefix(&line)).map_or(0, |count| count.parse().unwrap())
}

#[test]
fn a_crash_between_commit_and_answer_costs_nobody_the_session() {
    for (point, outcome) in [("rotation::after-commit", "reissued"), ("store::before-commit", "rotated")] {
        let settings = Settings::new().measured().with("rotation_overlap", "0s");
        let server = settings.start();
        let alice = server.user("alice");
        let settings = server.stop();

        let server = settings.clone().with("fail_points", format!("{point}=return")).start();
        let request = server.post("/api/auth/refresh-token");
        let body = serde_json::json!({ "refreshToken": alice.refresh, "retryKey": KEY });
        let lost = request.json(&body).try_send();
        assert!(lost.is_err(), "{point}: the answer arrived: {lost:?}");
        drop(server);

        // The same request again: where the rotation had been committed, it is answered with what was lost.
        let server = settings.start();
        let second = refreshed(server.refresh_keyed(&alice.refresh, KEY));
        assert_eq!(counted(&server, outcome), 1, "{point}");
        assert_eq!(refreshed(server.refresh_keyed(&alice.refresh, KEY)).refresh, second.refresh);
        server.me(&second.access).expect(200);
        refreshed(server.refresh_keyed(&second.refresh, KEY));
    }
}

#[test]
fn a_client_without_a_retry_key_gets_the_same_inside_the_overlap() {
    let settings = Settings::new().measured();
    let server = settings.start();
    let alice = server.user("alice");
    let settings = server.stop();
    let server = settings.clone().with("fail_points", "rotation::after-commit=return").start();
    let lost = server.post("/api/auth/refresh-token").json(&serde_json::json!({ "refreshToken": alice.refresh }));
    assert!(lost.try_send().is_err());
    drop(server);
    let server = settings.start();
    let second = refreshed(server.refresh(&alice.refresh));
    assert_eq!(counted(&server, "reissued"), 1);
    assert_eq!(refreshed(server.refresh(&alice.refresh)).refresh, second.refresh);
}

/// What clients were told, and so rely on.
#[derive(Default)]
struct Acknowledged {
    accounts: Mutex<HashSet<String>>,
    ended: Mutex<Vec<Tokens>>,
    answers: AtomicUsize,
}

/// Uses the server until it is gone, and keeps what it was told. The chain is where it stands.
fn use_until_killed(server: &Server, chain: &mut Tokens, names: &AtomicUsize, told: &Acknowledged) {
    loop {
        let name = format!("user{}", names.fetch_add(1, Ordering::Relaxed));
        let mut steps = || -> std::io::Result<()> {
            let body = serde_json::json!({ "refreshToken": chain.refresh, "retryKey": KEY });
            let answer = server.post("/api/auth/refresh-token").json(&body).try_send()?;
            *chain = refreshed(answer);
            let account =
                serde_json::json!({ "username": name, "email": format!("{name}@example.com"), "password": PASSWORD });
            server.post("/api/auth/register").json(&account).try_send()?.expect(200);
            told.accounts.lock().unwrap().insert(name.clone());
            let login = serde_json::json!({ "username": name, "password": PASSWORD });
            let answer = server.post("/api/auth/login").json(&login).try_send()?.expect(200).json();
            let text = |member: &str| answer[member].as_str().unwrap().to_owned();
            let session = Tokens { access: text("token"), refresh: text("refreshToken") };
            server.post("/api/auth/logout").bearer(&session.access).try_send()?.expect(204);
            told.ended.lock().unwrap().push(session);
            Ok(())
        };
        if steps().is_err() {
            return;
        }
        told.answers.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn twenty_kills_under_load_lose_nothing_that_was_acknowledged() {
    const ROUNDS: usize = 20;
    let mut server = Server::start();
    let mut chains: Vec<Tokens> = (0..4).map(|number| server.user(&format!("chain{number}"))).collect();
    let told = Acknowledged::default();
    let names = AtomicUsize::new(0);
    for round in 0..ROUNDS {
        std::thread::scope(|scope| {
            let (server, told, names) = (&server, &told, &names);
            for chain in &mut chains {
                scope.spawn(move || use_until_killed(server, chain, names, told));
            }
            // Not at the same place twice: after a few answers more or less, whatever is under way then.
            let seen = told.answers.load(Ordering::Relaxed) + 2 + round % 5;
            until(Duration::from_secs(30), "the load runs", || {
                (told.answers.load(Ordering::Relaxed) >= seen).then_some(())
            });
            rustix::process::kill_process(server.process.id(), rustix::process::Signal::KILL).unwrap();
        });
        let killed = Instant::now();
        server = server.kill_and_restart();
        server.get("/readyz").send().expect(200);
        assert!(killed.elapsed() < Duration::from_secs(5), "ready after {:?}", killed.elapsed());

        for chain in &mut chains {
            // Whether or not the last request was committed, the client repeats it and goes on.
            *chain = refreshed(server.refresh_keyed(&chain.refresh, KEY));
            server.me(&chain.access).expect(200);
        }
        for session in told.ended.lock().unwrap().drain(..) {
            server.me(&session.access).refused(401, "session_revoked");
            server.refresh(&session.refresh).refused(400, "refresh_token_revoked");
        }
    }
    let accounts = server.settings.cli_json(&["account", "list"]);
    let present: HashSet<&str> = accounts.iter().filter_map(|account| account["username"].as_str()).collect();
    let acknowledged = told.accounts.into_inner().unwrap();
    let lost: Vec<_> = acknowledged.iter().filter(|name| !present.contains(name.as_str())).collect();
    assert!(lost.is_empty(), "{lost:?} of {} are gone", acknowledged.len());
    assert!(acknowledged.len() >= 2 * ROUNDS, "too little load: {}", acknowledged.len());
    assert!(server.events("refresh_replayed").is_empty());

    // A database that can be copied page by page, with what was acknowledged in it, is whole.
    let copy = server.settings.dir().join("copy.db");
    server.settings.cli(&["backup", copy.to_str().unwrap()]).done();
    let events: Vec<Value> = server.events("account_registered");
    assert!(events.len() >= acknowledged.len().min(1000));
}

//! `POST /api/auth/revoke/{username}`.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::Value;

use crate::support::{Answer, Server, Tokens, claims, refreshed, until};

fn revoke(server: &Server, name: &str, by: &Tokens) -> Answer {
    server.post(&format!("/api/auth/revoke/{name}")).bearer(&by.access).send()
}

#[test]
fn ones_own_sessions_end_all_at_once() {
    let server = Server::start();
    let here = server.user("alice");
    let there = server.log_in("alice");
    let bob = server.user("bob");
    server.post("/api/auth/revoke/alice").send().refused(401, "token_missing");
    revoke(&server, "ALICE", &here).expect(204);
    for dead in [&here, &there] {
        server.me(&dead.access).refused(401, "account_revoked");
        server.refresh(&dead.refresh).refused(400, "refresh_token_revoked");
    }
    server.me(&bob.access).expect(200);
    assert_eq!(server.events("account_revoked").len(), 1);
}

#[test]
fn a_login_in_the_same_second_works() {
    let server = Server::start();
    let mut alice = server.user("alice");
    for _ in 0..5 {
        revoke(&server, "alice", &alice).expect(204);
        let next = server.log_in("alice");
        server.me(&alice.access).refused(401, "account_revoked");
        server.me(&next.access).expect(200);
        alice = refreshed(server.refresh(&next.refresh));
    }
}

#[test]
fn nobody_else_may_and_nobody_learns_who_exists() {
    let server = Server::start();
    let alice = server.user("alice");
    let bob = server.user("bob");
    for name in ["alice", "nobody", "x", "a%20b", "%F0%9F%98%80"] {
        revoke(&server, name, &bob).refused(403, "forbidden");
    }
    server.me(&alice.access).expect(200);
    let admin = server.admin();
    revoke(&server, "root", &bob).refused(403, "forbidden");
    for name in ["nobody", "x", "a%20b", "%F0%9F%98%80"] {
        revoke(&server, name, &admin).refused(404, "account_not_found");
    }
    revoke(&server, "alice", &admin).expect(204);
    server.me(&alice.access).refused(401, "account_revoked");
    server.me(&admin.access).expect(200);
}

#[test]
fn a_receipt_says_what_was_ended() {
    let server = Server::start();
    let mut sessions = vec![server.user("alice"), server.log_in("alice"), server.log_in("alice")];
    server.post("/api/auth/logout").bearer(&sessions.remove(0).access).send().expect(204);
    server.user("bob");
    let revoke = |by: &Tokens| server.post("/api/auth/revoke/alice?receipt=true").bearer(&by.access).send();
    let receipt = revoke(&sessions[0]).expect(200).json();
    assert_eq!(receipt["sessionsEnded"], 2, "{receipt}");
    let last = receipt["lastAccessTokenExpiresAt"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    let expiry = claims(&sessions[1].access)["exp"].as_i64().unwrap();
    assert!((0..=1).contains(&(last.as_second() - expiry)) || last.as_second() == expiry, "{receipt}, exp {expiry}");

    let admin = server.admin();
    let receipt = revoke(&admin).expect(200).json();
    assert_eq!((&receipt["sessionsEnded"], &receipt["lastAccessTokenExpiresAt"]), (&0.into(), &Value::Null));
    let unwanted = server.post("/api/auth/revoke/alice?receipt=false").bearer(&admin.access);
    unwanted.send().expect(204);
    let unclear = server.post("/api/auth/revoke/alice?receipt=maybe").bearer(&admin.access);
    unclear.send().refused(400, "validation_failed");
}

#[test]
fn the_operators_revocation_reaches_the_server_within_a_second() {
    let server = Server::start();
    let alice = server.user("alice");
    server.settings.cli(&["account", "revoke", "alice"]).done();
    server.me(&alice.access).refused(401, "account_revoked");
    server.refresh(&alice.refresh).refused(400, "refresh_token_revoked");
    server.log_in("alice");
}

#[test]
fn nothing_survives_a_revocation_that_races_with_refreshes() {
    let server = Server::start();
    server.register("alice");
    for round in 0..5 {
        let sessions: Vec<Tokens> = (0..4).map(|_| server.log_in("alice")).collect();
        let refreshes = AtomicUsize::new(0);
        let minted = std::thread::scope(|scope| {
            let refreshing = sessions.iter().map(|tokens| {
                let (server, refreshes) = (&server, &refreshes);
                let mut minted = vec![tokens.clone()];
                scope.spawn(move || {
                    loop {
                        let answer = server.refresh(&minted.last().unwrap().refresh);
                        if answer.status != 200 {
                            answer.refused(400, "refresh_token_revoked");
                            return minted;
                        }
                        minted.push(refreshed(answer));
                        refreshes.fetch_add(1, Ordering::Relaxed);
                    }
                })
            });
            let refreshing: Vec<_> = refreshing.collect();
            until(Duration::from_secs(10), "the sessions are refreshed", || {
                (refreshes.load(Ordering::Relaxed) > 10 + round).then_some(())
            });
            revoke(&server, "alice", &sessions[0]).expect(204);
            refreshing.into_iter().flat_map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
        });
        for tokens in &minted {
            server.me(&tokens.access).refused(401, "account_revoked");
            server.refresh(&tokens.refresh).refused(400, "refresh_token_revoked");
        }
        server.me(&server.log_in("alice").access).expect(200);
    }
}

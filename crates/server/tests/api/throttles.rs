//! How fast guesses may come, and that the owner gets in meanwhile.

use std::time::Duration;

use serde_json::json;

use crate::support::{Answer, PASSWORD, Server, Settings, at_once, until};

fn behind_a_proxy() -> Server {
    Settings::new().with("trusted_proxies", "127.0.0.0/8").start()
}

fn log_in_from(server: &Server, address: &str, name: &str, password: &str) -> Answer {
    let login = json!({ "username": name, "password": password });
    server.post("/api/auth/login").forwarded_for(address).json(&login).send()
}

/// Guesses from an address until it has to wait; gives back how many guesses it had.
fn guess(server: &Server, address: &str, name: &str) -> usize {
    for guesses in 0..200 {
        let answer = log_in_from(server, address, name, "a wrong password");
        if answer.status == 429 {
            answer.refused(429, "too_many_attempts");
            return guesses;
        }
        answer.refused(401, "invalid_credentials");
    }
    panic!("200 guesses from {address} and no end");
}

#[test]
fn an_address_that_guesses_has_to_wait_even_with_the_right_password() {
    let server = behind_a_proxy();
    server.register("alice");
    let guesses = guess(&server, "198.51.100.1", "alice");
    assert!((5..=20).contains(&guesses), "{guesses} guesses");
    let answer = log_in_from(&server, "198.51.100.1", "alice", PASSWORD);
    answer.refused(429, "too_many_attempts");
    let wait: u32 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=60).contains(&wait), "{wait} s");
    // Others have done nothing, and a name that nobody has is throttled alike.
    log_in_from(&server, "198.51.100.2", "alice", PASSWORD).expect(200);
    assert_eq!(guess(&server, "198.51.100.3", "nobody"), guesses);
    // What a client writes into the header itself buys no fresh allowance.
    log_in_from(&server, "203.0.113.77, 198.51.100.1", "alice", PASSWORD).refused(429, "too_many_attempts");
}

#[test]
fn many_strangers_lock_each_other_out_and_not_the_owner() {
    let server = behind_a_proxy();
    server.register("alice");
    let home = "192.0.2.10";
    log_in_from(&server, home, "alice", PASSWORD).expect(200);
    let throttled = (1..=120).find(|stranger| {
        let answer = log_in_from(&server, &format!("198.51.100.{stranger}"), "alice", "a wrong password");
        answer.status == 429
    });
    let strangers = throttled.expect("a distributed attack is throttled");
    assert!(strangers > 20, "after {strangers} guesses already");
    log_in_from(&server, "203.0.113.5", "alice", PASSWORD).refused(429, "too_many_attempts");
    let owner = log_in_from(&server, home, "alice", PASSWORD).expect(200).json();
    server.me(owner["token"].as_str().unwrap()).expect(200);
    // Nobody else's account is concerned.
    server.register("bob");
    log_in_from(&server, "203.0.113.5", "bob", PASSWORD).expect(200);
}

#[test]
fn an_address_that_tries_every_account_has_to_wait() {
    let server = behind_a_proxy();
    let answers = at_once(4, |thread| {
        (0..60)
            .map(|number| {
                log_in_from(&server, "198.51.100.9", &format!("user{thread}-{number}"), "a wrong password").status
            })
            .collect::<Vec<_>>()
    });
    let throttled = answers.iter().flatten().filter(|status| **status == 429).count();
    assert!(throttled > 50, "{throttled} of 240 were throttled");
}

#[test]
fn an_address_that_registers_without_end_has_to_wait() {
    let server = behind_a_proxy();
    let register = |address: &str, name: &str| {
        let account = json!({ "username": name, "email": format!("{name}@example.com"), "password": PASSWORD });
        server.post("/api/auth/register").forwarded_for(address).json(&account).send()
    };
    // Side by side, so that most are turned away before their password is hashed.
    let answers = at_once(200, |thread| {
        (0..8).map(|number| register("198.51.100.9", &format!("user{thread}-{number}"))).collect::<Vec<_>>()
    });
    let answers: Vec<_> = answers.into_iter().flatten().collect();
    let throttled: Vec<_> = answers.iter().filter(|answer| answer.status == 429).collect();
    assert!(throttled.len() > 300, "{} of 1600 were throttled", throttled.len());
    for answer in throttled {
        answer.refused(429, "too_many_attempts");
    }
    assert!(answers.iter().all(|answer| matches!(answer.status, 200 | 429 | 503)));
    register("198.51.100.10", "somebody").expect(200);
}

#[test]
fn servers_on_one_database_share_an_allowance_and_a_restart_forgets_none() {
    let here = behind_a_proxy();
    here.register("alice");
    let there = here.settings.start();
    let guesses = guess(&here, "198.51.100.1", "alice");
    assert!((5..=20).contains(&guesses), "{guesses} guesses");
    // Meanwhile the right password lets in, and costs nothing.
    until(Duration::from_secs(10), "the other server knows", || {
        let answer = log_in_from(&there, "198.51.100.1", "alice", PASSWORD);
        (answer.status == 429).then_some(())
    });
    // Stopped right after the last guess, it still tells what it has counted.
    guess(&there, "198.51.100.2", "alice");
    let there = there.stop().start();
    for server in [&here, &there] {
        for guessed_from in ["198.51.100.1", "198.51.100.2"] {
            log_in_from(server, guessed_from, "alice", PASSWORD).refused(429, "too_many_attempts");
        }
        log_in_from(server, "198.51.100.3", "alice", PASSWORD).expect(200);
    }
}

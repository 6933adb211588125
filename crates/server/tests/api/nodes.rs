//! Several nodes on one PostgreSQL database: they behave as one.

mod history;
mod kills;

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{
    Answer, Database, KEY, PASSWORD, Proxy, Request, Server, Settings, Tokens, Weather, at_once, decoded, refreshed,
    show, until,
};

/// Three nodes, started at the same moment.
fn three(settings: &Settings) -> Vec<Server> {
    let settings = [settings.clone(), settings.sibling(), settings.sibling()];
    at_once(3, |number| settings[number].start())
}

fn addresses(nodes: &[Server]) -> Vec<SocketAddr> {
    nodes.iter().map(|node| node.address).collect()
}

/// What is in a refresh token, but for the tag, which any of several keys may have made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Contents {
    family: [u8; 16],
    generation: u32,
    secret: [u8; 32],
}

#[track_caller]
fn contents(refresh_token: &str) -> Contents {
    let bytes = decoded(refresh_token.strip_prefix("cs_rt_").unwrap());
    assert_eq!((bytes.len(), bytes[0]), (70, 1), "{refresh_token}");
    Contents {
        family: bytes[2..18].try_into().unwrap(),
        generation: u32::from_be_bytes(bytes[18..22].try_into().unwrap()),
        secret: bytes[22..54].try_into().unwrap(),
    }
}

fn key_of(access_token: &str) -> Value {
    let header: Value = serde_json::from_slice(&decoded(access_token.split('.').next().unwrap())).unwrap();
    header["kid"].clone()
}

fn published(node: &Server) -> HashSet<String> {
    let set = node.get("/.well-known/jwks.json").send().expect(200).json();
    set["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}

#[test]
#[ignore = "needs PostgreSQL: scripts/test"]
fn nodes_that_start_at_once_on_an_empty_database_make_one_installation() {
    for _ in 0..4 {
        let database = Database::new();
        let nodes = three(&Settings::node(&database.url));
        let keys = published(&nodes[0]);
        assert_eq!(keys.len(), 1, "{keys:?}");
        assert!(nodes.iter().all(|node| published(node) == keys));
        assert_eq!(nodes[0].settings.cli_json(&["key", "list"]).len(), 2, "one that signs and one that tags");
        nodes[0].register("alice");
        for (number, node) in nodes.iter().enumerate() {
            let tokens = node.log_in("alice");
            let next = &nodes[(number + 1) % 3];
            next.me(&tokens.access).expect(200);
            let tokens = refreshed(next.refresh(&tokens.refresh));
            nodes[(number + 2) % 3].me(&tokens.access).expect(200);
        }
        nodes[1].try_register("alice").refused(409, "username_taken");
        for node in nodes {
            node.stop();
        }
    }
}

fn refreshes(node: &Server) -> u64 {
    let metrics = node.settings.metrics().expect(200).text();
    let counts = metrics.lines().filter(|line| line.starts_with("countersign_refreshes_total{"));
    counts.filter_map(|line| line.rsplit_once(' ')?.1.parse::<u64>().ok()).sum()
}

#[test]
#[ignore = "needs PostgreSQL, nginx and HAProxy: scripts/test"]
fn fifty_presentations_at_once_across_the_nodes_get_one_successor() {
    let database = Database::new();
    let nodes = three(&Settings::node(&database.url).measured().with("trusted_proxies", "127.0.0.0/8"));
    let proxies = [Proxy::nginx(&addresses(&nodes)), Proxy::haproxy(&addresses(&nodes))];
    for (number, proxy) in proxies.iter().enumerate() {
        for keyed in [false, true] {
            let before: Vec<u64> = nodes.iter().map(refreshes).collect();
            let user = nodes[0].user(&format!("user{number}-{keyed}"));
            let body = match keyed {
                true => json!({ "refreshToken": user.refresh, "retryKey": KEY }),
                false => json!({ "refreshToken": user.refresh }),
            };
            let answers = at_once(50, |_| proxy.request("POST", "/api/auth/refresh-token").json(&body).send());
            let successors: Vec<Tokens> = answers.into_iter().map(refreshed).collect();
            let distinct: HashSet<Contents> = successors.iter().map(|tokens| contents(&tokens.refresh)).collect();
            assert_eq!(distinct.len(), 1, "{distinct:?}");
            assert_eq!(distinct.iter().next().unwrap().generation, contents(&user.refresh).generation + 1);
            for (node, before) in nodes.iter().zip(before) {
                assert!(refreshes(node) > before, "no refresh came to {}", node.process.url);
                node.me(&successors[0].access).expect(200);
            }
            refreshed(nodes[2].refresh_with(&json!({ "refreshToken": successors[49].refresh, "retryKey": KEY })));
        }
    }
    assert!(nodes[0].events("refresh_replayed").is_empty());
}

/// A client of the proxy.
struct Client<'a> {
    proxy: &'a Proxy,
    tokens: Tokens,
}

impl Client<'_> {
    fn refresh(&mut self) {
        let body = json!({ "refreshToken": self.tokens.refresh, "retryKey": KEY });
        self.tokens = refreshed(self.proxy.request("POST", "/api/auth/refresh-token").json(&body).send());
    }

    fn me(&self) -> Answer {
        self.proxy.request("GET", "/api/auth/me").bearer(&self.tokens.access).send()
    }
}

/// Waits until every client has been served some more.
fn more(served: &AtomicUsize) {
    let seen = served.load(Ordering::Relaxed);
    until(Duration::from_secs(30), "clients are served", || (served.load(Ordering::Relaxed) > seen + 60).then_some(()));
}

#[test]
#[ignore = "needs PostgreSQL and nginx: scripts/test"]
fn keys_rotated_on_one_node_fail_no_request_on_any() {
    let database = Database::new();
    let nodes = three(&Settings::node(&database.url).with("trusted_proxies", "127.0.0.0/8"));
    let proxy = Proxy::nginx(&addresses(&nodes));
    let users: Vec<Tokens> = (0..3).map(|number| nodes[0].user(&format!("user{number}"))).collect();
    let first = nodes[1].log_in("user0");
    let (leaked, over, served, renewed) =
        (AtomicBool::new(false), AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for tokens in users {
            let (proxy, leaked, over, served, renewed) = (&proxy, &leaked, &over, &served, &renewed);
            scope.spawn(move || {
                let mut client = Client { proxy, tokens };
                while !over.load(Ordering::Relaxed) {
                    client.refresh();
                    until(Duration::from_secs(3), "an access token just issued is accepted", || {
                        let answer = client.me();
                        if answer.status == 200 {
                            return Some(());
                        }
                        // A key that leaked verifies nothing from one moment to the next: clients refresh.
                        assert!(leaked.load(Ordering::Relaxed), "{}: {}", answer.status, answer.text());
                        answer.expect(401);
                        renewed.fetch_add(1, Ordering::Relaxed);
                        client.refresh();
                        None
                    });
                    served.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        more(&served);
        nodes[0].settings.cli(&["key", "rotate"]).done();
        until(Duration::from_secs(3), "every node publishes the new key", || {
            nodes.iter().all(|node| published(node).len() == 2).then_some(())
        });
        more(&served);
        // It is published ahead and signs later; the old tokens are good meanwhile.
        assert!(nodes.iter().all(|node| key_of(&node.log_in("user0").access) == key_of(&first.access)));
        assert!(nodes.iter().all(|node| node.me(&first.access).status == 200));

        leaked.store(true, Ordering::Relaxed);
        nodes[0].settings.cli(&["key", "rotate", "--now"]).done();
        until(Duration::from_secs(3), "every node signs with the newest key and refuses the old ones", || {
            let signing: HashSet<Value> = nodes.iter().map(|node| key_of(&node.log_in("user0").access)).collect();
            let refused = nodes.iter().all(|node| node.me(&first.access).status == 401);
            (signing.len() == 1 && !signing.contains(&key_of(&first.access)) && refused).then_some(())
        });
        // A client may hold a token that a node signed just before it knew of the newest key.
        more(&served);
        leaked.store(false, Ordering::Relaxed);
        more(&served);
        over.store(true, Ordering::Relaxed);
    });
    show(format!(
        "{} served, {} renewed after the leak",
        served.load(Ordering::Relaxed),
        renewed.load(Ordering::Relaxed)
    ));
    // Nobody was signed out.
    refreshed(nodes[2].refresh(&first.refresh));
}

fn percentile(times: &mut [Duration], hundredths: usize) -> Duration {
    times.sort_unstable();
    times[(times.len() * hundredths).div_ceil(100) - 1]
}

#[test]
#[ignore = "needs PostgreSQL: scripts/test"]
fn a_revocation_on_one_node_reaches_another_and_its_resource_server_within_a_second() {
    const TRIES: usize = 200;
    let database = Database::new();
    let here = Settings::node(&database.url);
    let there = here.sibling();
    let issuer = there.url();
    let [here, there] = [here, there].map(|settings| settings.with("issuer", &issuer).start());
    let key = there.settings.cli(&["reader", "create", "weather"]).done();
    let weather = Weather::start(&["--authority", &issuer], &[("COUNTERSIGN_REVOCATION_READER_SECRET", key.trim())]);
    here.register("alice");
    let (mut at_node, mut at_weather) = (Vec::new(), Vec::new());
    for number in 0..TRIES {
        let alice = here.log_in("alice");
        there.me(&alice.access).expect(200);
        weather.forecast(&alice.access).expect(200);
        // Each kind of revocation takes its turn.
        let (request, code) = match number % 10 {
            9 => (here.post("/api/auth/revoke/alice"), "account_revoked"),
            _ => (here.post("/api/auth/logout"), "session_revoked"),
        };
        request.bearer(&alice.access).send().expect(204);
        let revoked = Instant::now();
        let patience = Duration::from_secs(5);
        assert_eq!(there.refused_within(patience, &alice.access), code);
        at_node.push(revoked.elapsed());
        assert_eq!(weather.refused_within(patience, &alice.access), code);
        at_weather.push(revoked.elapsed());
    }
    for (place, times) in [("node", &mut at_node), ("weather", &mut at_weather)] {
        let [p50, p99] = [50, 99].map(|hundredths| percentile(times, hundredths));
        show(format!("refused at the other {place}: p50 {p50:?}, p99 {p99:?}, longest {:?}", times[TRIES - 1]));
        assert!(p99 < Duration::from_secs(1), "{place}: p99 {p99:?}");
    }
}

fn guess_at(address: SocketAddr, from: &str, name: &str) -> Answer {
    let login = json!({ "username": name, "password": "a wrong password" });
    Request::new(address, "POST", "/api/auth/login").forwarded_for(from).json(&login).send()
}

/// Guesses until one has to wait; gives back how many guesses there were.
fn guesses(address: SocketAddr, from: &str, name: &str) -> usize {
    (0..200)
        .find(|_| {
            let answer = guess_at(address, from, name);
            let is_throttled = answer.status == 429;
            answer.refused(
                if is_throttled { 429 } else { 401 },
                if is_throttled { "too_many_attempts" } else { "invalid_credentials" },
            );
            is_throttled
        })
        .expect("guessing without end")
}

#[test]
#[ignore = "needs PostgreSQL and nginx: scripts/test"]
fn guesses_spread_over_the_nodes_are_throttled_like_guesses_at_one() {
    /// How long a guess has to be waited for once the allowance of one address for one account is used up.
    const REFILL: u64 = 30;
    let with = |database: &Database| Settings::node(&database.url).with("trusted_proxies", "127.0.0.0/8");
    let database = Database::new();
    let alone = with(&database).start();
    alone.register("alice");
    let one = guesses(alone.address, "198.51.100.1", "alice");
    drop(alone);

    let database = Database::new();
    let nodes = three(&with(&database));
    let proxy = Proxy::nginx(&addresses(&nodes));
    nodes[0].register("alice");
    let began = Instant::now();
    let in_turn = guesses(proxy.address, "198.51.100.1", "alice");
    // At once at every node, which is as fast as anybody can be.
    let guess_all = |number: usize| guesses(nodes[number].address, "198.51.100.2", "alice");
    let side_by_side: usize = at_once(3, guess_all).into_iter().sum();
    show(format!(
        "guesses before one has to wait: {one} at one node, {in_turn} in turn at three, {side_by_side} side by side"
    ));
    assert!((5..=20).contains(&one), "{one}");
    // In the moment before the nodes tell each other, each gives out what is left.
    assert!(in_turn <= 2 * one && side_by_side <= 3 * one, "{one} at one node, {in_turn} and {side_by_side} at three");
    // Every guess too many has to be waited for, at every node: over time three give no more than one.
    for (address, guessed) in [("198.51.100.1", in_turn), ("198.51.100.2", side_by_side)] {
        let owed = (guessed - one) as u64 * REFILL;
        for node in &nodes {
            until(Duration::from_secs(2), "the node knows what was guessed at the others", || {
                let answer = guess_at(node.address, address, "alice");
                answer.refused(429, "too_many_attempts");
                let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
                (wait + began.elapsed().as_secs() + 1 >= owed).then_some(())
            });
        }
    }
    // Nobody else is concerned.
    for node in &nodes {
        let login = json!({ "username": "alice", "password": PASSWORD });
        node.post("/api/auth/login").forwarded_for("203.0.113.5").json(&login).send().expect(200);
    }
}

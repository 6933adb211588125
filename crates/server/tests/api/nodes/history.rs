//! A recorded history of many clients at several nodes, and what must be true of any such history.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use serde_json::json;

use super::{Contents, addresses, contents, three};
use crate::support::{Answer, Connection, Database, KEY, PASSWORD, Request, Settings, Tokens, at_once, show};

/// One operation on one session, as its client saw it.
#[derive(Clone, Copy, Debug)]
struct Entry {
    family: [u8; 16],
    what: What,
    began: Instant,
    answered: Instant,
    got: Got,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    SignIn,
    /// The refresh token of a generation was presented.
    Present(u32),
    End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Got {
    /// A refresh token.
    Token(Contents),
    /// The session has ended, by this operation or before it.
    Ended,
    /// Refused, and nothing was ended.
    Refused,
    /// The node gave up waiting for the database, as it may where the machine is busy: nobody knows what was done.
    Unknown,
}

/// What is wrong with a history; empty where nothing is.
fn faults(history: &[Entry]) -> Vec<String> {
    let mut faults = Vec::new();
    let mut secrets: HashMap<([u8; 16], u32), [u8; 32]> = HashMap::new();
    // When the end of a session was known to somebody first, and when a generation was used for the first time.
    let mut ended: HashMap<[u8; 16], Instant> = HashMap::new();
    let mut used: HashMap<([u8; 16], u32), Instant> = HashMap::new();
    for entry in history {
        match (entry.what, entry.got) {
            (_, Got::Token(token)) => {
                let secret = *secrets.entry((token.family, token.generation)).or_insert(token.secret);
                if secret != token.secret {
                    faults.push(format!("two tokens of generation {}: {entry:?}", token.generation));
                }
                let expected = match entry.what {
                    What::Present(generation) => (entry.family, generation + 1),
                    What::SignIn | What::End => (entry.family, token.generation),
                };
                if (token.family, token.generation) != expected {
                    faults.push(format!("not the successor: {entry:?}"));
                }
                if let What::Present(generation) = entry.what {
                    let at = used.entry((entry.family, generation)).or_insert(entry.answered);
                    *at = (*at).min(entry.answered);
                }
            }
            (_, Got::Ended) => {
                let at = ended.entry(entry.family).or_insert(entry.answered);
                *at = (*at).min(entry.answered);
            }
            (_, Got::Refused | Got::Unknown) => {}
        }
    }
    for entry in history {
        let (What::Present(generation), Got::Token(_)) = (entry.what, entry.got) else { continue };
        if ended.get(&entry.family).is_some_and(|at| *at < entry.began) {
            faults.push(format!("a refresh that began after the session's end had been told: {entry:?}"));
        }
        // Whoever uses a token has got it: its parent is no retry any more.
        if used.get(&(entry.family, generation + 1)).is_some_and(|at| *at < entry.began) {
            faults.push(format!("an ancestor was accepted: {entry:?}"));
        }
    }
    faults
}

/// Where a client of one session stands.
struct Chain {
    tokens: BTreeMap<u32, String>,
    family: [u8; 16],
    access: String,
    keyed: bool,
    over: bool,
}

impl Chain {
    fn new(tokens: Tokens, keyed: bool) -> Self {
        let Contents { family, generation, .. } = contents(&tokens.refresh);
        Self { tokens: [(generation, tokens.refresh)].into(), family, access: tokens.access, keyed, over: false }
    }

    /// The newest refresh token but `back`, or the oldest where there are not that many.
    fn token(&self, back: u32) -> (u32, String) {
        let newest = *self.tokens.keys().next_back().unwrap();
        let (generation, token) = self.tokens.range(newest.saturating_sub(back)..).next().unwrap();
        (*generation, token.clone())
    }
}

/// A small generator of numbers (SplitMix64): the same sequence in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }
}

/// One client program: it works on any session, at any node, on connections that it keeps.
struct Worker {
    numbers: Numbers,
    connections: Vec<(SocketAddr, Connection)>,
    history: Vec<Entry>,
}

impl Worker {
    fn new(number: usize, nodes: &[SocketAddr]) -> Self {
        let connections = nodes.iter().map(|node| (*node, Connection::open(*node).unwrap())).collect();
        Self { numbers: Numbers(number as u64), connections, history: Vec::new() }
    }

    fn ask(&mut self, method: &'static str, target: &str, with: impl FnOnce(Request) -> Request) -> (Instant, Answer) {
        let node = self.numbers.below(self.connections.len() as u64) as usize;
        let (address, connection) = &mut self.connections[node];
        let request = with(Request::new(*address, method, target));
        let began = Instant::now();
        (began, connection.send(&request).unwrap())
    }

    fn note(&mut self, family: [u8; 16], what: What, began: Instant, got: Got) {
        self.history.push(Entry { family, what, began, answered: Instant::now(), got });
    }

    fn sign_in(&mut self, account: usize) -> Tokens {
        let login = json!({ "username": format!("user{account}"), "password": PASSWORD });
        let (began, answer) = loop {
            let (began, answer) = self.ask("POST", "/api/auth/login", |request| request.json(&login));
            if answer.status != 503 {
                break (began, answer);
            }
        };
        let body = answer.expect(200).json();
        let text = |member: &str| body[member].as_str().unwrap().to_owned();
        let tokens = Tokens { access: text("token"), refresh: text("refreshToken") };
        let token = contents(&tokens.refresh);
        self.note(token.family, What::SignIn, began, Got::Token(token));
        tokens
    }

    /// Does something with a session. The lock is held to look and to note, never while a request is under way.
    fn step(&mut self, chain: &Mutex<Chain>, account: usize) {
        let (over, keyed, family, access) = {
            let chain = chain.lock().unwrap();
            (chain.over, chain.keyed, chain.family, chain.access.clone())
        };
        if over {
            // Another may do the same at this moment: one of the two sessions is then not used any more.
            let tokens = self.sign_in(account);
            *chain.lock().unwrap() = Chain::new(tokens, keyed);
            return;
        }
        match self.numbers.below(200) {
            0..150 => self.present(chain, 0, false),
            150..180 => self.present(chain, 1, false),
            180..195 => {
                let back = 2 + self.numbers.below(6) as u32;
                self.present(chain, back, false);
            }
            // Somebody else has got hold of the parent: to the server a theft.
            195 if keyed => self.present(chain, 1, true),
            _ => {
                let (began, answer) = self.ask("POST", "/api/auth/logout", |request| request.bearer(&access));
                if answer.status == 503 {
                    return self.note(family, What::End, began, Got::Unknown);
                }
                if answer.status != 204 {
                    answer.refused(401, "session_revoked");
                }
                self.note(family, What::End, began, Got::Ended);
                self.close(chain, family);
            }
        }
    }

    fn close(&self, chain: &Mutex<Chain>, family: [u8; 16]) {
        let mut chain = chain.lock().unwrap();
        if chain.family == family {
            chain.over = true;
        }
    }

    fn present(&mut self, chain: &Mutex<Chain>, back: u32, stolen: bool) {
        let (generation, token, family, keyed) = {
            let chain = chain.lock().unwrap();
            let (generation, token) = chain.token(back);
            (generation, token, chain.family, chain.keyed)
        };
        let body = match (keyed, stolen) {
            (true, false) => json!({ "refreshToken": token, "retryKey": KEY }),
            (true, true) => json!({ "refreshToken": token, "retryKey": "somebody else's key" }),
            (false, _) => json!({ "refreshToken": token }),
        };
        let (began, answer) = self.ask("POST", "/api/auth/refresh-token", |request| request.json(&body));
        let got = if answer.status == 200 {
            let body = answer.json();
            let text = |member: &str| body[member].as_str().unwrap().to_owned();
            let successor = contents(&text("refreshToken"));
            let mut chain = chain.lock().unwrap();
            if chain.family == family {
                chain.tokens.insert(successor.generation, text("refreshToken"));
                chain.access = text("accessToken");
            }
            Got::Token(successor)
        } else {
            let problem = answer.problem();
            match (answer.status, problem["code"].as_str().unwrap()) {
                (400, "refresh_token_late_duplicate") => Got::Refused,
                (400, "refresh_token_revoked" | "refresh_token_replayed") => Got::Ended,
                (503, "store_unavailable") => Got::Unknown,
                _ => panic!("{problem}"),
            }
        };
        self.note(family, What::Present(generation), began, got);
        if got == Got::Ended {
            self.close(chain, family);
        }
    }
}

#[test]
#[ignore = "needs PostgreSQL: scripts/test"]
fn ten_thousand_operations_on_a_hundred_sessions_are_one_history() {
    const OPERATIONS: usize = 10_000;
    const SESSIONS: usize = 100;
    const ACCOUNTS: usize = 10;
    const WORKERS: usize = 12;
    let database = Database::new();
    // Ancestors come late in this history and nobody stole them.
    let settings = Settings::node(&database.url).with("access_token_lifetime", "1h").with("rotation_overlap", "30m");
    let nodes = three(&settings);
    (0..ACCOUNTS).for_each(|account| nodes[0].register(&format!("user{account}")));
    let nodes = &nodes;
    let account = |session: usize| session % ACCOUNTS;
    let mut first = Worker::new(WORKERS, &addresses(nodes));
    let chains: Vec<_> = (0..SESSIONS)
        .map(|session| Mutex::new(Chain::new(first.sign_in(account(session)), session % 2 == 0)))
        .collect();
    let done = AtomicUsize::new(0);
    let histories = at_once(WORKERS, |number| {
        let mut worker = Worker::new(number, &addresses(nodes));
        while done.fetch_add(1, Ordering::Relaxed) < OPERATIONS {
            // Half of what is done is done with a few sessions, so that clients meet.
            let session = match worker.numbers.below(2) {
                0 => worker.numbers.below(4),
                _ => worker.numbers.below(SESSIONS as u64),
            };
            worker.step(&chains[session as usize], account(session as usize));
        }
        worker.history
    });
    let history: Vec<Entry> = histories.into_iter().flatten().chain(first.history).collect();
    let count = |found: &dyn Fn(&Entry) -> bool| history.iter().filter(|entry| found(entry)).count();
    let tokens = count(&|entry| matches!((entry.what, entry.got), (What::Present(_), Got::Token(_))));
    let unknown = count(&|entry| entry.got == Got::Unknown);
    let distinct: std::collections::HashSet<Contents> = history
        .iter()
        .filter_map(|entry| match entry.got {
            Got::Token(token) => Some(token),
            Got::Ended | Got::Refused | Got::Unknown => None,
        })
        .collect();
    show(format!(
        "{} operations: {tokens} refreshes succeeded ({} distinct tokens), {} late duplicates, {} ends, {} sign-ins, {unknown} unknown",
        history.len(),
        distinct.len(),
        count(&|entry| entry.got == Got::Refused),
        count(&|entry| entry.got == Got::Ended),
        count(&|entry| entry.what == What::SignIn),
    ));
    assert!(history.len() >= OPERATIONS && unknown <= OPERATIONS / 100, "{unknown} of {} unknown", history.len());
    let faults = faults(&history);
    assert!(faults.is_empty(), "{} faults, the first:\n{}", faults.len(), faults[..faults.len().min(5)].join("\n"));
}

#[test]
fn a_history_with_a_fork_a_return_from_the_dead_or_an_ancestor_is_noticed() {
    let start = Instant::now();
    let at = |seconds| start + std::time::Duration::from_secs(seconds);
    let token = |generation, secret| Got::Token(Contents { family: [1; 16], generation, secret: [secret; 32] });
    let entry = |from, to, what, got| Entry { family: [1; 16], what, began: at(from), answered: at(to), got };
    let good = [
        entry(0, 1, What::SignIn, token(0, 0)),
        entry(1, 3, What::Present(0), token(1, 1)),
        entry(2, 3, What::Present(0), token(1, 1)),
        entry(4, 6, What::Present(1), token(2, 2)),
        // Overtaken by the use of its successor, which was not over yet.
        entry(5, 7, What::Present(0), token(1, 1)),
        entry(7, 9, What::End, Got::Ended),
        entry(8, 10, What::Present(2), token(3, 3)),
        entry(10, 11, What::Present(3), Got::Ended),
    ];
    assert_eq!(faults(&good), Vec::<String>::new());
    for (bad, words) in [
        (entry(2, 3, What::Present(0), token(1, 9)), "two tokens"),
        (entry(2, 3, What::Present(0), token(2, 2)), "not the successor"),
        (entry(10, 11, What::Present(2), token(3, 3)), "after the session's end"),
        (entry(7, 8, What::Present(0), token(1, 1)), "an ancestor"),
    ] {
        let found = faults(&[&good[..], &[bad]].concat());
        assert!(found.len() == 1 && found[0].contains(words), "{words}: {found:?}");
    }
}

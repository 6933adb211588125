//! Honest clients that go on whatever happens to the nodes, and remember what they were told.

use std::io;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{Answer, PASSWORD, Request, Tokens, refreshed};

/// The retry key of every honest client.
pub(crate) const KEY: &str = "only this client knows";

/// How long an honest client tries before it is angry.
const PATIENCE: Duration = Duration::from_secs(60);

/// Clients of several nodes: where one does not answer, or says that the store is away, they ask the next.
pub(crate) struct Honest {
    nodes: Vec<SocketAddr>,
    over: AtomicBool,
    /// Refreshes that were acknowledged.
    pub(crate) refreshes: AtomicUsize,
    /// Requests that got no answer, or 503, and were repeated.
    pub(crate) repeated: AtomicUsize,
    /// Sessions whose end was acknowledged.
    pub(crate) ended: Mutex<Vec<Tokens>>,
}

impl Honest {
    pub(crate) fn new(nodes: &[SocketAddr]) -> Self {
        let (refreshes, repeated) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Self { nodes: nodes.to_vec(), over: AtomicBool::new(false), refreshes, repeated, ended: Mutex::default() }
    }

    /// Lets every client finish what it is at.
    pub(crate) fn stop(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    /// Refreshes and uses one session for as long as it is let. Every fourth time it signs in as `name` and out again.
    pub(crate) fn use_session(&self, chain: &mut Tokens, name: &str) {
        for turn in 0.. {
            if self.over.load(Ordering::Relaxed) {
                return;
            }
            let body = json!({ "refreshToken": chain.refresh, "retryKey": KEY });
            let answer = self.insist(turn, |node| post(node, "/api/auth/refresh-token", &body).try_send());
            *chain = refreshed(answer);
            self.refreshes.fetch_add(1, Ordering::Relaxed);
            self.insist(turn + 1, |node| get(node, "/api/auth/me").bearer(&chain.access).try_send()).expect(200);
            if turn % 4 == 3 {
                self.sign_in_and_out(turn, name);
            }
        }
    }

    fn sign_in_and_out(&self, turn: usize, name: &str) {
        let login = json!({ "username": name, "password": PASSWORD });
        let answer = self.insist(turn, |node| post(node, "/api/auth/login", &login).try_send()).expect(200).json();
        let text = |member: &str| answer[member].as_str().unwrap().to_owned();
        let session = Tokens { access: text("token"), refresh: text("refreshToken") };
        let out = |node| Request::new(node, "POST", "/api/auth/logout").bearer(&session.access).try_send();
        let answer = self.insist(turn + 2, out);
        // Where the first try was carried out and its answer lost, the second has nothing left to end.
        assert!(answer.status == 204 || answer.json()["code"] == "session_revoked", "{}", answer.text());
        self.ended.lock().unwrap().push(session);
    }

    /// Asks one node after the other until one answers.
    #[track_caller]
    fn insist(&self, first: usize, ask: impl Fn(SocketAddr) -> io::Result<Answer>) -> Answer {
        let began = Instant::now();
        for node in self.nodes.iter().cycle().skip(first % self.nodes.len()) {
            let answer = ask(*node);
            match answer {
                Ok(answer) if answer.status != 503 => return answer,
                Ok(answer) => _ = answer.refused(503, "store_unavailable"),
                Err(_) => {}
            }
            self.repeated.fetch_add(1, Ordering::Relaxed);
            assert!(began.elapsed() < PATIENCE, "no node has answered for {PATIENCE:?}");
            // Not to wait for something, but not to spin either: an honest client leaves the server in peace for a moment.
            thread::sleep(Duration::from_millis(50));
        }
        unreachable!("there are nodes without end");
    }
}

fn post(node: SocketAddr, target: &str, body: &Value) -> Request {
    Request::new(node, "POST", target).json(body)
}

fn get(node: SocketAddr, target: &str) -> Request {
    Request::new(node, "GET", target)
}

//! PostgreSQL is away: stopped, crashed, cut off or hung. Nodes say so at once, let nobody in unchecked, and go on when it is back.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{
    Answer, Honest, KEY, PASSWORD, Postgres, Request, Server, Settings, Tokens, Weather, Wire, refreshed, show, until,
};

/// How soon a node answers while its database is away.
const AT_ONCE: Duration = Duration::from_secs(2);
/// For how long a node hands the feed on from memory while it cannot reach the database.
const VOUCHED: Duration = Duration::from_secs(45);
/// How soon everything works again.
const SOON: Duration = Duration::from_secs(5);
/// For how long a resource server trusts what it has heard last: the default of the bearer layer.
const MAX_STALE: Duration = Duration::from_secs(10);

/// Two nodes on a PostgreSQL of their own, and a weather that follows the second.
struct House {
    postgres: Postgres,
    nodes: [Server; 2],
    weather: Weather,
}

/// Who lives there.
struct People {
    alice: Tokens,
    /// Whose session was ended before.
    bob: Tokens,
    /// Sessions that are only used while the database is away: what becomes of such a request nobody was told.
    doubtful: Vec<Tokens>,
}

impl House {
    fn new() -> Self {
        let postgres = Postgres::new();
        let settings = Settings::node(&postgres.url(&postgres.new_database()));
        let other = settings.sibling();
        let issuer = other.url();
        let nodes = [settings, other].map(|settings| settings.with("issuer", &issuer).start());
        let key = nodes[0].settings.cli(&["reader", "create", "weather"]).done();
        let weather =
            Weather::start(&["--authority", &issuer], &[("COUNTERSIGN_REVOCATION_READER_SECRET", key.trim())]);
        Self { postgres, nodes, weather }
    }

    fn addresses(&self) -> [SocketAddr; 2] {
        [self.nodes[0].address, self.nodes[1].address]
    }

    fn people(&self) -> People {
        let [here, there] = &self.nodes;
        let (alice, bob) = (here.user("alice"), here.user("bob"));
        here.post("/api/auth/logout").bearer(&bob.access).send().expect(204);
        here.register("carol");
        let doubtful = (0..8).map(|_| there.log_in("carol")).collect();
        self.weather.forecast(&alice.access).expect(200);
        self.weather.refused_within(Duration::from_secs(1), &bob.access);
        People { alice, bob, doubtful }
    }

    /// While the database is away, every call that needs it says so at once, and the others answer.
    fn is_away(&self, people: &People) {
        let doubtful = &people.doubtful;
        let login = json!({ "username": "alice", "password": PASSWORD });
        let account = json!({ "username": "dave", "email": "dave@example.com", "password": PASSWORD });
        let refresh = |tokens: &Tokens| json!({ "refreshToken": tokens.refresh, "retryKey": KEY });
        for (number, node) in self.nodes.iter().enumerate() {
            let mine = &doubtful[number * 4..];
            let calls: [(&str, Request); 10] = [
                ("sign in", node.post("/api/auth/login").json(&login)),
                ("register", node.post("/api/auth/register").json(&account)),
                ("refresh", node.post("/api/auth/refresh-token").json(&refresh(&mine[0]))),
                ("me", node.get("/api/auth/me").bearer(&people.alice.access)),
                ("me of who was signed out", node.get("/api/auth/me").bearer(&people.bob.access)),
                ("sessions", node.get("/api/auth/sessions").bearer(&people.alice.access)),
                ("sign out", node.post("/api/auth/logout").bearer(&mine[1].access)),
                ("revoke", node.post("/api/auth/revoke/carol").bearer(&mine[2].access)),
                ("refresh of who was signed out", node.post("/api/auth/refresh-token").json(&refresh(&people.bob))),
                ("readyz", node.get("/readyz")),
            ];
            // At the same time, as they come in life.
            thread::scope(|scope| {
                for (what, request) in &calls {
                    scope.spawn(move || {
                        let (answer, took) = timed(request);
                        assert_eq!(answer.status, 503, "{what}: {}", answer.text());
                        answer.refused(503, "store_unavailable");
                        assert!(took < AT_ONCE, "{what}: after {took:?}");
                    });
                }
            });
            for target in ["/.well-known/jwks.json", "/.well-known/openid-configuration", "/livez"] {
                let (answer, took) = timed(&node.get(target));
                answer.expect(200);
                assert!(took < AT_ONCE, "{target}: after {took:?}");
            }
        }
        self.nobody_is_let_in_unchecked(people);
    }

    /// Whoever was signed out stays out, at the resource server too.
    fn nobody_is_let_in_unchecked(&self, people: &People) {
        let answer = self.weather.forecast(&people.bob.access);
        assert!(matches!(answer.status, 401 | 503), "{}: {}", answer.status, answer.text());
    }

    /// The database is back: everything works again soon, and what had been acknowledged is there.
    fn is_back(&self, people: &mut People) {
        let back = Instant::now();
        until(SOON, "every node is ready", || {
            self.nodes.iter().all(|node| node.get("/readyz").send().status == 200).then_some(())
        });
        for node in &self.nodes {
            node.log_in("alice");
            node.me(&people.alice.access).expect(200);
            people.alice = refreshed(node.refresh_keyed(&people.alice.refresh, KEY));
        }
        show(format!("everything works {:?} after the database is back", back.elapsed()));
        assert!(back.elapsed() < SOON, "{:?}", back.elapsed());
        until(MAX_STALE, "the weather trusts again", || {
            (self.weather.forecast(&people.alice.access).status == 200).then_some(())
        });
        for node in &self.nodes {
            node.me(&people.bob.access).refused(401, "session_revoked");
            node.refresh(&people.bob.refresh).refused(400, "refresh_token_revoked");
        }
        assert!(matches!(self.weather.forecast(&people.bob.access).status, 401));
        // Whether or not the refresh of these came through, its repetition does.
        for (number, node) in self.nodes.iter().enumerate() {
            let answer = node.refresh_keyed(&people.doubtful[number * 4].refresh, KEY);
            let revoked = answer.status == 400 && answer.json()["code"] == "refresh_token_revoked";
            assert!(answer.status == 200 || revoked, "{}", answer.text());
        }
    }

    /// Lets honest clients work while something happens, and looks afterwards whether what they were told is so.
    fn under_load(&mut self, happening: impl FnOnce(&mut Self, &Honest)) {
        let mut chains: Vec<Tokens> = (0..2).map(|number| self.nodes[0].user(&format!("chain{number}"))).collect();
        let honest = Honest::new(&self.addresses());
        thread::scope(|scope| {
            for (number, chain) in chains.iter_mut().enumerate() {
                let honest = &honest;
                scope.spawn(move || honest.use_session(chain, &format!("chain{number}")));
            }
            self.works(&honest);
            happening(self, &honest);
            self.works(&honest);
            honest.stop();
        });
        for (chain, node) in chains.iter().zip(&self.nodes) {
            let next = refreshed(node.refresh_keyed(&chain.refresh, KEY));
            node.me(&next.access).expect(200);
        }
        let ended = honest.ended.into_inner().unwrap();
        for session in &ended {
            self.nodes[0].me(&session.access).refused(401, "session_revoked");
            self.nodes[1].refresh(&session.refresh).refused(400, "refresh_token_revoked");
        }
        assert!(self.nodes[0].events("refresh_replayed").is_empty());
        let (refreshes, repeated) = (honest.refreshes.into_inner(), honest.repeated.into_inner());
        show(format!("{refreshes} refreshes, {} sign-outs, {repeated} requests repeated", ended.len()));
    }

    /// Waits until some more is done.
    fn works(&self, honest: &Honest) {
        let seen = honest.refreshes.load(Ordering::Relaxed);
        until(Duration::from_secs(30), "clients are served", || {
            (honest.refreshes.load(Ordering::Relaxed) > seen + 20).then_some(())
        });
    }
}

fn timed(request: &Request) -> (Answer, Duration) {
    let asked = Instant::now();
    (request.send(), asked.elapsed())
}

/// Looks again and again for as long as the outage is to last.
fn throughout(outage: Duration, mut look: impl FnMut()) {
    let began = Instant::now();
    while began.elapsed() < outage {
        look();
        thread::sleep(Duration::from_millis(500));
    }
}

#[test]
#[ignore = "needs PostgreSQL: scripts/test"]
fn thirty_seconds_without_the_database_cost_nobody_a_session() {
    let mut house = House::new();
    let mut people = house.people();
    house.under_load(|house, _| {
        house.postgres.stop();
        let stopped = Instant::now();
        house.is_away(&people);
        // Nobody can revoke meanwhile, so what was issued before stays good.
        throughout(Duration::from_secs(30).saturating_sub(stopped.elapsed()), || {
            house.is_away(&people);
            house.weather.forecast(&people.alice.access).expect(200);
        });
        house.postgres.start();
        house.is_back(&mut people);
    });
}

#[test]
#[ignore = "needs PostgreSQL: scripts/test"]
fn a_database_that_crashes_again_and_again_has_kept_what_was_acknowledged() {
    let mut house = House::new();
    let mut people = house.people();
    house.under_load(|house, honest| {
        for _ in 0..5 {
            house.works(honest);
            house.postgres.crash();
            house.is_away(&people);
            house.postgres.start();
            house.is_back(&mut people);
        }
    });
}

#[test]
#[ignore = "needs PostgreSQL: scripts/test"]
fn connections_that_drop_are_made_again() {
    let mut house = House::new();
    let mut people = house.people();
    house.under_load(|house, honest| {
        for _ in 0..20 {
            house.works(honest);
            let dropped = house.postgres.psql(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                 WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()",
            );
            assert!(dropped.parse::<u32>().unwrap() > 0, "{dropped} connections");
            // Nobody has to wait for anything: whoever is refused tries again at once.
            let asked = Instant::now();
            until(AT_ONCE, "both nodes answer again", || {
                let answers = house.nodes.each_ref().map(|node| node.me(&people.alice.access));
                answers.iter().for_each(|answer| assert!(matches!(answer.status, 200 | 503), "{}", answer.text()));
                answers.iter().all(|answer| answer.status == 200).then_some(())
            });
            assert!(asked.elapsed() < AT_ONCE);
        }
        house.is_back(&mut people);
    });
}

#[test]
#[ignore = "needs PostgreSQL: scripts/test"]
fn a_database_that_hangs_is_away_too() {
    let mut house = House::new();
    let mut people = house.people();
    house.under_load(|house, _| {
        for _ in 0..2 {
            house.postgres.hang();
            let hung = Instant::now();
            house.is_away(&people);
            house.weather.forecast(&people.alice.access).expect(200);
            throughout(Duration::from_secs(8).saturating_sub(hung.elapsed()), || house.is_away(&people));
            house.postgres.resume();
            house.is_back(&mut people);
        }
    });
}

#[test]
#[ignore = "needs PostgreSQL: scripts/test"]
fn a_node_that_has_lost_the_database_alone_does_not_pass_for_up_to_date() {
    const SECRET: &str = "a-secret-for-readers-of-the-feed";
    let postgres = Postgres::new();
    let database = postgres.new_database();
    let wire = Wire::to(postgres.port);
    let here = Settings::node(&postgres.url(&database)).with("revocation_reader_secret", SECRET);
    let there = here.sibling().with("database_url", format!("postgres://postgres@127.0.0.1:{}/{database}", wire.port));
    let issuer = there.url();
    let [here, there] = [here, there].map(|settings| settings.with("issuer", &issuer).start());
    let weather = Weather::start(&["--authority", &issuer], &[("COUNTERSIGN_REVOCATION_READER_SECRET", SECRET)]);
    let (alice, bob) = (here.user("alice"), here.user("bob"));
    weather.forecast(&alice.access).expect(200);

    wire.hold();
    let held = Instant::now();
    here.post("/api/auth/logout").bearer(&alice.access).send().expect(204);
    let (answer, took) = timed(&there.get("/api/auth/me").bearer(&alice.access));
    answer.refused(503, "store_unavailable");
    assert!(took < AT_ONCE, "{took:?}");
    // Its resource server cannot know. It stops trusting soon, and does not begin again before it does know.
    let answer = until(VOUCHED + MAX_STALE + SOON, "the weather stops trusting", || {
        Some(weather.forecast(&alice.access)).filter(|answer| answer.status != 200)
    });
    show(format!("the weather stops trusting after {:?}: {}", held.elapsed(), answer.status));
    throughout(Duration::from_secs(3), || assert!(matches!(weather.forecast(&alice.access).status, 401 | 503)));

    wire.release();
    until(MAX_STALE, "the weather trusts again", || (weather.forecast(&bob.access).status == 200).then_some(()));
    assert_eq!(weather.refused_within(Duration::from_secs(1), &alice.access), "session_revoked");
    there.me(&alice.access).refused(401, "session_revoked");
    there.me(&bob.access).expect(200);
}

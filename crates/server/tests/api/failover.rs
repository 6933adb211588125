//! The primary is lost and a standby takes over: nothing that was revoked or used comes alive.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{
    Answer, KEY, Postgres, Request, Server, Settings, Tokens, Weather, Wire, at_once, refreshed, show, until,
};

/// How soon nodes are ready after the standby has taken over.
const SOON: Duration = Duration::from_secs(5);

/// A primary and its standby, behind a wire that leads to the one that is in charge.
struct Pair {
    primary: Postgres,
    standby: Postgres,
    wire: Wire,
    url: String,
}

impl Pair {
    fn new() -> Self {
        let primary = Postgres::new();
        let database = primary.new_database();
        let standby = primary.standby();
        let wire = Wire::to(primary.port);
        let url = format!("postgres://postgres@127.0.0.1:{}/{database}", wire.port);
        Self { primary, standby, wire, url }
    }

    /// What is committed from now on will be lost.
    fn cut(&self) {
        self.primary.wait_for(&self.standby);
        self.standby.cut_off();
    }

    fn fail_over(&mut self) {
        self.primary.crash();
        self.standby.promote();
        self.wire.lead_to(self.standby.port);
    }
}

/// What happened between the cut and the failure, all of it acknowledged.
struct Lost {
    /// Requests that must never succeed again.
    dangerous: Vec<(&'static str, Request)>,
    ended: Tokens,
    bystander: Tokens,
}

/// Changes things at one node; at both somebody will try to go on as before.
fn change(here: &Server, there: &Server, pair: &Pair) -> Lost {
    let used = here.user("alice");
    let ended = here.log_in("alice");
    let revoked = here.user("bob");
    here.register("carol");
    here.settings.cli(&["account", "set-roles", "carol", "User", "Admin"]).done();
    let demoted = here.log_in("carol");
    let replayed = here.user("dave");
    let bystander = here.user("erin");
    there.get("/api/auth/revocation-readers").bearer(&demoted.access).send().expect(200);
    pair.cut();

    let newest = refreshed(here.refresh_keyed(&used.refresh, KEY));
    here.post("/api/auth/logout").bearer(&ended.access).send().expect(204);
    here.post("/api/auth/revoke/bob").bearer(&revoked.access).send().expect(204);
    here.settings.cli(&["account", "set-roles", "carol", "User"]).done();
    let next = refreshed(here.refresh_keyed(&replayed.refresh, KEY));
    here.refresh_keyed(&replayed.refresh, "somebody else's key").refused(400, "refresh_token_replayed");

    let of = |node: &Server| {
        let refresh = |tokens: &Tokens| {
            let body = json!({ "refreshToken": tokens.refresh, "retryKey": KEY });
            node.post("/api/auth/refresh-token").json(&body)
        };
        let me = |tokens: &Tokens| node.get("/api/auth/me").bearer(&tokens.access);
        [
            ("the token that was used", refresh(&used)),
            ("the refresh of a session that was ended", refresh(&ended)),
            ("the access token of a session that was ended", me(&ended)),
            ("the refresh of an account that was revoked", refresh(&revoked)),
            ("the access token of an account that was revoked", me(&revoked)),
            ("what a role allowed that was taken", node.get("/api/auth/revocation-readers").bearer(&demoted.access)),
            ("the token that was replayed", refresh(&replayed)),
            ("the access token of a session that ended with a replay", me(&next)),
            ("a token that the standby never heard of", refresh(&newest)),
            ("an access token that the standby never heard of", me(&newest)),
        ]
    };
    let dangerous = [here, there].into_iter().flat_map(of).collect();
    Lost { dangerous, ended, bystander }
}

/// Whether it was refused because of what it is, and not only because the database is away.
fn is_refused(what: &str, answer: &Answer) -> bool {
    assert!(matches!(answer.status, 400 | 401 | 403 | 503), "{what} came alive: {} {}", answer.status, answer.text());
    answer.problem();
    answer.status != 503
}

#[test]
#[ignore = "needs PostgreSQL: scripts/test"]
fn a_standby_without_the_last_commits_brings_nothing_back_to_life() {
    let mut pair = Pair::new();
    let settings = Settings::node(&pair.url);
    let issuer = settings.url();
    let settings = settings.with("issuer", &issuer);
    let (third, fourth) = (settings.sibling(), settings.sibling());
    let here = settings.start();
    let there = third.start();
    let asleep = fourth.start();
    let key = here.settings.cli(&["reader", "create", "weather"]).done();
    let weather = Weather::start(&["--authority", &issuer], &[("COUNTERSIGN_REVOCATION_READER_SECRET", key.trim())]);
    let lost = change(&here, &there, &pair);
    weather.forecast(&lost.bystander.access).expect(200);
    weather.refused_within(Duration::from_secs(1), &lost.ended.access);
    // A node that saw all of it and is not there when the others notice.
    let asleep = asleep.stop();

    pair.fail_over();
    let promoted = Instant::now();
    // From the first moment on and all at once: nobody may be faster than the nodes notice.
    let mut open: Vec<_> = lost.dangerous.iter().collect();
    at_once(open.len(), |number| is_refused(open[number].0, &open[number].1.send()));
    until(SOON * 2, "every request of before is refused for good", || {
        open.retain(|(what, request)| !is_refused(what, &request.send()));
        open.is_empty().then_some(())
    });
    until(SOON, "both nodes are ready", || {
        [&here, &there].iter().all(|node| node.get("/readyz").send().status == 200).then_some(())
    });
    show(format!("ready {:?} after the standby took over", promoted.elapsed()));
    for (what, request) in &lost.dangerous {
        assert!(is_refused(what, &request.send()), "{what}");
    }
    // Nobody can tell whom the loss concerns, so everybody signs in again; and then all is well, at both nodes.
    for node in [&here, &there] {
        node.me(&lost.bystander.access).expect(401).problem();
        node.refresh(&lost.bystander.refresh).expect(400).problem();
        let erin = node.log_in("erin");
        there.me(&erin.access).expect(200);
        let erin = refreshed(here.refresh(&erin.refresh));
        until(SOON * 2, "the weather follows the new history", || {
            (weather.forecast(&erin.access).status == 200).then_some(())
        });
    }
    for tokens in [&lost.ended, &lost.bystander] {
        weather.forecast(&tokens.access).expect(401);
    }
    // What was accepted was accepted by all: the node that slept goes on with the others.
    let woken = asleep.start();
    let erin = woken.log_in("erin");
    here.me(&erin.access).expect(200);
    woken.me(&lost.ended.access).expect(401).problem();
    woken.me(&lost.bystander.access).expect(401).problem();
}

#[test]
#[ignore = "needs PostgreSQL: scripts/test"]
fn a_node_that_starts_after_the_loss_asks_the_operator() {
    let mut pair = Pair::new();
    let here = Settings::node(&pair.url).start();
    let lost = change(&here, &here, &pair);
    let witness = here.settings.dir().join("data/countersign.witness");
    assert!(witness.exists(), "no {}", witness.display());
    let settings = here.stop();
    pair.fail_over();

    let refused = settings.start_refused();
    show(&refused.err);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.err.contains("countersign accept-restore"), "{}", refused.err);
    assert!(!refused.err.contains("panicked"), "{}", refused.err);
    // Refused once is refused again, and other commands do not work around it.
    settings.start_refused();
    let created =
        settings.cli_with(&["account", "create", "eve", "--email", "eve@example.com"], crate::support::PASSWORD);
    assert_eq!(created.code, Some(1), "{created:?}");

    settings.cli(&["accept-restore", "--yes"]).done();
    let here = settings.start();
    for (what, request) in &lost.dangerous {
        assert!(is_refused(what, &request.send()), "{what}");
    }
    here.me(&lost.bystander.access).expect(401).problem();
    here.me(&here.log_in("erin").access).expect(200);
    assert_eq!(here.events("restore_accepted").len(), 1);
    here.stop().start();
}

#[test]
#[ignore = "needs PostgreSQL: scripts/test"]
fn a_synchronous_standby_takes_over_and_nobody_has_to_sign_in_again() {
    let mut pair = Pair::new();
    pair.primary.wait_for_standbys();
    let settings = Settings::node(&pair.url);
    let other = settings.sibling();
    let (here, there) = (settings.start(), other.start());
    let mut alice = here.user("alice");
    let bob = here.user("bob");
    for _ in 0..20 {
        alice = refreshed(here.refresh_keyed(&alice.refresh, KEY));
    }
    there.post("/api/auth/logout").bearer(&bob.access).send().expect(204);
    pair.fail_over();
    let promoted = Instant::now();
    until(SOON, "both nodes are ready", || {
        [&here, &there].iter().all(|node| node.get("/readyz").send().status == 200).then_some(())
    });
    show(format!("ready {:?} after the standby took over", promoted.elapsed()));
    there.me(&alice.access).expect(200);
    let next = refreshed(there.refresh_keyed(&alice.refresh, KEY));
    here.me(&next.access).expect(200);
    here.me(&bob.access).refused(401, "session_revoked");
    assert!(here.events("restore_accepted").is_empty());
}

#[test]
#[ignore = "needs PostgreSQL: scripts/test"]
fn a_primary_that_answers_over_old_connections_after_it_was_replaced_signs_nobody_out() {
    let pair = Pair::new();
    pair.primary.wait_for_standbys();
    let here = Settings::node(&pair.url).start();
    let alice = here.user("alice");
    at_once(4, |_| here.me(&alice.access).expect(200));
    pair.standby.promote();
    // Whoever connects from now on comes to the new one. What is open stays so, and the old one answers there: it knows nothing of
    // what the new one commits.
    pair.wire.lead_new_to(pair.standby.port);
    at_once(64, |_| here.me(&alice.access).expect(200));
    let goes_on = |tokens: &Tokens| {
        until(SOON * 2, "the session goes on", || {
            let answer = here.refresh_keyed(&tokens.refresh, KEY);
            // What the old one is to commit waits for a standby.
            assert!(matches!(answer.status, 200 | 503), "{} {}", answer.status, answer.text());
            (answer.status == 200).then(|| refreshed(answer))
        })
    };
    let mut tokens = goes_on(&alice);
    // For as long as the feed takes to be read over every connection.
    let committed = Instant::now();
    while committed.elapsed() < SOON {
        tokens = goes_on(&tokens);
        std::thread::sleep(Duration::from_millis(250));
    }
    here.me(&tokens.access).expect(200);
    assert!(here.events("restore_accepted").is_empty());
}

#[test]
#[ignore = "needs PostgreSQL: scripts/test"]
fn lost_refreshes_are_noticed_whichever_connection_had_written_them() {
    let mut pair = Pair::new();
    let here = Settings::node(&pair.url).start();
    here.register("alice");
    let sessions: Vec<Tokens> = (0..12).map(|_| here.log_in("alice")).collect();
    // Many connections write, each on its own.
    at_once(sessions.len(), |number| {
        let mut tokens = sessions[number].clone();
        for _ in 0..10 {
            tokens = refreshed(here.refresh_keyed(&tokens.refresh, KEY));
        }
    });
    let first = here.log_in("alice");
    let before: Vec<Tokens> = (0..12).map(|_| here.log_in("alice")).collect();
    pair.cut();
    // Sign-ins beside, so that the refreshes are not all in one transaction.
    at_once(before.len() * 2, |number| match number % 2 {
        0 => refreshed(here.refresh_keyed(&before[number / 2].refresh, KEY)),
        _ => here.log_in("alice"),
    });
    pair.fail_over();
    // One after the other, as few connections as possible: each of these was used.
    for tokens in &before {
        until(SOON, "the database is back", || {
            let answer = here.refresh_keyed(&tokens.refresh, "somebody else's key");
            is_refused("a used token", &answer).then_some(())
        });
    }
    here.me(&first.access).expect(401).problem();
}

#[test]
#[ignore = "needs PostgreSQL: scripts/test"]
fn a_refresh_that_was_lost_leaves_no_token_alive_at_a_node_that_knew_nothing_of_it() {
    let mut pair = Pair::new();
    let settings = Settings::node(&pair.url);
    let other = settings.sibling();
    let (here, there) = (settings.start(), other.start());
    let alice = here.user("alice");
    there.me(&alice.access).expect(200);
    pair.cut();
    // Not a word of it in the feed: the other node has no memory of this.
    let newest = refreshed(here.refresh_keyed(&alice.refresh, KEY));
    pair.fail_over();
    let stolen = there.refresh_keyed(&alice.refresh, "somebody else's key");
    show(format!("a used token at a node that knew nothing of it: {} {}", stolen.status, stolen.text()));
    let fork = (stolen.status == 200).then(|| refreshed(stolen));
    for node in [&here, &there] {
        until(SOON, "everybody has to sign in again", || {
            let answers = [node.me(&alice.access), node.me(&newest.access)];
            // Until the loss is noticed the token is good, since nothing had revoked it.
            answers.iter().all(|answer| answer.status == 401).then_some(())
        });
    }
    for tokens in fork.iter().chain([&alice, &newest]) {
        for node in [&here, &there] {
            node.me(&tokens.access).expect(401).problem();
            node.refresh_keyed(&tokens.refresh, KEY).expect(400).problem();
        }
    }
    there.me(&here.log_in("alice").access).expect(200);
}

//! `POST /api/auth/revoke-all`.

use std::time::{Duration, Instant};

use countersign_core::accounts::Login;
use countersign_core::events::{Actor, Origin};
use countersign_core::ids::{ClientId, FamilyId, SessionId};
use countersign_core::secret::Secret;
use countersign_core::sessions::refresh_token::RefreshToken;
use countersign_core::sessions::rotation::Lifetimes;
use countersign_store::sqlite::{OpenMode, SqliteStore};
use countersign_store::verbs::{Begin, Begun};
use countersign_store::{Clock, Store as _};
use serde_json::json;
use tokio::task::JoinSet;

use crate::support::{Server, Settings, Tokens, Weather, refreshed};

#[test]
fn only_an_admin_may() {
    let server = Server::start();
    let alice = server.user("alice");
    server.post("/api/auth/revoke-all").send().refused(401, "token_missing");
    server.post("/api/auth/revoke-all").bearer(&alice.access).send().refused(403, "forbidden");
    server.me(&alice.access).expect(200);
}

#[test]
fn every_token_of_everyone_is_refused_and_a_login_in_the_same_second_works() {
    let server = Settings::new().findable().start();
    let weather = Weather::trusting(&server);
    let everyone = [server.user("alice"), server.log_in("alice"), server.user("bob"), server.admin()];
    for tokens in &everyone {
        weather.forecast(&tokens.access).expect(200);
    }
    let admin = everyone.last().unwrap();
    let receipt = server.post("/api/auth/revoke-all?receipt=true").bearer(&admin.access).send().expect(200).json();
    assert_eq!(receipt["sessionsEnded"], 4, "{receipt}");
    let ended = Instant::now();
    for tokens in &everyone {
        server.me(&tokens.access).refused(401, "everyone_revoked");
        let problem = server.refresh(&tokens.refresh).refused(400, "refresh_token_revoked");
        assert!(problem["detail"].as_str().unwrap().contains("everyone"), "{problem}");
    }
    let again = server.log_in("alice");
    for tokens in &everyone {
        let left = Duration::from_secs(1).saturating_sub(ended.elapsed()).max(Duration::from_millis(100));
        assert_eq!(weather.refused_within(left, &tokens.access), "everyone_revoked");
    }
    server.me(&again.access).expect(200);
    weather.forecast(&again.access).expect(200);
    refreshed(server.refresh(&again.refresh));
    assert_eq!(server.events("everyone_revoked").len(), 1);

    server.post("/api/auth/revoke-all").bearer(&server.admin().access).send().expect(204);
    server.me(&again.access).refused(401, "everyone_revoked");
}

#[test]
fn the_operator_may_while_the_server_runs() {
    let server = Server::start();
    let alice = server.user("alice");
    server.settings.cli(&["revoke-all", "--yes"]).done();
    server.me(&alice.access).refused(401, "everyone_revoked");
    server.refresh(&alice.refresh).refused(400, "refresh_token_revoked");
    server.log_in("alice");
}

/// Begins many sessions of an account straight in the store, all of which wait side by side for their commits.
pub(crate) fn begin_sessions(settings: &Settings, name: &str, many: u128) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let store = SqliteStore::open(settings.database(), OpenMode::Serve, Clock::System).unwrap();
        let store = std::sync::Arc::new(store);
        let credentials = store.credentials(&Login::parse(name).unwrap()).await.unwrap().unwrap();
        let minute = Duration::from_secs(60);
        let lifetimes =
            Lifetimes { access_token: minute * 5, refresh_token_idle: minute * 60, rotation_overlap: minute };
        let mut begun = JoinSet::new();
        for number in 0..many {
            let begin = Begin {
                session: SessionId::new(uuid::Uuid::from_u128(number + 1)),
                account: credentials.account.id,
                verified: credentials.password.clone(),
                rehashed: None,
                client: ClientId::first_party(),
                token: RefreshToken::first(FamilyId::new(uuid::Uuid::from_u128(number + 1)), Secret::new([7; 32])),
                device: None,
                address: None,
                session_lifetime: minute * 60,
                session_limit: None,
                lifetimes,
            };
            let store = std::sync::Arc::clone(&store);
            let origin = Origin { actor: Actor::Anonymous, address: None };
            begun.spawn(async move { store.begin_session(begin, origin).await });
            if begun.len() >= 2_000 {
                assert!(matches!(begun.join_next().await.unwrap().unwrap().unwrap(), Begun::Live(..)));
            }
        }
        while let Some(outcome) = begun.join_next().await {
            assert!(matches!(outcome.unwrap().unwrap(), Begun::Live(..)));
        }
        store.close().await.unwrap();
    });
}

/// A server in whose database an account has that many sessions.
fn with_sessions(many: u128) -> (Server, Tokens) {
    let server = Server::start();
    server.register("alice");
    let settings = server.stop();
    begin_sessions(&settings, "alice", many);
    let server = settings.start();
    let admin = server.admin();
    (server, admin)
}

fn quickest(server: &Server, mut admin: Tokens) -> Duration {
    let mut quickest = Duration::MAX;
    for _ in 0..5 {
        let started = Instant::now();
        server.post("/api/auth/revoke-all").bearer(&admin.access).send().expect(204);
        quickest = quickest.min(started.elapsed());
        admin = server.log_in("root");
    }
    quickest
}

#[test]
fn it_takes_no_longer_with_a_hundred_thousand_sessions() {
    let (few, admin) = with_sessions(100);
    let with_few = quickest(&few, admin);
    drop(few);

    let (many, admin) = with_sessions(100_000);
    // The first of all is told apart, since it is the one that ends them.
    let bob = many.user("bob");
    let started = Instant::now();
    many.post("/api/auth/revoke-all").bearer(&admin.access).send().expect(204);
    let first = started.elapsed();
    many.me(&bob.access).refused(401, "everyone_revoked");
    many.refresh(&bob.refresh).refused(400, "refresh_token_revoked");
    let with_many = quickest(&many, many.log_in("root"));

    assert!(with_many < with_few * 5 && with_many < Duration::from_millis(100), "{with_many:?} against {with_few:?}");
    assert!(first < Duration::from_millis(500), "the one that ended 100,000 took {first:?}");
    let alice = many.log_in("alice");
    let sessions = many.get("/api/auth/sessions").bearer(&alice.access).send().expect(200).json();
    let sessions = sessions.as_array().unwrap();
    let (living, dead): (Vec<_>, Vec<_>) = sessions.iter().partition(|session| session["endedReason"].is_null());
    assert_eq!(living.len(), 1);
    assert_eq!(living[0]["id"], json!(alice.session()));
    assert!(dead.len() > 100 && dead.iter().all(|session| session["endedReason"] == "everyone_revoked"));
}

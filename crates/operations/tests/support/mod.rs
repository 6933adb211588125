//! A Countersign in a temporary folder, with cheap hashes and a clock that stands still unless it is moved.

mod unrecorded;

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use countersign_core::accounts::Login;
use countersign_core::events::EventKind;
use countersign_core::passwords::PasswordPolicy;
use countersign_core::sessions::rotation::Lifetimes;
use countersign_core::time::Millis;
use countersign_operations::accounts::{self, NewRegistration};
use countersign_operations::callers::{self, Caller};
use countersign_operations::hashing::{Hasher, HashingCost};
use countersign_operations::keys::{KeySource, SigningSource};
use countersign_operations::policy::{Policy, Registration, ThrottlePolicy};
use countersign_operations::sessions::{self, Refresh, RefreshError, SignIn, SignInError};
use countersign_operations::{KeyEncryptionKey, Operations, TokenPair, upkeep};
use countersign_store::database::Database;
use countersign_store::sqlite::{OpenMode, SqliteStore};
use countersign_store::transfer::transfer;
use countersign_store::verbs::EventQuery;
use countersign_store::{Clock, Store};
use countersign_token::{AccessClaims, Algorithm, Audience, verify};
use tempfile::TempDir;

use unrecorded::Unrecorded;

pub(crate) const PASSWORD: &str = "correct horse battery";

pub(crate) struct World {
    pub(crate) operations: Arc<Operations>,
    clock: Arc<AtomicI64>,
    store: Arc<SqliteStore>,
    folder: TempDir,
}

const CHEAP: HashingCost = HashingCost { memory_kib: 64, iterations: 1, parallelism: 1 };

fn open(folder: &TempDir, clock: &Arc<AtomicI64>) -> Arc<SqliteStore> {
    let manual = Clock::Manual(Arc::clone(clock));
    Arc::new(SqliteStore::open(folder.path().join("test.db"), OpenMode::Serve, manual).unwrap())
}

async fn serve(store: Arc<dyn Store>, cost: HashingCost) -> Arc<Operations> {
    let policy = Policy {
        issuer: "http://localhost:5000".to_owned(),
        audience: Audience::try_from("http://localhost:4200").unwrap(),
        lifetimes: Lifetimes {
            access_token: Duration::from_secs(300),
            refresh_token_idle: Duration::from_secs(7 * 86_400),
            rotation_overlap: Duration::from_secs(60),
        },
        session_lifetime: Duration::from_secs(90 * 86_400),
        sessions_per_account: NonZeroU32::new(200).unwrap(),
        registration: Registration::Open,
        passwords: PasswordPolicy { min_length: 8 },
        throttles: ThrottlePolicy::default(),
        event_retention: Duration::from_secs(90 * 86_400),
    };
    let hasher = Hasher::start(cost, 2, 64).unwrap();
    let keys =
        KeySource { encryption: KeyEncryptionKey::new(&[7; 32]), signing: SigningSource::Generated(Algorithm::Es256) };
    Operations::open(store, policy, hasher, keys).await.unwrap()
}

pub(crate) fn registration(username: &str, email: &str, password: &str) -> NewRegistration {
    NewRegistration { username: username.to_owned(), email: email.to_owned(), password: password.to_owned().into() }
}

pub(crate) async fn sign_in_at(
    operations: &Operations,
    name: &str,
    password: &str,
    address: Option<IpAddr>,
) -> Result<TokenPair, SignInError> {
    let request = SignIn { login: name.to_owned(), password: password.to_owned().into(), device: None };
    sessions::sign_in(operations, request, address).await
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::open(tempfile::tempdir().unwrap(), CHEAP).await
    }

    /// The same database, served again with hashes of another cost.
    pub(crate) async fn reopened_with(self, cost: HashingCost) -> Self {
        self.store.close().await.unwrap();
        Self::open(self.folder, cost).await
    }

    /// The stored hash of somebody's password.
    pub(crate) async fn stored_hash(&self, name: &str) -> String {
        let login = Login::parse(name).unwrap();
        self.store.credentials(&login).await.unwrap().unwrap().password.expose().to_owned()
    }

    async fn open(folder: TempDir, cost: HashingCost) -> Self {
        let clock = Arc::new(AtomicI64::new(1_800_000_000_000));
        let store = open(&folder, &clock);
        Self { operations: serve(store.clone(), cost).await, clock, store, folder }
    }

    /// Takes the database away.
    pub(crate) async fn close(&self) {
        self.store.close().await.unwrap();
    }

    /// Another server on the same database.
    pub(crate) async fn another(&self) -> Arc<Operations> {
        serve(open(&self.folder, &self.clock), CHEAP).await
    }

    /// A server whose database goes away where a refused sign-in is to be recorded.
    pub(crate) async fn unrecorded(&self) -> Arc<Operations> {
        serve(Arc::new(Unrecorded(Arc::clone(&self.store))), CHEAP).await
    }

    /// Moves everything to another database, which somebody else may serve from now on.
    pub(crate) async fn move_away(&self) {
        let (from, to) = (self.folder.path().join("test.db"), self.folder.path().join("elsewhere.db"));
        let clock = Clock::Manual(Arc::clone(&self.clock));
        transfer(&Database::Sqlite(from), &Database::Sqlite(to), &clock, |_| {}).await.unwrap();
    }

    pub(crate) fn now(&self) -> Millis {
        Millis::new(self.clock.load(Ordering::SeqCst))
    }

    pub(crate) fn advance(&self, by: Duration) {
        self.clock.fetch_add(i64::try_from(by.as_millis()).unwrap(), Ordering::SeqCst);
    }

    pub(crate) async fn reload_keys(&self) {
        upkeep::reload_keys(&self.operations).await.unwrap();
    }

    pub(crate) async fn register(&self, name: &str) {
        let new = registration(name, &format!("{name}@example.com"), PASSWORD);
        accounts::register(&self.operations, new, None).await.unwrap();
    }

    pub(crate) async fn sign_in(&self, name: &str) -> Result<TokenPair, SignInError> {
        self.sign_in_from(name, PASSWORD, None).await
    }

    pub(crate) async fn sign_in_from(
        &self,
        name: &str,
        password: &str,
        address: Option<IpAddr>,
    ) -> Result<TokenPair, SignInError> {
        sign_in_at(&self.operations, name, password, address).await
    }

    pub(crate) async fn refresh(&self, token: &str) -> Result<TokenPair, RefreshError> {
        let request = Refresh { refresh_token: token.to_owned().into(), access_token: None, retry_key: None };
        sessions::refresh(&self.operations, request, None).await
    }

    pub(crate) async fn caller(&self, name: &str) -> Caller {
        let pair = self.sign_in(name).await.unwrap();
        callers::authenticate(&self.operations, &pair.access_token).await.unwrap()
    }

    pub(crate) fn claims(&self, pair: &TokenPair) -> AccessClaims {
        let expected = self.operations.policy().expected();
        verify(&pair.access_token, &self.operations.verifying_keys(), &expected, self.now().unix_seconds()).unwrap()
    }

    /// The first part of the token, which names the key.
    pub(crate) fn kid(&self, pair: &TokenPair) -> String {
        pair.access_token.split('.').next().unwrap().to_owned()
    }

    pub(crate) async fn count(&self, kind: EventKind) -> usize {
        let query = EventQuery { kind: Some(kind), limit: 100, ..EventQuery::default() };
        self.store.events(query).await.unwrap().len()
    }
}

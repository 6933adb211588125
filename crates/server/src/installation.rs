//! The composition root: settings become a store, keys, operations and a router.

use std::path::Path;
use std::sync::Arc;

use axum::Router;
use countersign_core::keys::KeyUse;
use countersign_core::passwords::PasswordPolicy;
use countersign_core::sessions::rotation::Lifetimes;
use countersign_operations::hashing::{Hasher, HashingCost, HashingError};
use countersign_operations::keys::{KeySource, SigningSource};
use countersign_operations::policy::{self, Policy, ThrottlePolicy};
use countersign_operations::throttles::UNDER_WAY;
use countersign_operations::{KeyEncryptionKey, Operations, StartError, upkeep};
pub use countersign_store::StoreError;
use countersign_store::database::{Database, OpenMode};
use countersign_store::{Clock, Store};
use countersign_token::{Algorithm, Audience, InvalidAudience, gather_entropy};
use tokio::task::JoinHandle;

use crate::api;
use crate::config::{self, Environment, Flags, Loaded, Registration, Settings, WrongSettings};
use crate::http::{HttpSettings, harden, harden_mounted};
use crate::key_file::{KeyFileError, make_key, read_key};

/// A Countersign that is open: its store is locked to it, its keys are read.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// // In one's own axum application, with every setting from the environment:
/// let countersign = countersign::Countersign::from_environment().await?;
/// let app = axum::Router::new()
///     .route("/hello", axum::routing::get(|| async { "hello" }))
///     .layer(countersign.bearer())
///     .merge(countersign.router());
/// # let _: axum::Router = app;
/// # Ok(())
/// # }
/// ```
pub struct Countersign {
    operations: Arc<Operations>,
    settings: Settings,
    store: Arc<dyn Store>,
    upkeep: Option<JoinHandle<()>>,
}

/// By how much the thread that gathers entropy lowers its priority (`nice`).
#[cfg(target_os = "linux")]
const ENTROPY_GIVES_WAY: i32 = 10;

/// Why a Countersign could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Settings are wrong.
    #[error(transparent)]
    Settings(#[from] WrongSettings),
    /// The database could not be opened.
    // Its text is all of it: whoever prints the sources too would print the second part twice.
    #[error("{0}: {1}")]
    Database(Database, StoreError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The keys could not be read or made.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The key-encryption key could not be read or made.
    #[error(transparent)]
    KeyFile(#[from] KeyFileError),
    /// The parameters of password hashes are unusable.
    #[error(transparent)]
    Hashing(#[from] HashingError),
    /// The audience is unusable.
    #[error(transparent)]
    Audience(#[from] InvalidAudience),
}

impl Countersign {
    /// Opens with the settings of the environment (and of `countersign.toml` in the working directory).
    ///
    /// # Errors
    /// See [`OpenError`].
    pub async fn from_environment() -> Result<Self, OpenError> {
        Self::open(config::load(&Flags::default(), &Environment::read())?).await
    }

    /// Opens with settings that were loaded, and starts the upkeep. Call it within a Tokio runtime.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub async fn open(loaded: Loaded) -> Result<Self, OpenError> {
        // Whoever signs first would wait for it. Where no thread can be had, they do.
        let _ = std::thread::Builder::new().name("entropy".to_owned()).spawn(gather_entropy_behind);
        let algorithm = loaded.settings.signing_algorithm;
        let store = open_database(&loaded.settings.database(), OpenMode::Serve).await?;
        let mut opened = Self::over(store, loaded, algorithm).await?;
        opened.upkeep = Some(spawn(upkeep::run(Arc::clone(&opened.operations))));
        Ok(opened)
    }

    /// Opens without upkeep: for a command that does one thing and ends, perhaps while a server runs.
    pub(crate) async fn open_for_a_command(loaded: Loaded) -> Result<Self, OpenError> {
        let store = open_database(&loaded.settings.database(), OpenMode::Serve).await?;
        // A shell may lack a setting that the server has: only the server moves to another algorithm.
        let newest = store.keys(KeyUse::Signing).await?.pop();
        let algorithm = newest.and_then(|key| key.algorithm.parse().ok()).unwrap_or(loaded.settings.signing_algorithm);
        Self::over(store, loaded, algorithm).await
    }

    async fn over(store: Arc<dyn Store>, loaded: Loaded, algorithm: Algorithm) -> Result<Self, OpenError> {
        let Loaded { settings, signing_keys, .. } = loaded;
        let encryption = key_encryption_key(&settings.key_encryption_key_file, &*store).await?;
        let signing = if signing_keys.is_empty() {
            SigningSource::Generated(algorithm)
        } else {
            SigningSource::Brought(signing_keys.into_iter().map(Arc::new).collect())
        };
        let keys = KeySource { encryption, signing };
        let hasher = hasher(&settings)?;
        let policy = policy(&settings)?;
        let operations = Operations::open(store.clone(), policy, hasher, keys).await?;
        Ok(Self { operations, settings, store, upkeep: None })
    }

    /// The settings in force.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// What it can do.
    pub(crate) fn operations(&self) -> &Arc<Operations> {
        &self.operations
    }

    /// Every route, to be merged into one's own router. Unknown addresses are left to that router.
    ///
    /// Serve it with `into_make_service_with_connect_info::<SocketAddr>()`: throttles need the address of the client. Add an
    /// `Extension` with a [`Shutdown`](crate::listener::Shutdown) where requests that wait should end as soon as that begins.
    pub fn router(&self) -> Router {
        harden_mounted(self.routes(), &self.http_settings())
    }

    /// Every route, to be served alone: unknown addresses are answered too.
    pub(crate) fn standalone_router(&self) -> Router {
        harden(self.routes().merge(api::front_door()), &self.http_settings())
    }

    fn routes(&self) -> Router {
        api::router(Arc::clone(&self.operations), &self.settings)
    }

    fn http_settings(&self) -> HttpSettings {
        HttpSettings { long_polls: api::LONG_POLLS, ..HttpSettings::from(&self.settings) }
    }

    /// Waits for a failure after which nothing is read from the database or written to it until another process opens it, so that
    /// whatever needs it is answered 503: end the process then, for whatever watches over it to start it again. `countersign serve` does.
    ///
    /// There is one such failure: the disk did not take what was copied back from the log of a SQLite database. All that was committed
    /// is in the log.
    pub async fn failure(&self) -> StoreError {
        self.store.failure().await
    }

    /// Stops the upkeep and closes the store, so that everything written is in the database file.
    ///
    /// # Errors
    /// The store's. Where it is the [`failure`](Self::failure), the log beside the file has what that lacks.
    pub async fn close(mut self) -> Result<(), StoreError> {
        if self.stop_upkeep().await
            && let Err(error) = upkeep::finish(&self.operations).await
        {
            tracing::warn!(%error, "could not write what throttles have charged last: it is forgotten");
        }
        self.store.close().await
    }

    /// `false` where none ran.
    async fn stop_upkeep(&mut self) -> bool {
        let Some(upkeep) = self.upkeep.take() else { return false };
        upkeep.abort();
        let _ = upkeep.await;
        true
    }
}

impl Drop for Countersign {
    fn drop(&mut self) {
        if let Some(upkeep) = &self.upkeep {
            upkeep.abort();
        }
    }
}

/// Opens a database; what goes wrong is told with its name.
pub(crate) async fn open_database(database: &Database, mode: OpenMode) -> Result<Arc<dyn Store>, OpenError> {
    database.open(mode, Clock::System).await.map_err(|error| OpenError::Database(database.clone(), error))
}

#[expect(
    clippy::disallowed_methods,
    reason = "the one task that the server starts: it is aborted with its Countersign"
)]
fn spawn(upkeep: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
    tokio::spawn(upkeep)
}

/// Gathers entropy while nothing else wants the processor: what opens at the same time has to wait for others often enough.
fn gather_entropy_behind() {
    // Elsewhere a priority is that of the whole process. Without it, both share the processors.
    #[cfg(target_os = "linux")]
    let _ = rustix::process::nice(ENTROPY_GIVES_WAY);
    // Whoever signs first is told what is wrong.
    let _ = gather_entropy();
}

fn policy(settings: &Settings) -> Result<Policy, InvalidAudience> {
    Ok(Policy {
        issuer: settings.issuer.as_str().to_owned(),
        audience: Audience::try_from(settings.audience.as_str())?,
        lifetimes: Lifetimes {
            access_token: settings.access_token_lifetime,
            refresh_token_idle: settings.refresh_token_idle_lifetime,
            rotation_overlap: settings.rotation_overlap,
        },
        session_lifetime: settings.session_lifetime,
        sessions_per_account: settings.sessions_per_account,
        registration: match settings.registration {
            Registration::Open => policy::Registration::Open,
            Registration::Closed => policy::Registration::Closed,
        },
        passwords: PasswordPolicy { min_length: settings.password_min_length as usize },
        throttles: ThrottlePolicy::default(),
        event_retention: settings.event_retention,
    })
}

/// As many threads as there are cores, and room for what two busy networks may have under way.
fn hasher(settings: &Settings) -> Result<Hasher, HashingError> {
    let cost = HashingCost {
        memory_kib: settings.password_hash.memory_kib,
        iterations: settings.password_hash.iterations,
        parallelism: settings.password_hash.parallelism,
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    Hasher::start(cost, threads, (threads * 64).max(2 * UNDER_WAY as usize))
}

/// Reads the key-encryption key; makes it where neither it nor a key that it would have to open exists.
async fn key_encryption_key(path: &Path, store: &dyn Store) -> Result<KeyEncryptionKey, OpenError> {
    if let Some(key) = read_key(path)? {
        return Ok(key);
    }
    for key_use in [KeyUse::Signing, KeyUse::RefreshTag] {
        if !store.keys(key_use).await?.is_empty() {
            // Another process may have made both the file and the keys since the first look.
            return Ok(read_key(path)?.ok_or_else(|| KeyFileError::Missing(path.to_owned()))?);
        }
    }
    Ok(make_key(path)?)
}

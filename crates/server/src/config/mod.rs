//! Settings: flags over environment over TOML file over defaults, typed and checked, or no start.
//!
//! A setting is declared in [`table`], typed in [`Settings`] and read in [`load`]; nothing else knows the layers.
//! Every mistake is reported in one pass: a misspelt name, a value that does not parse, two values that do not go
//! together.

mod database;
mod environment;
mod error;
mod flags;
mod layers;
mod parse;
mod show;
mod suggest;
pub mod table;
mod together;
mod types;
mod url;

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use countersign_token::{Algorithm, SigningKey};
use ipnet::IpNet;

pub use database::DatabaseUrl;
pub use environment::{CONFIG_VARIABLE, Environment, FAIL_POINTS_VARIABLE};
pub use error::{Source, WrongSetting, WrongSettings};
pub use flags::Flags;
use layers::Layers;
pub use show::{Effective, Shown};
pub use types::{LogFormat, PasswordHash, ReaderSecret, Registration};
pub use url::{Issuer, Origin};

/// Every setting, typed. What each means stands in [`table`].
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where the API listens.
    pub listen: SocketAddr,
    /// The origins of browser front ends.
    pub cors_origins: Vec<Origin>,
    /// The networks of proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// The database.
    pub database_url: DatabaseUrl,
    /// The file that shows whether the database went back in time.
    pub witness_file: PathBuf,
    /// The file with the key that encrypts the signing keys; it is made at first start.
    pub key_encryption_key_file: PathBuf,
    /// How long events are kept.
    pub event_retention: Duration,
    /// The `iss` of every token.
    pub issuer: Issuer,
    /// The `aud` of access tokens.
    pub audience: String,
    /// How long an access token lives.
    pub access_token_lifetime: Duration,
    /// How long a session lives without a refresh.
    pub refresh_token_idle_lifetime: Duration,
    /// How long a session lives at most.
    pub session_lifetime: Duration,
    /// How many sessions of one account may live.
    pub sessions_per_account: NonZeroU32,
    /// How long a used refresh token still answers a retry without a retry key.
    pub rotation_overlap: Duration,
    /// How access tokens are signed.
    pub signing_algorithm: Algorithm,
    /// The secret with which resource servers read the revocation feed.
    pub revocation_reader_secret: Option<ReaderSecret>,
    /// Who may register.
    pub registration: Registration,
    /// The shortest password accepted, in characters.
    pub password_min_length: u32,
    /// The cost of a password hash.
    pub password_hash: PasswordHash,
    /// How log lines are written.
    pub log_format: LogFormat,
    /// What is logged, in the syntax of tracing's `EnvFilter`.
    pub log_level: String,
    /// Where metrics are served; `None` for not at all.
    pub metrics_listen: Option<SocketAddr>,
}

/// Settings and how they came about.
#[derive(Debug)]
pub struct Loaded {
    /// The settings.
    pub settings: Settings,
    /// The keys of `signing_key_files`, parsed: the first signs, all verify. Empty where keys are generated.
    pub signing_keys: Vec<SigningKey>,
    /// Each setting as it is in force, and where it came from, in the order of [`table::ALL`].
    pub effective: Vec<Effective>,
    /// The TOML file, where one was read.
    pub file: Option<PathBuf>,
}

impl Loaded {
    /// Where no issuer is named, takes the port that was picked into it: `listen` may have left the choice to the system.
    #[must_use]
    pub fn listening_on(mut self, address: SocketAddr) -> Self {
        let issuer = self.effective.iter().find(|effective| effective.key == table::ISSUER.key);
        if issuer.is_none_or(|issuer| issuer.source == Source::Default) {
            self.settings.issuer = Issuer::local(address.port());
        }
        self
    }
}

/// Reads and checks every setting.
///
/// # Errors
///
/// Everything that is wrong, at once.
pub fn load(flags: &Flags, environment: &Environment) -> Result<Loaded, WrongSettings> {
    let mut layers = Layers::gather(flags, environment);
    match read(&mut layers) {
        Some((settings, signing_keys)) if layers.errors.is_empty() => {
            Ok(Loaded { settings, signing_keys, effective: layers.effective, file: layers.file })
        }
        _ => Err(WrongSettings(layers.errors)),
    }
}

/// Reads every setting in the order of the table; `None` where one did not parse.
fn read(layers: &mut Layers) -> Option<(Settings, Vec<SigningKey>)> {
    let second = Duration::from_secs(1);
    let day = second * 86_400;

    let listen = layers.one(&table::LISTEN, parse::address);
    let cors_origins = layers.list(&table::CORS_ORIGINS, Origin::parse);
    let trusted_proxies = layers.list(&table::TRUSTED_PROXIES, parse::network);
    let database_url = layers.one(&table::DATABASE_URL, database::parse);
    let witness_file = layers.optional(&table::WITNESS_FILE, parse::file);
    let key_encryption_key_file = layers.optional(&table::KEY_ENCRYPTION_KEY_FILE, parse::file);
    let event_retention = layers.one(
        &table::EVENT_RETENTION,
        parse::time(day, day * 3650, "1d to 3650d", "what happened must be found out afterwards"),
    );
    let issuer = layers.optional(&table::ISSUER, Issuer::parse);
    let audience = layers.one(&table::AUDIENCE, parse::audience);
    let access_token_lifetime = layers.one(
        &table::ACCESS_TOKEN_LIFETIME,
        parse::time(
            second,
            day,
            "1s to 24h",
            "shorter leaves no time to use it, longer leaves a stolen one alive where nobody reads the revocation feed",
        ),
    );
    let idle_lifetime = layers.one(
        &table::REFRESH_TOKEN_IDLE_LIFETIME,
        parse::time(second, day * 3650, "1s to 3650d", "a session must outlive the pause between two requests"),
    );
    let session_lifetime = layers.one(
        &table::SESSION_LIFETIME,
        parse::time(second, day * 3650, "1s to 3650d", "nobody stays signed in for ever"),
    );
    let sessions_per_account = layers.one(
        &table::SESSIONS_PER_ACCOUNT,
        parse::count(
            2_000,
            "nobody has more devices, and whoever knows a password could fill the database with sessions",
        ),
    );
    let rotation_overlap = layers.optional(
        &table::ROTATION_OVERLAP,
        parse::time(Duration::ZERO, day, "0 to below access_token_lifetime", "a thief may use it too"),
    );
    let signing_algorithm = layers.one(&table::SIGNING_ALGORITHM, parse::algorithm);
    let signing_key_files = layers.list(&table::SIGNING_KEY_FILES, parse::file);
    let revocation_reader_secret = layers.optional(&table::REVOCATION_READER_SECRET, parse::reader_secret);
    let registration = layers.one(&table::REGISTRATION, parse::registration);
    let password_min_length = layers.one(
        &table::PASSWORD_MIN_LENGTH,
        parse::number(8, 64, "shorter ones are guessed, and every password of 64 characters must be accepted"),
    );
    let memory_kib = layers.one(
        &table::PASSWORD_HASH_MEMORY_KIB,
        parse::number(7_168, 1_048_576, "less is guessed too fast, and more than 1 GiB a hash starves the server"),
    );
    let iterations = layers
        .one(&table::PASSWORD_HASH_ITERATIONS, parse::number(1, 64, "more passes than that keep a login waiting"));
    let parallelism =
        layers.one(&table::PASSWORD_HASH_PARALLELISM, parse::number(1, 16, "a hash has few cores to use"));
    let log_format = layers.one(&table::LOG_FORMAT, parse::log_format);
    let log_level = layers.one(&table::LOG_LEVEL, parse::log_level);
    let metrics_listen = layers.optional(&table::METRICS_LISTEN, parse::address);

    let issuer = issuer.map(|named| together::issuer(layers, named, listen));
    together::addresses(layers, listen, metrics_listen.flatten());
    let rotation_overlap =
        rotation_overlap.map(|named| together::rotation_overlap(layers, named, access_token_lifetime));
    let password_hash = together::password_hash(layers, memory_kib, iterations, parallelism);
    let witness_file = witness_file.and_then(|named| together::witness_file(layers, named, database_url.as_ref()));
    let key_encryption_key_file = key_encryption_key_file
        .and_then(|named| together::key_encryption_key_file(layers, named, database_url.as_ref()));
    let signing_keys = signing_key_files.map(|files| together::signing_keys(layers, signing_algorithm, &files));

    let settings = Settings {
        listen: listen?,
        cors_origins: cors_origins?,
        trusted_proxies: trusted_proxies?,
        database_url: database_url?,
        witness_file: witness_file?,
        key_encryption_key_file: key_encryption_key_file?,
        event_retention: event_retention?,
        issuer: issuer?,
        audience: audience?,
        access_token_lifetime: access_token_lifetime?,
        refresh_token_idle_lifetime: idle_lifetime?,
        session_lifetime: session_lifetime?,
        sessions_per_account: sessions_per_account?,
        rotation_overlap: rotation_overlap?,
        signing_algorithm: signing_algorithm?,
        revocation_reader_secret: revocation_reader_secret?,
        registration: registration?,
        password_min_length: password_min_length?,
        password_hash: password_hash?,
        log_format: log_format?,
        log_level: log_level?,
        metrics_listen: metrics_listen?,
    };
    Some((settings, signing_keys?))
}

#[cfg(test)]
mod tests;

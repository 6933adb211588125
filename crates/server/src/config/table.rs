//! The table of settings: name, place in the help, default and description of each, declared here alone.
//!
//! Everything that lists settings reads this table: the flags and their help, the names accepted in the environment
//! and in the file, the suggestions for a misspelt name, and `config check`.

/// The prefix of every environment variable that Countersign reads.
pub const PREFIX: &str = "COUNTERSIGN_";

/// The heading of the help under which a setting stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// Where the server listens and whom it answers.
    Network,
    /// Where data and keys are kept.
    Storage,
    /// What the tokens say and how long they live.
    Tokens,
    /// Who may have an account, and how passwords are kept.
    Accounts,
    /// What the server tells its operator.
    Logs,
}

impl Group {
    /// The heading as the help shows it.
    #[must_use]
    pub const fn heading(self) -> &'static str {
        match self {
            Self::Network => "Network settings",
            Self::Storage => "Storage settings",
            Self::Tokens => "Token settings",
            Self::Accounts => "Account settings",
            Self::Logs => "Log and metric settings",
        }
    }
}

/// One setting.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// The name in the TOML file; in upper case behind [`PREFIX`] the name in the environment.
    pub key: &'static str,
    /// The heading in the help.
    pub group: Group,
    /// The placeholder for the value in the help.
    pub value_name: &'static str,
    /// The value when no layer gives one; `None` where leaving it out means something of its own.
    pub default: Option<&'static str>,
    /// What the help says instead of a default where there is none.
    pub unset: &'static str,
    /// Whether the value is a list: an array in the file, separated by commas in the environment and in flags.
    pub list: bool,
    /// Whether the value must never be shown.
    pub secret: bool,
    /// One line of help.
    pub help: &'static str,
}

impl Setting {
    const fn new(key: &'static str, group: Group, value_name: &'static str, help: &'static str) -> Self {
        Self { key, group, value_name, default: None, unset: "none", list: false, secret: false, help }
    }

    const fn or(mut self, default: &'static str) -> Self {
        self.default = Some(default);
        self
    }

    const fn unset(mut self, meaning: &'static str) -> Self {
        self.unset = meaning;
        self
    }

    const fn list(mut self) -> Self {
        self.list = true;
        self
    }

    const fn secret(mut self) -> Self {
        self.secret = true;
        self
    }

    /// The name in the environment: `COUNTERSIGN_LISTEN`.
    #[must_use]
    pub fn variable(&self) -> String {
        format!("{PREFIX}{}", self.key.to_ascii_uppercase())
    }

    /// The name of the flag without its dashes: `database-url`.
    #[must_use]
    pub fn flag(&self) -> String {
        self.key.replace('_', "-")
    }
}

/// Declares the settings once, as constants and as the list of all of them, so that neither can miss one.
macro_rules! settings {
    ($($name:ident = $setting:expr;)*) => {
        $(#[doc = concat!("The setting behind `", stringify!($name), "`, in lower case its key.")]
        pub const $name: Setting = $setting;)*

        /// Every setting, in the order in which the help and `config check` show them.
        pub const ALL: &[Setting] = &[$($name),*];
    };
}

settings! {
    LISTEN = Setting::new("listen", Group::Network, "ADDRESS:PORT", "Where the API listens; port 0 picks a free one")
        .or("127.0.0.1:5000");
    CORS_ORIGINS = Setting::new("cors_origins", Group::Network, "ORIGINS", "Origins of the browser front ends that may call the API")
        .or("http://localhost:4200").list();
    TRUSTED_PROXIES = Setting::new("trusted_proxies", Group::Network, "NETWORKS", "Proxies whose X-Forwarded-For is believed, as addresses or CIDR")
        .list();
    DATABASE_URL = Setting::new("database_url", Group::Storage, "URL", "The database: sqlite:PATH, a file for one server, or postgres://USER:PASSWORD@HOST:PORT/DATABASE, for one server or many. As a flag the password shows in the process list")
        .or("sqlite:data/countersign.db");
    WITNESS_FILE = Setting::new("witness_file", Group::Storage, "FILE", "With PostgreSQL: the file in which this server, and no other, notes how far the database had come, so that a restored one is noticed")
        .unset("data/countersign.witness; with SQLite always beside the database");
    KEY_ENCRYPTION_KEY_FILE = Setting::new("key_encryption_key_file", Group::Storage, "FILE", "The key that encrypts the signing keys in the database; made at first start, and the same for every server on one database")
        .unset("key-encryption.key beside the SQLite database; data/key-encryption.key with PostgreSQL");
    EVENT_RETENTION = Setting::new("event_retention", Group::Storage, "TIME", "How long events are kept (1d to 3650d)")
        .or("90d");
    ISSUER = Setting::new("issuer", Group::Tokens, "URL", "The URL by which clients reach this server: the `iss` of every token")
        .unset("http://localhost with the port of listen");
    AUDIENCE = Setting::new("audience", Group::Tokens, "NAME", "The API that the access tokens are for: their `aud`")
        .or("http://localhost:4200");
    ACCESS_TOKEN_LIFETIME = Setting::new("access_token_lifetime", Group::Tokens, "TIME", "How long an access token lives (1s to 24h)")
        .or("5m");
    REFRESH_TOKEN_IDLE_LIFETIME = Setting::new("refresh_token_idle_lifetime", Group::Tokens, "TIME", "How long a session lives without a refresh (1s to 3650d)")
        .or("7d");
    SESSION_LIFETIME = Setting::new("session_lifetime", Group::Tokens, "TIME", "How long a session lives at most, however often it is refreshed (1s to 3650d)")
        .or("90d");
    SESSIONS_PER_ACCOUNT = Setting::new("sessions_per_account", Group::Tokens, "NUMBER", "How many sessions of one account may live; a sign-in more ends the least recently used one (1 to 2000)")
        .or("200");
    ROTATION_OVERLAP = Setting::new("rotation_overlap", Group::Tokens, "TIME", "How long a used refresh token still answers a retry without a retry key (0 to below access_token_lifetime)")
        .unset("60s, or half of access_token_lifetime where that is shorter");
    SIGNING_ALGORITHM = Setting::new("signing_algorithm", Group::Tokens, "NAME", "How access tokens are signed: ES256, EdDSA, RS256 or HS256")
        .or("ES256");
    SIGNING_KEY_FILES = Setting::new("signing_key_files", Group::Tokens, "FILES", "Your own signing keys, PEM PKCS#8; the first signs, all verify. For HS256 one file with the secret")
        .unset("keys are generated and kept encrypted in the database").list();
    REVOCATION_READER_SECRET = Setting::new("revocation_reader_secret", Group::Tokens, "SECRET", "Lets resource servers read /revocations; 16 characters or more. As a flag it shows in the process list")
        .unset("readers use a reader key made by an Admin").secret();
    REGISTRATION = Setting::new("registration", Group::Accounts, "WHO", "Whether anyone may register: open or closed")
        .or("open");
    PASSWORD_MIN_LENGTH = Setting::new("password_min_length", Group::Accounts, "CHARACTERS", "The shortest password accepted (8 to 64; 15 is advised where a password is the only factor)")
        .or("8");
    PASSWORD_HASH_MEMORY_KIB = Setting::new("password_hash_memory_kib", Group::Accounts, "KIB", "Memory of one Argon2id hash in KiB")
        .or("19456");
    PASSWORD_HASH_ITERATIONS = Setting::new("password_hash_iterations", Group::Accounts, "PASSES", "Passes of one Argon2id hash over its memory")
        .or("2");
    PASSWORD_HASH_PARALLELISM = Setting::new("password_hash_parallelism", Group::Accounts, "LANES", "Lanes of one Argon2id hash")
        .or("1");
    LOG_FORMAT = Setting::new("log_format", Group::Logs, "FORMAT", "Logs on standard error as text or as json")
        .or("text");
    LOG_LEVEL = Setting::new("log_level", Group::Logs, "FILTER", "What is logged: error, warn, info, debug, trace, or module=level, separated by commas")
        .or("info");
    METRICS_LISTEN = Setting::new("metrics_listen", Group::Logs, "ADDRESS:PORT", "Where Prometheus metrics are served, at /metrics; keep it off the internet")
        .unset("off");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_derived_from_the_key() {
        assert_eq!(DATABASE_URL.variable(), "COUNTERSIGN_DATABASE_URL");
        assert_eq!(DATABASE_URL.flag(), "database-url");
    }

    #[test]
    fn keys_are_unique_and_plain() {
        let mut keys: Vec<_> = ALL.iter().map(|setting| setting.key).collect();
        assert!(keys.iter().all(|key| key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')));
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), ALL.len());
    }
}

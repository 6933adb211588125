//! The setting that says where the database is, and the database that it makes with the other settings.

use std::fmt;
use std::path::{Path, PathBuf};

use countersign_store::database::Database;
use countersign_store::postgres::PostgresUrl;

use super::error::Source;
use super::{Loaded, Settings, table};

/// The folder of this server's own files where the database is elsewhere.
const DATA: &str = "data";

/// The file name of the key that encrypts the signing keys.
const KEY_FILE: &str = "key-encryption.key";

/// The file name of the witness where the database is elsewhere.
const WITNESS_FILE: &str = "countersign.witness";

/// Where the data is kept.
#[derive(Clone, PartialEq, Eq)]
pub enum DatabaseUrl {
    /// A SQLite file.
    Sqlite(PathBuf),
    /// A PostgreSQL database.
    Postgres(Box<PostgresUrl>),
}

/// Without the user and the password of a PostgreSQL database.
impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            Self::Postgres(url) => url.fmt(f),
        }
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Settings {
    /// The database, and what this server keeps of it.
    #[must_use]
    pub fn database(&self) -> Database {
        match self.database_url.clone() {
            DatabaseUrl::Sqlite(path) => Database::Sqlite(path),
            DatabaseUrl::Postgres(url) => Database::Postgres { url, witness: self.witness_file.clone() },
        }
    }
}

impl Loaded {
    /// The database at another URL as a server with these settings would use it, and the file of the key that opens the keys in it.
    #[must_use]
    pub(crate) fn another_database(&self, url: DatabaseUrl) -> (Database, PathBuf) {
        let Settings { database_url, witness_file, key_encryption_key_file, .. } = &self.settings;
        let key = self.effective.iter().find(|effective| effective.key == table::KEY_ENCRYPTION_KEY_FILE.key);
        let key_file = match key {
            Some(key) if key.source != Source::Default => key_encryption_key_file.clone(),
            _ => default_key_file(&url),
        };
        // With SQLite the setting can only be left out.
        let witness = match database_url {
            DatabaseUrl::Postgres(_) => witness_file.clone(),
            DatabaseUrl::Sqlite(_) => default_witness_file(&url),
        };
        let database = match url {
            DatabaseUrl::Sqlite(path) => Database::Sqlite(path),
            DatabaseUrl::Postgres(url) => Database::Postgres { url, witness },
        };
        (database, key_file)
    }
}

impl DatabaseUrl {
    /// Reads a URL.
    ///
    /// # Errors
    ///
    /// What would be right, as a phrase that continues the name of the setting, without what may be secret.
    pub fn parse(value: &str) -> Result<Self, String> {
        parse(value)
    }
}

pub(super) fn parse(value: &str) -> Result<DatabaseUrl, String> {
    if value.starts_with("postgres://") || value.starts_with("postgresql://") {
        let url = PostgresUrl::parse(value).map_err(|wrong| wrong.to_string())?;
        return Ok(DatabaseUrl::Postgres(Box::new(url)));
    }
    let wrong =
        "must be sqlite:PATH, such as sqlite:data/countersign.db, or postgres://USER:PASSWORD@HOST:PORT/DATABASE";
    let path = value.strip_prefix("sqlite:").ok_or(wrong)?;
    let path = path.strip_prefix("//").unwrap_or(path);
    if path.contains('?') {
        return Err("must be sqlite:PATH without parameters: their values are not a matter of choice".to_owned());
    }
    if path.starts_with(':') {
        return Err("must name a file: a database in memory would forget every account at the next start".to_owned());
    }
    if path.is_empty() || path.ends_with('/') {
        return Err(wrong.to_owned());
    }
    super::parse::file(path).map(DatabaseUrl::Sqlite)
}

/// The file of the key that encrypts the signing keys, where it is not named.
pub(super) fn default_key_file(database: &DatabaseUrl) -> PathBuf {
    let folder = match database {
        DatabaseUrl::Sqlite(database) => database.parent().unwrap_or(Path::new("")),
        DatabaseUrl::Postgres(_) => Path::new(DATA),
    };
    folder.join(KEY_FILE)
}

/// The file that shows a database that went back in time, where it is not named.
pub(super) fn default_witness_file(database: &DatabaseUrl) -> PathBuf {
    match database {
        DatabaseUrl::Sqlite(database) => beside(database),
        DatabaseUrl::Postgres(_) => Path::new(DATA).join(WITNESS_FILE),
    }
}

/// The witness of a SQLite database, where the store keeps it.
pub(super) fn beside(database: &Path) -> PathBuf {
    let mut file = database.as_os_str().to_owned();
    file.push(".witness");
    file.into()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn databases_are_files_or_postgres() {
        for (value, path) in [
            ("sqlite:data/x.db", "data/x.db"),
            ("sqlite:/var/lib/x.db", "/var/lib/x.db"),
            ("sqlite://data/x.db", "data/x.db"),
            ("sqlite:///var/lib/x.db", "/var/lib/x.db"),
        ] {
            assert_eq!(parse(value).unwrap(), DatabaseUrl::Sqlite(path.into()));
        }
        for value in ["postgres://u:p@h/d", "postgresql://h:5433/d?sslmode=require"] {
            assert!(matches!(parse(value).unwrap(), DatabaseUrl::Postgres(_)), "{value}");
        }
        for value in ["", "data/x.db", "sqlite:", "sqlite:x/", "sqlite::memory:", "sqlite:x?mode=rwc", "mysql://h"] {
            assert!(parse(value).is_err(), "{value}");
        }
        let refused = parse("postgres://u:hunter2@h/").unwrap_err();
        assert!(refused.contains("must name a database") && !refused.contains("hunter2"), "{refused}");
    }

    #[test]
    fn another_database_has_the_files_that_its_server_would_use() {
        let files = |variables: &[(&str, &str)], url: &str| {
            let environment = variables.iter().copied().collect();
            let loaded = crate::config::load(&crate::config::Flags::default(), &environment).unwrap();
            let (database, key_file) = loaded.another_database(parse(url).unwrap());
            let witness = match database {
                Database::Sqlite(_) => None,
                Database::Postgres { witness, .. } => Some(witness.display().to_string()),
            };
            (key_file.display().to_string(), witness)
        };
        let (sqlite, postgres) = ("sqlite:old/x.db", "postgres://h/d");
        let default = Some("data/countersign.witness".to_owned());
        assert_eq!(files(&[], sqlite), ("old/key-encryption.key".to_owned(), None));
        assert_eq!(files(&[], postgres), ("data/key-encryption.key".to_owned(), default.clone()));
        let key = ("COUNTERSIGN_KEY_ENCRYPTION_KEY_FILE", "k");
        assert_eq!(files(&[key], sqlite), ("k".to_owned(), None));
        assert_eq!(files(&[key], postgres), ("k".to_owned(), default));
        let there = [("COUNTERSIGN_DATABASE_URL", postgres), ("COUNTERSIGN_WITNESS_FILE", "w")];
        assert_eq!(files(&there, postgres), ("data/key-encryption.key".to_owned(), Some("w".to_owned())));
        assert_eq!(files(&there, sqlite), ("old/key-encryption.key".to_owned(), None));
    }

    #[test]
    fn a_password_does_not_show() {
        let url = parse("postgres://me:hunter2@db/x").unwrap();
        assert_eq!(format!("{url:?} {url}"), "postgres://db:5432/x postgres://db:5432/x");
    }
}

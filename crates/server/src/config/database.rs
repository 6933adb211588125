//! The setting that says where the database is, and the database that it makes with the other settings.

use std::fmt;
use std::path::PathBuf;

use countersign_store::database::Database;
use countersign_store::postgres::PostgresUrl;

use super::Settings;

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
    fn a_password_does_not_show() {
        let url = parse("postgres://me:hunter2@db/x").unwrap();
        assert_eq!(format!("{url:?} {url}"), "postgres://db:5432/x postgres://db:5432/x");
    }
}

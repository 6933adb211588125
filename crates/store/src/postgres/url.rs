//! The URL of a PostgreSQL database: what libpq understands, and how the connection is secured.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};
use tokio_postgres::{Config, config};

/// How long making a connection may take, all hosts together.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(1400);
/// After how long without an acknowledgement a connection counts as broken.
const UNACKNOWLEDGED: Duration = Duration::from_secs(5);

/// Where a PostgreSQL database is and how it is reached, from a URL in the form of libpq.
///
/// Beside what the driver knows (`application_name`, `options`, several hosts, …) three parameters are understood:
/// `sslmode` and `sslrootcert` as in libpq, and `pgbouncer=true` for a pooler that hands every transaction to another connection.
/// Without `sslmode` the certificate of the server is verified, unless the server is on this machine.
///
/// ```
/// use countersign_store::postgres::PostgresUrl;
///
/// let url = PostgresUrl::parse("postgres://login:secret@db.example.com/login")?;
/// assert_eq!(url.to_string(), "postgres://db.example.com:5432/login");
/// # Ok::<(), countersign_store::postgres::InvalidPostgresUrl>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct PostgresUrl {
    pub(super) config: Config,
    pub(super) tls: TlsMode,
    pub(super) root_certificates: Option<PathBuf>,
    /// Prepared statements and LISTEN need a connection of one's own, which a pooler does not give.
    pub(super) pooled: bool,
}

/// How the connection is secured, in the words of libpq's `sslmode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TlsMode {
    /// In the clear.
    Disable,
    /// Encrypted where the server can, and with whoever answers.
    Prefer,
    /// Encrypted, and with whoever answers.
    Require,
    /// Encrypted, and the certificate must come from a known authority.
    VerifyCa,
    /// Encrypted, and the certificate must come from a known authority and name the host.
    VerifyFull,
}

/// A text is no URL of a PostgreSQL database; the message says what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidPostgresUrl(String);

impl PostgresUrl {
    /// Reads a URL.
    ///
    /// # Errors
    /// What would be right. The message does not repeat what may be secret.
    pub fn parse(text: &str) -> Result<Self, InvalidPostgresUrl> {
        const EXAMPLE: &str = "such as postgres://user:password@host:5432/database";
        let wrong = |what: String| InvalidPostgresUrl(what);
        if !text.starts_with("postgres://") && !text.starts_with("postgresql://") {
            return Err(wrong(format!("must start with postgres://, {EXAMPLE}")));
        }
        if let Some((_, rest)) = text.split_once("://")
            && is_ambiguous(rest)
        {
            // Whatever was meant, a part of a password would pass for a host, a database or a parameter, and be shown as such.
            let hint = "in a user or a password, write @ as %40, / as %2F, ? as %3F and # as %23";
            return Err(wrong(format!("must be a PostgreSQL URL, {EXAMPLE}: {hint}")));
        }
        let (base, query) = text.split_once('?').unwrap_or((text, ""));
        let mut ours = Ours::default();
        let mut theirs = vec![];
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            if !ours.take(name, value)? {
                theirs.push(pair);
            }
        }
        let url = if theirs.is_empty() { base.to_owned() } else { format!("{base}?{}", theirs.join("&")) };
        let mut config: Config = url.parse().map_err(|error: tokio_postgres::Error| {
            let reason = std::error::Error::source(&error).map_or_else(String::new, |source| format!(": {source}"));
            wrong(format!("must be a PostgreSQL URL, {EXAMPLE}{reason}"))
        })?;
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            return Err(wrong(format!("must name a host, {EXAMPLE}")));
        }
        if config.get_dbname().is_none_or(str::is_empty) {
            return Err(wrong(format!("must name a database, {EXAMPLE}")));
        }
        // Who names authorities wants them to be asked.
        if ours.system_authorities && ours.tls.is_some_and(|tls| tls != TlsMode::VerifyFull) {
            return Err(wrong("sslrootcert=system needs sslmode=verify-full".to_owned()));
        }
        let local = !ours.system_authorities
            && config.get_hostaddrs().iter().all(|address| address.is_loopback())
            && config.get_hosts().iter().all(is_local);
        let tls = ours.tls.unwrap_or(if local { TlsMode::Disable } else { TlsMode::VerifyFull });
        config.ssl_mode(match tls {
            TlsMode::Disable => SslMode::Disable,
            TlsMode::Prefer => SslMode::Prefer,
            TlsMode::Require | TlsMode::VerifyCa | TlsMode::VerifyFull => SslMode::Require,
        });
        // What may be read from a replica is what was true a moment ago: a revocation may be missing.
        config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        if config.get_connect_timeout().is_none() {
            // Each host is given its part: one that never answers must not use up what the next one needs.
            let hosts = config.get_hosts().len().max(config.get_hostaddrs().len()).max(1);
            config.connect_timeout(CONNECT_TIMEOUT / u32::try_from(hosts).unwrap_or(u32::MAX));
        }
        if config.get_tcp_user_timeout().is_none() {
            config.tcp_user_timeout(UNACKNOWLEDGED);
        }
        if config.get_application_name().is_none() {
            config.application_name("countersign");
        }
        Ok(Self { config, tls, root_certificates: ours.root_certificates, pooled: ours.pooled })
    }
}

/// The parameters that are read here and not by the driver.
#[derive(Default)]
struct Ours {
    tls: Option<TlsMode>,
    root_certificates: Option<PathBuf>,
    system_authorities: bool,
    pooled: bool,
}

impl Ours {
    /// Reads one parameter; `false`: it is the driver's.
    fn take(&mut self, name: &str, value: &str) -> Result<bool, InvalidPostgresUrl> {
        match name {
            "sslmode" => {
                self.tls = Some(match value {
                    "disable" => TlsMode::Disable,
                    "allow" | "prefer" => TlsMode::Prefer,
                    "require" => TlsMode::Require,
                    "verify-ca" => TlsMode::VerifyCa,
                    "verify-full" => TlsMode::VerifyFull,
                    _ => {
                        let expected = "sslmode must be disable, prefer, require, verify-ca or verify-full";
                        return Err(InvalidPostgresUrl(expected.to_owned()));
                    }
                });
            }
            "sslrootcert" => match decoded(value) {
                Some(path) if path == "system" => self.system_authorities = true,
                Some(path) if !path.is_empty() => self.root_certificates = Some(path.into()),
                _ => {
                    return Err(InvalidPostgresUrl(
                        "sslrootcert must be the path of a file with PEM certificates, or system".to_owned(),
                    ));
                }
            },
            "sslcert" | "sslkey" | "sslcrl" | "passfile" | "service" => {
                return Err(InvalidPostgresUrl(format!("{name} is not supported; the password stands in the URL")));
            }
            "pgbouncer" => match value {
                "true" => self.pooled = true,
                "false" => self.pooled = false,
                _ => return Err(InvalidPostgresUrl("pgbouncer must be true or false".to_owned())),
            },
            _ => return Ok(false),
        }
        Ok(true)
    }
}

/// Whether there is an `@` that is not the one before the host, or a `#`, which has no meaning in such a URL.
fn is_ambiguous(after_the_scheme: &str) -> bool {
    let authority_ends = after_the_scheme.find(['/', '?']).unwrap_or(after_the_scheme.len());
    let mut ats = after_the_scheme.match_indices('@');
    let before_the_host = ats.next().is_none_or(|(at, _)| at < authority_ends);
    !before_the_host || ats.next().is_some() || after_the_scheme.contains('#')
}

/// Whether a connection never leaves this machine.
fn is_local(host: &Host) -> bool {
    match host {
        Host::Tcp(name) => {
            name == "localhost" || name.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback())
        }
        #[cfg(unix)]
        Host::Unix(_) => true,
    }
}

/// The text behind percent signs (RFC 3986 §2.1); `None` where they are wrong.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let (digits, after) = rest.split_at_checked(2)?;
        bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
        rest = after;
    }
    String::from_utf8(bytes).ok()
}

impl fmt::Display for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let config = &self.config;
        f.write_str("postgres://")?;
        let ports = config.get_ports();
        for (position, host) in config.get_hosts().iter().enumerate() {
            let port = ports.get(position).or(ports.first()).copied().unwrap_or(5432);
            let comma = if position == 0 { "" } else { "," };
            match host {
                config::Host::Tcp(name) => write!(f, "{comma}{name}:{port}")?,
                #[cfg(unix)]
                config::Host::Unix(folder) => write!(f, "{comma}{}:{port}", folder.display())?,
            }
        }
        write!(f, "/{}", config.get_dbname().unwrap_or_default())
    }
}

impl fmt::Debug for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PostgresUrl({self}, {:?})", self.tls)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_verified_unless_the_server_is_here_or_somebody_says_otherwise() {
        let tls = |text: &str| PostgresUrl::parse(text).unwrap().tls;
        assert_eq!(tls("postgres://db.example.com/x"), TlsMode::VerifyFull);
        assert_eq!(tls("postgres://localhost/x"), TlsMode::Disable);
        assert_eq!(tls("postgresql://me@127.0.0.1:5433/x"), TlsMode::Disable);
        assert_eq!(tls("postgres://me@%2Fvar%2Frun%2Fpostgresql/x"), TlsMode::Disable);
        assert_eq!(tls("postgres://localhost,db.example.com/x"), TlsMode::VerifyFull);
        assert_eq!(tls("postgres://db.example.com/x?sslmode=require"), TlsMode::Require);
        assert_eq!(tls("postgres://localhost/x?application_name=a&sslmode=verify-ca"), TlsMode::VerifyCa);
    }

    #[test]
    fn the_password_does_not_show() {
        let url =
            PostgresUrl::parse("postgres://me:hunter2@db:7000/x?sslrootcert=%2Fetc%2Fca.pem&pgbouncer=true").unwrap();
        assert_eq!(format!("{url:?} {url}"), "PostgresUrl(postgres://db:7000/x, VerifyFull) postgres://db:7000/x");
        assert_eq!((url.root_certificates, url.pooled), (Some("/etc/ca.pem".into()), true));
    }

    #[test]
    fn a_password_that_is_not_encoded_is_refused_and_no_part_of_it_is_said() {
        let passwords =
            ["hun@ter2", "hun/ter2", "hun?ter2", "hun#ter2", "@hunter2", "hunter2@", "hun?a=ter2", "/h@un?ter2#"];
        for (password, rest) in
            passwords.iter().flat_map(|password| ["", "?sslmode=require", "?x=hun"].map(|rest| (password, rest)))
        {
            let text = format!("postgres://me:{password}@db.example.com/x{rest}");
            let refused = PostgresUrl::parse(&text).unwrap_err().to_string();
            assert!(
                refused.contains("write @ as %40") && !refused.contains("hun") && !refused.contains("ter2"),
                "{refused}"
            );
        }
        for text in ["postgres://h/d@hunter2", "postgres://h/d?application_name=a@hunter2", "postgres://h/d#hunter2"] {
            let refused = PostgresUrl::parse(text).unwrap_err().to_string();
            assert!(refused.contains("write @ as %40") && !refused.contains("hunter2"), "{refused}");
        }
        let url =
            PostgresUrl::parse("postgres://me:h%40%2F%3F%23:=%25@db.example.com/x?application_name=a%40b").unwrap();
        assert_eq!(url.config.get_password(), Some(&b"h@/?#:=%"[..]));
        assert_eq!(
            (url.to_string().as_str(), url.config.get_application_name()),
            ("postgres://db.example.com:5432/x", Some("a@b"))
        );
    }

    #[test]
    fn what_is_wrong_is_said_without_secrets() {
        for (text, reason) in [
            ("mysql://h/d", "must start with postgres://"),
            ("postgres:///x", "must name a host"),
            ("postgres://me:hunter2@h", "must name a database"),
            ("postgres://me:hunter2@h/", "must name a database"),
            ("postgres://me:hunter2@h:port/d", "must be a PostgreSQL URL"),
            ("postgres://me:hunter2@h/d?sslmode=maybe", "sslmode must be"),
            ("postgres://me:hunter2@h/d?sslrootcert=%zz", "sslrootcert must be"),
            ("postgres://me:hunter2@h/d?sslmode=require&sslrootcert=system", "needs sslmode=verify-full"),
            ("postgres://me:hunter2@h/d?pgbouncer=perhaps", "pgbouncer must be"),
            ("postgres://me:hunter2@h/d?passfile=x", "passfile is not supported"),
            ("postgres://me:hunter2@h/d?colour=red", "colour"),
        ] {
            let refused = PostgresUrl::parse(text).unwrap_err().to_string();
            assert!(refused.contains(reason) && !refused.contains("hunter2"), "{text}: {refused}");
        }
    }
}

//! The two settings that are web addresses: the issuer and the origins of front ends.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use http::Uri;
use http::header::HeaderValue;

/// The URL by which clients reach this server: scheme, host, perhaps a port and a path, nothing else.
///
/// Clients compare it byte by byte with the `iss` of a token (RFC 9068 §4), so it is kept exactly as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issuer(String);

impl Issuer {
    /// Parses an issuer.
    ///
    /// # Errors
    ///
    /// What would be right, as a phrase that continues the name of the setting.
    pub fn parse(value: &str) -> Result<Self, String> {
        const EXAMPLE: &str = "such as https://id.example.com";
        if value.contains(['?', '#']) {
            return Err(format!("must have neither a query nor a fragment, {EXAMPLE}"));
        }
        let web = Web::parse(value).map_err(|wrong| format!("{wrong}, {EXAMPLE}"))?;
        if value.ends_with('/') {
            return Err(format!("must not end with a slash: it is compared byte by byte, {EXAMPLE}"));
        }
        let path_is_plain = web.path.split('/').skip(1).all(|segment| {
            let plain = segment.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte));
            plain && !matches!(segment, "" | "." | "..")
        });
        if !path_is_plain {
            return Err(format!("must have a plain path or none, {EXAMPLE}"));
        }
        if !web.https && !web.loopback {
            return Err(format!(
                "must be https, because tokens and passwords would cross the network in the clear; http is for \
                 localhost alone. Behind a proxy that ends TLS, write the https URL that clients use, {EXAMPLE}"
            ));
        }
        Ok(Self(value.to_owned()))
    }

    /// The issuer of a server that is reached from its own machine alone.
    #[must_use]
    pub fn local(port: u16) -> Self {
        Self(format!("http://localhost:{port}"))
    }

    /// The issuer as clients know it, without a slash at its end.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether clients reach the server through TLS.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.0.starts_with("https://")
    }
}

impl fmt::Display for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The origin of a browser front end (RFC 6454 §6.2), as browsers write it in `Origin`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    header: HeaderValue,
    text: String,
}

impl Origin {
    /// Parses an origin.
    ///
    /// # Errors
    ///
    /// What would be right, as a phrase that continues the name of the setting.
    pub fn parse(value: &str) -> Result<Self, String> {
        const EXAMPLE: &str = "such as https://app.example.com or http://localhost:4200";
        if value == "*" {
            return Err(format!("must name each origin: with * every web site could call the API, {EXAMPLE}"));
        }
        let web = Web::parse(value).map_err(|wrong| format!("{wrong}, {EXAMPLE}"))?;
        if !web.path.is_empty() || value.contains(['?', '#']) {
            return Err(format!("must end after the host and port, without a slash or path, {EXAMPLE}"));
        }
        if web.port == Some(if web.https { 443 } else { 80 }) {
            return Err(format!("must leave out the port that is the scheme's own, as browsers do, {EXAMPLE}"));
        }
        let header = HeaderValue::from_str(value).map_err(|_| format!("must be an origin, {EXAMPLE}"))?;
        Ok(Self { header, text: value.to_owned() })
    }

    /// The value of an `Origin` header that this origin sends.
    #[must_use]
    pub fn header(&self) -> &HeaderValue {
        &self.header
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The parts of an absolute http or https URL.
struct Web<'a> {
    https: bool,
    port: Option<u16>,
    loopback: bool,
    path: &'a str,
}

impl<'a> Web<'a> {
    fn parse(value: &'a str) -> Result<Self, String> {
        let (https, rest) = match (value.strip_prefix("https://"), value.strip_prefix("http://")) {
            (Some(rest), _) => (true, rest),
            (None, Some(rest)) => (false, rest),
            (None, None) => return Err("must start with https:// or http://".to_owned()),
        };
        let (authority, path) = match rest.find('/') {
            Some(slash) => rest.split_at(slash),
            None => (rest, ""),
        };
        if authority.contains('@') {
            return Err("must not hold a user name or password".to_owned());
        }
        let authority = authority.split(['?', '#']).next().unwrap_or_default();
        let uri: Uri = authority.parse().map_err(|_| "must name a host, perhaps with a port".to_owned())?;
        let host = uri.host().filter(|host| is_host(host)).ok_or("must name a host in lower case")?;
        let port = uri.port_u16();
        if port.is_none() && authority.len() != host.len() {
            return Err("must have a port from 1 to 65535 or none".to_owned());
        }
        Ok(Self { https, port, loopback: is_loopback(host), path })
    }
}

/// A name as it goes over the wire (international ones in their `xn--` form), or an address.
fn is_host(host: &str) -> bool {
    if let Some(address) = bracketed(host) {
        return address.parse::<Ipv6Addr>().is_ok();
    }
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-._".contains(&byte);
    !host.is_empty() && host.bytes().all(plain) && !host.split('.').any(str::is_empty)
}

/// Whether a request to the host never leaves the machine (RFC 6761 §6.3).
fn is_loopback(host: &str) -> bool {
    if let Some(address) = bracketed(host) {
        return address.parse::<Ipv6Addr>().is_ok_and(|address| address.is_loopback());
    }
    host == "localhost" || host.ends_with(".localhost") || host.parse::<Ipv4Addr>().is_ok_and(|a| a.is_loopback())
}

fn bracketed(host: &str) -> Option<&str> {
    host.strip_prefix('[')?.strip_suffix(']')
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn issuers_that_clients_can_compare_are_kept_as_written() {
        for value in [
            "https://id.example.com",
            "https://id.example.com:8443/auth",
            "https://xn--bcher-kva.example",
            "http://localhost:5000",
            "http://127.0.0.1",
            "http://127.9.9.9:1",
            "http://[::1]:5000",
            "http://auth.localhost:5000",
            "https://[2001:db8::1]",
        ] {
            assert_eq!(Issuer::parse(value).unwrap().as_str(), value);
        }
        assert!(Issuer::parse("https://a.example").unwrap().is_https());
        assert!(!Issuer::parse("http://localhost").unwrap().is_https());
    }

    #[test]
    fn other_issuers_are_refused_with_the_reason() {
        for (value, reason) in [
            ("", "must start with https://"),
            ("id.example.com", "must start with https://"),
            ("ftp://id.example.com", "must start with https://"),
            ("HTTPS://id.example.com", "must start with https://"),
            ("https://", "must name a host"),
            ("https://:443", "must name a host"),
            ("https://ID.example.com", "in lower case"),
            ("https://bücher.example", "must name a host"),
            ("https://a b", "must name a host"),
            ("https://a..b", "must name a host"),
            ("https://[::g]", "must name a host"),
            ("https://id.example.com/", "slash"),
            ("https://id.example.com?a=b", "query"),
            ("https://id.example.com#x", "fragment"),
            ("https://me:pw@id.example.com", "password"),
            ("https://id.example.com:99999", "port"),
            ("https://id.example.com:", "port"),
            ("https://id.example.com/a//b", "plain path"),
            ("https://id.example.com/../b", "plain path"),
            ("https://id.example.com/a%20b", "plain path"),
            ("http://id.example.com", "must be https"),
            ("http://10.0.0.1", "must be https"),
            ("http://localhost.example.com", "must be https"),
        ] {
            let refused = Issuer::parse(value).unwrap_err();
            assert!(refused.contains(reason), "{value}: {refused}");
        }
    }

    #[test]
    fn origins_are_what_a_browser_sends() {
        for value in ["https://app.example.com", "http://localhost:4200", "http://10.0.0.1:3000"] {
            assert_eq!(Origin::parse(value).unwrap().header(), value);
        }
        for (value, reason) in [
            ("*", "every web site"),
            ("null", "must start with"),
            ("https://app.example.com/", "without a slash"),
            ("https://app.example.com?x", "without a slash"),
            ("https://app.example.com:443", "port"),
            ("http://app.example.com:80", "port"),
            ("https://*.example.com", "must name a host"),
        ] {
            let refused = Origin::parse(value).unwrap_err();
            assert!(refused.contains(reason), "{value}: {refused}");
        }
    }
}

//! Where a request came from.

use std::net::{IpAddr, SocketAddr};

use axum::extract::FromRequestParts;
use http::request::Parts;
use http::{HeaderMap, HeaderName};
use ipnet::IpNet;

use crate::problem::{Code, Problem};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The address of the client: that of the connection or, where that is a trusted proxy's, the one that it forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClientAddress(pub IpAddr);

impl ClientAddress {
    /// Counts back from the connection: as long as an address is a trusted proxy's, the one to its left was seen by that
    /// proxy. Whatever stands further left anyone could have written. An entry that is no address ends the count.
    pub(super) fn resolve(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> Self {
        let mut address = peer.to_canonical();
        if trusted.is_empty() {
            return Self(address);
        }
        let lines = headers.get_all(X_FORWARDED_FOR).iter().rev();
        let mut entries = lines.flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b','));
        while trusted.iter().any(|network| network.contains(&address)) {
            let Some(forwarded) = entries.next().and_then(parse) else { break };
            address = forwarded;
        }
        Self(address)
    }
}

/// An address with or without a port, as proxies write it.
fn parse(entry: &[u8]) -> Option<IpAddr> {
    let entry = std::str::from_utf8(entry).ok()?.trim_matches([' ', '\t']);
    let address = entry.parse::<IpAddr>().ok();
    let address = address.or_else(|| entry.parse::<SocketAddr>().ok().map(|address| address.ip()));
    let address = address.or_else(|| entry.strip_prefix('[')?.strip_suffix(']')?.parse().ok());
    address.map(|address| address.to_canonical())
}

impl<S: Sync> FromRequestParts<S> for ClientAddress {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parts.extensions.get().copied().ok_or_else(|| {
            tracing::error!(
                "no client address: serve the router with into_make_service_with_connect_info::<SocketAddr>"
            );
            Problem::new(Code::Internal)
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use http::HeaderValue;

    use super::*;

    fn resolve(peer: &str, lines: &[&str]) -> String {
        let trusted: Vec<IpNet> = ["10.0.0.0/8", "2001:db8::/32"].map(|network| network.parse().unwrap()).into();
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(X_FORWARDED_FOR, HeaderValue::from_bytes(line.as_bytes()).unwrap());
        }
        ClientAddress::resolve(peer.parse().unwrap(), &headers, &trusted).0.to_string()
    }

    #[test]
    fn only_trusted_proxies_are_believed() {
        assert_eq!(resolve("198.51.100.1", &["203.0.113.9"]), "198.51.100.1");
        assert_eq!(resolve("10.0.0.1", &["203.0.113.9"]), "203.0.113.9");
        assert_eq!(resolve("10.0.0.1", &[]), "10.0.0.1");
        assert_eq!(resolve("2001:db8::1", &["203.0.113.9"]), "203.0.113.9");
    }

    #[test]
    fn it_is_counted_from_the_right_across_lines() {
        assert_eq!(resolve("10.0.0.1", &["1.1.1.1, 203.0.113.9"]), "203.0.113.9");
        assert_eq!(resolve("10.0.0.1", &["1.1.1.1, 203.0.113.9 ,10.0.0.2"]), "203.0.113.9");
        assert_eq!(resolve("10.0.0.1", &["1.1.1.1", "203.0.113.9", "10.0.0.2,10.0.0.3"]), "203.0.113.9");
        assert_eq!(resolve("10.0.0.1", &["10.0.0.7"]), "10.0.0.7");
    }

    #[test]
    fn what_is_no_address_ends_the_count_at_the_last_good_one() {
        for malformed in ["1.1.1.1, unknown", "1.1.1.1,", "1.1.1.1, 999.1.1.1", "1.1.1.1, ü", "1.1.1.1, _hidden"] {
            assert_eq!(resolve("10.0.0.1", &[malformed]), "10.0.0.1", "{malformed}");
        }
        assert_eq!(resolve("10.0.0.1", &["1.1.1.1, x, 10.0.0.2"]), "10.0.0.2");
    }

    #[test]
    fn ports_and_mapped_addresses_are_taken_off() {
        assert_eq!(resolve("::ffff:10.0.0.1", &["203.0.113.9:4711"]), "203.0.113.9");
        assert_eq!(resolve("10.0.0.1", &["::ffff:203.0.113.9"]), "203.0.113.9");
        assert_eq!(resolve("10.0.0.1", &["[2001:4860::1]:443"]), "2001:4860::1");
        assert_eq!(resolve("10.0.0.1", &["[2001:4860::1]"]), "2001:4860::1");
        assert_eq!(resolve("::ffff:198.51.100.1", &["203.0.113.9"]), "198.51.100.1");
    }
}

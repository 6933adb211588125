//! The URL by which a Countersign is trusted, and what it may say about itself.

use std::fmt;

use reqwest::Url;

/// Where discovery is fetched: scheme, host, perhaps a port and a path.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Authority {
    url: Url,
    /// As it was written, without a slash at its end.
    text: String,
}

/// Why the URL of an issuer is unusable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthorityError {
    /// Not an absolute http or https URL.
    #[error("the issuer's URL must be like https://login.example.com, but is {0:?}")]
    NotAUrl(String),
    /// With a user name, a query or a fragment.
    #[error("the issuer's URL must have neither a user name, a query nor a fragment")]
    MoreThanAUrl,
    /// Plain http to another machine: whoever sits in between could hand out keys of their own.
    #[error("the issuer's URL must be https: http is for localhost alone, but it is {0:?}")]
    NotSecure(String),
}

/// The document at the authority names an issuer that the authority may not speak for (RFC 8414 §3.3).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the authority {authority} says that its issuer is {issuer}, and tokens are only trusted where the two are the same (or \
     names of this machine with the same port): set the authority to {issuer}, or the issuer of the Countersign to {authority}"
)]
pub(crate) struct IssuerMismatch {
    authority: String,
    issuer: String,
}

/// An endpoint of the document lies elsewhere than the issuer: neither tokens nor the reader key are sent there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the endpoint {0:?} is not at the issuer's own address")]
pub(crate) struct EndpointElsewhere(String);

impl Authority {
    pub(crate) fn parse(text: &str) -> Result<Self, AuthorityError> {
        let url = Url::parse(text).map_err(|_| AuthorityError::NotAUrl(text.to_owned()))?;
        if !url.username().is_empty() || url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
            return Err(AuthorityError::MoreThanAUrl);
        }
        match (url.scheme(), url.has_host()) {
            ("https", true) => {}
            ("http", true) if is_loopback(&url) => {}
            ("http", true) => return Err(AuthorityError::NotSecure(text.to_owned())),
            _ => return Err(AuthorityError::NotAUrl(text.to_owned())),
        }
        Ok(Self { url, text: text.trim_end_matches('/').to_owned() })
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    pub(crate) fn is_https(&self) -> bool {
        self.url.scheme() == "https"
    }

    pub(crate) fn is_loopback(&self) -> bool {
        is_loopback(&self.url)
    }

    /// A path below the authority.
    pub(crate) fn below(&self, path: &str) -> Url {
        let mut url = self.url.clone();
        url.set_path(&format!("{}{path}", self.url.path().trim_end_matches('/')));
        url
    }

    /// Whether this authority may speak for `issuer`: where it is the same, or where both are names of this machine with the
    /// same scheme, port and path. A Countersign that listens on 127.0.0.1 calls itself localhost unless told otherwise.
    pub(crate) fn speaks_for(&self, issuer: &str) -> Result<(), IssuerMismatch> {
        if issuer.trim_end_matches('/') == self.text {
            return Ok(());
        }
        match Url::parse(issuer) {
            Ok(url) if self.is_loopback() && is_loopback(&url) && self.differs_in_host_alone(&url) => Ok(()),
            _ => Err(IssuerMismatch { authority: self.text.clone(), issuer: issuer.to_owned() }),
        }
    }

    fn differs_in_host_alone(&self, other: &Url) -> bool {
        let path = |url: &Url| url.path().trim_end_matches('/').to_owned();
        self.url.scheme() == other.scheme()
            && self.url.port_or_known_default() == other.port_or_known_default()
            && path(&self.url) == path(other)
            && other.query().is_none()
            && other.fragment().is_none()
            && other.username().is_empty()
    }

    /// Where to find an endpoint that the document of `issuer` names: at the authority's own host, since another name of this
    /// machine may lead to another address.
    pub(crate) fn locate(&self, issuer: &str, endpoint: &str) -> Result<Url, EndpointElsewhere> {
        let elsewhere = || EndpointElsewhere(endpoint.to_owned());
        let issuer = Url::parse(issuer).map_err(|_| elsewhere())?;
        let mut url = Url::parse(endpoint).map_err(|_| elsewhere())?;
        if url.origin() != issuer.origin() || !url.username().is_empty() || url.password().is_some() {
            return Err(elsewhere());
        }
        url.set_host(self.url.host_str()).map_err(|_| elsewhere())?;
        Ok(url)
    }
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn is_loopback(url: &Url) -> bool {
    // The parser has brought every spelling of an address into one, and only an IPv6 address has brackets.
    let host = url.host_str().unwrap_or_default();
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    host == "localhost" || address.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_url_is_https_or_of_this_machine() {
        for good in [
            "https://login.example",
            "https://login.example/",
            "https://login.example:8443/tenant",
            "http://localhost:5000",
            "http://127.0.0.1:5000",
            "http://[::1]:5000",
        ] {
            assert!(Authority::parse(good).is_ok(), "{good}");
        }
        for (bad, why) in [
            ("login.example", AuthorityError::NotAUrl("login.example".into())),
            ("", AuthorityError::NotAUrl(String::new())),
            ("localhost:5000", AuthorityError::NotAUrl("localhost:5000".into())),
            ("ftp://login.example", AuthorityError::NotAUrl("ftp://login.example".into())),
            ("http://login.example", AuthorityError::NotSecure("http://login.example".into())),
            ("http://localhost.example", AuthorityError::NotSecure("http://localhost.example".into())),
            ("http://127.0.0.1.example", AuthorityError::NotSecure("http://127.0.0.1.example".into())),
            ("https://me:pw@login.example", AuthorityError::MoreThanAUrl),
            ("https://login.example?a", AuthorityError::MoreThanAUrl),
            ("https://login.example#a", AuthorityError::MoreThanAUrl),
        ] {
            assert_eq!(Authority::parse(bad).err(), Some(why), "{bad}");
        }
    }

    #[test]
    fn discovery_lies_below_the_path() {
        for (authority, found) in [
            ("https://login.example", "https://login.example/.well-known/x"),
            ("https://login.example/", "https://login.example/.well-known/x"),
            ("https://login.example/a/b", "https://login.example/a/b/.well-known/x"),
        ] {
            assert_eq!(Authority::parse(authority).unwrap().below("/.well-known/x").as_str(), found);
        }
    }

    #[test]
    fn an_authority_speaks_for_itself_and_for_other_names_of_this_machine() {
        for (authority, issuer) in [
            ("https://login.example", "https://login.example"),
            ("https://login.example/", "https://login.example"),
            ("http://127.0.0.1:5000", "http://localhost:5000"),
            ("http://localhost:5000", "http://127.0.0.1:5000"),
            ("http://[::1]:5000", "http://localhost:5000"),
            ("http://127.0.0.1:80", "http://localhost"),
        ] {
            assert_eq!(Authority::parse(authority).unwrap().speaks_for(issuer), Ok(()), "{authority} {issuer}");
        }
        for (authority, issuer) in [
            ("https://login.example", "https://other.example"),
            ("https://login.example", "https://login.example:8443"),
            ("https://login.example", "https://login.example/tenant"),
            ("https://login.example", "https://LOGIN.example"),
            ("https://login.example", "http://localhost:5000"),
            ("http://localhost:5000", "http://localhost:5001"),
            ("http://localhost:5000", "http://127.0.0.1:5001"),
            ("http://localhost:5000", "https://127.0.0.1:5000"),
            ("http://localhost:5000", "http://127.0.0.1:5000/tenant"),
            ("http://localhost:5000", "http://me@127.0.0.1:5000"),
            ("http://localhost:5000", "https://login.example"),
            ("http://localhost:5000", "http://localhost.example:5000"),
            ("http://localhost:5000", "nonsense"),
            ("http://localhost:5000", ""),
        ] {
            let refused = Authority::parse(authority).unwrap().speaks_for(issuer).unwrap_err().to_string();
            assert!(refused.contains(authority) && refused.contains(issuer), "{refused}");
        }
    }

    #[test]
    fn endpoints_are_fetched_where_the_authority_is() {
        let locate = |authority: &str, issuer: &str, endpoint: &str| {
            Authority::parse(authority).unwrap().locate(issuer, endpoint).map(|url| url.to_string())
        };
        assert_eq!(
            locate("http://127.0.0.1:5000", "http://localhost:5000", "http://localhost:5000/revocations").unwrap(),
            "http://127.0.0.1:5000/revocations"
        );
        assert_eq!(
            locate("http://[::1]:5000", "http://localhost:5000", "http://localhost:5000/r").unwrap(),
            "http://[::1]:5000/r"
        );
        assert_eq!(
            locate("https://login.example", "https://login.example", "https://login.example/r?x=1").unwrap(),
            "https://login.example/r?x=1"
        );
        for elsewhere in [
            "https://evil.example/r",
            "http://login.example/r",
            "https://login.example:444/r",
            "https://login.example@evil.example/r",
            "https://me@login.example/r",
            "/r",
            "",
            "file:///r",
        ] {
            assert!(locate("https://login.example", "https://login.example", elsewhere).is_err(), "{elsewhere}");
        }
    }
}

//! How a layer that trusts a remote issuer is put together.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use countersign_token::{Expected, KeyError, KeySet, MAX_LEEWAY_SECONDS, VerifyingKey};
use http::HeaderValue;
use tokio::runtime::Handle;
use zeroize::Zeroizing;

use crate::clock::Clock;
use crate::remote::{Authority, AuthorityError, Http, Remote, Wiring};
use crate::verifier::{Trust, Verifier};
use crate::{Bearer, Stale};

pub(crate) const DEFAULT_CACHE_CAPACITY: usize = 10_000;
pub(crate) const DEFAULT_MAX_STALE: Duration = Duration::from_secs(10);

/// The shortest and the longest age of the feed that may be tolerated.
const MAX_STALE: std::ops::RangeInclusive<Duration> = Duration::from_secs(2)..=Duration::from_secs(3600);

/// Settings of a layer; see [`Bearer::discover`].
#[must_use = "a builder does nothing until it is built"]
pub struct Builder {
    authority: String,
    audience: Option<String>,
    reader_key: Option<Zeroizing<String>>,
    shared_secret: Option<Zeroizing<Vec<u8>>>,
    stale: Stale,
    max_stale: Duration,
    leeway_seconds: Option<i64>,
    cache_capacity: usize,
    clock: Clock,
}

/// Why a layer cannot be built.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    /// The URL of the issuer is unusable.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// No audience was given: tokens meant for others would be accepted.
    #[error("an audience is needed: say with .audience(…) which `aud` tokens for this service carry")]
    AudienceMissing,
    /// The reader key cannot stand in a header.
    #[error("the reader key must be visible ASCII without spaces, as it was shown when it was made")]
    ReaderKeyMalformed,
    /// The shared secret of HS256 is unusable.
    #[error("the shared secret is not usable: {0}")]
    SharedSecret(#[from] KeyError),
    /// `max_stale` is out of range.
    #[error("max_stale must be from 2 seconds, so that the feed can be read in time, to 1 hour, but is {0:?}")]
    MaxStaleOutOfRange(Duration),
    /// There is no Tokio runtime to read keys and revocations on.
    #[error("a layer must be built within a Tokio runtime: it reads keys and revocations in the background")]
    RuntimeMissing,
    /// The HTTP client cannot be made, as where the system has no root certificates.
    #[error("the HTTP client cannot be made: {0}")]
    Client(String),
}

impl Builder {
    pub(crate) fn new(authority: String) -> Self {
        Self {
            authority,
            audience: None,
            reader_key: None,
            shared_secret: None,
            stale: Stale::default(),
            max_stale: DEFAULT_MAX_STALE,
            leeway_seconds: None,
            cache_capacity: DEFAULT_CACHE_CAPACITY,
            clock: Clock::System,
        }
    }

    /// The `aud` that tokens for this service carry; compared byte by byte. Required.
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.audience = Some(audience.into());
        self
    }

    /// The reader secret of the issuer or a reader key made by one of its administrators. With it the layer reads the
    /// revocation feed and asks nobody per request; without it, it asks the issuer about each token, twice a second at most.
    pub fn reader_key(mut self, key: impl Into<String>) -> Self {
        self.reader_key = Some(Zeroizing::new(key.into()));
        self
    }

    /// The secret of an issuer that signs with HS256, of 32 to 1024 bytes. Only tokens made with it are accepted then.
    pub fn shared_secret(mut self, secret: impl Into<Vec<u8>>) -> Self {
        self.shared_secret = Some(Zeroizing::new(secret.into()));
        self
    }

    /// What to do while it cannot be known whether a token was revoked. [`Stale::FailClosed`] unless set.
    pub fn when_stale(mut self, stale: Stale) -> Self {
        self.stale = stale;
        self
    }

    /// How old the last answer of the revocation feed may be before it counts as stale. 10 seconds unless set.
    pub fn max_stale(mut self, age: Duration) -> Self {
        self.max_stale = age;
        self
    }

    /// How far the clocks of issuer and service may be apart, in whole seconds, at most 60. 5 seconds unless set.
    pub fn leeway(mut self, leeway: Duration) -> Self {
        self.leeway_seconds = Some(i64::try_from(leeway.as_secs()).unwrap_or(i64::MAX).min(MAX_LEEWAY_SECONDS));
        self
    }

    /// How many tokens whose signature was verified are remembered. 10,000 unless set; 0 for none.
    pub fn cache_capacity(mut self, tokens: usize) -> Self {
        self.cache_capacity = tokens;
        self
    }

    /// Where the time of day comes from, in whole seconds since 1970: for tests. The system unless set.
    pub fn clock(mut self, now: impl Fn() -> i64 + Send + Sync + 'static) -> Self {
        self.clock = Clock::Given(Arc::new(now));
        self
    }

    /// Builds the layer and starts to read keys and revocations in the background, on the current Tokio runtime, until the
    /// last clone of the layer is dropped.
    ///
    /// # Errors
    ///
    /// [`BuildError`], where a setting is unusable. An issuer that is away is no error: it is asked again.
    pub fn build(self) -> Result<Bearer, BuildError> {
        let authority = Authority::parse(&self.authority)?;
        let audience = self.audience.filter(|audience| !audience.is_empty()).ok_or(BuildError::AudienceMissing)?;
        let reader_key = self.reader_key.map(|key| credentials(&key)).transpose()?;
        let secret = self.shared_secret.map(|secret| VerifyingKey::from_secret(&secret)).transpose()?;
        if !MAX_STALE.contains(&self.max_stale) {
            return Err(BuildError::MaxStaleOutOfRange(self.max_stale));
        }
        // The issuer is not known before it was discovered.
        let mut expected = Expected::new("", audience);
        if let Some(leeway) = self.leeway_seconds {
            expected.leeway_seconds = leeway;
        }
        Handle::try_current().map_err(|_| BuildError::RuntimeMissing)?;
        let remote = Remote::start(Wiring {
            http: Http::new(&authority).map_err(BuildError::Client)?,
            authority,
            expected,
            shared_keys: secret.map(|secret| Arc::new(KeySet::new([secret]))),
            reader_key,
            max_stale: self.max_stale,
            questions: self.cache_capacity.clamp(100, DEFAULT_CACHE_CAPACITY),
            clock: self.clock,
        });
        Ok(Bearer::new(Verifier::new(Trust::Remote(remote), self.cache_capacity, self.max_stale), self.stale))
    }
}

/// `Authorization` for the feed, marked so that nobody prints it.
fn credentials(key: &str) -> Result<HeaderValue, BuildError> {
    if key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(BuildError::ReaderKeyMalformed);
    }
    let value = Zeroizing::new(format!("Bearer {key}"));
    let mut value = HeaderValue::from_str(&value).map_err(|_| BuildError::ReaderKeyMalformed)?;
    value.set_sensitive(true);
    Ok(value)
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("authority", &self.authority)
            .field("audience", &self.audience)
            .field("reader_key", &self.reader_key.as_ref().map(|_| "redacted"))
            .field("shared_secret", &self.shared_secret.as_ref().map(|_| "redacted"))
            .field("stale", &self.stale)
            .field("max_stale", &self.max_stale)
            .finish_non_exhaustive()
    }
}

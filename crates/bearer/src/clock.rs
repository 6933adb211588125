//! The one place where this crate reads the time of day.

use std::fmt;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// Where the time of day comes from.
#[derive(Clone, Default)]
pub(crate) enum Clock {
    /// The system.
    #[default]
    System,
    /// Whoever built the layer.
    Given(Arc<dyn Fn() -> i64 + Send + Sync>),
}

impl Clock {
    /// Whole seconds since 1970-01-01T00:00:00Z.
    pub(crate) fn now(&self) -> i64 {
        match self {
            Self::System => system_seconds(),
            Self::Given(now) => now(),
        }
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::System => "System",
            Self::Given(_) => "Given",
        })
    }
}

/// The system's time in whole seconds since 1970; before 1970, 0.
#[expect(clippy::disallowed_methods, reason = "the clock of the crate")]
pub(crate) fn system_seconds() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

//! The process environment, read in one place.

use std::collections::BTreeMap;
use std::ffi::OsString;

use super::table::PREFIX;

/// Names the TOML file, as `--config` does.
pub const CONFIG_VARIABLE: &str = "COUNTERSIGN_CONFIG";

/// Fail points to switch on, `name=action` separated by `;`. Only builds with fail points accept it.
pub const FAIL_POINTS_VARIABLE: &str = "COUNTERSIGN_FAIL_POINTS";

/// The variables that Countersign looks at, as they were when they were read.
#[derive(Clone, Default)]
pub struct Environment {
    variables: BTreeMap<String, OsString>,
}

impl Environment {
    /// Reads the environment of this process: the only place that does.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
    pub fn read() -> Self {
        Self::from_iter(std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value))))
    }

    /// The fail points to switch on, if any are named.
    #[must_use]
    pub fn fail_points(&self) -> Option<&str> {
        self.variables.get(FAIL_POINTS_VARIABLE)?.to_str()
    }

    pub(super) fn config_file(&self) -> Option<&OsString> {
        self.variables.get(CONFIG_VARIABLE)
    }

    /// Every variable that starts with [`PREFIX`].
    pub(super) fn variables(&self) -> impl Iterator<Item = (&str, &OsString)> {
        self.variables.iter().map(|(name, value)| (name.as_str(), value))
    }
}

/// An environment from pairs of name and value; names without [`PREFIX`] are left out.
impl<N: Into<String>, V: Into<OsString>> FromIterator<(N, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Self {
        let variables = pairs
            .into_iter()
            .map(|(name, value)| (name.into(), value.into()))
            .filter(|(name, _)| name.starts_with(PREFIX))
            .collect();
        Self { variables }
    }
}

/// Shows names alone: values may be secrets.
impl std::fmt::Debug for Environment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.variables.keys()).finish()
    }
}

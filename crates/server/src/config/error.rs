//! What is wrong with the settings, all of it at once.

use std::fmt;
use std::path::PathBuf;

use serde::{Serialize, Serializer};

/// Where a setting came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// No layer gave it.
    Default,
    /// The TOML file.
    File {
        /// The file as it was named.
        path: PathBuf,
        /// The line, counted from 1; `None` where the whole file is meant.
        line: Option<usize>,
    },
    /// An environment variable, by its full name.
    Environment(String),
    /// A flag, without its dashes.
    Flag(String),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line: Some(line) } => write!(f, "{}, line {line}", path.display()),
            Self::File { path, line: None } => write!(f, "{}", path.display()),
            Self::Environment(variable) => write!(f, "environment variable {variable}"),
            Self::Flag(flag) => write!(f, "flag --{flag}"),
        }
    }
}

impl Serialize for Source {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// One wrong setting.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WrongSetting {
    /// Its name.
    pub setting: String,
    /// The value as it was given, quoted and without secrets; `None` where there is none to show.
    pub value: Option<String>,
    /// Where it was given.
    pub source: Source,
    /// What would be right.
    pub expected: String,
}

impl fmt::Display for WrongSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "  {}", self.setting)?;
        if let Some(value) = &self.value {
            write!(f, " = {value}")?;
        }
        write!(f, "  ({})\n      {}", self.source, self.expected)
    }
}

/// Every setting that is wrong; the program does not start with any.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WrongSettings(pub Vec<WrongSetting>);

impl fmt::Display for WrongSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.len() {
            1 => f.write_str("1 setting is wrong:")?,
            many => write!(f, "{many} settings are wrong:")?,
        }
        for wrong in &self.0 {
            write!(f, "\n\n{wrong}")?;
        }
        Ok(())
    }
}

impl std::error::Error for WrongSettings {}

/// A value as a message may show it: quoted, shortened, its control characters escaped, the password of a URL hidden.
pub(super) fn shown(value: &str) -> String {
    const LONGEST: usize = 120;
    let value = without_userinfo(value);
    if value.chars().count() <= LONGEST {
        return format!("{value:?}");
    }
    let start: String = value.chars().take(LONGEST).collect();
    format!("{:?}", format!("{start}…"))
}

/// The value with the `user:password@` of a URL replaced, and its query dropped where that carries a password.
fn without_userinfo(value: &str) -> String {
    let Some((scheme, rest)) = value.split_once("://") else { return value.to_owned() };
    // A password may hold an unescaped slash or question mark, so everything up to the last `@` is taken for it.
    let (hidden, rest) = match rest.rsplit_once('@') {
        Some((_, host)) => ("***@", host),
        None => ("", rest),
    };
    match rest.split_once('?') {
        Some((before, query)) if query.contains("password") => format!("{scheme}://{hidden}{before}"),
        _ => format!("{scheme}://{hidden}{rest}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_shown_without_passwords_and_control_characters() {
        assert_eq!(shown("5 days"), r#""5 days""#);
        assert_eq!(shown("a\nb\u{1b}[31m"), r#""a\nb\u{1b}[31m""#);
        assert_eq!(shown("postgres://me:se/cret@db/x?password=also"), r#""postgres://***@db/x""#);
        assert_eq!(shown("postgres://me:se?password@db/x?password=also"), r#""postgres://***@db/x""#);
        assert_eq!(shown("postgres://db/x?password=also"), r#""postgres://db/x""#);
        assert_eq!(shown("https://id.example.com/?a=b"), r#""https://id.example.com/?a=b""#);
        assert_eq!(shown(&"x".repeat(500)).chars().count(), 123);
    }

    #[test]
    fn the_message_names_setting_value_source_and_remedy() {
        let wrong = WrongSettings(vec![WrongSetting {
            setting: "listen".to_owned(),
            value: Some(shown("5000")),
            source: Source::File { path: "countersign.toml".into(), line: Some(3) },
            expected: "must be ADDRESS:PORT, such as 127.0.0.1:5000".to_owned(),
        }]);
        assert_eq!(
            wrong.to_string(),
            "1 setting is wrong:\n\n  listen = \"5000\"  (countersign.toml, line 3)\n      must be ADDRESS:PORT, such as 127.0.0.1:5000"
        );
    }
}

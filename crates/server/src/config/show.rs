//! The settings in force, for `config check`: parsed and shown again, so that what is printed is what is used.

use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use serde::{Serialize, Serializer};

use super::error::Source;

/// A value that may be printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shown {
    /// No value; leaving it out means something of its own.
    Unset,
    /// A secret.
    Hidden,
    /// One value.
    One(String),
    /// A number.
    Number(u64),
    /// A list.
    Many(Vec<Shown>),
}

impl Shown {
    /// Whether there is a value; an empty list is none.
    pub(super) fn given(&self) -> bool {
        *self != Self::Unset && *self != Self::Many(Vec::new())
    }

    pub(super) fn quoted(&self) -> String {
        match self {
            Self::One(text) => format!("{text:?}"),
            other => other.to_string(),
        }
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unset => f.write_str("none"),
            Self::Hidden => f.write_str("(not shown)"),
            Self::One(text) => f.write_str(text),
            Self::Number(number) => number.fmt(f),
            Self::Many(values) => {
                for (index, value) in values.iter().enumerate() {
                    write!(f, "{}{value}", if index == 0 { "" } else { ", " })?;
                }
                Ok(())
            }
        }
    }
}

impl Serialize for Shown {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Unset => serializer.serialize_none(),
            Self::Number(number) => serializer.serialize_u64(*number),
            Self::Many(values) => values.serialize(serializer),
            Self::Hidden | Self::One(_) => serializer.collect_str(self),
        }
    }
}

/// One setting as it is in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Effective {
    /// Its name.
    pub key: &'static str,
    /// What leaving it out means.
    #[serde(skip)]
    pub unset: &'static str,
    /// Its value.
    pub value: Shown,
    /// Where it came from.
    pub source: Source,
}

impl Effective {
    /// The value as one line for people, where nothing is set what that means.
    #[must_use]
    pub fn text(&self) -> String {
        if self.value.given() { self.value.to_string() } else { self.unset.to_owned() }
    }
}

/// How a parsed value is shown.
pub(super) trait Show {
    fn show(&self) -> Shown;
}

impl Show for String {
    fn show(&self) -> Shown {
        Shown::One(self.clone())
    }
}

impl Show for u32 {
    fn show(&self) -> Shown {
        Shown::Number(u64::from(*self))
    }
}

impl Show for NonZeroU32 {
    fn show(&self) -> Shown {
        self.get().show()
    }
}

impl Show for PathBuf {
    fn show(&self) -> Shown {
        Shown::One(self.to_string_lossy().into_owned())
    }
}

/// The largest unit that leaves no rest: `5m`, `90d`, `90s`.
impl Show for Duration {
    fn show(&self) -> Shown {
        let seconds = self.as_secs();
        let units = [(86_400, "d"), (3_600, "h"), (60, "m")];
        let fitting = units.into_iter().find(|(unit, _)| seconds > 0 && seconds.is_multiple_of(*unit));
        Shown::One(match fitting {
            Some((unit, name)) => format!("{}{name}", seconds / unit),
            None => format!("{seconds}s"),
        })
    }
}

/// Shows a type as it displays itself.
macro_rules! show_displayed {
    ($($kind:ty),*) => {$(
        impl Show for $kind {
            fn show(&self) -> Shown {
                Shown::One(self.to_string())
            }
        }
    )*};
}

show_displayed!(SocketAddr, IpNet, super::Issuer, super::Origin, super::DatabaseUrl, countersign_token::Algorithm);
show_displayed!(super::Registration, super::LogFormat);

impl Show for super::ReaderSecret {
    fn show(&self) -> Shown {
        Shown::Hidden
    }
}

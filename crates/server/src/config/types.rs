//! The kinds of value that settings have.

use std::fmt;

use zeroize::Zeroizing;

/// Who may register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Registration {
    /// Anyone.
    Open,
    /// Nobody; accounts are made by an Admin or the command line.
    Closed,
}

impl fmt::Display for Registration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open => "open",
            Self::Closed => "closed",
        })
    }
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl fmt::Display for LogFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "text",
            Self::Json => "json",
        })
    }
}

/// The cost of one Argon2id hash (RFC 9106 §3.1), never below the OWASP floor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PasswordHash {
    /// Memory in KiB.
    pub memory_kib: u32,
    /// Passes over the memory.
    pub iterations: u32,
    /// Lanes.
    pub parallelism: u32,
}

impl PasswordHash {
    /// The costs that OWASP holds to be of equal strength, as memory in KiB and passes (Password Storage Cheat Sheet).
    const FLOORS: [(u32, u32); 5] = [(47_104, 1), (19_456, 2), (12_288, 3), (9_216, 4), (7_168, 5)];

    pub(super) fn is_strong_enough(self) -> bool {
        Self::FLOORS.into_iter().any(|(memory, passes)| self.memory_kib >= memory && self.iterations >= passes)
    }
}

/// The secret with which resource servers read the revocation feed.
#[derive(Clone, PartialEq, Eq)]
pub struct ReaderSecret(Zeroizing<String>);

impl ReaderSecret {
    pub(super) fn new(secret: &str) -> Self {
        Self(Zeroizing::new(secret.to_owned()))
    }

    /// The secret itself: the name is there to be searched for.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ReaderSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReaderSecret(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_are_held_against_every_floor_of_equal_strength() {
        let cost = |memory_kib, iterations| PasswordHash { memory_kib, iterations, parallelism: 1 };
        for strong in [cost(19_456, 2), cost(65_536, 1), cost(7_168, 5), cost(1_048_576, 3)] {
            assert!(strong.is_strong_enough(), "{strong:?}");
        }
        for weak in [cost(19_455, 2), cost(19_456, 1), cost(7_167, 100), cost(8, 1)] {
            assert!(!weak.is_strong_enough(), "{weak:?}");
        }
    }

    #[test]
    fn secrets_do_not_show() {
        assert_eq!(format!("{:?}", ReaderSecret::new("hunter2")), "ReaderSecret(redacted)");
    }
}

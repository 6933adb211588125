//! What a password must be: NIST SP 800-63B §3.1.1.2. Length and a blocklist; no composition rules, no forced changes.

use std::collections::HashSet;
use std::fmt;
use std::sync::LazyLock;

use zeroize::Zeroizing;

/// The longest password that is looked at, in bytes. Hashing reads all of them.
pub const MAX_BYTES: usize = 1024;

static COMMON: LazyLock<HashSet<&'static str>> =
    LazyLock::new(|| include_str!("../data/common-passwords.txt").lines().collect());

/// A password as somebody typed it, byte for byte: wiped when dropped, hidden in Debug.
#[derive(Clone)]
pub struct Password(Zeroizing<String>);

/// Why a text can be nobody's password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPassword {
    /// It is empty.
    #[error("is required")]
    Missing,
    /// It is longer than [`MAX_BYTES`].
    #[error("must have at most 1024 bytes")]
    TooLong,
    /// It has a control character, such as NUL or a line break.
    #[error("must not have control characters")]
    ControlCharacter,
}

impl Password {
    /// Reads a password to compare: any text that could have been set.
    ///
    /// # Errors
    /// See [`InvalidPassword`].
    pub fn parse(text: impl Into<Zeroizing<String>>) -> Result<Self, InvalidPassword> {
        let text = text.into();
        if text.is_empty() {
            return Err(InvalidPassword::Missing);
        }
        if text.len() > MAX_BYTES {
            return Err(InvalidPassword::TooLong);
        }
        if text.chars().any(char::is_control) {
            return Err(InvalidPassword::ControlCharacter);
        }
        Ok(Self(text))
    }

    /// The text itself: the name is there to be searched for.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(redacted)")
    }
}

/// Why a password may not be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WeakPassword {
    /// It has fewer characters than the policy asks for.
    #[error("must have at least {0} characters")]
    TooShort(usize),
    /// It is one of the most common ones.
    #[error("is one of the most common ones; choose another")]
    Common,
    /// It is one character over and over, or a plain sequence.
    #[error("is a repetition or a sequence; choose another")]
    Pattern,
    /// It is little more than the username, the e-mail address or the name of the service.
    #[error("is too close to the username, the e-mail address or the name of this service")]
    Context,
}

/// What an installation asks of new passwords.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PasswordPolicy {
    /// The fewest characters (Unicode code points).
    pub min_length: usize,
}

impl PasswordPolicy {
    /// Whether a password may be set for the account that `context` describes (its names).
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub fn check(&self, password: &Password, context: &[&str]) -> Result<(), WeakPassword> {
        let text = password.expose();
        if text.chars().count() < self.min_length {
            return Err(WeakPassword::TooShort(self.min_length));
        }
        let folded = Zeroizing::new(text.to_lowercase());
        if COMMON.contains(folded.as_str()) {
            return Err(WeakPassword::Common);
        }
        if is_pattern(&folded) {
            return Err(WeakPassword::Pattern);
        }
        if context.iter().copied().chain(["countersign"]).any(|word| is_mostly(&folded, word)) {
            return Err(WeakPassword::Context);
        }
        Ok(())
    }
}

/// True where every step from one character to the next is the same, and at most one up or down.
fn is_pattern(text: &str) -> bool {
    let step = |(a, b): (char, char)| i64::from(u32::from(b)) - i64::from(u32::from(a));
    let mut steps = text.chars().zip(text.chars().skip(1)).map(step);
    let Some(first) = steps.next() else {
        return true;
    };
    first.abs() <= 1 && steps.all(|step| step == first)
}

/// True where fewer than four characters are left once the word (and, of an address, its local part) is taken out.
fn is_mostly(folded: &str, word: &str) -> bool {
    let word = word.to_lowercase();
    let local = word.split('@').next().unwrap_or_default();
    [word.as_str(), local].into_iter().any(|word| {
        word.len() >= 3 && folded.contains(word) && Zeroizing::new(folded.replace(word, "")).chars().count() < 4
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn check(text: &str) -> Result<(), WeakPassword> {
        let password = Password::parse(text.to_owned()).unwrap();
        PasswordPolicy { min_length: 8 }.check(&password, &["alice", "alice.liddell@example.com"])
    }

    #[test]
    fn length_counts_characters_and_not_bytes() {
        assert_eq!(check("short-7"), Err(WeakPassword::TooShort(8)));
        assert_eq!(check("ümlaute"), Err(WeakPassword::TooShort(8)));
        assert_eq!(check("ümlautes"), Ok(()));
        assert_eq!(check(&"pass phrase ".repeat(6)), Ok(()), "at least 64 characters are allowed");
    }

    #[test]
    fn common_ones_are_refused_in_any_case() {
        assert_eq!(check("password123"), Err(WeakPassword::Common));
        assert_eq!(check("PassWord123"), Err(WeakPassword::Common));
    }

    #[test]
    fn repetitions_and_sequences_are_refused() {
        for text in ["§§§§§§§§§", "lmnopqrstu", "ponmlkjih"] {
            assert_eq!(check(text), Err(WeakPassword::Pattern), "{text}");
        }
    }

    #[test]
    fn the_account_s_own_names_are_no_password() {
        for text in ["alice-01", "Alicealice", "Alice.Liddell1", "countersign!1"] {
            assert_eq!(check(text), Err(WeakPassword::Context), "{text}");
        }
        assert_eq!(check("alice fell down the hole"), Ok(()));
    }

    #[test]
    fn what_is_no_password_at_all() {
        assert_eq!(Password::parse(String::new()).unwrap_err(), InvalidPassword::Missing);
        assert_eq!(Password::parse("a\0bcdefgh".to_owned()).unwrap_err(), InvalidPassword::ControlCharacter);
        assert_eq!(Password::parse("x".repeat(MAX_BYTES + 1)).unwrap_err(), InvalidPassword::TooLong);
        assert!(Password::parse("x".repeat(MAX_BYTES)).is_ok());
    }

    #[test]
    fn the_list_is_sorted_folded_and_long_enough_to_matter() {
        let list: Vec<&str> = include_str!("../data/common-passwords.txt").lines().collect();
        assert!(list.is_sorted() && list.len() > 8000);
        assert!(list.iter().all(|word| *word == word.to_lowercase() && word.len() >= 8));
    }
}

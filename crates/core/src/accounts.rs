//! Accounts: the names that people type, made canonical so that two of them cannot look alike to the store.

use std::fmt;

use email_address::EmailAddress;
use precis_core::profile::PrecisFastInvocation;
use precis_profiles::UsernameCaseMapped;
use zeroize::Zeroizing;

use crate::epochs::Epoch;
use crate::ids::AccountId;
use crate::roles::Roles;
use crate::time::Millis;

/// A username: RFC 8265 `UsernameCaseMapped`, 2–64 characters.
///
/// It is shown as it was typed; two usernames are the same where their canonical forms are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Username {
    shown: String,
    canonical: String,
}

/// Why a text is no username.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidUsername {
    /// It is empty.
    #[error("is required")]
    Missing,
    /// Its length is wrong.
    #[error("must have 2 to 64 characters")]
    Length,
    /// A character is not allowed (RFC 8265 §3.3: spaces, control characters; here also what a path cannot carry).
    #[error("may have letters, digits and punctuation, but no spaces and none of / \\ ? # %")]
    Character,
    /// It has an `@` and is not the account's own address.
    #[error("may contain @ only where it is the account's own e-mail address")]
    OtherAddress,
}

impl Username {
    /// Reads a username.
    ///
    /// # Errors
    /// See [`InvalidUsername`].
    pub fn parse(text: &str) -> Result<Self, InvalidUsername> {
        if text.is_empty() {
            return Err(InvalidUsername::Missing);
        }
        if text.len() > 512 {
            return Err(InvalidUsername::Length);
        }
        let canonical = UsernameCaseMapped::enforce(text).map_err(|_| InvalidUsername::Character)?;
        if !matches!(canonical.chars().count(), 2..=64) || text.chars().count() > 64 {
            return Err(InvalidUsername::Length);
        }
        // Of a few scripts the lower-case form is no username itself (RFC 8264 §7): two spellings could then never be told to
        // be one.
        let stable = UsernameCaseMapped::enforce(&*canonical).is_ok_and(|again| again == canonical);
        if !stable || canonical.contains(['/', '\\', '?', '#', '%']) {
            return Err(InvalidUsername::Character);
        }
        Ok(Self { shown: text.to_owned(), canonical: canonical.into_owned() })
    }

    /// Whether an account with this address may have the name: a name with `@` must be the address itself, so that nobody
    /// can sign up under the address of somebody else.
    ///
    /// # Errors
    /// [`InvalidUsername::OtherAddress`].
    pub fn suits(&self, email: &Email) -> Result<(), InvalidUsername> {
        let address = self.canonical.contains('@');
        if address && self.canonical != email.canonical { Err(InvalidUsername::OtherAddress) } else { Ok(()) }
    }

    /// A username as a store holds it.
    #[must_use]
    pub const fn from_stored(shown: String, canonical: String) -> Self {
        Self { shown, canonical }
    }

    /// As it was typed.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.shown
    }

    /// The form that has to be unique.
    #[must_use]
    pub fn canonical(&self) -> &str {
        &self.canonical
    }
}

impl fmt::Display for Username {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

/// An e-mail address (RFC 5321 §4.1.2), at most 254 bytes; upper and lower case do not differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Email {
    shown: String,
    canonical: String,
}

/// Why a text is no e-mail address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidEmail {
    /// It is empty.
    #[error("is required")]
    Missing,
    /// It has not the form of one.
    #[error("must be an address such as name@example.com")]
    Form,
}

impl Email {
    /// Reads an address.
    ///
    /// # Errors
    /// See [`InvalidEmail`].
    pub fn parse(text: &str) -> Result<Self, InvalidEmail> {
        if text.is_empty() {
            return Err(InvalidEmail::Missing);
        }
        let sound = text.len() <= 254
            && !text.chars().any(|c| c.is_control() || c.is_whitespace())
            && EmailAddress::is_valid(text);
        if sound {
            Ok(Self { shown: text.to_owned(), canonical: text.to_lowercase() })
        } else {
            Err(InvalidEmail::Form)
        }
    }

    /// An address as a store holds it.
    #[must_use]
    pub const fn from_stored(shown: String, canonical: String) -> Self {
        Self { shown, canonical }
    }

    /// As it was typed.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.shown
    }

    /// The form that has to be unique.
    #[must_use]
    pub fn canonical(&self) -> &str {
        &self.canonical
    }
}

/// What somebody types to say who they are: a username or an e-mail address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Login {
    /// A text without `@`.
    Username(Username),
    /// A text with `@`.
    Email(Email),
}

impl Login {
    /// Reads what was typed; `None` where it can be nobody's.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.contains('@') {
            return Email::parse(text).ok().map(Self::Email);
        }
        Username::parse(text).ok().map(Self::Username)
    }

    /// The canonical form, for throttles.
    #[must_use]
    pub fn canonical(&self) -> &str {
        match self {
            Self::Username(username) => username.canonical(),
            Self::Email(email) => email.canonical(),
        }
    }
}

/// An account as its owner and administrators see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Its stable id: `sub`.
    pub id: AccountId,
    /// Its name.
    pub username: Username,
    /// Its address.
    pub email: Email,
    /// What it may do.
    pub roles: Roles,
    /// The epoch that its access tokens must have.
    pub claims_version: Epoch,
    /// When it was disabled, if it is.
    pub disabled_at: Option<Millis>,
    /// When it was registered.
    pub created_at: Millis,
}

/// The encoded hash of a password (a PHC string): wiped when dropped, hidden in Debug.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(Zeroizing<String>);

impl PasswordHash {
    /// Takes a PHC string.
    #[must_use]
    pub fn new(phc: String) -> Self {
        Self(Zeroizing::new(phc))
    }

    /// The PHC string: the name is there to be searched for.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(redacted)")
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_that_differ_in_case_or_width_are_one() {
        let canonical = |text| Username::parse(text).unwrap().canonical().to_owned();
        assert_eq!(canonical("Alice"), canonical("ALICE"));
        assert_eq!(canonical("ａｌｉｃｅ"), "alice");
        assert_eq!(Username::parse("Alice").unwrap().as_str(), "Alice");
    }

    #[test]
    fn what_is_no_username() {
        assert_eq!(Username::parse(""), Err(InvalidUsername::Missing));
        assert_eq!(Username::parse("a"), Err(InvalidUsername::Length));
        assert_eq!(Username::parse(&"a".repeat(65)), Err(InvalidUsername::Length));
        assert_eq!(Username::parse(&"a".repeat(100_000)), Err(InvalidUsername::Length));
        for bad in ["two words", "nul\0nul", "\u{202e}abc", "tab\tbed", "a/b", "Ꭰa"] {
            assert_eq!(Username::parse(bad), Err(InvalidUsername::Character), "{bad:?}");
        }
    }

    #[test]
    fn a_name_with_an_at_is_the_account_s_own_address() {
        let email = Email::parse("A@b.example").unwrap();
        assert_eq!(Username::parse("a@B.example").unwrap().suits(&email), Ok(()));
        assert_eq!(Username::parse("x@b.example").unwrap().suits(&email), Err(InvalidUsername::OtherAddress));
        assert_eq!(Username::parse("alice").unwrap().suits(&email), Ok(()));
    }

    #[test]
    fn what_is_no_address() {
        assert_eq!(Email::parse(""), Err(InvalidEmail::Missing));
        for bad in
            ["plain", "a@", "@b.example", "a b@c.example", "a@b.example\n", "a\0@b.example", "Name <a@b.example>"]
        {
            assert_eq!(Email::parse(bad), Err(InvalidEmail::Form), "{bad:?}");
        }
        assert_eq!(Email::parse(&format!("{}@b.example", "a".repeat(300))), Err(InvalidEmail::Form));
        assert_eq!(Email::parse("A@B.Example").unwrap().canonical(), "a@b.example");
    }

    proptest! {
        #[test]
        fn canonical_form_is_stable(text in "\\PC{0,70}") {
            if let Ok(username) = Username::parse(&text) {
                let again = Username::parse(username.canonical()).unwrap();
                prop_assert_eq!(again.canonical(), username.canonical());
            }
        }
    }
}

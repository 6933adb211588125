//! Roles: what an account may do, as it travels in access tokens.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

/// A role: 1–64 ASCII letters, digits, `_`, `-`, `.` or `:`; upper and lower case differ.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Role(String);

/// A text is not a role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a role has 1 to 64 ASCII letters, digits, or the characters _ - . :")]
pub struct InvalidRole;

impl Role {
    /// May register administrators and revoke anyone.
    pub const ADMIN: &str = "Admin";
    /// What every registered account is.
    pub const USER: &str = "User";

    /// Reads a role.
    ///
    /// # Errors
    /// [`InvalidRole`] where the text is empty, too long or has other characters.
    pub fn parse(text: &str) -> Result<Self, InvalidRole> {
        let sound = matches!(text.len(), 1..=64)
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b':'));
        if sound { Ok(Self(text.to_owned())) } else { Err(InvalidRole) }
    }

    /// The role as it stands in `roles`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Role {
    type Error = InvalidRole;

    fn try_from(text: String) -> Result<Self, InvalidRole> {
        Self::parse(&text)
    }
}

impl From<Role> for String {
    fn from(role: Role) -> Self {
        role.0
    }
}

/// The roles of one account: sorted, without repetition, 32 at the most so that a token stays small.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "BTreeSet<Role>", into = "BTreeSet<Role>")]
pub struct Roles(BTreeSet<Role>);

/// Why a set of roles was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRoles {
    /// One of them is not a role.
    #[error(transparent)]
    Role(#[from] InvalidRole),
    /// There are more than [`Roles::MAX`].
    #[error("an account has at most 32 roles")]
    TooMany,
}

impl Roles {
    /// The most roles that an account may have.
    pub const MAX: usize = 32;

    /// What a registration gives.
    #[must_use]
    pub fn user() -> Self {
        Self(BTreeSet::from([Role(Role::USER.to_owned())]))
    }

    /// What an administrator has: Admin and User.
    #[must_use]
    pub fn admin() -> Self {
        Self(BTreeSet::from([Role(Role::ADMIN.to_owned()), Role(Role::USER.to_owned())]))
    }

    /// Reads a list of roles; repetitions are dropped.
    ///
    /// # Errors
    /// The first entry that is not a role, or [`InvalidRoles::TooMany`].
    pub fn parse<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Self, InvalidRoles> {
        let mut roles = BTreeSet::new();
        for text in texts {
            roles.insert(Role::parse(text)?);
            if roles.len() > Self::MAX {
                return Err(InvalidRoles::TooMany);
            }
        }
        Ok(Self(roles))
    }

    /// True where the account has the role.
    #[must_use]
    pub fn contains(&self, role: &str) -> bool {
        self.0.iter().any(|held| held.as_str() == role)
    }

    /// The roles in order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(Role::as_str)
    }
}

/// As an event tells them: `Admin, User`, or `none`.
impl fmt::Display for Roles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("none");
        }
        for (position, role) in self.iter().enumerate() {
            write!(f, "{}{role}", if position == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

impl TryFrom<BTreeSet<Role>> for Roles {
    type Error = InvalidRoles;

    fn try_from(roles: BTreeSet<Role>) -> Result<Self, InvalidRoles> {
        if roles.len() > Self::MAX { Err(InvalidRoles::TooMany) } else { Ok(Self(roles)) }
    }
}

impl From<Roles> for BTreeSet<Role> {
    fn from(roles: Roles) -> Self {
        roles.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_is_short_plain_text() {
        for bad in ["", "two words", "Ädmin", "a\0b", &"x".repeat(65)] {
            assert_eq!(Role::parse(bad), Err(InvalidRole), "{bad:?}");
        }
        assert!(Role::parse("billing:read").is_ok());
    }

    #[test]
    fn repetitions_count_once_and_the_number_is_bounded() {
        assert_eq!(Roles::parse(["User", "User", "Admin"]), Ok(Roles::admin()));
        assert_eq!(
            [Roles::admin(), Roles::user(), Roles::default()].map(|roles| roles.to_string()),
            ["Admin, User", "User", "none"]
        );
        let many: Vec<String> = (0..33).map(|n| format!("r{n}")).collect();
        assert_eq!(Roles::parse(many.iter().map(String::as_str)), Err(InvalidRoles::TooMany));
    }
}

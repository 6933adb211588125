//! Names of things that cannot be mistaken for one another.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// Takes a UUID that the caller has made (version 7 keeps rows that are written together close together).
            #[must_use]
            pub const fn new(uuid: Uuid) -> Self {
                Self(uuid)
            }

            /// The sixteen bytes that stores keep.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }

            /// The UUID itself.
            #[must_use]
            pub const fn as_uuid(&self) -> Uuid {
                self.0
            }

            /// The reverse of [`Self::as_bytes`].
            #[must_use]
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(Uuid::from_bytes(bytes))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, uuid::Error> {
                Uuid::try_parse(text).map(Self)
            }
        }
    };
}

id! {
    /// An account: the opaque, stable `sub` of its access tokens.
    AccountId
}
id! {
    /// A session: one sign-in on one device, the `sid` of its access tokens.
    SessionId
}
id! {
    /// A family: the chain of refresh tokens of one session for one client.
    FamilyId
}
id! {
    /// A reader of the revocation feed.
    ReaderId
}
id! {
    /// An incarnation of the database: it changes when a restore is accepted.
    Incarnation
}

/// The OAuth client that a family of refresh tokens was given to (RFC 6749 §2.2).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ClientId(String);

impl ClientId {
    /// The longest client id that a store accepts, in bytes.
    pub const MAX_BYTES: usize = 128;

    /// The client that `/api/auth` speaks for: the front end of the operator's own API.
    #[must_use]
    pub fn first_party() -> Self {
        Self("first-party".to_owned())
    }

    /// Reads a client id: 1–128 visible ASCII characters (RFC 6749 appendix A.1).
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let sound = !text.is_empty() && text.len() <= Self::MAX_BYTES && text.bytes().all(|b| b.is_ascii_graphic());
        sound.then(|| Self(text.to_owned()))
    }

    /// The id as it stands in `client_id`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

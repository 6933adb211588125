//! The `aud` claim: for whom a token is meant.

use std::fmt;

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, SeqAccess, Visitor},
};

/// The most audiences that one token may name.
pub const MAX_AUDIENCES: usize = 16;

/// One to sixteen audiences (RFC 7519 §4.1.3): a string on the wire when there is one, else an array.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audience(Vec<String>);

/// An audience list is empty, longer than [`MAX_AUDIENCES`], or names an empty string.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an audience is one to sixteen non-empty strings")]
pub struct InvalidAudience;

impl Audience {
    /// Whether `audience` is one of those named; compared byte by byte.
    pub fn contains(&self, audience: &str) -> bool {
        self.0.iter().any(|named| named == audience)
    }

    /// The audiences in the order of the token.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

impl TryFrom<Vec<String>> for Audience {
    type Error = InvalidAudience;

    fn try_from(audiences: Vec<String>) -> Result<Self, InvalidAudience> {
        if audiences.is_empty() || audiences.len() > MAX_AUDIENCES || audiences.iter().any(String::is_empty) {
            return Err(InvalidAudience);
        }
        Ok(Self(audiences))
    }
}

impl TryFrom<String> for Audience {
    type Error = InvalidAudience;

    fn try_from(audience: String) -> Result<Self, InvalidAudience> {
        vec![audience].try_into()
    }
}

impl TryFrom<&str> for Audience {
    type Error = InvalidAudience;

    fn try_from(audience: &str) -> Result<Self, InvalidAudience> {
        audience.to_owned().try_into()
    }
}

impl Serialize for Audience {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.as_slice() {
            [one] => serializer.serialize_str(one),
            several => several.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Audience {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AudienceVisitor)
    }
}

struct AudienceVisitor;

impl<'de> Visitor<'de> for AudienceVisitor {
    type Value = Audience;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string or an array of one to sixteen strings")
    }

    fn visit_str<E: de::Error>(self, audience: &str) -> Result<Audience, E> {
        audience.try_into().map_err(E::custom)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Audience, A::Error> {
        let mut audiences = Vec::new();
        while let Some(audience) = sequence.next_element::<String>()? {
            if audiences.len() == MAX_AUDIENCES {
                return Err(de::Error::custom(InvalidAudience));
            }
            audiences.push(audience);
        }
        audiences.try_into().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn one_is_a_string_and_several_are_an_array() {
        for json in [r#""a""#, r#"["a","b"]"#] {
            let audience: Audience = serde_json::from_str(json).unwrap();
            assert_eq!(serde_json::to_string(&audience).unwrap(), json);
            assert!(audience.contains("a"));
            assert!(!audience.contains("A"));
        }
        let array_of_one: Audience = serde_json::from_str(r#"["a"]"#).unwrap();
        assert_eq!(array_of_one, Audience::try_from("a").unwrap());
    }

    #[test]
    fn empty_too_many_and_other_types_are_refused() {
        let seventeen = format!("[{}]", vec![r#""a""#; MAX_AUDIENCES + 1].join(","));
        for json in ["[]", r#""""#, r#"["a",""]"#, "1", "null", r#"{"a":1}"#, r#"["a",1]"#, &seventeen] {
            assert!(serde_json::from_str::<Audience>(json).is_err(), "{json}");
        }
    }
}

//! Whether bytes are one JSON object in which no key stands twice (RFC 8259 §4, RFC 7493 §2.3).
//!
//! Two parsers disagree about a key that stands twice, and what one has checked the other does not read. Nesting is
//! limited by the parser (to 128), unpaired surrogates and bad UTF-8 are refused by it, in fields that nobody reads too.

use std::collections::HashSet;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

/// The message of the error that a key stands twice.
pub(super) const TWICE: &str = "a key stands twice in one object";

/// Reads one JSON object to its end and keeps nothing of it.
pub(super) fn check(bytes: &[u8]) -> Result<(), serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    deserializer.deserialize_map(Shape)?;
    deserializer.end()
}

/// Any value.
struct Shape;

impl<'de> DeserializeSeed<'de> for Shape {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Shape {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<(), A::Error> {
        while values.next_element_seed(Self)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let mut keys = HashSet::new();
        while let Some(key) = members.next_key::<String>()? {
            if !keys.insert(key) {
                return Err(A::Error::custom(TWICE));
            }
            members.next_value_seed(Self)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_pass() {
        for text in ["{}", " {\n}\t", r#"{"a":1,"b":[{"a":null},{"a":true}],"c":"x","d":-1.5e3,"e":{"a":{}}}"#] {
            assert!(check(text.as_bytes()).is_ok(), "{text}");
        }
    }

    #[test]
    fn everything_else_is_refused() {
        let deep = format!("{}{}", r#"{"a":"#.repeat(200), "1");
        let deep_arrays = format!(r#"{{"a":{}"#, "[".repeat(200));
        for text in [
            "",
            "null",
            "[]",
            "\"x\"",
            "{",
            "{} {}",
            "{}x",
            "{\"a\":1,}",
            "\u{feff}{}",
            r#"{"a":1,"a":1}"#,
            r#"{"a":1,"\u0061":1}"#,
            r#"{"x":[{"a":1,"b":2,"a":3}]}"#,
            r#"{"a":"\ud800"}"#,
            r#"{"\udfff":1}"#,
            "{\"a\":\"\u{0}\"}",
            r#"{"a":1e999}"#,
            r#"{"a":01}"#,
            r#"{"a":NaN}"#,
            deep.as_str(),
            deep_arrays.as_str(),
        ] {
            assert!(check(text.as_bytes()).is_err(), "{text:?}");
        }
        assert!(check(b"{\"a\":\"\xff\"}").is_err());
    }
}

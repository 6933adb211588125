//! JSON objects in which every name stands once (RFC 7515 §5.2, RFC 7519 §4).

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize,
    de::{self, DeserializeOwned, DeserializeSeed, IntoDeserializer, MapAccess, Visitor, value::MapAccessDeserializer},
};

/// The most members that an object may have; a bound on the work of finding duplicates.
const MAX_MEMBERS: usize = 64;

/// Reads one JSON object whose top-level names are all different, known to `T` or not.
pub(crate) fn from_unique_object<T: DeserializeOwned>(json: &[u8]) -> Result<T, serde_json::Error> {
    serde_json::from_slice::<Unique<T>>(json).map(|unique| unique.0)
}

struct Unique<T>(T);

impl<'de, T: DeserializeOwned> Deserialize<'de> for Unique<T> {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(UniqueVisitor(PhantomData)).map(Unique)
    }
}

struct UniqueVisitor<T>(PhantomData<T>);

impl<'de, T: DeserializeOwned> Visitor<'de> for UniqueVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(UniqueNames { map, seen: Vec::new() }))
    }
}

struct UniqueNames<A> {
    map: A,
    seen: Vec<String>,
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for UniqueNames<A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, A::Error> {
        let Some(name) = self.map.next_key::<String>()? else {
            return Ok(None);
        };
        if self.seen.contains(&name) {
            return Err(de::Error::custom("a name stands twice"));
        }
        if self.seen.len() == MAX_MEMBERS {
            return Err(de::Error::custom("too many members"));
        }
        let key = seed.deserialize(name.as_str().into_deserializer())?;
        self.seen.push(name);
        Ok(Some(key))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, A::Error> {
        self.map.next_value_seed(seed)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use std::collections::BTreeMap;

    use serde::de::IgnoredAny;

    use super::*;

    fn names(json: &str) -> Option<usize> {
        from_unique_object::<BTreeMap<String, IgnoredAny>>(json.as_bytes()).ok().map(|map| map.len())
    }

    #[test]
    fn only_objects_with_unique_names_pass() {
        assert_eq!(names(r#"{"a":1,"b":{"a":[]}}"#), Some(2));
        for json in [r#"{"a":1,"a":1}"#, r#"{"a":1,"\u0061":1}"#, "[]", "1", "", "{", "{}x", r#"{"a":"\ud800"}{"#] {
            assert_eq!(names(json), None, "{json}");
        }
    }

    #[test]
    fn members_are_bounded() {
        let object = |members: usize| {
            let members: Vec<_> = (0..members).map(|n| format!(r#""m{n}":0"#)).collect();
            format!("{{{}}}", members.join(","))
        };
        assert_eq!(names(&object(MAX_MEMBERS)), Some(MAX_MEMBERS));
        assert_eq!(names(&object(MAX_MEMBERS + 1)), None);
    }
}

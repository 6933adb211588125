//! What is wrong with the fields of a request, all of it at once.

use std::collections::BTreeMap;

/// Messages by field, under the name that the field has in JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldErrors(BTreeMap<String, Vec<String>>);

impl FieldErrors {
    /// One message for one field.
    #[must_use]
    pub fn one(field: impl Into<String>, message: impl Into<String>) -> Self {
        let mut errors = Self::default();
        errors.add(field, message);
        errors
    }

    /// Adds a message. It continues the field's name, as in "is required", and must not repeat what the client sent.
    pub fn add(&mut self, field: impl Into<String>, message: impl Into<String>) {
        self.0.entry(field.into()).or_default().push(message.into());
    }

    /// The value of a field that must be there; without it the error is noted.
    pub fn required<T>(&mut self, field: &str, value: Option<T>) -> Option<T> {
        if value.is_none() {
            self.add(field, "is required");
        }
        value
    }

    /// The value of a parsed field; without it the error is noted.
    pub fn check<T, E: std::fmt::Display>(&mut self, field: &str, parsed: Result<T, E>) -> Option<T> {
        parsed.map_err(|error| self.add(field, error.to_string())).ok()
    }

    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn as_map(&self) -> &BTreeMap<String, Vec<String>> {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_keeps_every_message() {
        let mut errors = FieldErrors::default();
        assert!(errors.is_empty());
        assert_eq!(errors.required("username", Some(1)), Some(1));
        assert_eq!(errors.required::<u8>("email", None), None);
        assert_eq!(errors.check::<u8, _>("password", Err("is too short")), None);
        errors.add("password", "is too common");
        let map = errors.as_map();
        assert_eq!(map["email"], ["is required"]);
        assert_eq!(map["password"], ["is too short", "is too common"]);
        assert_eq!(map.len(), 2);
    }
}

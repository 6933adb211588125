//! Texts with places for what was taken from earlier answers.

use std::collections::BTreeMap;

use anyhow::{Context as _, bail};
use serde::Deserialize;

/// A text with its places.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Template(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Place { name: String, filter: Filter },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Filter {
    Raw,
    /// Percent-encoded.
    Form,
    /// For the inside of a JSON string.
    Json,
}

impl TryFrom<String> for Template {
    type Error = anyhow::Error;

    fn try_from(text: String) -> anyhow::Result<Self> {
        let mut parts = Vec::new();
        let mut rest = text.as_str();
        let mut plain = String::new();
        while let Some(at) = rest.find('{') {
            plain.push_str(&rest[..at]);
            rest = &rest[at..];
            let place = rest.find('}').and_then(|end| Some((place(&rest[1..end])?, end)));
            if let Some(((name, filter), end)) = place {
                parts.push(Part::Text(std::mem::take(&mut plain)));
                parts.push(Part::Place { name, filter: Filter::parse(&filter)? });
                rest = &rest[end + 1..];
            } else {
                plain.push('{');
                rest = &rest[1..];
            }
        }
        plain.push_str(rest);
        parts.push(Part::Text(plain));
        Ok(Self(parts))
    }
}

/// Name and filter, where the text between braces is a place.
fn place(text: &str) -> Option<(String, String)> {
    let (name, filter) = text.split_once('|').unwrap_or((text, ""));
    let word = |text: &str| {
        text.starts_with(|c: char| c.is_ascii_lowercase())
            && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
    };
    (word(name) && (filter.is_empty() || word(filter))).then(|| (name.to_owned(), filter.to_owned()))
}

impl Filter {
    fn parse(text: &str) -> anyhow::Result<Self> {
        Ok(match text {
            "" => Self::Raw,
            "form" => Self::Form,
            "json" => Self::Json,
            _ => bail!("{text} is no filter"),
        })
    }
}

impl Template {
    pub(super) fn fill(&self, values: &BTreeMap<String, String>) -> anyhow::Result<String> {
        let mut filled = String::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => filled.push_str(text),
                Part::Place { name, filter } => {
                    let value = values.get(name).with_context(|| format!("{name} was never taken"))?;
                    match filter {
                        Filter::Raw => filled.push_str(value),
                        Filter::Form => filled.push_str(&encoded(value)),
                        Filter::Json => {
                            let quoted = serde_json::to_string(value)?;
                            filled.push_str(&quoted[1..quoted.len() - 1]);
                        }
                    }
                }
            }
        }
        Ok(filled)
    }
}

fn encoded(value: &str) -> String {
    let mut text = String::new();
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}

/// The reverse of what a form or a query does to a value.
pub(super) fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let escaped = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let escaped = escaped.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match (first, escaped) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            (b'+', _) => {
                bytes.push(b' ');
                rest = after;
            }
            _ => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn fill(text: &str) -> Result<String, String> {
        let values = [("n", "7"), ("refresh", "a+b/c=\"")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        let template = Template::try_from(text.to_owned()).map_err(|error| error.to_string())?;
        template.fill(&BTreeMap::from(values)).map_err(|error| error.to_string())
    }

    #[test]
    fn places_are_filled_and_other_braces_stand_for_themselves() {
        assert_eq!(fill(r#"{"user":"u{n}","x":{}}"#).unwrap(), r#"{"user":"u7","x":{}}"#);
        assert_eq!(fill("{n}{n}").unwrap(), "77");
        assert_eq!(fill("t={refresh|form}").unwrap(), "t=a%2Bb%2Fc%3D%22");
        assert_eq!(fill(r#"{"t":"{refresh|json}"}"#).unwrap(), r#"{"t":"a+b/c=\""}"#);
        assert_eq!(fill("{ n } {N} {"), Ok("{ n } {N} {".to_owned()));
    }

    #[test]
    fn a_name_that_was_never_taken_is_told() {
        assert_eq!(fill("{access}"), Err("access was never taken".to_owned()));
        assert_eq!(fill("{n|url}"), Err("url is no filter".to_owned()));
    }

    #[test]
    fn what_is_encoded_decodes() {
        assert_eq!(decoded(&encoded("a b+ü%")), "a b+ü%");
        assert_eq!(decoded("a+b%2"), "a b%2");
    }
}

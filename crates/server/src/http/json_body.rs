//! The body of a request as a typed value, or a problem that says what is wrong without repeating what was sent.

use std::collections::HashSet;

use axum::extract::{FromRequest, Request};
use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use serde::de::DeserializeOwned;
use serde_json::error::Category;
use serde_json::{Map, Value};

use super::json_shape;
use crate::problem::{Code, FieldErrors, Problem};

/// A body of the type `T`: one JSON object, with the content type of JSON.
#[derive(Clone, Copy, Debug)]
pub struct JsonBody<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for JsonBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        if !is_json(request.headers()) {
            return Err(Problem::new(Code::ContentTypeUnsupported));
        }
        // The intake has read the body and bounded it; without the intake, axum bounds it.
        let bytes = Bytes::from_request(request, state).await.map_err(|_| Problem::new(Code::BodyUnreadable))?;
        parse(&bytes).map(Self)
    }
}

/// `application/json`, with no parameter but `charset=utf-8`: what a page of another site can send without asking first
/// is never taken for JSON.
fn is_json(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(CONTENT_TYPE).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return false };
    let Ok(value) = value.to_str() else { return false };
    let mut parts = value.split(';').map(str::trim);
    let is_json = parts.next().is_some_and(|kind| kind.eq_ignore_ascii_case("application/json"));
    is_json && parts.all(|parameter| parameter.is_empty() || is_utf_8(parameter))
}

fn is_utf_8(parameter: &str) -> bool {
    let Some((name, value)) = parameter.split_once('=') else { return false };
    let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
    name.eq_ignore_ascii_case("charset") && value.eq_ignore_ascii_case("utf-8")
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    if bytes.is_empty() {
        return Err(Problem::new(Code::JsonMalformed).detail("The body is empty; it must be one JSON object."));
    }
    json_shape::check(bytes).map_err(|error| malformed(&error))?;
    serde_json::from_slice(bytes).map_err(|_| Problem::validation(wrong_fields::<T>(bytes)))
}

/// What is wrong with each member, and not just the first: one that was told is taken for an empty text, and then for one that is not
/// there, so that the next comes; up to one that has to be there and is no text.
fn wrong_fields<T: DeserializeOwned>(bytes: &[u8]) -> FieldErrors {
    let mut object: Map<String, Value> = serde_json::from_slice(bytes).unwrap_or_default();
    let (mut errors, mut texts, mut left_out) = (FieldErrors::default(), HashSet::new(), HashSet::new());
    while let Err(error) = serde_path_to_error::deserialize::<_, T>(&object) {
        let (field, message) = wrong_field(&error.path().to_string(), &error.inner().to_string());
        let member = field.split(['.', '[']).next().unwrap_or_default().to_owned();
        object.retain(|name, _| camel_case(name) != member);
        if texts.insert(member.clone()) {
            object.insert(member, Value::from(""));
            errors.add(field, message);
        } else if !left_out.insert(member) {
            break;
        }
    }
    if errors.is_empty() {
        // Nothing that is read from these bytes is wrong when it is read from what they mean.
        errors.add("body", "is not valid");
    }
    errors
}

fn malformed(error: &serde_json::Error) -> Problem {
    let (line, column) = (error.line(), error.column());
    let problem = Problem::new(Code::JsonMalformed);
    match error.classify() {
        Category::Eof => problem.detail(format!("The JSON breaks off at line {line}, column {column}.")),
        Category::Data if error.to_string().starts_with(json_shape::TWICE) => {
            problem.detail(format!("A key stands twice in one object at line {line}, column {column}."))
        }
        Category::Data => problem.detail("The body must be one JSON object."),
        Category::Syntax | Category::Io => {
            problem.detail(format!("The JSON is not valid at line {line}, column {column}."))
        }
    }
}

/// Which field is wrong and why. serde's message quotes the value, which may be a password; only what it says about the
/// field's type is passed on.
fn wrong_field(path: &str, message: &str) -> (String, String) {
    if let Some(field) = quoted_after(message, "missing field ") {
        return (join(path, field), "is required".to_owned());
    }
    if let Some(field) = quoted_after(message, "duplicate field ") {
        return (join(path, field), "stands twice, under two spellings".to_owned());
    }
    let field = if path == "." { "body".to_owned() } else { camel_case(path) };
    let expected = message.rsplit_once(", expected ").map(|(_, expected)| expected);
    let message = expected.map_or("is not valid".to_owned(), |expected| format!("must be {}", json_word(expected)));
    (field, message)
}

/// The word between backquotes behind the start of a message. serde puts names of ours there, never a client's.
fn quoted_after<'a>(message: &'a str, start: &str) -> Option<&'a str> {
    message.strip_prefix(start)?.strip_prefix('`')?.split('`').next()
}

fn join(path: &str, field: &str) -> String {
    if path == "." { field.to_owned() } else { format!("{}.{field}", camel_case(path)) }
}

/// The name as the contract has it, where the client wrote it in PascalCase.
fn camel_case(path: &str) -> String {
    let mut characters = path.chars();
    characters.next().map_or_else(String::new, |first| first.to_ascii_lowercase().to_string() + characters.as_str())
}

/// serde's words for types in those of JSON.
fn json_word(expected: &str) -> &str {
    match expected {
        "a sequence" => "an array",
        "a map" => "an object",
        "unit" => "null",
        "i8" | "i16" | "i32" | "i64" | "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number",
        "f32" | "f64" => "a number",
        other if other.starts_with("struct ") => "an object",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use http::HeaderValue;
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Body {
        #[serde(alias = "UserName")]
        user_name: String,
        age: Option<u8>,
        kind: Option<Kind>,
        inner: Option<Inner>,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Kind {
        One,
        Two,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    struct Inner {
        list: Vec<bool>,
    }

    fn problem(text: &str) -> serde_json::Value {
        let problem = parse::<Body>(text.as_bytes()).unwrap_err();
        serde_json::to_value(problem.document(None)).unwrap()
    }

    #[test]
    fn fields_are_read_in_either_spelling_and_others_ignored() {
        let me = || Body { user_name: "me".to_owned(), ..Body::default() };
        for text in [r#"{"userName":"me","roles":["Admin"]}"#, r#"{"UserName":"me"}"#] {
            assert_eq!(parse::<Body>(text.as_bytes()).unwrap(), me());
        }
        let text = br#"{"userName":"me","age":7,"kind":"two","inner":{"list":[true]}}"#;
        let whole = Body { age: Some(7), kind: Some(Kind::Two), inner: Some(Inner { list: vec![true] }), ..me() };
        assert_eq!(parse::<Body>(text).unwrap(), whole);
    }

    #[test]
    fn a_wrong_field_is_named_and_told_what_it_must_be() {
        for (text, field, message) in [
            ("{}", "userName", "is required"),
            (r#"{"userName":7}"#, "userName", "must be a string"),
            (r#"{"UserName":null}"#, "userName", "must be a string"),
            (r#"{"userName":"a","UserName":"b"}"#, "userName", "stands twice, under two spellings"),
            (r#"{"userName":"a","age":"1"}"#, "age", "must be a whole number"),
            (r#"{"userName":"a","age":300}"#, "age", "must be a whole number"),
            (r#"{"userName":"a","kind":"secret"}"#, "kind", "must be `one` or `two`"),
            (r#"{"userName":"a","inner":"x"}"#, "inner", "must be an object"),
            (r#"{"userName":"a","inner":{}}"#, "inner.list", "is required"),
            (r#"{"userName":"a","inner":{"list":[true,1]}}"#, "inner.list[1]", "must be a boolean"),
        ] {
            let problem = problem(text);
            assert_eq!(problem["code"], "validation_failed", "{text}");
            let told = problem["errors"][field][0].as_str().unwrap_or_else(|| panic!("{text}: {problem}"));
            assert_eq!(told, message, "{text}");
        }
    }

    #[test]
    fn all_fields_that_are_wrong_are_told_at_once() {
        for (text, errors) in [
            (r#"{"age":"1"}"#, r#"{"age":["must be a whole number"],"userName":["is required"]}"#),
            (
                r#"{"UserName":7,"kind":"x","age":-1}"#,
                r#"{"age":["must be a whole number"],"kind":["must be `one` or `two`"],"userName":["must be a string"]}"#,
            ),
            (
                r#"{"userName":"a","UserName":"b","inner":{}}"#,
                r#"{"inner.list":["is required"],"userName":["stands twice, under two spellings"]}"#,
            ),
        ] {
            assert_eq!(problem(text)["errors"].to_string(), errors, "{text}");
        }
    }

    #[test]
    fn a_body_that_is_no_json_is_told_where() {
        for (text, detail) in [
            ("", "The body is empty; it must be one JSON object."),
            ("[]", "The body must be one JSON object."),
            ("null", "The body must be one JSON object."),
            ("\"hunter2\"", "The body must be one JSON object."),
            ("{\n\"a\": hunter2}", "The JSON is not valid at line 2, column 6."),
            ("{\"userName\": \"hunter2", "The JSON breaks off at line 1, column 21."),
            ("{\"a\":1,\"a\":2}", "A key stands twice in one object at line 1, column 10."),
        ] {
            let problem = problem(text);
            assert_eq!((&problem["code"], &problem["detail"]), (&"json_malformed".into(), &detail.into()), "{text}");
        }
    }

    #[test]
    fn no_value_is_ever_repeated() {
        for text in [
            r#"{"userName":["hunter2"]}"#,
            r#"{"userName":{"hunter2":1}}"#,
            r#"{"userName":"a","age":"hunter2, expected hunter2"}"#,
            r#"{"userName":"a","kind":"hunter2`, expected `hunter2"}"#,
            r#"{"userName":"a","inner":"hunter2"}"#,
            r#"{"hunter2":1,"hunter2":2}"#,
        ] {
            assert!(!problem(text).to_string().contains("hunter2"), "{text}");
        }
    }

    #[test]
    fn only_json_is_json() {
        let is = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(CONTENT_TYPE, HeaderValue::from_str(value).unwrap());
            }
            is_json(&headers)
        };
        for value in [
            "application/json",
            "Application/JSON",
            "application/json; charset=utf-8",
            "application/json;charset=\"UTF-8\";",
        ] {
            assert!(is(&[value]), "{value}");
        }
        for value in [
            "",
            "text/plain",
            "application/x-www-form-urlencoded",
            "application/json; charset=latin1",
            "application/json; version=1",
            "application/jsonp",
            "application/problem+json",
            "text/plain, application/json",
        ] {
            assert!(!is(&[value]), "{value}");
        }
        assert!(!is(&[]) && !is(&["application/json", "application/json"]));
    }
}

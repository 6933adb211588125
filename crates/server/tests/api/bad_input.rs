//! Bad input for every call: always a 4xx with a whole problem, never a 5xx, never a dropped connection.

use std::cell::Cell;

use serde_json::{Map, Value, json};

use crate::support::{Answer, Connection, PASSWORD, Request, Server, Settings};

/// A call with a body: a value for each field that is well-formed, and whether the field has to be there.
struct Call {
    path: &'static str,
    fields: &'static [(&'static str, &'static str, Field)],
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Field {
    Required,
    Optional,
}

use Field::{Optional, Required};

const CALLS: &[Call] = &[
    Call {
        path: "/api/auth/register",
        fields: &[
            ("username", "newcomer", Required),
            ("email", "newcomer@example.com", Required),
            ("password", "a password that is fit", Required),
        ],
    },
    Call {
        path: "/api/auth/register-admin",
        fields: &[
            ("username", "newcomer", Required),
            ("email", "newcomer@example.com", Required),
            ("password", "a password that is fit", Required),
        ],
    },
    // The credentials are wrong throughout, so that no input whatever is answered with tokens.
    Call {
        path: "/api/auth/login",
        fields: &[
            ("username", "root", Required),
            ("password", "a wrong password", Required),
            ("device", "desk", Optional),
        ],
    },
    Call {
        path: "/api/auth/refresh-token",
        fields: &[
            ("refreshToken", "cs_rt_of_nobody", Required),
            ("accessToken", "of.nobody.either", Optional),
            ("retryKey", "sixteen bytes, it is", Optional),
        ],
    },
    Call {
        path: "/api/auth/change-password",
        fields: &[
            ("currentPassword", "a wrong password", Required),
            ("newPassword", "a password that is fit", Required),
        ],
    },
    Call { path: "/api/auth/revocation-readers", fields: &[("name", "", Required)] },
];

/// Sends what is bad, each time from another address: the throttles are tested elsewhere.
struct Sender {
    server: Server,
    token: String,
    sent: Cell<u32>,
}

impl Sender {
    fn start() -> Self {
        let server = Settings::new().with("trusted_proxies", "127.0.0.0/8").start();
        let token = server.admin().access;
        Self { server, token, sent: Cell::new(0) }
    }

    fn post(&self, path: &str) -> Request {
        let number = self.sent.get();
        self.sent.set(number + 1);
        let [_, a, b, c] = number.to_be_bytes();
        self.server.post(path).bearer(&self.token).forwarded_for(&format!("10.{a}.{b}.{c}"))
    }

    /// Sends a body and insists on a refusal, whatever it says.
    #[track_caller]
    fn refused(&self, path: &str, body: impl Into<Vec<u8>>, what: &str) -> Value {
        let answer = self.post(path).header("content-type", "application/json").body(body).send();
        refusal(&answer, &format!("{path} with {what}"))
    }

    /// The server is as well as before.
    #[track_caller]
    fn unharmed(self) {
        self.server.me(&self.token).expect(200);
        let said = self.server.process.said();
        assert!(!said.contains(" ERROR ") && !said.contains("panicked"), "{said}");
    }
}

#[track_caller]
fn refusal(answer: &Answer, what: &str) -> Value {
    assert!((400..500).contains(&answer.status), "{what}: {} {}", answer.status, answer.text());
    answer.problem()
}

impl Call {
    fn body(&self) -> Map<String, Value> {
        self.fields.iter().map(|(name, value, _)| ((*name).to_owned(), json!(value))).collect()
    }

    fn with(&self, name: &str, value: Value) -> String {
        let mut body = self.body();
        body.insert(name.to_owned(), value);
        Value::Object(body).to_string()
    }

    fn without(&self, name: &str) -> String {
        let mut body = self.body();
        body.remove(name);
        Value::Object(body).to_string()
    }

    /// The body, with this text in the place of a field's value.
    fn with_raw(&self, name: &str, raw: &[u8]) -> Vec<u8> {
        let marked = self.with(name, json!("@mark@"));
        let (before, after) = marked.split_once("\"@mark@\"").unwrap();
        [before.as_bytes(), raw, after.as_bytes()].concat()
    }
}

#[track_caller]
fn names(problem: &Value, field: &str, what: &str) {
    assert_eq!(problem["code"], "validation_failed", "{what}: {problem}");
    assert!(problem["errors"][field].as_array().is_some_and(|messages| !messages.is_empty()), "{what}: {problem}");
}

#[test]
fn a_field_that_is_missing_or_of_another_type_is_named() {
    let sender = Sender::start();
    for call in CALLS {
        for (name, _, presence) in call.fields {
            let wrong = [json!(7), json!(-0.5), json!(true), json!([]), json!(["x"]), json!({}), json!({ "x": "y" })];
            for value in wrong {
                let what = format!("{name} = {value}");
                let problem = sender.refused(call.path, call.with(name, value), &what);
                names(&problem, name, &what);
            }
            if *presence == Required {
                names(&sender.refused(call.path, call.without(name), name), name, "missing");
                names(&sender.refused(call.path, call.with(name, Value::Null), name), name, "null");
            }
        }
        let nothing = sender.refused(call.path, "{}", "no field");
        assert_eq!(nothing["code"], "validation_failed");
        let unknown = sender.refused(call.path, r#"{"x":1}"#, "an unknown field alone");
        assert_eq!(unknown["code"], "validation_failed");
    }
    sender.unharmed();
}

#[test]
fn a_value_that_is_empty_huge_or_strange_is_refused() {
    let sender = Sender::start();
    let huge = "x".repeat(60_000);
    let strange = [
        "",
        " ",
        "\u{0}",
        "a\u{0}b",
        "\r\n",
        "\u{1b}[31m",
        "\u{202e}",
        "\u{feff}",
        "\u{fffd}",
        "😀",
        "\u{301}",
        "..",
        "/",
        "%00",
        "' OR '1'='1",
        "; DROP TABLE accounts",
        "{{7*7}}",
        "${jndi:ldap://x}",
        "null",
        "undefined",
        "-1",
        &huge,
    ];
    for call in CALLS {
        for (name, value, presence) in call.fields {
            for value_sent in strange {
                // A device may be called anything, and so may a password be; what is asked for is refused all the same.
                let is_good = match (call.path, *name) {
                    ("/api/auth/revocation-readers", _) => {
                        !value_sent.is_empty() && value_sent.len() < 100 && !value_sent.chars().any(char::is_control)
                    }
                    ("/api/auth/register" | "/api/auth/register-admin", "username") => {
                        matches!(value_sent, ".." | "{{7*7}}" | "null" | "undefined" | "-1" | "😀")
                    }
                    ("/api/auth/register" | "/api/auth/register-admin", "password") => {
                        value_sent.chars().count() >= 8 && value_sent.len() < 100
                    }
                    _ => false,
                };
                if !is_good {
                    let shown: String = value_sent.escape_debug().take(40).collect();
                    sender.refused(call.path, call.with(name, json!(value_sent)), &format!("{name} = {shown:?}"));
                }
            }
            assert!(value.len() < 100 && matches!(presence, Required | Optional));
        }
    }
    // None of it made an account.
    let accounts = sender.server.settings.cli_json(&["account", "list"]);
    assert_eq!(accounts.len(), 1, "{accounts:?}");
    sender.unharmed();
}

#[test]
fn what_is_no_json_object_is_refused() {
    let sender = Sender::start();
    let deep = format!("{{\"x\":{}{}}}", "[".repeat(10_000), "]".repeat(10_000));
    let bodies: &[(&str, &[u8])] = &[
        ("nothing", b""),
        ("a blank", b" "),
        ("no JSON", b"username=root"),
        ("a word", b"nonsense"),
        ("an array", b"[]"),
        ("an array of the object", br#"[{"username":"root"}]"#),
        ("a string", br#""x""#),
        ("a number", b"7"),
        ("null", b"null"),
        ("half an object", br#"{"username":"#),
        ("two objects", b"{}{}"),
        ("something after the object", b"{} x"),
        ("a comma too many", br#"{"username":"root",}"#),
        ("single quotes", b"{'username':'root'}"),
        ("a comment", b"/* x */ {}"),
        ("a byte order mark", b"\xef\xbb\xbf{}"),
        ("UTF-16", b"\xff\xfe{\0}\0"),
        ("bytes that are no UTF-8", b"{\"\xff\":1}"),
        ("an overlong encoding", b"{\"\xc0\xaf\":1}"),
        ("a NUL", b"{\0}"),
        ("NaN", br#"{"x":NaN}"#),
        ("depth", deep.as_bytes()),
    ];
    for call in CALLS {
        for (what, body) in bodies {
            let problem = sender.refused(call.path, *body, what);
            assert_eq!(problem["code"], "json_malformed", "{} with {what}: {problem}", call.path);
        }
        for (name, value, _) in call.fields {
            let raws: &[(&str, &[u8])] = &[
                ("an unpaired high surrogate", br#""\ud800""#),
                ("an unpaired low surrogate", br#""a\udc00b""#),
                ("surrogates in the wrong order", br#""\udc00\ud800""#),
                ("a raw surrogate", b"\"\xed\xa0\x80\""),
                ("a raw control character", b"\"a\nb\""),
                ("bytes that are no UTF-8", b"\"\xff\xfe\""),
                ("an escape that is none", br#""\x""#),
                ("depth", deep.as_bytes()),
            ];
            for (what, raw) in raws {
                sender.refused(call.path, call.with_raw(name, raw), &format!("{what} as {name}"));
            }
            let twice = format!(r#"{{"{name}":"{value}",{}"#, &call.with(name, json!(value))[1..]);
            let problem = sender.refused(call.path, twice, "a key twice");
            assert_eq!(problem["code"], "json_malformed", "{problem}");
            let pascal = name[..1].to_uppercase() + &name[1..];
            let twice = format!(r#"{{"{pascal}":"{value}",{}"#, &call.with(name, json!(value))[1..]);
            names(&sender.refused(call.path, twice, "a field under two spellings"), name, "twice");
        }
        // In a field that nobody reads, too.
        for ignored in [r#""\ud800""#, r#"{"a":1,"a":2}"#, "[[[[01]]]]"] {
            let body = format!(r#"{{"ignored":{ignored},{}"#, &Value::Object(call.body()).to_string()[1..]);
            let problem = sender.refused(call.path, body, "an ignored field that is no JSON");
            assert_eq!(problem["code"], "json_malformed", "{problem}");
        }
    }
    sender.unharmed();
}

#[test]
fn another_content_type_is_refused() {
    let sender = Sender::start();
    let kinds = [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "text/json",
        "application/problem+json",
        "application/json; charset=utf-16",
        "application/json; x=y",
        "application/json, text/plain",
        "application/jsonp",
        "*/*",
        "",
        "é",
    ];
    for call in CALLS {
        let body = Value::Object(call.body()).to_string();
        for kind in kinds {
            let answer = sender.post(call.path).header("content-type", kind).body(body.clone()).send();
            answer.refused(415, "content_type_unsupported");
        }
        sender.post(call.path).body(body.clone()).send().refused(415, "content_type_unsupported");
        sender.post(call.path).send().refused(415, "content_type_unsupported");
        let twice =
            sender.post(call.path).header("content-type", "application/json").header("content-type", "text/plain");
        twice.body(body.clone()).send().refused(415, "content_type_unsupported");
        for kind in ["application/json; charset=utf-8", "Application/JSON", "application/json;charset=\"UTF-8\""] {
            let answer = sender.post(call.path).header("content-type", kind).body(body.clone()).send();
            assert_ne!(answer.status, 415, "{kind}");
        }
        let answer =
            sender.post(call.path).header("content-type", "application/json").header("content-encoding", "gzip");
        let answer = answer.body(*b"\x1f\x8b\x08\x00").send();
        refusal(&answer, "gzip");
    }
    // The last loop has registered the newcomer.
    sender.unharmed();
}

#[test]
fn a_body_of_two_megabytes_is_refused_and_the_connection_lives() {
    let sender = Sender::start();
    let large = format!(r#"{{"username":"{}"}}"#, "x".repeat(2 << 20)).into_bytes();
    let just_too_large = format!(r#"{{"username":"{}"}}"#, "x".repeat(64 << 10)).into_bytes();
    for call in CALLS {
        let mut connection = Connection::open(sender.server.address).unwrap();
        for body in [&large, &just_too_large, &large] {
            let request = sender.post(call.path).header("content-type", "application/json").body(body.clone());
            let answer = connection.send(&request).expect("an answer on the same connection");
            answer.refused(413, "body_too_large");
        }
        let me = sender.server.get("/api/auth/me").bearer(&sender.token);
        connection.send(&me).expect("the connection goes on").expect(200);
    }
    // Where no body is wanted, none is kept either.
    for (method, path) in [
        ("GET", "/api/auth/me"),
        ("POST", "/api/auth/logout"),
        ("DELETE", "/api/auth/sessions/x"),
        ("POST", "/nowhere"),
    ] {
        let request = sender.server.request(method, path).bearer("x").body(large.clone());
        refusal(&request.send(), &format!("{method} {path} with 2 MB"));
    }
    sender.unharmed();
}

#[test]
fn a_body_that_is_announced_larger_than_anything_is_answered_before_it_is_sent() {
    let sender = Sender::start();
    let head = |more: &str| {
        format!("POST /api/auth/login HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n{more}\r\n\r\n")
    };
    for more in ["content-length: 9000000000", "content-length: 100000\r\nexpect: 100-continue"] {
        let mut connection = Connection::open(sender.server.address).unwrap();
        connection.write(head(more).as_bytes()).unwrap();
        let answer = connection.read_answer("POST").unwrap();
        answer.refused(413, "body_too_large");
        assert_eq!(answer.header("connection"), Some("close"));
    }
    // A body in pieces, which announces nothing.
    let mut connection = Connection::open(sender.server.address).unwrap();
    connection.write(head("transfer-encoding: chunked").as_bytes()).unwrap();
    let piece = format!("8000\r\n{}\r\n", "x".repeat(0x8000));
    for _ in 0..10 {
        connection.write(piece.as_bytes()).unwrap();
    }
    connection.write(b"0\r\n\r\n").unwrap();
    connection.read_answer("POST").unwrap().refused(413, "body_too_large");
    // Framing that is no framing: the body never was whole.
    let mut connection = Connection::open(sender.server.address).unwrap();
    connection.write(head("transfer-encoding: chunked").as_bytes()).unwrap();
    connection.write(b"nonsense\r\n").unwrap();
    connection.read_answer("POST").unwrap().refused(400, "body_unreadable");
    sender.unharmed();
}

#[test]
fn an_authorization_header_of_any_kind_is_answered() {
    let sender = Sender::start();
    let calls = [
        ("GET", "/api/auth/me"),
        ("GET", "/api/auth/sessions"),
        ("POST", "/api/auth/logout"),
        ("POST", "/api/auth/revoke/root"),
        ("POST", "/api/auth/revoke-all"),
        ("POST", "/api/auth/register-admin"),
        ("POST", "/api/auth/change-password"),
        ("GET", "/api/auth/revocation-readers"),
        ("POST", "/api/auth/revocation-readers"),
        ("GET", "/revocations"),
        ("DELETE", "/api/auth/sessions/00000000-0000-0000-0000-000000000000"),
        ("DELETE", "/api/auth/revocation-readers/00000000-0000-0000-0000-000000000000"),
    ];
    let long = format!("Bearer {}", "a".repeat(20_000));
    let dots = format!("Bearer {}", ".".repeat(5_000));
    let refresh = "Bearer cs_rt_AAAA".to_owned();
    let garbage: Vec<Vec<u8>> = [
        "",
        " ",
        "Bearer",
        "Bearer  ",
        "bearer\tx",
        "Basic cm9vdDpyb290",
        "Bearer x",
        "Bearer a.b.c",
        "Bearer ..",
        "Bearer null",
        "Bearer eyJhbGciOiJub25lIn0.e30.",
        "Bearer eyJhbGciOiJub25lIn0",
        "Bearer \"x\"",
        "Bearer a b",
        &long,
        &dots,
        &refresh,
    ]
    .iter()
    .map(|text| text.as_bytes().to_vec())
    .chain([b"Bearer \xff\xfe".to_vec(), "Bearer 😀".into(), b"Bearer \x80.\x80.\x80".to_vec()])
    .collect();
    for (method, path) in calls {
        for header in &garbage {
            let request = sender.server.request(method, path).header("authorization", header);
            let request = if method == "POST" { request.json(&json!({})) } else { request };
            let answer = request.send();
            let what = format!(
                "{method} {path} with {:?}",
                String::from_utf8_lossy(header).chars().take(40).collect::<String>()
            );
            let problem = refusal(&answer, &what);
            assert_eq!(answer.status, 401, "{what}: {problem}");
        }
    }
    sender.unharmed();
}

#[test]
fn paths_and_queries_of_any_kind_are_answered() {
    let sender = Sender::start();
    let long = "a".repeat(8_000);
    let odd = [
        "%00",
        "%FF%FE",
        "%C0%AF",
        "%ED%A0%80",
        "..%2f..%2fetc%2fpasswd",
        "%2e%2e",
        "%",
        "%zz",
        "%F0%9F%98%80",
        "a%20b",
        "a%0Ab",
        "nobody",
        "%E2%80%AE",
        "'",
        "%27%20OR%201=1",
        "x;y",
        "x:y",
        "%25",
        "+",
        &long,
    ];
    for text in odd {
        let shown: String = text.chars().take(40).collect();
        for (method, path) in [
            ("POST", format!("/api/auth/revoke/{text}")),
            ("DELETE", format!("/api/auth/sessions/{text}")),
            ("DELETE", format!("/api/auth/revocation-readers/{text}")),
            ("GET", format!("/{text}")),
            ("GET", format!("/api/auth/{text}")),
            ("POST", format!("/api/auth/revoke-all?receipt={text}")),
            ("POST", format!("/api/auth/revoke/nobody?receipt={text}")),
        ] {
            let answer = sender.server.request(method, &path).bearer(&sender.token).send();
            refusal(&answer, &format!("{method} {}", path.replace(text, &shown)));
        }
    }
    for path in [
        "/api/auth/revoke/",
        "/api/auth/revoke",
        "/api/auth/sessions/",
        "//api/auth/me",
        "/api/auth/me/",
        "/API/AUTH/ME",
        "/swagger/../x",
        "/openapi.json/x",
    ] {
        let answer = sender.server.get(path).bearer(&sender.token).send();
        refusal(&answer, path);
    }
    for query in ["?receipt=1", "?receipt=", "?receipt=TRUE", "?receipt=true&receipt=true", "?receipt=%00"] {
        let revoke = sender.server.post(&format!("/api/auth/revoke-all{query}")).bearer(&sender.token);
        revoke.send().refused(400, "validation_failed");
    }
    sender.unharmed();
}

#[test]
fn a_query_of_the_feed_of_any_kind_is_answered() {
    let secret = "a-secret-for-readers-of-the-feed";
    let server = Settings::new().with("revocation_reader_secret", secret).start();
    for query in [
        "after=-1",
        "after=x",
        "after=",
        "after=1.5",
        "after=99999999999999999999999999",
        "after=1&after=2",
        "wait=-1",
        "wait=x",
        "wait=256",
        "wait=99999999999",
        "incarnation=x",
        "incarnation=",
        "incarnation=%00",
        "incarnation=%FF",
        "incarnation=00000000-0000-0000-0000-00000000000",
        "wait=1&wait=2",
    ] {
        let answer = server.get(&format!("/revocations?{query}")).bearer(secret).send();
        assert_eq!(
            answer.refused(400, "validation_failed")["errors"]["query"].as_array().map(Vec::len),
            Some(1),
            "{query}"
        );
    }
    for query in ["x=y", "after=18446744073709551615", "incarnation=00000000-0000-0000-0000-000000000000&after=0", ""] {
        let page = server.get(&format!("/revocations?{query}")).bearer(secret).send().expect(200).json();
        assert_eq!(page["snapshot"], true, "{query}");
    }
}

#[test]
fn what_is_no_http_is_answered_or_cut_and_nobody_else_notices() {
    let sender = Sender::start();
    let long_header = format!("GET /livez HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "x".repeat(64 << 10));
    let many_headers = format!("GET /livez HTTP/1.1\r\nhost: x\r\n{}\r\n", "x: y\r\n".repeat(500));
    let long_target = format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n", "x".repeat(64 << 10));
    for bytes in [
        &b"nonsense\r\n\r\n"[..],
        b"GET /livez\r\n\r\n",
        b"GET  /livez HTTP/1.1\r\n\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\nhost: x\r\n\r\n",
        b"GET /livez HTTP/9.9\r\nhost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET /livez HTTP/1.1\r\nhost: x\r\nbad header\r\n\r\n",
        b"POST /api/auth/login HTTP/1.1\r\nhost: x\r\ncontent-length: x\r\n\r\n",
        b"POST /api/auth/login HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}",
        long_header.as_bytes(),
        many_headers.as_bytes(),
        long_target.as_bytes(),
    ] {
        let mut connection = Connection::open(sender.server.address).unwrap();
        let _ = connection.write(bytes);
        let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(60)]).into_owned();
        // Where it was cut, the rest of what was sent may reset the connection before the answer is read.
        if let Ok(answer) = connection.read_answer("GET") {
            assert!((400..500).contains(&answer.status), "{shown:?}: {}", answer.status);
        }
    }
    // Both framings at once are how requests are smuggled past a proxy.
    let mut connection = Connection::open(sender.server.address).unwrap();
    let smuggled = "POST /api/auth/login HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 4\r\n\
                    transfer-encoding: chunked\r\n\r\n0\r\n\r\nGET /livez HTTP/1.1\r\nhost: x\r\n\r\n";
    connection.write(smuggled.as_bytes()).unwrap();
    let answer = connection.read_answer("POST").unwrap();
    assert!((400..500).contains(&answer.status), "{} {}", answer.status, answer.text());
    sender.unharmed();
}

#[test]
fn long_but_good_values_are_taken() {
    let server = Server::start();
    let name = "é".repeat(64);
    let password: String = ["🦀", "crab", "é", "lamp", "🦐", "door"].concat().repeat(6).chars().take(64).collect();
    let account =
        json!({ "username": name, "email": "crab@example.com", "password": password, "ignored": "x".repeat(40_000) });
    server.post("/api/auth/register").json(&account).send().expect(200);
    server.try_log_in(&name, &password).expect(200);
    assert_ne!(password, PASSWORD);
}

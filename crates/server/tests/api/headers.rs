//! What every answer carries, and which web sites may ask.

use crate::support::{Server, Settings};

#[test]
fn every_answer_says_what_it_is_not_for() {
    let server = Server::start();
    let alice = server.user("alice");
    let answers = [
        server.get("/api/auth/me").bearer(&alice.access).send().expect(200),
        server.get("/api/auth/me").send().expect(401),
        server.try_log_in("alice", crate::support::PASSWORD).expect(200),
        server.refresh(&alice.refresh).expect(200),
        server.post("/api/auth/logout").bearer(&alice.access).send().expect(204),
        server.get("/nowhere").send().expect(404),
        server.request("PUT", "/api/auth/login").send().expect(405),
        server.get("/livez").send().expect(200),
        server.get("/openapi.json").send().expect(200),
    ];
    for answer in answers {
        for (name, value) in [
            ("cache-control", "no-store"),
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("content-security-policy", "default-src 'none'; frame-ancestors 'none'"),
            ("cross-origin-opener-policy", "same-origin"),
            ("cross-origin-resource-policy", "same-origin"),
        ] {
            assert_eq!(answer.header(name), Some(value), "{name} of {}: {}", answer.status, answer.text());
        }
        assert!(answer.header("x-request-id").is_some());
        // Over plain http browsers ignore it, and behind an https issuer it is set.
        assert_eq!(answer.header("strict-transport-security"), None);
        assert_eq!(answer.header("server"), None);
    }
    let keys = server.get("/.well-known/jwks.json").send().expect(200);
    assert_eq!(keys.header("cache-control"), Some("public, max-age=300"));
    let https = Settings::new().with("issuer", "https://id.example.com").start();
    assert!(https.get("/livez").send().expect(200).header("strict-transport-security").is_some());
}

#[test]
fn the_pages_own_scripts_run_and_no_others() {
    let server = Server::start();
    for path in ["/swagger", "/swagger/", "/swagger/index.html"] {
        let answer = server.get(path).send();
        assert!(matches!(answer.status, 200 | 303 | 307 | 308), "{path}: {}", answer.status);
        let policy = answer.header("content-security-policy").unwrap();
        assert!(policy.contains("script-src 'self';") && policy.contains("frame-ancestors 'none'"), "{policy}");
    }
    assert!(server.get("/swagger/").send().expect(200).text().contains("swagger"));
}

#[test]
fn the_wrong_method_is_told_the_right_ones() {
    let server = Server::start();
    for (method, path, allowed) in [
        ("GET", "/api/auth/login", "POST"),
        ("DELETE", "/api/auth/register", "POST"),
        ("POST", "/api/auth/me", "GET,HEAD"),
        ("PATCH", "/api/auth/sessions", "GET,HEAD"),
        ("POST", "/revocations", "GET,HEAD"),
    ] {
        let answer = server.request(method, path).send();
        answer.refused(405, "method_not_allowed");
        assert_eq!(answer.header("allow"), Some(allowed), "{method} {path}");
    }
}

#[test]
fn a_browser_front_end_of_a_named_origin_may_call_and_no_other() {
    let server = Settings::new().with("cors_origins", "http://localhost:4200,https://app.example.com").start();
    let preflight = |origin: &str| {
        server
            .request("OPTIONS", "/api/auth/login")
            .header("origin", origin)
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "authorization,content-type")
            .send()
    };
    for origin in ["http://localhost:4200", "https://app.example.com"] {
        let answer = preflight(origin);
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("access-control-allow-origin"), Some(origin));
        let allowed = |name: &str| answer.header(name).unwrap().to_ascii_lowercase();
        assert!(allowed("access-control-allow-methods").contains("post"));
        assert!(allowed("access-control-allow-headers").contains("authorization"));
        assert!(allowed("access-control-allow-headers").contains("content-type"));
        assert_eq!(answer.header("access-control-allow-credentials"), None);

        let refused = server.get("/api/auth/me").header("origin", origin).send();
        refused.refused(401, "token_missing");
        assert_eq!(refused.header("access-control-allow-origin"), Some(origin), "its script can read the refusal");
        let exposed = refused.header("access-control-expose-headers").unwrap();
        assert!(exposed.contains("www-authenticate") && exposed.contains("retry-after"), "{exposed}");
    }
    for origin in ["http://localhost:4201", "https://app.example.com.evil.example", "null", "https://APP.example.com"] {
        assert_eq!(preflight(origin).header("access-control-allow-origin"), None, "{origin}");
        let answer = server.get("/livez").header("origin", origin).send().expect(200);
        assert_eq!(answer.header("access-control-allow-origin"), None, "{origin}");
    }
}

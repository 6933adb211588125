//! The description of the API: complete, and the one that is committed.

use std::path::Path;

use serde_json::Value;

use crate::support::Server;

/// Every route of the contract.
const ROUTES: &[(&str, &str)] = &[
    ("post", "/api/auth/register"),
    ("post", "/api/auth/register-admin"),
    ("post", "/api/auth/login"),
    ("post", "/api/auth/refresh-token"),
    ("post", "/api/auth/revoke/{username}"),
    ("post", "/api/auth/revoke-all"),
    ("post", "/api/auth/logout"),
    ("get", "/api/auth/me"),
    ("get", "/api/auth/sessions"),
    ("delete", "/api/auth/sessions/{id}"),
    ("post", "/api/auth/change-password"),
    ("get", "/api/auth/revocation-readers"),
    ("post", "/api/auth/revocation-readers"),
    ("delete", "/api/auth/revocation-readers/{id}"),
    ("get", "/.well-known/jwks.json"),
    ("get", "/.well-known/openid-configuration"),
    ("get", "/.well-known/oauth-authorization-server"),
    ("get", "/revocations"),
    ("get", "/livez"),
    ("get", "/readyz"),
];

#[test]
fn it_is_openapi_3_1_and_has_every_route() {
    let server = Server::start();
    let document = server.get("/openapi.json").send().expect(200).json();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1."), "{}", document["openapi"]);
    let described: Vec<(String, String)> = document["paths"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(path, item)| item.as_object().unwrap().keys().map(|method| (method.clone(), path.clone())))
        .collect();
    for (method, path) in ROUTES {
        assert!(described.iter().any(|(m, p)| m == method && p == path), "{method} {path} is not described");
    }
    assert_eq!(described.len(), ROUTES.len(), "{described:?}");
    for (method, path) in &described {
        let operation = &document["paths"][path][method];
        for (status, response) in operation["responses"].as_object().unwrap() {
            let is_problem = !response["content"]["application/problem+json"].is_null();
            assert_eq!(is_problem, status.as_str() >= "400", "{method} {path} {status}");
        }
        assert!(operation["operationId"].is_string() && operation["summary"].is_string(), "{method} {path}");
    }
}

/// Run with `UPDATE=1` to write the file anew.
#[test]
#[expect(clippy::disallowed_methods, reason = "a test has no settings but the environment")]
fn the_committed_document_is_what_the_server_serves() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/openapi.json");
    let served = Server::start().get("/openapi.json").send().expect(200).json();
    let text = serde_json::to_string_pretty(&served).unwrap() + "\n";
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&file, &text).unwrap();
    }
    let committed = std::fs::read_to_string(&file).unwrap_or_default();
    let committed: Value = serde_json::from_str(&committed).unwrap_or_default();
    assert!(
        committed == served,
        "docs/reference/openapi.json is not what is served: run `UPDATE=1 cargo test -p countersign --test api openapi` \
         and look at what has changed for clients"
    );
}

#[test]
fn swagger_ui_is_served_whole_from_here() {
    let server = Server::start();
    let address_alone = server.get("/").send().expect(307);
    assert_eq!(address_alone.header("location"), Some("/swagger/"));
    let page = server.get("/swagger/").send().expect(200);
    assert!(page.header("content-type").unwrap().starts_with("text/html"));
    let page = page.text();
    let files: Vec<&str> =
        page.split(['"', '\'']).filter(|word| word.starts_with("./") || word.ends_with(".js")).collect();
    assert!(!files.is_empty(), "{page}");
    for file in files {
        assert!(!file.contains("://"), "{file} is loaded from elsewhere");
        server.get(&format!("/swagger/{}", file.trim_start_matches("./"))).send().expect(200);
    }
    let initializer = server.get("/swagger/swagger-initializer.js").send().expect(200).text();
    assert!(initializer.contains("/openapi.json"), "{initializer}");
}

//! What the OpenAPI document says about every operation alike, so that no handler repeats it.

use utoipa::openapi::path::Operation;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{Content, OpenApi as Document, Ref, RefOr, ResponseBuilder};
use utoipa::{Modify, OpenApi};

use crate::problem::ProblemDocument;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Countersign",
        description = "A login server for anyone's API: register, log in, refresh, revoke. \
                       Errors are RFC 9457 problems whose `code` says why.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0"),
    ),
    components(schemas(ProblemDocument)),
    tags(
        (name = "accounts", description = "Registering, and one's own account"),
        (name = "sessions", description = "Signing in, refreshing, and ending sessions"),
        (name = "revocation feed", description = "What resource servers read"),
        (name = "discovery", description = "What clients and resource servers find by the issuer's URL alone"),
        (name = "health", description = "For whoever runs it"),
    ),
)]
pub(super) struct Description;

/// What can happen to any request, whatever it asks for.
const ANY_REQUEST: [(&str, &str); 5] = [
    ("400", "body_unreadable, validation_failed"),
    ("408", "request_timeout"),
    ("413", "body_too_large"),
    ("500", "internal"),
    ("503", "server_busy, store_unavailable"),
];

/// Adds the schemes, what can happen to any request, and the form of every refusal.
pub(super) struct Complete;

impl Modify for Complete {
    fn modify(&self, document: &mut Document) {
        let components = document.components.get_or_insert_default();
        components
            .add_security_scheme("bearer", scheme("An access token, as `/api/auth/login` returns it.", Some("JWT")));
        let reader = "The reader secret of the settings, or a reader key made by an administrator.";
        components.add_security_scheme("reader", scheme(reader, None));
        for item in document.paths.paths.values_mut() {
            let methods = [&mut item.get, &mut item.post, &mut item.delete];
            methods.into_iter().flatten().for_each(complete);
        }
    }
}

fn scheme(description: &str, format: Option<&str>) -> SecurityScheme {
    let mut bearer = Http::new(HttpAuthScheme::Bearer);
    bearer.bearer_format = format.map(str::to_owned);
    bearer.description = Some(description.to_owned());
    SecurityScheme::Http(bearer)
}

fn complete(operation: &mut Operation) {
    let mut add = |status: &str, codes: &str| {
        let responses = &mut operation.responses.responses;
        if !responses.contains_key(status) {
            responses.insert(status.to_owned(), RefOr::T(ResponseBuilder::new().description(codes).build()));
        }
    };
    for (status, codes) in ANY_REQUEST {
        add(status, codes);
    }
    if operation.request_body.is_some() {
        add("415", "content_type_unsupported");
    }
    for (status, response) in &mut operation.responses.responses {
        if let (RefOr::T(response), true) = (response, status.as_str() >= "400") {
            let problem = RefOr::T(Content::new(Some(Ref::from_schema_name("Problem"))));
            response.content.insert("application/problem+json".to_owned(), problem);
        }
    }
}

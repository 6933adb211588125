//! The HTTP API: each handler parses, calls one operation and renders its answer. None of them decides.

mod accounts;
mod caller;
mod description;
mod discovery;
mod health;
mod page;
mod refusals;
mod revocations;
mod sessions;
mod time;

use std::ops::Deref;
use std::sync::Arc;

use axum::Router;
use countersign_operations::Operations;
use utoipa::openapi::OpenApi as Document;
use utoipa::{Modify, OpenApi};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(crate) use page::front_door;

use crate::config::{ReaderSecret, Settings};

/// The routes that answer late on purpose.
pub const LONG_POLLS: &[&str] = &["/revocations"];

/// What the handlers need. It is copied several times for every request.
#[derive(Clone)]
pub(crate) struct Api(Arc<Parts>);

pub(crate) struct Parts {
    pub(crate) operations: Arc<Operations>,
    pub(crate) discovery: discovery::Metadata,
    pub(crate) reader_secret: Option<ReaderSecret>,
}

impl Deref for Api {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

/// Every route, and the document that describes them.
fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::with_openapi(description::Description::openapi())
        .routes(routes!(accounts::register))
        .routes(routes!(accounts::register_admin))
        .routes(routes!(accounts::me))
        .routes(routes!(accounts::change_password))
        .routes(routes!(sessions::login))
        .routes(routes!(sessions::refresh_token))
        .routes(routes!(sessions::logout))
        .routes(routes!(sessions::revoke))
        .routes(routes!(sessions::revoke_all))
        .routes(routes!(sessions::list))
        .routes(routes!(sessions::end))
        .routes(routes!(revocations::read))
        .routes(routes!(revocations::list_readers, revocations::admit_reader))
        .routes(routes!(revocations::dismiss_reader))
        .routes(routes!(discovery::jwks))
        .routes(routes!(discovery::openid_configuration))
        .routes(routes!(discovery::authorization_server))
        .routes(routes!(health::livez))
        .routes(routes!(health::readyz))
}

fn described() -> (Router<Api>, Document) {
    let (router, mut document) = routes().split_for_parts();
    description::Complete.modify(&mut document);
    (router, document)
}

/// The document that describes the API (OpenAPI 3.1).
#[must_use]
pub fn openapi() -> Document {
    described().1
}

/// The router of the API with its documentation, without the middleware.
pub(crate) fn router(operations: Arc<Operations>, settings: &Settings) -> Router {
    let parts = Parts {
        discovery: discovery::Metadata::new(settings),
        reader_secret: settings.revocation_reader_secret.clone(),
        operations,
    };
    let (router, document) = described();
    router.with_state(Api(Arc::new(parts))).merge(page::router(document))
}

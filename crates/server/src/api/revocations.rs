//! The revocation feed, and who may read it.

use std::time::Duration;

use axum::extract::State;
use axum::{Extension, Json};
use countersign_core::ids::{Incarnation, ReaderId};
use countersign_operations::readers;
use countersign_operations::revocations::{self as feed, Cursor};
use countersign_token::revocation::FeedPage;
use http::StatusCode;
use http::request::Parts;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::Api;
use super::caller::{Bearer, bearer_token};
use super::time::Rfc3339;
use crate::http::{ClientAddress, JsonBody, PathOf, QueryOf};
use crate::listener::Shutdown;
use crate::problem::{Code, Problem};

/// Where a reader stands.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct FeedQuery {
    /// `incarnation` of the last page; left out at first.
    incarnation: Option<Uuid>,
    /// `seq` of the last page; left out at first.
    after: Option<u64>,
    /// For how many seconds to wait where there is nothing new; 60 at the most.
    #[serde(default)]
    wait: u8,
}

/// One page of the feed.
#[derive(Serialize, ToSchema)]
#[serde(transparent)]
pub(super) struct FeedResponse {
    #[schema(value_type = Object, example = json!({
        "incarnation": "0198a3c2-0000-7000-8000-000000000000",
        "seq": 12,
        "snapshot": false,
        "events": [
            { "seq": 11, "type": "session", "sid": "0198a3c2-0000-7000-8000-000000000001", "expires": 1_795_521_900 },
            { "seq": 12, "type": "everyone", "epoch": 1_795_521_600_000_i64 },
        ],
    }))]
    page: FeedPage,
}

/// The revocations after a cursor. Without one, or with one that is too old, the page is a snapshot.
#[utoipa::path(
    get, path = "/revocations", tag = "revocation feed", security(("reader" = [])), params(FeedQuery),
    responses(
        (status = 200, body = FeedResponse),
        (status = 400, description = "validation_failed"),
        (status = 401, description = "reader_unauthorized"),
        (status = 503, description = "store_unavailable: what is known here may be out of date"),
    ),
)]
pub(super) async fn read(
    State(api): State<Api>,
    shutdown: Option<Extension<Shutdown>>,
    parts: Parts,
    QueryOf(query): QueryOf<FeedQuery>,
) -> Result<Json<FeedResponse>, Problem> {
    let presented = bearer_token(&parts).ok_or(Code::ReaderUnauthorized)?;
    let secret = api.reader_secret.as_ref().map(|secret| secret.expose());
    if !readers::may_read(&api.operations, presented, secret).await? {
        return Err(Problem::new(Code::ReaderUnauthorized));
    }
    let cursor = query.incarnation.zip(query.after);
    let cursor = cursor.map(|(incarnation, after)| Cursor { incarnation: Incarnation::new(incarnation), after });
    let wait = Duration::from_secs(query.wait.into());
    let page = tokio::select! {
        page = feed::read(&api.operations, cursor, wait) => page?,
        // A server that stops answers who waits at once, so that nobody's request breaks off.
        () = begun(shutdown) => feed::read(&api.operations, cursor, Duration::ZERO).await?,
    };
    Ok(Json(FeedResponse { page }))
}

/// Waits for the end of the server; where an embedding application names none, for ever.
async fn begun(shutdown: Option<Extension<Shutdown>>) {
    match shutdown {
        Some(Extension(shutdown)) => shutdown.begun().await,
        None => std::future::pending().await,
    }
}

/// A reader to admit.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct AdmitRequest {
    /// What a person calls it: 1 to 64 characters.
    #[serde(alias = "Name")]
    #[schema(example = "weather")]
    name: String,
}

/// A reader of the feed.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ReaderResponse {
    id: Uuid,
    #[schema(example = "weather")]
    name: String,
    created_at: Rfc3339,
}

/// A reader that was admitted just now.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct AdmittedResponse {
    id: Uuid,
    #[schema(example = "weather")]
    name: String,
    created_at: Rfc3339,
    /// Its key. It is shown this once.
    #[schema(value_type = String, example = "cs_rk_…")]
    key: Zeroizing<String>,
}

/// Admit a reader of the feed, as an administrator. The key is shown this once.
#[utoipa::path(
    post, path = "/api/auth/revocation-readers", tag = "revocation feed", security(("bearer" = [])), request_body = AdmitRequest,
    responses(
        (status = 200, body = AdmittedResponse),
        (status = 400, description = "validation_failed, json_malformed, body_unreadable"),
        (status = 401, description = "token_missing, token_expired, …"),
        (status = 403, description = "forbidden"),
    ),
)]
pub(super) async fn admit_reader(
    State(api): State<Api>,
    ClientAddress(address): ClientAddress,
    Bearer(caller): Bearer,
    JsonBody(request): JsonBody<AdmitRequest>,
) -> Result<Json<AdmittedResponse>, Problem> {
    let by = caller.administrator(Some(address))?;
    let (reader, key) = readers::admit(&api.operations, &by, request.name).await?;
    Ok(Json(AdmittedResponse {
        id: reader.id.as_uuid(),
        name: reader.name,
        created_at: Rfc3339(reader.created_at),
        key: key.expose(),
    }))
}

/// The readers of the feed, as an administrator.
#[utoipa::path(
    get, path = "/api/auth/revocation-readers", tag = "revocation feed", security(("bearer" = [])),
    responses(
        (status = 200, body = Vec<ReaderResponse>),
        (status = 401, description = "token_missing, token_expired, …"),
        (status = 403, description = "forbidden"),
    ),
)]
pub(super) async fn list_readers(
    State(api): State<Api>,
    ClientAddress(address): ClientAddress,
    Bearer(caller): Bearer,
) -> Result<Json<Vec<ReaderResponse>>, Problem> {
    let by = caller.administrator(Some(address))?;
    let readers = readers::list(&api.operations, &by).await?;
    let shown = readers.into_iter().map(|reader| ReaderResponse {
        id: reader.id.as_uuid(),
        name: reader.name,
        created_at: Rfc3339(reader.created_at),
    });
    Ok(Json(shown.collect()))
}

/// Dismiss a reader of the feed, as an administrator.
#[utoipa::path(
    delete, path = "/api/auth/revocation-readers/{id}", tag = "revocation feed", security(("bearer" = [])),
    params(("id" = Uuid, Path, description = "The id of the reader")),
    responses(
        (status = 204, description = "Dismissed"),
        (status = 401, description = "token_missing, token_expired, …"),
        (status = 403, description = "forbidden"),
        (status = 404, description = "reader_not_found, not_found"),
    ),
)]
pub(super) async fn dismiss_reader(
    State(api): State<Api>,
    ClientAddress(address): ClientAddress,
    Bearer(caller): Bearer,
    PathOf(id): PathOf<Uuid>,
) -> Result<StatusCode, Problem> {
    let by = caller.administrator(Some(address))?;
    readers::dismiss(&api.operations, &by, ReaderId::new(id)).await?;
    Ok(StatusCode::NO_CONTENT)
}

//! axum's extractors for the path and the query, refusing as everything else here does.

use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{FromRequestParts, Path, Query};

use crate::problem::{Code, FieldErrors, Problem};

/// The parameters of the path. One that does not parse names nothing, so the answer is 404.
#[derive(Clone, Copy, Debug, FromRequestParts)]
#[from_request(via(Path), rejection(Problem))]
pub struct PathOf<T>(pub T);

/// The parameters of the query. One that does not parse is answered with 400.
#[derive(Clone, Copy, Debug, FromRequestParts)]
#[from_request(via(Query), rejection(Problem))]
pub struct QueryOf<T>(pub T);

impl From<PathRejection> for Problem {
    fn from(rejection: PathRejection) -> Self {
        match rejection {
            PathRejection::FailedToDeserializePathParams(_) => Self::new(Code::NotFound),
            other => {
                tracing::error!(error = %other, "a route and its handler do not agree about the path");
                Self::new(Code::Internal)
            }
        }
    }
}

/// axum's own message repeats the value, so it is not told.
impl From<QueryRejection> for Problem {
    fn from(_: QueryRejection) -> Self {
        Self::validation(FieldErrors::one("query", "has a parameter that is not valid, or one twice"))
    }
}

//! Events: what happened, for whoever has to find out.

use countersign_core::events::{Event, EventKind};
use countersign_store::StoreError;
use countersign_store::verbs::EventQuery;

use crate::Countersign;
use crate::accounts::{ManageError, named};

/// Which events to list.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Only those about the account with this name.
    pub username: Option<String>,
    /// Only those of this kind.
    pub kind: Option<EventKind>,
    /// Only those before this number.
    pub before: Option<i64>,
    /// How many at the most.
    pub limit: u32,
}

/// Lists events, newest first.
///
/// # Errors
/// [`ManageError::NotFound`] where the filter names nobody, or the store's.
pub async fn list(countersign: &Countersign, filter: Filter) -> Result<Vec<Event>, ManageError> {
    let account = match &filter.username {
        Some(name) => Some(named(countersign, name).await?.id),
        None => None,
    };
    let query = EventQuery { account, kind: filter.kind, before: filter.before, limit: filter.limit };
    let events: Result<_, StoreError> = countersign.store.events(query).await;
    Ok(events?)
}

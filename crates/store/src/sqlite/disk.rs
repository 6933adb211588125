//! What follows where a flush fails: nothing is read or written any more.

use std::sync::Arc;

use tokio::sync::SetOnce;

use crate::StoreResult;
use crate::error::StoreError;

/// Whether the disk took all that was copied back so far.
///
/// Where it did not, SQLite may know nothing of it: it reads from the database what was copied there, which is gone as soon as the system
/// forgets the pages. So nothing is read or written any more. Whoever opens the database next copies all of the log once more.
#[derive(Clone, Default)]
pub(super) struct Disk(Arc<SetOnce<StoreError>>);

impl Disk {
    /// [`StoreError::Unavailable`] from the failure on.
    pub(super) fn holds(&self) -> StoreResult<()> {
        self.0.get().map_or(Ok(()), |error| Err(error.clone()))
    }

    /// Only the first failure counts, and is told.
    pub(super) fn failed(&self, error: &StoreError) {
        if self.0.initialized() {
            return;
        }
        let why = match error {
            StoreError::Unavailable(why) => why.clone(),
            error => error.to_string(),
        };
        let error = StoreError::Unavailable(format!(
            "the disk did not take what was copied from the log into the database file ({why}). All that was committed is in the log, \
             the file beside it whose name ends in -wal: keep both, the next server copies it once more"
        ));
        tracing::error!(%error, "nothing is read or written any more");
        let _ = self.0.set(error);
    }

    /// Waits for the failure.
    pub(super) async fn failure(&self) -> StoreError {
        self.0.wait().await.clone()
    }
}

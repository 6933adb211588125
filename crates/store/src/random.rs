//! The one place where the store draws randomness.

use uuid::Uuid;

use crate::StoreResult;
use crate::error::StoreError;

/// An id that nothing has had: of a history, of a node, of a transfer.
#[expect(clippy::disallowed_methods, reason = "the one place where the store draws randomness")]
pub(crate) fn id() -> StoreResult<Uuid> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)
        .map_err(|_| StoreError::Internal("the operating system has no randomness to give".to_owned()))?;
    Ok(uuid::Builder::from_random_bytes(bytes).into_uuid())
}

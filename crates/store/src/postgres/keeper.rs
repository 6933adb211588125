//! Keeps the witness beside the verbs.

use std::sync::Arc;
use std::time::Duration;

use crate::StoreResult;
use crate::postgres::node::Node;
use crate::postgres::witness::{Testimony, Witness};

/// How far the witness may be behind.
const WITNESS_DELAY: Duration = Duration::from_secs(1);

/// Keeps the witness not far behind, and never ahead.
pub(super) async fn testify(witness: Witness, node: Arc<Node>) {
    let mut written = None;
    loop {
        tokio::time::sleep(WITNESS_DELAY).await;
        let testimony = Testimony::of(node.id, node.memory());
        if node.check().is_err() || written.as_ref() == Some(&testimony) {
            continue;
        }
        match write(&witness, &testimony).await {
            Ok(()) => written = Some(testimony),
            Err(error) => tracing::warn!(%error, "could not write the witness file; it will be tried again"),
        }
    }
}

/// Writes the witness apart from the threads that serve.
pub(super) async fn write(witness: &Witness, testimony: &Testimony) -> StoreResult<()> {
    let (witness, testimony) = (witness.clone(), testimony.clone());
    let written = tokio::task::spawn_blocking(move || witness.write(&testimony)).await;
    written.unwrap_or_else(|_| Err(crate::StoreError::Internal("a thread of the store had died".to_owned())))
}

//! The row that there is once: locked last in every transaction that changes it, with the exceptions that docs/decisions/0006 tells.

use std::time::Duration;

use countersign_core::epochs::Epoch;
use countersign_core::time::Millis;

use crate::error::StoreError;
use crate::postgres::connection::Connection;
use crate::postgres::failures::Outcome;
use crate::postgres::rows::{first, milliseconds, missing, params};
use crate::postgres::writing::Writing;
use crate::verbs::{FeedPosition, REVOCATION_MARGIN};

/// Fails where the database is not to be served, since it has moved or is about to.
pub(super) async fn stays(connection: &Connection) -> Outcome<()> {
    let sql = "SELECT moved_to, arriving IS NOT NULL FROM countersign.auth_state";
    let moved = first(&connection.rows(sql, &[]).await?, |columns| columns.moved())?.ok_or_else(missing)?;
    Ok(moved.map_or(Ok(()), |moved| Err(StoreError::from(moved)))?)
}

/// Takes the next numbers of the feed, the last of which is given; the other nodes are told when the transaction has committed. With it
/// comes when the last access token issued until now has expired, whoever holds it, and a little later: see [`REVOCATION_MARGIN`]. Another
/// node may have issued longer ones since this transaction began, so it is asked here, where the row is held.
pub(super) async fn next_positions(writing: &Writing, count: u64) -> Outcome<(FeedPosition, Millis)> {
    let sql = "UPDATE countersign.auth_state SET feed_seq = feed_seq + $1 \
               RETURNING incarnation, feed_seq, global_epoch, longest_access_lifetime";
    let rows = writing.rows(sql, params![count.cast_signed()]).await?;
    let (position, longest) =
        first(&rows, |columns| Ok((columns.position()?, columns.counter()?)))?.ok_or_else(missing)?;
    writing.feed_moved(position);
    Ok((position, writing.now + Duration::from_millis(longest) + REVOCATION_MARGIN))
}

/// Moves everyone's epoch on; the old one and the new one.
pub(super) async fn next_global_epoch(writing: &Writing) -> Outcome<(Epoch, Epoch)> {
    let rows = writing.rows("SELECT global_epoch FROM countersign.auth_state FOR UPDATE", &[]).await?;
    let before = first(&rows, |columns| columns.epoch())?.ok_or_else(missing)?;
    let since = before.next(writing.now);
    writing.execute_on_one("UPDATE countersign.auth_state SET global_epoch = $1", params![since.get()]).await?;
    Ok((before, since))
}

/// Remembers a lifetime of access tokens where it is the longest so far.
pub(super) async fn note_access_lifetime(writing: &Writing, lifetime: Duration) -> Outcome<()> {
    if !writing.counted.is_exceeded_by(lifetime) {
        return Ok(());
    }
    let sql = "UPDATE countersign.auth_state SET longest_access_lifetime = $1 WHERE longest_access_lifetime < $1";
    writing.execute(sql, params![milliseconds(lifetime)]).await?;
    Ok(())
}

//! The row that there is once: locked last in every transaction that changes it, with the exceptions that docs/decisions/0006 tells.

use std::time::{Duration, Instant};

use countersign_core::epochs::Epoch;
use countersign_core::time::Millis;

use crate::error::{MovedError, RestoredError, StoreError};
use crate::postgres::base::Base;
use crate::postgres::connection::Connection;
use crate::postgres::failures::Outcome;
use crate::postgres::rows::{corrupt, database_time, first, params};
use crate::postgres::witness;
use crate::postgres::writing::Writing;
use crate::verbs::{FeedPosition, REVOCATION_MARGIN};

/// Where the feed stands, held against what was known before. Asked all the time, so it also tells when the database has moved.
pub(super) async fn position(base: &Base, connection: &Connection) -> Outcome<FeedPosition> {
    let (found, moved) = look(base, connection).await?;
    base.node.stays_unless(moved)?;
    Ok(found)
}

/// Where the feed stands and where the database has moved to, held against what was known before where it has not.
pub(super) async fn look(base: &Base, connection: &Connection) -> Outcome<(FeedPosition, Option<MovedError>)> {
    let before = base.node.memory();
    let sql = concat!(
        "SELECT ",
        database_time!(),
        ", incarnation, feed_seq, global_epoch, moved_to, arriving IS NOT NULL FROM countersign.auth_state"
    );
    let asked = Instant::now();
    let rows = connection.rows(sql, &[]).await?;
    let took = asked.elapsed();
    let read = first(&rows, |columns| Ok((columns.millis()?, columns.position()?, columns.moved()?)))?;
    let (time, found, moved) = read.ok_or_else(missing)?;
    base.offset.learn(&base.clock, time, took);
    if moved.is_some() {
        // Others go on without it.
        return Ok((found, moved));
    }
    base.continues(&before.position, &found, connection).await?;
    // Every lane, used or not: whatever of this node is lost shows within one poll, and no used token lives longer than that.
    let committed = witness::lanes(connection, base.node.id).await?;
    if let Some((found, seen)) = witness::behind(&before.lanes, &committed) {
        return Err(base.lost(RestoredError::LostCommits { found, seen }, connection));
    }
    base.node.saw(found);
    Ok((found, None))
}

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

/// As the database keeps it.
pub(super) fn milliseconds(lifetime: Duration) -> i64 {
    i64::try_from(lifetime.as_millis()).unwrap_or(i64::MAX)
}

pub(super) fn missing() -> StoreError {
    corrupt("auth_state is empty")
}

//! The row that there is once: the number of the feed, everyone's epoch, and whether the database has moved.

use std::time::Duration;

use countersign_core::epochs::Epoch;
use countersign_core::time::Millis;
use rusqlite::{Connection, params};

use crate::error::MovedError;
use crate::sqlite::rows::{corrupt, execute, execute_on_one, one};
use crate::sqlite::writing::Writing;
use crate::verbs::{FeedPosition, REVOCATION_MARGIN};
use crate::{StoreResult, random};

pub(super) fn position(connection: &Connection) -> StoreResult<FeedPosition> {
    one(connection, "SELECT incarnation, feed_seq, global_epoch FROM auth_state", [], |columns| columns.position())?
        .ok_or_else(missing)
}

/// Fails where the database is not to be served, since it has moved or is about to.
pub(super) fn stays(connection: &Connection) -> StoreResult<()> {
    longest_access_lifetime(connection).map(|_| ())
}

/// The longest that an access token ever lived, in milliseconds, of a database that [`stays`].
pub(super) fn longest_access_lifetime(connection: &Connection) -> StoreResult<i64> {
    let sql = "SELECT moved_to, arriving IS NOT NULL, longest_access_lifetime FROM auth_state";
    let (to, arriving, longest) = one(connection, sql, [], |columns| {
        Ok((columns.value::<Option<String>>()?, columns.value::<bool>()?, columns.value()?))
    })?
    .ok_or_else(missing)?;
    match (to, arriving) {
        (Some(to), _) => Err(MovedError::Away { to }.into()),
        (None, true) => Err(MovedError::Arriving.into()),
        (None, false) => Ok(longest),
    }
}

/// Takes the next numbers of the feed, the last of which is given.
pub(super) fn next_positions(writing: &Writing<'_>, count: u64) -> StoreResult<FeedPosition> {
    let sql = "UPDATE auth_state SET feed_seq = feed_seq + ?1 RETURNING incarnation, feed_seq, global_epoch";
    let position = one(writing.connection, sql, [count.cast_signed()], |columns| columns.position())?;
    let position = position.ok_or_else(missing)?;
    writing.feed_moved(position.seq);
    Ok(position)
}

/// Moves everyone's epoch on; the old one and the new one.
pub(super) fn next_global_epoch(writing: &Writing<'_>) -> StoreResult<(Epoch, Epoch)> {
    let before = position(writing.connection)?.global_epoch;
    let since = before.next(writing.now);
    let sql = "UPDATE auth_state SET global_epoch = ?1 WHERE global_epoch = ?2";
    execute_on_one(writing.connection, sql, [since.get(), before.get()])?;
    Ok((before, since))
}

/// Begins another history.
pub(super) fn next_incarnation(writing: &Writing<'_>) -> StoreResult<()> {
    let left = position(writing.connection)?.incarnation;
    // Servers on PostgreSQL may still remember it when the database goes there.
    let sql = "INSERT INTO incarnations (incarnation, left_at) VALUES (?1, ?2) ON CONFLICT DO NOTHING";
    execute(writing.connection, sql, params![left.as_bytes(), writing.now.get()])?;
    execute_on_one(
        writing.connection,
        "UPDATE auth_state SET incarnation = ?1, served = 1",
        params![random::id()?.into_bytes()],
    )
}

/// When the last access token issued until now has expired, whoever holds it, and a little later: see [`REVOCATION_MARGIN`].
pub(super) fn last_access_expiry(writing: &Writing<'_>) -> StoreResult<Millis> {
    let sql = "SELECT longest_access_lifetime FROM auth_state";
    let longest = one(writing.connection, sql, [], |columns| columns.counter())?.ok_or_else(missing)?;
    Ok(writing.now + Duration::from_millis(longest) + REVOCATION_MARGIN)
}

/// Remembers a lifetime of access tokens where it is the longest so far.
pub(super) fn note_access_lifetime(writing: &Writing<'_>, lifetime: Duration) -> StoreResult<()> {
    let milliseconds = i64::try_from(lifetime.as_millis()).unwrap_or(i64::MAX);
    if milliseconds <= writing.longest_access_lifetime {
        return Ok(());
    }
    // Whoever notes it goes on and writes.
    writing.guard()?;
    let sql = "UPDATE auth_state SET longest_access_lifetime = ?1 WHERE longest_access_lifetime < ?1";
    execute(writing.connection, sql, [milliseconds])?;
    Ok(())
}

/// Fails where nothing can be written. Nothing is changed, so nothing has to be committed for whoever
/// asks; a full disk is told by the verbs that meet it.
pub(super) fn try_write(writing: &Writing<'_>) -> StoreResult<()> {
    if writing.connection.is_readonly("main")? {
        return Err(crate::StoreError::Unavailable("the database may only be read".to_owned()));
    }
    Ok(())
}

fn missing() -> crate::StoreError {
    corrupt("auth_state is empty")
}

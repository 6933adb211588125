//! Pruning: what nobody will ask for any more, in small steps.

use countersign_core::ids::SessionId;
use countersign_core::sessions::pruning::dead_since;
use countersign_core::throttles::LONGEST_USAGE;
use countersign_core::time::Millis;
use rusqlite::{Connection, params};

use crate::StoreResult;
use crate::sqlite::rows::{execute, many, session_columns, standing_columns};
use crate::sqlite::writing::Writing;
use crate::verbs::{Pruned, REVOCATION_MARGIN, Sweep};

/// Which throttles are of no more use, `?1` being the time and `?2` a time that no usage reaches unless a clock was ahead.
macro_rules! grown_back {
    () => {
        "(spent_until <= ?1 OR spent_until > ?2)"
    };
}

/// What a sweep found: read apart from the writer, which must not wait for it. A session that is dead stays so and need not be
/// asked again; a throttle may have been charged since.
pub(super) struct Candidates {
    sessions: Vec<SessionId>,
    next: Option<SessionId>,
    throttles: Vec<[u8; 16]>,
}

pub(super) fn look(connection: &Connection, sweep: Sweep, now: Millis) -> StoreResult<Candidates> {
    let sql = concat!(
        "SELECT ",
        session_columns!(),
        ", ",
        standing_columns!(),
        ", a.disabled_at, max(f.idle_expires_at, f.access_expires_at) FROM families f JOIN accounts a ON a.id = f.account, auth_state g ",
        "WHERE f.session > ?1 ORDER BY f.session LIMIT ?2"
    );
    let after = sweep.after.as_ref().map_or(&[][..], |after| after.as_bytes());
    let found = many(connection, sql, params![after, sweep.limit], |columns| {
        let (session, standing) = (columns.session()?, columns.standing()?);
        let (disabled_at, idle_at) = (columns.maybe_millis()?, columns.millis()?);
        let dead_since = dead_since(&session, &standing, disabled_at, idle_at);
        Ok((session.id, dead_since))
    })?;
    let full = found.len() >= sweep.limit as usize;
    let next = found.last().filter(|_| full).map(|(id, _)| *id);
    let kept_from = now - sweep.keep_sessions;
    let sessions = found.into_iter().filter(|(_, since)| *since <= kept_from).map(|(id, _)| id).collect();
    let sql = concat!("SELECT bucket FROM throttles WHERE ", grown_back!(), " LIMIT ?3");
    let bounds = params![now.get(), (now + LONGEST_USAGE).get(), sweep.limit];
    let throttles = many(connection, sql, bounds, |columns| columns.value())?;
    Ok(Candidates { sessions, next, throttles })
}

pub(super) fn sweep(writing: &Writing<'_>, candidates: &Candidates, sweep: Sweep) -> StoreResult<Pruned> {
    let connection = writing.connection;
    let mut sessions = 0;
    for id in &candidates.sessions {
        execute(connection, "DELETE FROM families WHERE session = ?1", [id.as_bytes()])?;
        sessions += execute(connection, "DELETE FROM sessions WHERE id = ?1", [id.as_bytes()])?;
    }
    // The oldest first, and no further than the step allows.
    let sql = "DELETE FROM events WHERE id IN (SELECT id FROM events ORDER BY id LIMIT ?3) AND at <= ?1 \
               AND (feed_expires_at IS NULL OR feed_expires_at <= ?2)";
    let (kept_from, told_until) = (writing.now - sweep.keep_events, writing.now - REVOCATION_MARGIN);
    let events = execute(connection, sql, params![kept_from.get(), told_until.get(), sweep.limit])?;
    let kept_from = writing.now - sweep.keep_sessions;
    execute(connection, "DELETE FROM keys WHERE verifies_until <= ?1", [kept_from.get()])?;
    let mut throttles = 0;
    for bucket in &candidates.throttles {
        let sql = concat!("DELETE FROM throttles WHERE bucket = ?3 AND ", grown_back!());
        throttles += execute(connection, sql, params![writing.now.get(), (writing.now + LONGEST_USAGE).get(), bucket])?;
    }
    Ok(Pruned { sessions: sessions as u64, events: events as u64, throttles: throttles as u64, next: candidates.next })
}

//! Pruning: what nobody will ask for any more, in small steps, by one node at a time.

use std::sync::Arc;
use std::time::Duration;

use countersign_core::ids::SessionId;
use countersign_core::sessions::pruning::dead_since;
use countersign_core::throttles::LONGEST_USAGE;
use uuid::Uuid;

use crate::StoreResult;
use crate::postgres::attempts::{LONG_PATIENCE, read, transact};
use crate::postgres::base::Base;
use crate::postgres::connection::Connection;
use crate::postgres::failures::Outcome;
use crate::postgres::rows::{all, database_time, params, session_columns, standing_columns};
use crate::postgres::writing::Writing;
use crate::verbs::{Pruned, REVOCATION_MARGIN, Sweep};

/// For how long after its last step a node is the one that prunes.
const TURN: Duration = Duration::from_secs(30);

/// What a sweep found. What is dead stays dead, so it need not be asked again.
struct Candidates {
    sessions: Vec<SessionId>,
    next: Option<SessionId>,
}

pub(super) async fn prune(base: &Arc<Base>, sweep: Sweep) -> StoreResult<Pruned> {
    if !transact!(base, |writing| take_turn(&writing))? {
        return Ok(Pruned { sessions: 0, events: 0, throttles: 0, next: None });
    }
    let candidates = read!(base, LONG_PATIENCE, |connection| look(base, &connection, sweep))?;
    transact!(base, |writing| remove(&writing, &candidates, sweep))
}

/// Whether this node is the one that prunes.
async fn take_turn(writing: &Writing) -> Outcome<bool> {
    let sql =
        "UPDATE countersign.auth_state SET pruner = $1, pruner_until = $2 WHERE pruner = $1 OR pruner_until <= $3";
    let until = writing.now + TURN;
    Ok(writing.execute(sql, params![writing.base.node.id, until.get(), writing.now.get()]).await? == 1)
}

async fn look(base: &Base, connection: &Connection, sweep: Sweep) -> Outcome<Candidates> {
    let sql = concat!(
        "SELECT ",
        database_time!(),
        ", ",
        session_columns!(),
        ", ",
        standing_columns!(),
        ", a.disabled_at, greatest(f.idle_expires_at, f.access_expires_at) FROM countersign.families f \
         JOIN countersign.accounts a ON a.id = f.account CROSS JOIN countersign.auth_state g \
         WHERE f.session > $1 ORDER BY f.session LIMIT $2"
    );
    let after = sweep.after.map_or(Uuid::nil(), |after| after.as_uuid());
    let rows = connection.rows(sql, params![after, i64::from(sweep.limit)]).await?;
    let found = all(&rows, |columns| {
        let now = base.settle(columns.millis()?);
        let (session, standing) = (columns.session()?, columns.standing()?);
        let (disabled_at, idle_at) = (columns.maybe_millis()?, columns.millis()?);
        let dead_since = dead_since(&session, &standing, disabled_at, idle_at);
        Ok((session.id, dead_since <= now - sweep.keep_sessions))
    })?;
    let full = found.len() >= sweep.limit as usize;
    let next = found.last().filter(|_| full).map(|(id, _)| *id);
    let sessions = found.into_iter().filter(|(_, over)| *over).map(|(id, _)| id).collect();
    Ok(Candidates { sessions, next })
}

/// Holds families, in the order in which everybody does; the sessions of those that are held. What somebody has, such as a client that presents a
/// token of a session that is long dead, is left for the next sweep: nobody waits for whom, and no client can stop this.
async fn hold(writing: &Writing, candidates: &Candidates) -> Outcome<Vec<Uuid>> {
    let ids: Vec<Uuid> = candidates.sessions.iter().map(SessionId::as_uuid).collect();
    let sql = "SELECT session FROM countersign.families WHERE session = ANY($1) ORDER BY id FOR UPDATE SKIP LOCKED";
    all(&writing.rows(sql, params![ids]).await?, |columns| columns.value())
}

async fn remove(writing: &Writing, candidates: &Candidates, sweep: Sweep) -> Outcome<Pruned> {
    let ids = hold(writing, candidates).await?;
    writing.execute("DELETE FROM countersign.families WHERE session = ANY($1)", params![ids]).await?;
    let sessions = writing.execute("DELETE FROM countersign.sessions WHERE id = ANY($1)", params![ids]).await?;
    // The oldest first, and no further than the step allows.
    let sql = "DELETE FROM countersign.events WHERE id IN (SELECT id FROM countersign.events ORDER BY id LIMIT $3) AND at <= $1 \
               AND (feed_expires_at IS NULL OR feed_expires_at <= $2)";
    let (now, limit) = (writing.now, i64::from(sweep.limit));
    let events =
        writing.execute(sql, params![(now - sweep.keep_events).get(), (now - REVOCATION_MARGIN).get(), limit]).await?;
    let sql = "DELETE FROM countersign.keys WHERE verifies_until <= $1";
    writing.execute(sql, params![(now - sweep.keep_sessions).get()]).await?;
    // Grown back, or charged by a clock that was ahead.
    let sql = "DELETE FROM countersign.throttles WHERE bucket IN (SELECT bucket FROM countersign.throttles \
               WHERE spent_until <= $1 OR spent_until > $2 LIMIT $3 FOR UPDATE SKIP LOCKED)";
    let throttles = writing.execute(sql, params![now.get(), (now + LONGEST_USAGE).get(), limit]).await?;
    Ok(Pruned { sessions, events, throttles, next: candidates.next })
}

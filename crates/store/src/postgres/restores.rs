//! A database that lost commits, by a restore or by a failover: what issued before is ended once, by whoever comes first.

use std::sync::Arc;

use countersign_core::events::{EventKind, Origin, RevocationScope};

use crate::postgres::base::Base;
use crate::postgres::events::{Record, Until};
use crate::postgres::failures::Outcome;
use crate::postgres::rows::{first, missing, params};
use crate::postgres::writing::Writing;
use crate::random;
use crate::verbs::FeedPosition;

/// What became of the acceptance.
pub(super) enum Accepted {
    /// Another history begins with this transaction.
    Here(FeedPosition),
    /// Another node has begun it before.
    ByAnother(FeedPosition),
}

/// Begins another history, beyond everything that this node had seen of the one before. The caller has begun the transaction
/// without a look at what is known.
pub(super) async fn accept(writing: &Writing, known: &FeedPosition, origin: Origin) -> Outcome<Accepted> {
    let sql = "SELECT incarnation, feed_seq, global_epoch FROM countersign.auth_state FOR UPDATE";
    let rows = writing.rows(sql, &[]).await?;
    let found = first(&rows, |columns| columns.position())?.ok_or_else(missing)?;
    if found.incarnation != known.incarnation {
        let sql = "SELECT 1 FROM countersign.incarnations WHERE incarnation = $1";
        if !writing.rows(sql, params![known.incarnation.as_uuid()]).await?.is_empty() {
            return Ok(Accepted::ByAnother(found));
        }
    }
    for left in [found.incarnation, known.incarnation] {
        let sql = "INSERT INTO countersign.incarnations (incarnation, left_at) VALUES ($1, $2) ON CONFLICT DO NOTHING";
        writing.execute(sql, params![left.as_uuid(), writing.now.get()]).await?;
    }
    // Neither the epoch nor a number of the feed may repeat one that the lost history had given out.
    let since = found.global_epoch.max(known.global_epoch).next(writing.now);
    let seq = i64::try_from(found.seq.max(known.seq)).unwrap_or(i64::MAX);
    let sql = "UPDATE countersign.auth_state SET incarnation = $1, global_epoch = $2, feed_seq = $3";
    writing.execute_on_one(sql, params![random::id()?, since.get(), seq]).await?;
    let record = Record::new(EventKind::RestoreAccepted, origin);
    record.publish(writing, RevocationScope::Everyone(since), Until::AllExpired).await.map(Accepted::Here)
}

/// Goes on with the database as it is, in a transaction of its own.
pub(super) async fn go_on(base: &Arc<Base>, origin: Origin) -> Outcome<FeedPosition> {
    let known = base.node.position();
    let writing = base.begin_anyhow().await?;
    let outcome = accept(&writing, &known, origin).await;
    let accepted = writing.end(outcome).await?;
    let (Accepted::Here(position) | Accepted::ByAnother(position)) = accepted;
    base.node.adopt(position);
    Ok(position)
}

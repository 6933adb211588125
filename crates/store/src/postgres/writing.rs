//! A transaction that writes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use countersign_core::time::Millis;
use futures_util::future::try_join;
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use crate::error::StoreError;
use crate::fail_points::{after_commit, before_commit};
use crate::postgres::base::{Base, Counted, counted_columns};
use crate::postgres::connection::{Connection, Parameter};
use crate::postgres::failures::{Fault, Outcome};
use crate::postgres::node::Lane;
use crate::postgres::rows::{corrupt, database_time, first, params};
use crate::verbs::FeedPosition;

/// What a verb has while it writes. Dropped before its end, it is rolled back.
pub(super) struct Writing {
    /// `None` once the transaction has ended.
    connection: Option<Connection>,
    pub(super) base: Arc<Base>,
    /// The time that counts for the verb.
    pub(super) now: Millis,
    pub(super) counted: Counted,
    lane: Lane,
    changed: AtomicBool,
    rotated: AtomicBool,
    published: std::sync::Mutex<Option<FeedPosition>>,
}

impl Base {
    /// Begins a transaction, after a look whether the database still knows everything that it had committed.
    pub(super) async fn begin(self: &Arc<Self>) -> Outcome<Writing> {
        self.node.check().map_err(StoreError::from)?;
        let connection = self.connection().await?;
        let before = self.node.position();
        let writing = self.begin_unseen(connection).await?;
        self.goes_on(writing.connection()?, &writing.lane, &before, &writing.counted).await?;
        Ok(writing)
    }

    /// Begins a transaction whatever the database has lost.
    pub(super) async fn begin_anyhow(self: &Arc<Self>) -> Outcome<Writing> {
        self.begin_unseen(self.connections.get().await?).await
    }

    async fn begin_unseen(self: &Arc<Self>, connection: Connection) -> Outcome<Writing> {
        const COUNT_AND_LOOK: &str = concat!(
            "WITH counted AS (INSERT INTO countersign.lanes (node, lane, commit_seq) VALUES ($1, $2, 1) \
             ON CONFLICT (node, lane) DO UPDATE SET commit_seq = lanes.commit_seq + 1 RETURNING commit_seq) SELECT ",
            counted_columns!("commit_seq"),
            " FROM counted CROSS JOIN countersign.auth_state g"
        );
        let count_and_look = connection.prepare(COUNT_AND_LOOK, &[Type::UUID, Type::INT8]).await?;
        let counted =
            Counted { commit_seq: 0, position: self.node.position(), longest_access_lifetime: 0, now: Millis::new(0) };
        let mut writing = Writing {
            connection: Some(connection),
            base: Arc::clone(self),
            now: counted.now,
            counted,
            lane: self.node.lane(),
            changed: AtomicBool::new(false),
            rotated: AtomicBool::new(false),
            published: std::sync::Mutex::new(None),
        };
        let lane: &[Parameter<'_>] = params![self.node.id, writing.lane.number()];
        // One way there and back: the requests are sent in this order before the first answer comes.
        let connection = writing.connection()?;
        let begun = connection.batch(connection.begin());
        let (_, found) = match try_join(begun, connection.run(&count_and_look, lane)).await {
            // Nothing else is locked so far. Another lane may be free.
            Err(Fault::Held(error)) => {
                writing.lane.rest();
                return Err(Fault::Again(error));
            }
            answers => answers?,
        };
        writing.counted = self.counted(&found)?;
        writing.now = writing.counted.now;
        Ok(writing)
    }
}

impl Writing {
    pub(super) fn connection(&self) -> Outcome<&Connection> {
        self.connection.as_ref().ok_or_else(|| StoreError::Internal("the transaction has ended".to_owned()).into())
    }

    /// Every row that a statement gives. Where it changes something, that has to be said with [`Self::counts`].
    pub(super) async fn rows(&self, sql: &str, parameters: &[Parameter<'_>]) -> Outcome<Vec<Row>> {
        self.connection()?.rows(sql, parameters).await
    }

    /// Runs a statement that gives no rows; how many it changed.
    pub(super) async fn execute(&self, sql: &str, parameters: &[Parameter<'_>]) -> Outcome<u64> {
        let changed = self.connection()?.execute(sql, parameters).await?;
        if changed > 0 {
            self.changed.store(true, Ordering::Relaxed);
        }
        Ok(changed)
    }

    /// Runs a statement that must change exactly the rows which this transaction holds.
    pub(super) async fn execute_on(&self, rows: u64, sql: &str, parameters: &[Parameter<'_>]) -> Outcome<()> {
        self.counts();
        self.connection()?.execute_on(rows, sql, parameters).await
    }

    /// Runs a statement that must change exactly the one row which this transaction holds.
    pub(super) async fn execute_on_one(&self, sql: &str, parameters: &[Parameter<'_>]) -> Outcome<()> {
        self.execute_on(1, sql, parameters).await
    }

    /// To be called by whatever takes a number of the feed.
    pub(super) fn feed_moved(&self, position: FeedPosition) {
        self.changed.store(true, Ordering::Relaxed);
        *self.published.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(position);
    }

    /// Where the feed stands for this transaction.
    pub(super) fn position(&self) -> FeedPosition {
        let published = *self.published.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        published.unwrap_or(self.counted.position)
    }

    /// To be called where the transaction is to be committed, and so counted, although it may have changed nothing else.
    pub(super) fn counts(&self) {
        self.changed.store(true, Ordering::Relaxed);
    }

    /// To be called by a rotation.
    pub(super) fn rotated(&self) {
        self.rotated.store(true, Ordering::Relaxed);
    }

    /// Looks at the clock again, after a wait for a lock.
    pub(super) async fn look_at_the_clock(&mut self) -> Outcome<()> {
        let rows = self.rows(concat!("SELECT ", database_time!()), &[]).await?;
        let time = first(&rows, |columns| columns.millis())?.ok_or_else(|| corrupt("the clock gave no row"))?;
        self.now = self.base.settle(time);
        Ok(())
    }

    /// Commits what was done where it went well and changed something; else takes it back.
    pub(super) async fn end<T>(mut self, outcome: Outcome<T>) -> Outcome<T> {
        let value = match outcome {
            Ok(value) if self.changed.load(Ordering::Relaxed) => value,
            outcome => {
                // Dropped, it is rolled back without a wait for the answer.
                return outcome;
            }
        };
        before_commit();
        let asked = self.base.commits.ask(self.now);
        asked.answer(self.connection()?.commit().await)?;
        after_commit(self.rotated.load(Ordering::Relaxed));
        let node = &self.base.node;
        self.lane.committed(self.counted.commit_seq, self.counted.position.incarnation);
        node.saw(self.position());
        if let Some(connection) = self.connection.take()
            && self.position().seq > self.counted.position.seq
        {
            // Where the engine knows no NOTIFY nothing is lost: every node polls as well.
            connection.send(&format!("NOTIFY countersign, '{}'", self.position().seq));
        }
        Ok(value)
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        let Some(connection) = self.connection.take() else { return };
        if connection.is_stuck() {
            // The server may hold the row of the lane until it notices that nobody is there.
            self.lane.rest();
        } else {
            connection.send("ROLLBACK");
        }
    }
}

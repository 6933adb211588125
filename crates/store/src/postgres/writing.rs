//! A transaction that writes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use countersign_core::time::Millis;
use futures_util::future::try_join;
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use crate::Clock;
use crate::clock::Offset;
use crate::error::{RestoredError, StoreError};
use crate::fail_points::{after_commit, before_commit};
use crate::postgres::commits::Commits;
use crate::postgres::connection::{Connection, Parameter};
use crate::postgres::failures::{Fault, Outcome};
use crate::postgres::node::{Comparison, Lane, Node};
use crate::postgres::pool::Connections;
use crate::postgres::rows::{corrupt, database_time, first, params};
use crate::postgres::state;
use crate::verbs::FeedPosition;

/// What every transaction of a store shares.
pub(super) struct Base {
    pub(super) connections: Connections,
    pub(super) node: Arc<Node>,
    pub(super) clock: Clock,
    pub(super) offset: Offset,
    pub(super) commits: Arc<Commits>,
}

/// Where a transaction begins: its number in its lane, and the row that there is once.
#[derive(Clone, Copy)]
pub(super) struct Counted {
    /// Where nothing is counted yet, the number that would be next.
    pub(super) commit_seq: u64,
    pub(super) position: FeedPosition,
    /// The longest lifetime of an access token so far, in milliseconds.
    pub(super) longest_access_lifetime: i64,
    /// The time that counts.
    pub(super) now: Millis,
}

impl Counted {
    /// True where none has lived so long until now.
    pub(super) fn is_exceeded_by(&self, access_lifetime: Duration) -> bool {
        state::milliseconds(access_lifetime) > self.longest_access_lifetime
    }
}

/// What [`Base::counted`] reads, of the number of a transaction and of auth_state named `g`.
macro_rules! counted_columns {
    ($commit_seq:literal) => {
        concat!(
            $commit_seq,
            ", ",
            database_time!(),
            ", g.incarnation, g.feed_seq, g.global_epoch, g.longest_access_lifetime, g.moved_to, g.arriving IS NOT NULL"
        )
    };
}

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
    /// The clock that decides: that of the database, or the one that a test sets.
    pub(super) fn settle(&self, database: Millis) -> Millis {
        match &self.clock {
            Clock::System => database,
            Clock::Manual(_) => self.clock.now(),
        }
    }

    /// A connection to a database that knows what this node was promised. After a failover it is a new one, which is asked about all of
    /// that before it is used: a verb by itself looks at its own lane alone.
    pub(super) async fn connection(&self) -> Outcome<Connection> {
        self.known(self.connections.get().await?).await
    }

    /// The same for a batch.
    pub(super) async fn connection_for_a_batch(&self) -> Outcome<Connection> {
        self.known(self.connections.get_for_a_batch().await?).await
    }

    /// The same connection, once it is known that it leads to such a database.
    pub(super) async fn known(&self, connection: Connection) -> Outcome<Connection> {
        if connection.is_new() {
            // Whether a database that has moved may be looked at, the verb knows.
            state::look(self, &connection).await?;
            connection.set_known();
        }
        Ok(connection)
    }

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

    /// What the columns of [`counted_columns`] tell. Fails where the database is not to be served.
    pub(super) fn counted(&self, found: &[Row]) -> Outcome<Counted> {
        let (counted, moved) = first(found, |columns| {
            let (commit_seq, time) = (columns.counter()?, columns.millis()?);
            let (position, longest_access_lifetime) = (columns.position()?, columns.value()?);
            let counted = Counted { commit_seq, position, longest_access_lifetime, now: self.settle(time) };
            Ok((counted, columns.moved()?))
        })?
        .ok_or_else(|| corrupt("auth_state is empty"))?;
        self.node.stays_unless(moved)?;
        Ok(counted)
    }

    /// Fails where what was counted does not go on from what this node was promised in the lane, and knew `before`.
    pub(super) async fn goes_on(
        &self,
        connection: &Connection,
        lane: &Lane,
        before: &FeedPosition,
        counted: &Counted,
    ) -> Outcome<()> {
        self.continues(before, &counted.position, connection).await?;
        lane.follows(counted.commit_seq).map_err(|error| self.lost(error, connection))
    }

    /// What follows where the database seems to have lost something, as this connection says.
    pub(super) fn lost(&self, error: RestoredError, connection: &Connection) -> Fault {
        if self.connections.confirms(connection) {
            return StoreError::from(self.node.lost(error)).into();
        }
        tracing::warn!(%error, "the database seems to have lost commits; it is asked again on another connection");
        Fault::Again(StoreError::Unavailable("the database seems to have lost commits".to_owned()))
    }

    /// Fails where what was found does not go on from what was known before.
    pub(super) async fn continues(
        &self,
        before: &FeedPosition,
        found: &FeedPosition,
        connection: &Connection,
    ) -> Outcome<()> {
        match self.node.compare(before, found) {
            Comparison::Continues => Ok(()),
            Comparison::WentBack(error) => Err(self.lost(error, connection)),
            Comparison::OtherHistory => {
                let sql = "SELECT 1 FROM countersign.incarnations WHERE incarnation = $1";
                let known = before.incarnation.as_uuid();
                if connection.rows(sql, params![known]).await?.is_empty() {
                    return Err(self.lost(RestoredError::AnotherHistory, connection));
                }
                self.node.adopt(*found);
                Err(Fault::Again(StoreError::Unavailable("another history of the database has begun".to_owned())))
            }
        }
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

pub(super) use counted_columns;

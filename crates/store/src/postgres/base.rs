//! What the transactions of one node share: connections, what it remembers, the clock, and where a transaction begins.

use std::sync::Arc;
use std::time::{Duration, Instant};

use countersign_core::time::Millis;
use tokio_postgres::Row;

use crate::Clock;
use crate::clock::Offset;
use crate::error::{MovedError, RestoredError, StoreError};
use crate::postgres::commits::Commits;
use crate::postgres::connection::Connection;
use crate::postgres::failures::{Fault, Outcome};
use crate::postgres::lanes;
use crate::postgres::node::{Comparison, Lane, Node};
use crate::postgres::pool::Connections;
use crate::postgres::rows::{database_time, first, milliseconds, missing, params};
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
        milliseconds(access_lifetime) > self.longest_access_lifetime
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
            self.look(&connection).await?;
            connection.set_known();
        }
        Ok(connection)
    }

    /// Where the feed stands, held against what was known before. Asked all the time, so it also tells when the database has moved.
    pub(super) async fn look_at_position(&self, connection: &Connection) -> Outcome<FeedPosition> {
        let (found, moved) = self.look(connection).await?;
        self.node.stays_unless(moved)?;
        Ok(found)
    }

    /// Where the feed stands and where the database has moved to, held against what was known before where it has not.
    pub(super) async fn look(&self, connection: &Connection) -> Outcome<(FeedPosition, Option<MovedError>)> {
        let before = self.node.memory();
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
        self.offset.learn(&self.clock, time, took);
        if moved.is_some() {
            // Others go on without it.
            return Ok((found, moved));
        }
        self.continues(&before.position, &found, connection).await?;
        // Every lane, used or not: whatever of this node is lost shows within one poll, and no used token lives longer than that.
        let committed = lanes::committed(connection, self.node.id).await?;
        if let Some((found, seen)) = lanes::behind(&before.lanes, &committed) {
            return Err(self.lost(RestoredError::LostCommits { found, seen }, connection));
        }
        self.node.saw(found);
        Ok((found, None))
    }

    /// What the columns of [`counted_columns`] tell. Fails where the database is not to be served.
    pub(super) fn counted(&self, found: &[Row]) -> Outcome<Counted> {
        let (counted, moved) = first(found, |columns| {
            let (commit_seq, time) = (columns.counter()?, columns.millis()?);
            let (position, longest_access_lifetime) = (columns.position()?, columns.value()?);
            let counted = Counted { commit_seq, position, longest_access_lifetime, now: self.settle(time) };
            Ok((counted, columns.moved()?))
        })?
        .ok_or_else(missing)?;
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

pub(super) use counted_columns;

//! What a verb writes with.

use std::cell::Cell;

use countersign_core::sessions::stall::Stall;
use countersign_core::time::Millis;
use rusqlite::Connection;

use crate::StoreResult;
use crate::error::StoreError;
use crate::sqlite::rows::execute;

/// What a verb has while it writes.
pub(super) struct Writing<'c> {
    /// The connection, inside a transaction.
    pub(super) connection: &'c Connection,
    /// The time that counts for the verb.
    pub(super) now: Millis,
    /// When commits hung lately.
    pub(super) stalls: &'c [Stall],
    /// The longest that an access token had lived, in milliseconds, when the transaction began.
    pub(super) longest_access_lifetime: i64,
    feed_seq: Cell<Option<u64>>,
    rotated: Cell<bool>,
    /// The changes of the connection before the verb.
    changes_before: u64,
    /// Whether what the verb does can be taken back without what its neighbours did.
    guarded: Cell<bool>,
}

impl<'c> Writing<'c> {
    pub(super) fn new(
        connection: &'c Connection,
        now: Millis,
        stalls: &'c [Stall],
        longest_access_lifetime: i64,
    ) -> Self {
        let changes_before = connection.total_changes();
        let (feed_seq, rotated, guarded) = (Cell::new(None), Cell::new(false), Cell::new(false));
        Self { connection, now, stalls, longest_access_lifetime, feed_seq, rotated, changes_before, guarded }
    }

    /// To be called before the first of several statements that write, by a verb that decides and is answered while it is committed.
    /// Afterwards it is too late: what was written before could not be taken back.
    pub(super) fn guard(&self) -> StoreResult<()> {
        if self.guarded.get() {
            return Ok(());
        }
        if self.has_changed() {
            return Err(StoreError::Internal("a verb asked for its guard after it had written".to_owned()));
        }
        execute(self.connection, "SAVEPOINT job", [])?;
        self.guarded.set(true);
        Ok(())
    }

    pub(super) fn is_guarded(&self) -> bool {
        self.guarded.get()
    }

    pub(super) fn has_changed(&self) -> bool {
        self.connection.total_changes() != self.changes_before
    }

    /// To be called by whatever takes a number of the feed.
    pub(super) fn feed_moved(&self, seq: u64) {
        self.feed_seq.set(Some(seq));
    }

    /// To be called by a rotation.
    pub(super) fn rotated(&self) {
        self.rotated.set(true);
    }

    /// The number of the feed that it took, if it did.
    pub(super) fn feed_seq(&self) -> Option<u64> {
        self.feed_seq.get()
    }

    pub(super) fn has_rotated(&self) -> bool {
        self.rotated.get()
    }
}

//! When the witness is written: not at every commit, and before long.

use std::time::{Duration, Instant};

use rusqlite::Connection;

use crate::StoreResult;
use crate::sqlite::disk::Disk;
use crate::sqlite::witness::Witness;

/// How far the witness may be behind.
const WITNESS_DELAY: Duration = Duration::from_secs(1);

/// Keeps the witness not far behind, and never ahead.
pub(super) struct Keeper {
    witness: Witness,
    disk: Disk,
    keeps: bool,
    behind_since: Option<Instant>,
}

impl Keeper {
    pub(super) fn new(witness: Witness, disk: Disk, keeps: bool) -> Self {
        Self { witness, disk, keeps, behind_since: None }
    }

    pub(super) fn fell_behind(&mut self) {
        if self.keeps && self.behind_since.is_none() {
            self.behind_since = Some(Instant::now());
        }
    }

    pub(super) fn due_in(&self) -> Option<Duration> {
        self.behind_since.map(|since| WITNESS_DELAY.saturating_sub(since.elapsed()))
    }

    pub(super) fn follow_if_due(&mut self, connection: &Connection) {
        if self.due_in().is_some_and(|wait| wait.is_zero()) {
            self.follow(connection);
        }
    }

    pub(super) fn follow_at_last(&mut self, connection: &Connection) {
        if self.behind_since.is_some() {
            self.follow(connection);
        }
    }

    fn follow(&mut self, connection: &Connection) {
        if self.disk.holds().is_err() {
            // Nothing is read any more. A witness that is behind says nothing wrong.
            self.behind_since = None;
            return;
        }
        match self.witness.follow(connection) {
            Ok(()) => self.behind_since = None,
            Err(error) => {
                tracing::warn!(%error, "could not write the witness file; it will be tried again");
                self.behind_since = Some(Instant::now());
            }
        }
    }

    pub(super) fn start(&mut self, connection: &Connection) -> StoreResult<()> {
        self.witness.follow(connection)?;
        self.keeps = true;
        self.behind_since = None;
        Ok(())
    }
}

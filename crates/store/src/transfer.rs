//! Moving house: everything that a database holds is copied into an empty one, which goes on from there.
//!
//! The mark on the source comes first: from then on nothing is written to it, so what was copied stays right, whenever the transfer
//! is interrupted and taken up again. The source also decides whether the move takes place: it is marked as moved for good before
//! the destination may be served, so that never both are.

mod place;
mod tables;

use std::time::{Duration, Instant};

use uuid::Uuid;

use crate::Clock;
use crate::database::{Database, OpenMode};
use crate::error::{RestoredError, StoreError};

pub(crate) use place::{Away, Marks, Place, State, open};
pub(crate) use tables::{Column, Kind, Row, TABLES, Table, Value};

/// How many rows are copied at once.
pub(crate) const PAGE: usize = 1000;

/// How far a transfer has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The source is marked as moved: whoever serves it answers nothing any more.
    SourceClosed,
    /// The destination is marked as the one that everything comes to.
    DestinationTaken,
    /// Rows of a table have come over.
    Copied {
        /// The table.
        table: &'static str,
        /// How many of its rows are there now.
        rows: u64,
        /// How many there are.
        of: u64,
    },
    /// Everything has come over: the move is not taken back from here on.
    Decided,
}

/// What a transfer came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transferred {
    /// How many rows came over, by table.
    pub rows: Vec<(&'static str, u64)>,
    /// For how long, at this call, neither of both could be served; `None`: everything had come over before.
    pub closed_for: Option<Duration>,
}

/// Why a transfer was refused, or did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// Both are one database.
    #[error("{0} is the source and the destination: name two databases")]
    Same(Database),
    /// There is nothing to move.
    #[error("there is no database at {0}: nothing was moved")]
    Missing(Database),
    /// The source is not the one that was served last.
    #[error("{0}: {1}")]
    Restored(Database, #[source] RestoredError),
    /// The source is the destination of a transfer that has not finished.
    #[error("{0} is being filled by another transfer: finish that one first, with the command that began it")]
    Incomplete(Database),
    /// The source moves to another place.
    #[error(
        "{from} is on its way to {to}: finish that move with the command that began it, or take it back with \
         `countersign transfer --abandon`"
    )]
    OnItsWay {
        /// The source.
        from: Database,
        /// Where it is on its way to.
        to: String,
    },
    /// The source has moved, and the move cannot be taken back.
    #[error("{from} has moved to {to}: that is the database to name now")]
    Gone {
        /// The source.
        from: Database,
        /// Where it has moved to.
        to: String,
    },
    /// The destination holds something.
    #[error(
        "{0} is not empty, and a transfer overwrites nothing: name an empty database. A server that was started on it once has made \
         keys in it"
    )]
    Occupied(Database),
    /// The destination is the beginning of another transfer.
    #[error("{0} holds the beginning of another transfer: name an empty database")]
    Begun(Database),
    /// The source was not marked, so there is nothing to take back.
    #[error("{0} is not on its way to another place: there is nothing to take back")]
    Stays(Database),
    /// Somebody has taken the move back meanwhile.
    #[error("the move was taken back meanwhile: {0} may be served again, and the destination may not")]
    Abandoned(Database),
    /// Not everything has come over.
    #[error("{from} has {expected} rows in {table} and {to} has {found}: the destination was not put into use")]
    Differs {
        /// The source.
        from: Database,
        /// The destination.
        to: Database,
        /// The table.
        table: &'static str,
        /// Its rows at the source.
        expected: u64,
        /// Its rows at the destination.
        found: u64,
    },
    /// One of the databases failed.
    #[error("{0}: {1}")]
    Store(Database, #[source] StoreError),
}

/// Moves everything from one database to another, which is made where it is missing and must be empty. Interrupted, the same call goes
/// on where it stopped. Afterwards the source is marked as moved and is not served any more.
///
/// It may block the thread that polls it.
///
/// # Errors
/// See [`TransferError`]. What was copied stays where it is, and is not served.
pub async fn transfer(
    from: &Database,
    to: &Database,
    clock: &Clock,
    mut progress: impl FnMut(Progress),
) -> Result<Transferred, TransferError> {
    let mut both = meet(from, to, clock).await?;
    let closed = Instant::now();
    let id = both.begin(&mut progress).await?;
    if both.has_arrived(id).await? || !both.copy(id, &mut progress).await? {
        return both.after_all(id).await;
    }
    let rows = match both.compare().await {
        // The same command was running twice.
        Err(TransferError::Differs { .. }) if both.has_arrived(id).await? => return both.after_all(id).await,
        compared => compared?,
    };
    // Whoever serves the source has noticed by then that it is not to be served.
    tokio::time::sleep(both.source.noticed_within().saturating_sub(closed.elapsed())).await;
    if !both.source.leave_for_good(id).await.map_err(|error| both.at_source(error))? {
        return Err(TransferError::Abandoned(both.from));
    }
    progress(Progress::Decided);
    let state = both.source.state().await.map_err(|error| both.at_source(error))?;
    let arrived = both.destination.arrive(id, &both.from.to_string(), &state).await;
    if !arrived.map_err(|error| both.at_destination(error))? {
        return both.after_all(id).await;
    }
    both.destination.bear_witness().await.map_err(|error| both.at_destination(error))?;
    Ok(Transferred { rows, closed_for: Some(closed.elapsed()) })
}

/// Takes a move back that has not come to its end: the source may be served again. Where it was on its way to, without a password;
/// what was copied stays there and is of no use.
///
/// # Errors
/// [`TransferError::Stays`], [`TransferError::Gone`], or why the database cannot be used.
pub async fn abandon(from: &Database, clock: &Clock) -> Result<String, TransferError> {
    let named = |error| TransferError::Store(from.clone(), error);
    if from.schema_version().await.map_err(named)?.is_none() {
        return Err(TransferError::Missing(from.clone()));
    }
    up_to_date(from, clock).await?;
    let mut source = open(from, clock).map_err(named)?;
    let Some(away) = source.marks().await.map_err(named)?.away else {
        return Err(TransferError::Stays(from.clone()));
    };
    if !source.stay(away.by).await.map_err(named)? {
        return Err(TransferError::Gone { from: from.clone(), to: away.to });
    }
    Ok(away.to)
}

/// Looks at the source, then makes the destination ready, and opens both.
async fn meet(from: &Database, to: &Database, clock: &Clock) -> Result<Both, TransferError> {
    let at = |database: &Database, error| TransferError::Store(database.clone(), error);
    let (from, to) = (from.located().map_err(|error| at(from, error))?, to.located().map_err(|error| at(to, error))?);
    if from.is_the_same_as(&to) {
        return Err(TransferError::Same(from));
    }
    if from.schema_version().await.map_err(|error| at(&from, error))?.is_none() {
        return Err(TransferError::Missing(from));
    }
    up_to_date(&from, clock).await?;
    if let Some(objection) = from.objection().await.map_err(|error| at(&from, error))? {
        return Err(TransferError::Restored(from, objection));
    }
    let mut source = open(&from, clock).map_err(|error| at(&from, error))?;
    let left = source.marks().await.map_err(|error| at(&from, error))?;
    if left.arriving.is_some() {
        return Err(TransferError::Incomplete(from));
    }
    if let Some(away) = left.away.clone().filter(|away| away.to != to.to_string()) {
        return Err(away.refusal(from));
    }
    up_to_date(&to, clock).await?;
    let destination = open(&to, clock).map_err(|error| at(&to, error))?;
    Ok(Both { from, to, source, left, destination })
}

async fn up_to_date(database: &Database, clock: &Clock) -> Result<(), TransferError> {
    let made = async { database.open(OpenMode::Maintain, clock.clone()).await?.close().await };
    made.await.map_err(|error| TransferError::Store(database.clone(), error))
}

impl Away {
    /// Why a database that is marked so cannot go anywhere else.
    fn refusal(self, from: Database) -> TransferError {
        let Self { to, for_good, .. } = self;
        if for_good { TransferError::Gone { from, to } } else { TransferError::OnItsWay { from, to } }
    }
}

/// The two ends of a transfer.
struct Both {
    from: Database,
    to: Database,
    source: Box<dyn Place>,
    /// The marks of the source as it was found.
    left: Marks,
    destination: Box<dyn Place>,
}

impl Both {
    /// Marks the source, then the destination, where that was not done before; the id of the transfer.
    async fn begin(&mut self, progress: &mut impl FnMut(Progress)) -> Result<Uuid, TransferError> {
        let there = self.destination.marks().await.map_err(|error| self.at_destination(error))?;
        if let Some(away) = there.away {
            return Err(away.refusal(self.to.clone()));
        }
        let (id, is_new) = match self.left.away.clone() {
            Some(away) if there.arrived == Some(away.by) || there.arriving == Some(away.by) => return Ok(away.by),
            // What is empty now cannot be the destination that was about to be put into use.
            Some(away) if away.for_good => return Err(away.refusal(self.from.clone())),
            Some(away) => (away.by, false),
            None => (self.close_source(&there).await?, true),
        };
        progress(Progress::SourceClosed);
        if self.destination.receive(id).await.map_err(|error| self.at_destination(error))? {
            progress(Progress::DestinationTaken);
            return Ok(id);
        }
        if is_new {
            // Somebody came first. Nothing has gone over, so nobody has to miss the source.
            self.source.stay(id).await.map_err(|error| self.at_source(error))?;
        }
        Err(TransferError::Occupied(self.to.clone()))
    }

    /// Marks the source, after a look whether the destination will do.
    async fn close_source(&mut self, there: &Marks) -> Result<Uuid, TransferError> {
        if there.arriving.is_some() {
            return Err(TransferError::Begun(self.to.clone()));
        }
        if there.incarnation == self.left.incarnation && there.arrived == self.left.arrived {
            return Err(TransferError::Same(self.from.clone()));
        }
        if !self.destination.is_empty().await.map_err(|error| self.at_destination(error))? {
            return Err(TransferError::Occupied(self.to.clone()));
        }
        let left = self.source.leave(&self.to.to_string()).await.map_err(|error| self.at_source(error))?;
        left.map_err(|other| other.refusal(self.from.clone()))
    }

    /// Copies table after table, each in the order of its key, so that what is there is always the beginning of it; `false`: the
    /// destination does not wait for this transfer any more.
    async fn copy(&mut self, id: Uuid, progress: &mut impl FnMut(Progress)) -> Result<bool, TransferError> {
        for table in TABLES {
            let of = self.source.count(table).await.map_err(|error| self.at_source(error))?;
            let mut rows = self.destination.count(table).await.map_err(|error| self.at_destination(error))?;
            let mut after = self.destination.last_key(table).await.map_err(|error| self.at_destination(error))?;
            progress(Progress::Copied { table: table.name, rows, of });
            while rows < of {
                let page = self.source.page(table, after.as_deref()).await.map_err(|error| self.at_source(error))?;
                let Some(last) = page.last() else { break };
                after = Some(last[..table.key].to_vec());
                rows += page.len() as u64;
                if !self.destination.write(id, table, page).await.map_err(|error| self.at_destination(error))? {
                    return Ok(false);
                }
                progress(Progress::Copied { table: table.name, rows, of });
            }
        }
        Ok(true)
    }

    /// How many rows of each table have come over, where all have.
    async fn compare(&mut self) -> Result<Vec<(&'static str, u64)>, TransferError> {
        let mut rows = vec![];
        for table in TABLES {
            let expected = self.source.count(table).await.map_err(|error| self.at_source(error))?;
            let found = self.destination.count(table).await.map_err(|error| self.at_destination(error))?;
            if expected != found {
                let (from, to, table) = (self.from.clone(), self.to.clone(), table.name);
                return Err(TransferError::Differs { from, to, table, expected, found });
            }
            rows.push((table.name, found));
        }
        Ok(rows)
    }

    async fn has_arrived(&mut self, id: Uuid) -> Result<bool, TransferError> {
        let there = self.destination.marks().await.map_err(|error| self.at_destination(error))?;
        Ok(there.arrived == Some(id))
    }

    /// What a transfer comes to that another call has brought to its end.
    async fn after_all(&mut self, id: Uuid) -> Result<Transferred, TransferError> {
        if !self.has_arrived(id).await? {
            return Err(TransferError::Begun(self.to.clone()));
        }
        self.destination.bear_witness().await.map_err(|error| self.at_destination(error))?;
        let mut rows = vec![];
        for table in TABLES {
            rows.push((table.name, self.source.count(table).await.map_err(|error| self.at_source(error))?));
        }
        Ok(Transferred { rows, closed_for: None })
    }

    fn at_source(&self, error: StoreError) -> TransferError {
        TransferError::Store(self.from.clone(), error)
    }

    fn at_destination(&self, error: StoreError) -> TransferError {
        TransferError::Store(self.to.clone(), error)
    }
}

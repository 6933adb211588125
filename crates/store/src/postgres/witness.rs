//! The witness: a small file of the node that remembers how far the database had come, so that a restart does not forget it.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use countersign_core::epochs::Epoch;
use countersign_core::ids::Incarnation;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::StoreResult;
use crate::error::{RestoredError, StoreError};
use crate::postgres::connection::Connection;
use crate::postgres::failures::Outcome;
use crate::postgres::lanes;
use crate::postgres::node::Memory;
use crate::postgres::rows::{corrupt, first, missing, params};
use crate::postgres::writing::Writing;
use crate::verbs::FeedPosition;

/// What is remembered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Testimony {
    incarnation: Incarnation,
    feed_seq: u64,
    global_epoch: i64,
    /// The node whose lanes these are.
    node: Uuid,
    lanes: Vec<u64>,
    /// True once the node has ended: nobody counts in its lanes any more.
    #[serde(default)]
    ended: bool,
}

/// In this lane stands that a node has ended and was followed by another, which knows what had become of its transactions.
const FOLLOWED: i64 = -1;

/// The file.
#[derive(Clone, Debug)]
pub(super) struct Witness {
    path: PathBuf,
}

impl Testimony {
    pub(super) fn of(node: Uuid, memory: Memory) -> Self {
        let Memory { position, lanes } = memory;
        let FeedPosition { incarnation, seq, global_epoch } = position;
        Self { incarnation, feed_seq: seq, global_epoch: global_epoch.get(), node, lanes, ended: false }
    }

    /// The last one of its node.
    pub(super) fn at_the_end(self) -> Self {
        Self { ended: true, ..self }
    }

    pub(super) fn is_of(&self, node: Uuid) -> bool {
        self.node == node
    }

    /// To be done by the node that comes after this one, once its own witness is written. What it commits here is lost whenever
    /// something is that was committed before: its own lanes are enough to notice that.
    pub(super) async fn follow(&self, writing: &Writing) -> Outcome<()> {
        writing.counts();
        if !self.ended {
            // It may only seem to have: of a copied witness the original is still in use.
            return Ok(());
        }
        writing
            .execute("DELETE FROM countersign.lanes WHERE node = $1 AND lane <> $2", params![self.node, FOLLOWED])
            .await?;
        let sql = "INSERT INTO countersign.lanes (node, lane, commit_seq) VALUES ($1, $2, 1) ON CONFLICT DO NOTHING";
        writing.execute(sql, params![self.node, FOLLOWED]).await?;
        Ok(())
    }

    /// The later of both in each respect, where they tell of one history.
    fn and(mut self, other: Self) -> Self {
        if (self.incarnation, self.node) != (other.incarnation, other.node) {
            return self;
        }
        self.ended |= other.ended;
        self.feed_seq = self.feed_seq.max(other.feed_seq);
        self.global_epoch = self.global_epoch.max(other.global_epoch);
        self.lanes.resize(self.lanes.len().max(other.lanes.len()), 0);
        for (lane, seen) in self.lanes.iter_mut().zip(other.lanes) {
            *lane = seen.max(*lane);
        }
        self
    }

    pub(super) fn position(&self) -> FeedPosition {
        let global_epoch = Epoch::new(self.global_epoch);
        FeedPosition { incarnation: self.incarnation, seq: self.feed_seq, global_epoch }
    }
}

impl Witness {
    pub(super) fn at(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    pub(super) fn shown(&self) -> String {
        self.path.display().to_string()
    }

    /// Why the database would be refused; `None`: it goes on from what is remembered, or nothing is.
    pub(super) async fn objection(&self, connection: &Connection) -> Outcome<Option<RestoredError>> {
        let seen = match self.read() {
            Ok(Some(seen)) => seen,
            Ok(None) => return Ok(None),
            // A testimony that nobody can read says nothing.
            Err(StoreError::Corrupt(_)) => return Ok(Some(RestoredError::Unwitnessed { witness: self.shown() })),
            Err(error) => return Err(error.into()),
        };
        let sql = "SELECT incarnation, feed_seq, global_epoch FROM countersign.auth_state";
        let rows = connection.rows(sql, &[]).await?;
        let found = first(&rows, |columns| columns.position())?.ok_or_else(missing)?;
        let witness = self.shown();
        if found.incarnation != seen.incarnation {
            let sql = "SELECT 1 FROM countersign.incarnations WHERE incarnation = $1";
            let followed = !connection.rows(sql, params![seen.incarnation.as_uuid()]).await?.is_empty();
            return Ok(if followed { None } else { Some(RestoredError::Swapped { witness }) });
        }
        if found.seq < seen.feed_seq {
            return Ok(Some(RestoredError::WentBack { found: found.seq, seen: seen.feed_seq, witness }));
        }
        let committed = lanes::committed(connection, seen.node).await?;
        if committed.iter().any(|(lane, _)| *lane == FOLLOWED) {
            return Ok(None);
        }
        Ok(lanes::behind(&seen.lanes, &committed).map(|(found, seen)| RestoredError::WentBack { found, seen, witness }))
    }

    pub(super) fn read(&self) -> StoreResult<Option<Testimony>> {
        let mut text = String::new();
        match File::open(&self.path).and_then(|file| file.take(64 * 1024).read_to_string(&mut text)) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.unusable(&error)),
        }
        serde_json::from_str(&text).map(Some).map_err(|_| {
            corrupt(&format!(
                "the witness file {} is unreadable, so it cannot be told whether the database lost something. Put it back, or run \
                 `countersign accept-restore`: everybody has to sign in again",
                self.path.display()
            ))
        })
    }

    /// Whoever reads at the same time sees the old testimony or the new one, whole. What another process of this node has seen
    /// meanwhile, as a command beside its server, stays in it.
    pub(super) fn write(&self, testimony: &Testimony) -> StoreResult<()> {
        static TURN: AtomicU32 = AtomicU32::new(0);
        let testimony = match self.read() {
            Ok(Some(other)) => testimony.clone().and(other),
            _ => testimony.clone(),
        };
        let text = serde_json::to_string(&testimony).map_err(|error| StoreError::Internal(error.to_string()))?;
        let mut beside = self.path.clone().into_os_string();
        beside.push(format!(".{}-{}", std::process::id(), TURN.fetch_add(1, Ordering::Relaxed)));
        let beside = PathBuf::from(beside);
        let written = self
            .folder()
            .and_then(|()| private_file().open(&beside))
            .and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()))
            .and_then(|()| fs::rename(&beside, &self.path));
        written.map_err(|error| {
            // The error that is told is the one that came first.
            let _ = fs::remove_file(&beside);
            self.unusable(&error)
        })
    }

    fn folder(&self) -> io::Result<()> {
        match self.path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => {
                let mut builder = fs::DirBuilder::new();
                builder.recursive(true);
                #[cfg(unix)]
                std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
                builder.create(folder)
            }
            _ => Ok(()),
        }
    }

    fn unusable(&self, error: &io::Error) -> StoreError {
        StoreError::Unavailable(format!("cannot use the witness file {}: {error}", self.path.display()))
    }
}

fn private_file() -> fs::OpenOptions {
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_processes_of_a_node_none_takes_back_what_the_other_saw() {
        let (one, other) = (Incarnation::from_bytes([1; 16]), Incarnation::from_bytes([2; 16]));
        let told = |incarnation, seq, lanes: &[u64]| {
            let position = FeedPosition { incarnation, seq, global_epoch: Epoch::new(5) };
            Testimony::of(Uuid::nil(), Memory { position, lanes: lanes.to_vec() })
        };
        assert_eq!(told(one, 3, &[7, 1]).and(told(one, 2, &[4, 2, 9])), told(one, 3, &[7, 2, 9]));
        assert_eq!(told(one, 3, &[7]).and(told(other, 9, &[8])), told(one, 3, &[7]), "another history");
    }
}

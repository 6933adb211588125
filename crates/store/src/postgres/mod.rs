//! The back-end for several nodes: one PostgreSQL database, of which each node remembers what it was promised.

mod access;
mod accounts;
mod attempts;
mod base;
mod batches;
mod commits;
mod connection;
mod ending;
mod events;
mod failures;
mod families;
mod family_rows;
mod keeper;
mod keys;
mod lanes;
mod listener;
mod migrate;
mod node;
mod passwords;
mod pool;
mod prune;
mod restores;
mod revocations;
mod rotation;
mod rows;
mod sessions;
mod state;
mod throttles;
mod tls;
mod together;
mod transfer;
mod url;
mod verbs;
mod witness;
mod writing;

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::timeout;

pub(crate) use transfer::PostgresPlace;
pub use url::{InvalidPostgresUrl, PostgresUrl};

use crate::clock::Offset;
use crate::error::{RestoredError, StoreError};
use crate::opening::{OpenMode, SchemaVersion};
use crate::postgres::attempts::{PATIENCE, Tries, look, patiently, transact};
use crate::postgres::base::Base;
use crate::postgres::batches::Batches;
use crate::postgres::connection::Connection;
use crate::postgres::failures::{Fault, Outcome};
use crate::postgres::node::Node;
use crate::postgres::pool::Connections;
use crate::postgres::rows::{first, missing, params};
use crate::postgres::witness::{Testimony, Witness};
use crate::{Clock, StoreResult, random};

/// How long the database may take to say what a start has to know, once its tables are as they should be.
const START: Duration = Duration::from_secs(30);

/// A store in a PostgreSQL database, which other nodes may use at the same time.
pub struct PostgresStore {
    base: Arc<Base>,
    batches: Batches,
    /// What runs beside the verbs; it ends with the store.
    tasks: Mutex<JoinSet<()>>,
    witness: Witness,
    witnessed: bool,
    shown: String,
}

impl PostgresStore {
    /// Opens the database. Its tables are made where they are missing, unless it is only to be looked at. `witness` is the file in
    /// which this node remembers how far the database had come.
    ///
    /// # Errors
    /// [`StoreError::Schema`], [`StoreError::Restored`], or why the database cannot be reached.
    pub async fn open(url: &PostgresUrl, witness: &Path, mode: OpenMode, clock: Clock) -> StoreResult<Self> {
        let connections = Connections::new(url)?;
        let witness = Witness::at(witness);
        let mut tries = Tries::default();
        let (Started { node, former }, connection) = loop {
            match start(&connections, &witness, mode, &clock).await {
                Ok(started) => break started,
                Err(fault) => tries.again(fault).await?,
            }
        };
        let node = Arc::new(node);
        let base = Arc::new(Base {
            connections,
            node: Arc::clone(&node),
            clock,
            offset: Offset::default(),
            commits: Arc::default(),
        });
        let mut tasks = JoinSet::new();
        let batches = Batches::start(&base, &mut tasks);
        let witnessed = mode == OpenMode::Serve;
        if witnessed {
            // To open another would take longer than all else of a start. Where this fails it is closed, and the first verb tells why.
            drop(tokio::time::timeout(PATIENCE, base.known(connection)).await);
            match (keeper::write(&witness, &Testimony::of(node.id, node.memory())).await, former) {
                (Ok(()), Some(former)) => transact!(&base, |writing| former.follow(&writing))?,
                (Ok(()), None) => {}
                (Err(error), _) => {
                    tracing::warn!(%error, "without it, a restart does not notice that the database lost something meanwhile");
                }
            }
            tasks.spawn(keeper::testify(witness.clone(), Arc::clone(&node)));
            if !url.pooled {
                tasks.spawn(listener::listen(url.clone(), node));
            }
        }
        Ok(Self { base, batches, tasks: Mutex::new(tasks), witness, witnessed, shown: url.to_string() })
    }

    async fn testify(&self) -> StoreResult<()> {
        let node = &self.base.node;
        let testimony = Testimony::of(node.id, node.memory());
        // A command is not a server: it ends soon, and nothing follows from its being gone.
        let testimony = if self.witnessed { testimony } else { testimony.at_the_end() };
        keeper::write(&self.witness, &testimony).await
    }

    async fn end(&self) -> StoreResult<()> {
        let node = &self.base.node;
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).abort_all();
        let ended = if !self.witnessed {
            self.leave_no_lanes().await
        } else if node.check().is_ok() {
            keeper::write(&self.witness, &Testimony::of(node.id, node.memory()).at_the_end()).await
        } else {
            Ok(())
        };
        self.base.connections.close();
        ended
    }

    /// Nobody asks for the lanes of a command that no witness tells of.
    async fn leave_no_lanes(&self) -> StoreResult<()> {
        let node = &self.base.node;
        let witnessed = matches!(self.witness.read(), Ok(Some(testimony)) if testimony.is_of(node.id));
        if witnessed || node.memory().lanes.is_empty() {
            return Ok(());
        }
        let sql = "DELETE FROM countersign.lanes WHERE node = $1";
        look!(&self.base, PATIENCE, |connection| connection.execute(sql, params![node.id])).map(|_| ())
    }
}

impl std::fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PostgresStore({})", self.shown)
    }
}

/// Why this database would be refused as restored; `None`: it goes on from what this node remembers. Nothing is changed.
///
/// # Errors
/// Why the database cannot be read.
pub async fn objection(url: &PostgresUrl, witness: &Path) -> StoreResult<Option<RestoredError>> {
    let witness = Witness::at(witness);
    let asked = async {
        let connection = Connections::new(url)?.get().await?;
        migrate::verify(&connection).await?;
        witness.objection(&connection).await
    };
    patiently(START, async { asked.await.map_err(Fault::into_error) }).await
}

/// How far the schema of this database has come: `migrate --check`. Nothing is changed.
///
/// # Errors
/// [`StoreError::Schema`], or why the database cannot be read.
pub async fn schema_version(url: &PostgresUrl) -> StoreResult<SchemaVersion> {
    let asked = async {
        let connection = Connections::new(url)?.get().await?;
        migrate::version(&connection).await
    };
    patiently(START, async { asked.await.map_err(Fault::into_error) }).await
}

/// What a start has found.
struct Started {
    node: Node,
    /// Of the node that was here before.
    former: Option<Testimony>,
}

/// Makes the database ready and finds out what this node has to remember of it.
async fn start(
    connections: &Connections,
    witness: &Witness,
    mode: OpenMode,
    clock: &Clock,
) -> Outcome<(Started, Connection)> {
    let connection = connections.get().await?;
    if mode != OpenMode::Inspect {
        migrate::run(&connection, clock).await?;
    }
    let found = timeout(START, look_around(&connection, witness, mode)).await;
    let started = found.map_err(|_| StoreError::late())??;
    Ok((started, connection))
}

/// Finds out what this node has to remember of the database. The node is a new one at every start: of a witness
/// that was copied, two nodes would count in the same lanes.
async fn look_around(connection: &Connection, witness: &Witness, mode: OpenMode) -> Outcome<Started> {
    if mode == OpenMode::Inspect {
        migrate::verify(connection).await?;
    }
    let mut former = None;
    if mode == OpenMode::Serve {
        state::stays(connection).await?;
        // Read first for its faults: what cannot be read is told as such, with what to do.
        former = witness.read()?;
        if let Some(objection) = witness.objection(connection).await? {
            return Err(StoreError::from(objection).into());
        }
        warn_of_lost_commits(connection).await?;
    }
    let sql = "SELECT incarnation, feed_seq, global_epoch FROM countersign.auth_state";
    let rows = connection.rows(sql, params![]).await?;
    let mut position = first(&rows, |columns| columns.position())?.ok_or_else(missing)?;
    if mode == OpenMode::Maintain
        && let Ok(Some(testimony)) = witness.read()
    {
        // What the node saw last must not be given out again by a history that is accepted.
        let seen = testimony.position();
        position.seq = position.seq.max(seen.seq);
        position.global_epoch = position.global_epoch.max(seen.global_epoch);
    }
    Ok(Started { node: Node::new(random::id()?, position), former })
}

/// A database that answers before a commit is on disk loses some when it crashes; that is the operator's to decide, and to know.
async fn warn_of_lost_commits(connection: &Connection) -> Outcome<()> {
    let rows = connection.rows("SELECT current_setting('synchronous_commit'), current_setting('fsync')", &[]).await?;
    let settings = first(&rows, |columns| Ok((columns.value::<String>()?, columns.value::<String>()?)))?;
    if let Some((synchronous_commit, fsync)) = settings
        && (synchronous_commit == "off" || fsync == "off")
    {
        tracing::warn!(
            synchronous_commit,
            fsync,
            "PostgreSQL answers before a commit is on disk: when it crashes, changes that were acknowledged are lost"
        );
    }
    Ok(())
}

//! The connections of one node: how many there are, what is set for them, and which of them are let go.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use deadpool_postgres::{Manager, ManagerConfig, Pool, QueueMode, RecyclingMethod, Runtime};

use crate::StoreResult;
use crate::error::StoreError;
use crate::postgres::connection::Connection;
use crate::postgres::failures::Outcome;
use crate::postgres::tls;
use crate::postgres::url::PostgresUrl;

/// How many connections a node has at the most, beside the one that listens and those of [`BATCHES`].
const CONNECTIONS: usize = 12;
/// How many batches of refreshes are written at once at the most, each on a connection of its own.
pub(super) const BATCHES: usize = 4;
/// A lock that is held for long, or a node that stops in the middle, must not hold up the others; and no statement needs a plan of
/// its own for the values that it is given: whatever is asked for all the time is found by its key.
const SETTINGS: &str = "-c lock_timeout=1200 -c idle_in_transaction_session_timeout=5000 \
                        -c plan_cache_mode=force_generic_plan -c random_page_cost=1.1";
/// A batch waits for nobody for long: what it cannot write is written without it. It asks for a few rows at a time, and never for whole tables, however
/// small they are or full of dead rows.
const SETTINGS_FOR_BATCHES: &str = "-c lock_timeout=100 -c enable_seqscan=off -c jit=off \
                                    -c default_transaction_isolation=read\\ committed";
/// How long a verb may wait for a free connection.
const WAIT: Duration = Duration::from_millis(1000);
/// How long a new connection may take.
const CREATE: Duration = Duration::from_millis(1500);
/// Whoever has a connection for the first time after so long would not know whether it still leads anywhere: a firewall may have forgotten it.
const IDLE: Duration = Duration::from_secs(180);
/// How often those are looked for.
const LOOK: Duration = Duration::from_secs(10);
/// How long a suspicion lasts that nothing has confirmed.
const SUSPICION: Duration = Duration::from_secs(10);

/// The connections of one node.
#[derive(Clone)]
pub(super) struct Connections {
    pool: Pool,
    for_batches: Pool,
    pooled: bool,
    suspicion: Arc<Mutex<Suspicion>>,
    looked_at: Arc<Mutex<Instant>>,
}

/// When the database last seemed to have gone back in time.
///
/// Whoever said so may have been a server that another has taken the place of, and then it counts for nothing. So none of the
/// connections that there were is used again, and only one that was opened afterwards can confirm it.
#[derive(Default)]
struct Suspicion(Option<Instant>);

impl Suspicion {
    fn is_confirmed(&mut self, opened_at: Instant, now: Instant) -> bool {
        let confirmed = self.0.is_some_and(|since| opened_at > since && now.duration_since(since) < SUSPICION);
        if !confirmed {
            self.0 = Some(now);
        }
        confirmed
    }

    /// Whether a connection may be used that was opened then.
    fn spares(&self, opened_at: Instant) -> bool {
        self.0.is_none_or(|since| opened_at > since)
    }
}

impl Connections {
    pub(super) fn new(url: &PostgresUrl) -> StoreResult<Self> {
        Ok(Self {
            pool: pool(url, SETTINGS, CONNECTIONS)?,
            for_batches: pool(url, &format!("{SETTINGS} {SETTINGS_FOR_BATCHES}"), BATCHES)?,
            pooled: url.pooled,
            suspicion: Arc::default(),
            looked_at: Arc::new(Mutex::new(Instant::now())),
        })
    }

    pub(super) async fn get(&self) -> Outcome<Connection> {
        self.get_from(&self.pool).await
    }

    pub(super) async fn get_for_a_batch(&self) -> Outcome<Connection> {
        self.get_from(&self.for_batches).await
    }

    async fn get_from(&self, pool: &Pool) -> Outcome<Connection> {
        self.let_go_of_the_idle();
        loop {
            let object = pool.get().await?;
            let connection = Connection::new(object, self.pooled);
            if self.suspicion().spares(connection.opened_at()) {
                return Ok(connection);
            }
            connection.discard();
        }
    }

    fn let_go_of_the_idle(&self) {
        let now = Instant::now();
        let mut looked_at = self.looked_at.lock().unwrap_or_else(PoisonError::into_inner);
        if now.duration_since(*looked_at) < LOOK {
            return;
        }
        *looked_at = now;
        for pool in [&self.pool, &self.for_batches] {
            pool.retain(|_, metrics| metrics.last_used() < IDLE);
        }
    }

    /// The database seems to have gone back in time, as this connection says: true where that is confirmed.
    pub(super) fn confirms(&self, connection: &Connection) -> bool {
        self.suspicion().is_confirmed(connection.opened_at(), Instant::now())
    }

    fn suspicion(&self) -> MutexGuard<'_, Suspicion> {
        self.suspicion.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn close(&self) {
        self.pool.close();
        self.for_batches.close();
    }
}

fn pool(url: &PostgresUrl, settings: &str, size: usize) -> StoreResult<Pool> {
    let mut config = url.config.clone();
    if !url.pooled {
        // For every transaction of the connection; a pooler would not pass it on.
        let given = config.get_options().map_or_else(String::new, |options| format!("{options} "));
        config.options(format!("{given}{settings}"));
    }
    let manager = ManagerConfig { recycling_method: RecyclingMethod::Fast };
    let manager = Manager::from_config(config, tls::connector(url)?, manager);
    Pool::builder(manager)
        .max_size(size)
        // What PostgreSQL keeps for a connection is at hand for the one that was used last.
        .queue_mode(QueueMode::Lifo)
        .runtime(Runtime::Tokio1)
        .wait_timeout(Some(WAIT))
        .create_timeout(Some(CREATE))
        .recycle_timeout(Some(WAIT))
        .build()
        .map_err(|error| StoreError::Internal(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_connection_that_was_opened_afterwards_confirms_that_the_database_went_back() {
        let began = Instant::now();
        let at = |seconds| began + Duration::from_secs(seconds);
        let mut suspicion = Suspicion::default();
        assert!(suspicion.spares(at(0)));
        assert!(!suspicion.is_confirmed(at(0), at(5)));
        assert_eq!([suspicion.spares(at(4)), suspicion.spares(at(6))], [false, true]);
        assert!(!suspicion.is_confirmed(at(4), at(6)), "it is as old as the first one");
        assert!(suspicion.is_confirmed(at(7), at(8)));

        let mut long_ago = Suspicion(Some(at(8)));
        assert!(!long_ago.is_confirmed(at(60), at(70)), "what was suspected then was about something else");
    }
}

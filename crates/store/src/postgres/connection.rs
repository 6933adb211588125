//! A connection, and one way to run a statement on it, with a pooler in between or without.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use deadpool_postgres::Object;
use futures_util::FutureExt as _;
use futures_util::future::join3;
use tokio::runtime::Handle;
use tokio::time::timeout;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Row, Statement};

use crate::error::StoreError;
use crate::postgres::failures::{Fault, Outcome, is_not_committed, is_not_run};
use crate::postgres::rows::Bound;

/// What [`pool`](crate::postgres::pool) sets for the connections of batches, where a pooler would not pass it on.
const BEGIN_A_BATCH: &str = "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL lock_timeout = 100; \
                             SET LOCAL idle_in_transaction_session_timeout = 5000; \
                             SET LOCAL enable_seqscan = off; SET LOCAL jit = off";
/// After so long, whoever has a connection next does not wait for an answer that nobody wants any more.
const STUCK: Duration = Duration::from_millis(500);
/// A statement and how it is to be run.
pub(super) struct Prepared<'s> {
    sql: &'s str,
    statement: Option<Statement>,
}

/// One connection; it goes back to the pool when it is dropped, unless an answer is overdue.
pub(super) struct Connection {
    /// `None` once it was given up.
    object: Option<Object>,
    pooled: bool,
    opened_at: Instant,
    /// True until it has shown that it leads to a database which knows what this node was promised: not given back before.
    is_new: AtomicBool,
    taken_at: Instant,
    /// How many requests were sent that have no answer yet.
    unanswered: AtomicUsize,
    /// True once it has said that it is of no use, to a verb that is worth trying again on another.
    useless: AtomicBool,
}

/// A request on its way. Where nobody waits for it any more, it stays without an answer.
struct Asked<'c>(&'c AtomicUsize);

impl<'c> Asked<'c> {
    fn on(connection: &'c Connection) -> Self {
        connection.unanswered.fetch_add(1, Ordering::Relaxed);
        Self(&connection.unanswered)
    }

    fn answered(self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A parameter of a statement.
pub(super) type Parameter<'p> = &'p dyn Bound;

impl Connection {
    pub(super) fn new(object: Object, pooled: bool) -> Self {
        let metrics = *Object::metrics(&object);
        Self {
            object: Some(object),
            pooled,
            opened_at: metrics.created,
            is_new: AtomicBool::new(metrics.recycle_count == 0),
            taken_at: Instant::now(),
            unanswered: AtomicUsize::new(0),
            useless: AtomicBool::new(false),
        }
    }

    pub(super) fn opened_at(&self) -> Instant {
        self.opened_at
    }

    /// Makes a statement ready: without a pooler it is parsed and planned once for each connection.
    pub(super) async fn prepare<'s>(&self, sql: &'s str, types: &[Type]) -> Outcome<Prepared<'s>> {
        if self.pooled {
            return Ok(Prepared { sql, statement: None });
        }
        let statement = self.ask(self.object()?.prepare_typed_cached(sql, types)).await?;
        Ok(Prepared { sql, statement: Some(statement) })
    }

    /// Runs what was made ready: its request is sent when this is polled for the first time.
    pub(super) async fn run(&self, prepared: &Prepared<'_>, parameters: &[Parameter<'_>]) -> Outcome<Vec<Row>> {
        let Some(statement) = &prepared.statement else {
            return self.ask(self.object()?.query_typed(prepared.sql, &typed(parameters))).await;
        };
        self.ask(self.object()?.query(statement, &values(parameters))).await
    }

    /// Every row that a statement gives.
    pub(super) async fn rows(&self, sql: &str, parameters: &[Parameter<'_>]) -> Outcome<Vec<Row>> {
        let prepared = self.prepare(sql, &types(parameters)).await?;
        self.run(&prepared, parameters).await
    }

    /// Runs a statement that gives no rows; how many it changed.
    pub(super) async fn execute(&self, sql: &str, parameters: &[Parameter<'_>]) -> Outcome<u64> {
        let prepared = self.prepare(sql, &types(parameters)).await?;
        self.change(&prepared, parameters).await
    }

    /// Runs what was made ready and gives no rows, in the same way as [`Self::run`]; how many it changed.
    async fn change(&self, prepared: &Prepared<'_>, parameters: &[Parameter<'_>]) -> Outcome<u64> {
        let Some(statement) = &prepared.statement else {
            return self.ask(self.object()?.execute_typed(prepared.sql, &typed(parameters))).await;
        };
        self.ask(self.object()?.execute(statement, &values(parameters))).await
    }

    /// Runs a statement that must change so many rows.
    pub(super) async fn execute_on(&self, rows: u64, sql: &str, parameters: &[Parameter<'_>]) -> Outcome<()> {
        let prepared = self.prepare(sql, &types(parameters)).await?;
        self.change_on(rows, &prepared, parameters).await
    }

    /// The same of what was made ready.
    pub(super) async fn change_on(
        &self,
        rows: u64,
        prepared: &Prepared<'_>,
        parameters: &[Parameter<'_>],
    ) -> Outcome<()> {
        match self.change(prepared, parameters).await? {
            changed if changed == rows => Ok(()),
            changed => {
                let what = format!("a statement was to change {rows} rows and changed {changed}");
                Err(StoreError::Internal(what).into())
            }
        }
    }

    /// Runs statements without parameters.
    pub(super) async fn batch(&self, sql: &str) -> Outcome<()> {
        self.ask(self.object()?.batch_execute(sql)).await
    }

    /// Sends statements without parameters, whose answer nobody waits for: whoever has the connection next comes after them.
    pub(super) fn send(&self, sql: &str) {
        // Polled once, the request is on its way. Where it could not be sent, the connection is broken and the pool finds out.
        if let Some(object) = &self.object {
            let _ = object.batch_execute(sql).now_or_never();
        }
    }

    /// What begins a transaction. A lock that is held for long, or a node that stops in the middle, must not hold up the others.
    pub(super) fn begin(&self) -> &'static str {
        if self.pooled {
            "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL lock_timeout = 1200; \
             SET LOCAL idle_in_transaction_session_timeout = 5000"
        } else {
            "BEGIN ISOLATION LEVEL READ COMMITTED"
        }
    }

    /// Commits. Where the connection breaks meanwhile, nobody knows whether it did.
    pub(super) async fn commit(&self) -> Outcome<()> {
        self.ask_to_commit(self.object()?.batch_execute("COMMIT")).await
    }

    /// Runs what was made ready as a transaction by itself, on a connection for batches. Where the connection breaks meanwhile,
    /// nobody knows whether it was committed.
    pub(super) async fn run_and_commit(
        &self,
        prepared: &Prepared<'_>,
        parameters: &[Parameter<'_>],
    ) -> Outcome<Vec<Row>> {
        if let Some(statement) = &prepared.statement {
            return self.ask_to_commit(self.object()?.query(statement, &values(parameters))).await;
        }
        let begun = self.batch(BEGIN_A_BATCH);
        let (begun, rows, committed) = join3(begun, self.run(prepared, parameters), self.commit()).await;
        // Where the connection broke, only the last of them knows that it may be committed.
        committed?;
        begun?;
        rows
    }

    async fn ask_to_commit<T>(&self, request: impl Future<Output = Result<T, tokio_postgres::Error>>) -> Outcome<T> {
        let asked = Asked::on(self);
        let committed = request.await;
        asked.answered();
        committed.map_err(|error| {
            let refusal = error.as_db_error();
            // Nobody shall have it next.
            self.useless.fetch_or(refusal.is_some_and(is_not_run), Ordering::Relaxed);
            if refusal.is_some_and(is_not_committed) {
                return error.into();
            }
            // Doing it again could do it twice.
            Fault::Unknown(Fault::from(error).into_error())
        })
    }

    /// True of one that nobody has had before.
    pub(super) fn is_new(&self) -> bool {
        self.is_new.load(Ordering::Relaxed)
    }

    /// To be called once it has shown where it leads to.
    pub(super) fn set_known(&self) {
        self.is_new.store(false, Ordering::Relaxed);
    }

    /// True where an answer is overdue: the server hangs, or waits for a lock.
    pub(super) fn is_stuck(&self) -> bool {
        self.unanswered.load(Ordering::Relaxed) > 0 && self.taken_at.elapsed() > STUCK
    }

    /// Gives the connection up: whatever is under way on it is rolled back by the server.
    pub(super) fn discard(mut self) {
        self.close();
    }

    fn close(&mut self) {
        if let Some(object) = self.object.take() {
            drop(Object::take(object));
        }
    }

    fn object(&self) -> Outcome<&Object> {
        self.object.as_ref().ok_or_else(|| StoreError::Internal("the connection was given up".to_owned()).into())
    }

    async fn ask<T>(&self, request: impl Future<Output = Result<T, tokio_postgres::Error>>) -> Outcome<T> {
        let asked = Asked::on(self);
        let answer = request.await;
        asked.answered();
        answer.map_err(|error| {
            let about_the_transaction = is_about_the_transaction(&error);
            let fault = error.into();
            if matches!(fault, Fault::Again(_)) && !about_the_transaction {
                self.useless.store(true, Ordering::Relaxed);
            }
            fault
        })
    }
}

/// True of what the transaction met, whichever connection it goes over.
fn is_about_the_transaction(error: &tokio_postgres::Error) -> bool {
    let states = [SqlState::T_R_SERIALIZATION_FAILURE, SqlState::T_R_DEADLOCK_DETECTED];
    error.code().is_some_and(|code| states.contains(code))
}

impl Drop for Connection {
    fn drop(&mut self) {
        if self.useless.load(Ordering::Relaxed)
            && let Some(pool) = self.object.as_ref().and_then(Object::pool)
        {
            // Those that wait may be of the same kind, and a verb is not tried as often as there may be of them.
            pool.retain(|_, _| false);
            self.close();
        }
        if self.is_stuck() || self.is_new() {
            self.close();
        }
        if self.unanswered.load(Ordering::Relaxed) > 0
            && let Some(object) = self.object.take()
        {
            give_back_once_it_answers(object);
        }
    }
}

/// Whoever came next would wait for an answer that nobody wants any more.
#[expect(
    clippy::disallowed_methods,
    reason = "it ends by itself, and a connection that it is dropped with is given back"
)]
fn give_back_once_it_answers(object: Object) {
    let Ok(runtime) = Handle::try_current() else {
        return drop(Object::take(object));
    };
    runtime.spawn(async move {
        if !matches!(timeout(STUCK, object.batch_execute("")).await, Ok(Ok(()))) {
            drop(Object::take(object));
        }
    });
}

fn types(parameters: &[Parameter<'_>]) -> Vec<Type> {
    parameters.iter().map(|parameter| parameter.kind()).collect()
}

fn values<'p>(parameters: &[Parameter<'p>]) -> Vec<&'p (dyn ToSql + Sync)> {
    parameters.iter().map(|parameter| parameter.as_sql()).collect()
}

fn typed<'p>(parameters: &[Parameter<'p>]) -> Vec<(&'p (dyn ToSql + Sync), Type)> {
    parameters.iter().map(|parameter| (parameter.as_sql(), parameter.kind())).collect()
}

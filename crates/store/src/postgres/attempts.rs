//! Trying a verb: for how long, and how often.

use std::time::Duration;

use tokio::time::timeout;

use crate::StoreResult;
use crate::error::StoreError;
use crate::postgres::failures::Fault;

/// How long a verb may take: a caller is told before it gives up by itself.
pub(super) const PATIENCE: Duration = Duration::from_millis(1700);
/// How long a verb may take that looks at many rows.
pub(super) const LONG_PATIENCE: Duration = Duration::from_secs(30);
/// How often a transaction is tried.
const TRIES: u32 = 6;

/// Counts how often a transaction was tried.
#[derive(Default)]
pub(super) struct Tries(u32);

impl Tries {
    /// Waits a moment where it is worth trying again.
    pub(super) async fn again(&mut self, fault: Fault) -> StoreResult<()> {
        let Fault::Again(error) = fault else {
            return Err(fault.into_error());
        };
        self.0 += 1;
        if self.0 == TRIES {
            return Err(error);
        }
        tokio::time::sleep(Duration::from_millis(u64::from(self.0 - 1) * 5)).await;
        Ok(())
    }
}

/// Waits for a verb, and not for ever.
pub(super) async fn patiently<T>(patience: Duration, verb: impl Future<Output = StoreResult<T>>) -> StoreResult<T> {
    timeout(patience, verb).await.unwrap_or_else(|_| Err(StoreError::late()))
}

/// Does something, and again where PostgreSQL asks for that.
macro_rules! again {
    ($patience:expr, $attempt:expr) => {
        $crate::postgres::attempts::patiently($patience, async {
            let mut tries = $crate::postgres::attempts::Tries::default();
            loop {
                let outcome: $crate::postgres::failures::Outcome<_> = $attempt.await;
                match outcome {
                    Ok(answer) => break Ok(answer),
                    Err(fault) => tries.again(fault).await?,
                }
            }
        })
        .await
    };
}
/// Does a verb in a transaction of its own, and again where PostgreSQL asks for that.
macro_rules! transact {
    ($base:expr, |$writing:ident| $verb:expr) => {{
        let base = $base;
        $crate::postgres::attempts::again!($crate::postgres::attempts::PATIENCE, async {
            #[allow(unused_mut, reason = "most verbs only read the clock that they are given")]
            let mut $writing = base.begin().await?;
            let outcome = $verb.await;
            $writing.end(outcome).await
        })
    }};
}
/// Reads with one statement, and again on another connection where the first one was broken, but nothing from a database that has
/// moved.
macro_rules! read {
    ($base:expr, $patience:expr, |$connection:ident| $query:expr) => {
        match $base.node.stays() {
            Ok(()) => $crate::postgres::attempts::look!($base, $patience, |$connection| $query),
            Err(moved) => Err(moved.into()),
        }
    };
}
/// The same of a database that may have moved: the query tells.
macro_rules! look {
    ($base:expr, $patience:expr, |$connection:ident| $query:expr) => {{
        let base = $base;
        $crate::postgres::attempts::again!($patience, async {
            base.node.check().map_err($crate::error::StoreError::from)?;
            let $connection = base.connection().await?;
            $query.await
        })
    }};
}
pub(super) use {again, look, read, transact};

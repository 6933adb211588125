//! Answers whose commit is under way: what follows from one is made ready meanwhile.

use std::fmt;

use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use crate::StoreResult;
use crate::error::StoreError;

/// What a verb answers once its transaction is on disk. What follows from it can be made ready while it is written and flushed; neither
/// is let go before.
///
/// ```
/// # async fn example(store: &dyn countersign_store::Store, rotate: countersign_store::verbs::Rotate, origin: countersign_core::events::Origin) -> countersign_store::StoreResult<()> {
/// let shown = store.rotate(rotate, origin).await?.meanwhile(|rotated| format!("{rotated:?}")).await?;
/// # Ok(()) }
/// ```
#[must_use = "it is not known to be committed"]
pub struct Committing<T> {
    decided: T,
    committed: oneshot::Receiver<StoreResult<Instead<T>>>,
    until: Option<Instant>,
}

/// Another answer, where the transaction was tried again.
type Instead<T> = Option<T>;

impl<T> Committing<T> {
    /// Makes ready what follows from the answer, and gives that once it is on disk. Where the answer has become another meanwhile, it is
    /// made anew. `make_ready` must do nothing that is seen elsewhere: what it is shown may come to nothing.
    ///
    /// # Errors
    /// Why it was not committed, or that nobody knows whether it was.
    pub async fn meanwhile<U>(self, make_ready: impl Fn(&T) -> U) -> StoreResult<U> {
        let ready = make_ready(&self.decided);
        Ok(instead(self.committed, self.until).await?.map_or(ready, |instead| make_ready(&instead)))
    }

    /// The answer, once it is on disk.
    ///
    /// # Errors
    /// Why it was not committed, or that nobody knows whether it was.
    pub async fn committed(self) -> StoreResult<T> {
        Ok(instead(self.committed, self.until).await?.unwrap_or(self.decided))
    }

    /// Waits no longer than until then.
    pub(crate) fn until(self, until: Instant) -> Self {
        Self { until: Some(until), ..self }
    }
}

impl<T> fmt::Debug for Committing<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Committing(not known yet)")
    }
}

/// Tells a caller what was decided, and then that it is committed.
pub(crate) struct Reply<T> {
    /// `None` once something was told.
    decided: Option<oneshot::Sender<T>>,
    committed: oneshot::Sender<StoreResult<Instead<T>>>,
    instead: Instead<T>,
}

/// Where a caller waits for a [`Reply`].
pub(crate) struct Answer<T> {
    decided: oneshot::Receiver<T>,
    committed: oneshot::Receiver<StoreResult<Instead<T>>>,
}

pub(crate) fn reply<T>() -> (Reply<T>, Answer<T>) {
    let ((decided, is_decided), (committed, is_committed)) = (oneshot::channel(), oneshot::channel());
    (
        Reply { decided: Some(decided), committed, instead: None },
        Answer { decided: is_decided, committed: is_committed },
    )
}

impl<T> Reply<T> {
    /// Tells what was decided, before it is committed. Told again, it takes the place of what was told before.
    pub(crate) fn decided(&mut self, answer: T) {
        match self.decided.take() {
            // It fails where nobody waits any more.
            Some(decided) => drop(decided.send(answer)),
            None => self.instead = Some(answer),
        }
    }

    /// Tells what was decided once it is on disk: whoever waits is woken once.
    pub(crate) fn done(self, answer: T) {
        match self.decided {
            Some(decided) => {
                let _ = self.committed.send(Ok(None));
                let _ = decided.send(answer);
            }
            None => drop(self.committed.send(Ok(Some(answer)))),
        }
    }

    /// To be called once that is on disk which was decided last.
    pub(crate) fn committed(self) {
        let _ = self.committed.send(Ok(self.instead));
    }

    pub(crate) fn failed(self, error: StoreError) {
        let _ = self.committed.send(Err(error));
    }

    /// True where nobody waits any more.
    pub(crate) fn is_closed(&self) -> bool {
        self.committed.is_closed()
    }
}

impl<T> Answer<T> {
    pub(crate) async fn decided(self) -> StoreResult<Committing<T>> {
        let Self { decided, committed } = self;
        match decided.await {
            Ok(decided) => Ok(Committing { decided, committed, until: None }),
            // It failed before.
            Err(_) => Err(committed
                .await
                .map_or_else(|_| StoreError::closed(), |failed| failed.err().unwrap_or_else(StoreError::closed))),
        }
    }
}

async fn instead<T>(
    committed: oneshot::Receiver<StoreResult<Instead<T>>>,
    until: Option<Instant>,
) -> StoreResult<Instead<T>> {
    let committed = match until {
        Some(until) => timeout_at(until, committed).await.map_err(|_| StoreError::late())?,
        None => committed.await,
    };
    committed.unwrap_or_else(|_| Err(StoreError::closed()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::cell::Cell;
    use std::time::Duration;

    use futures_util::FutureExt as _;

    use super::*;

    fn failed() -> StoreError {
        StoreError::Internal("on purpose".to_owned())
    }

    /// As text, since errors cannot be compared.
    fn shown<T>(outcome: StoreResult<T>) -> Result<T, String> {
        outcome.map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn what_follows_is_made_ready_before_the_commit_and_given_after_it() {
        let (mut reply, answer) = reply();
        reply.decided(7);
        let (made, decided) = (Cell::new(0), answer.decided().await.unwrap());
        let mut following = Box::pin(decided.meanwhile(|answer| {
            made.set(made.get() + 1);
            answer + 1
        }));
        assert!((&mut following).now_or_never().is_none(), "it is not committed");
        assert_eq!(made.get(), 1);
        reply.committed();
        assert_eq!((shown(following.await), made.get()), (Ok(8), 1));
    }

    #[tokio::test]
    async fn where_it_was_tried_again_the_last_answer_counts() {
        let (mut reply, answer) = reply();
        reply.decided(7);
        let decided = answer.decided().await.unwrap();
        reply.decided(8);
        reply.decided(9);
        reply.committed();
        assert_eq!(shown(decided.meanwhile(|answer| answer + 1).await), Ok(10));
    }

    #[tokio::test]
    async fn nothing_is_let_go_of_what_was_not_committed() {
        let (before, answer) = reply::<u32>();
        before.failed(failed());
        assert_eq!(shown(answer.decided().await.map(drop)), shown(Err(failed())));

        let (mut after, answer) = reply();
        after.decided(7);
        let decided = answer.decided().await.unwrap();
        after.failed(failed());
        assert_eq!(shown(decided.committed().await), shown(Err(failed())));

        let (mut gone, answer) = reply();
        gone.decided(7);
        let decided = answer.decided().await.unwrap();
        drop(gone);
        assert_eq!(shown(decided.committed().await), shown(Err(StoreError::closed())));

        let (mut slow, answer) = reply();
        slow.decided(7);
        let decided = answer.decided().await.unwrap().until(Instant::now() + Duration::from_millis(1));
        assert_eq!(shown(decided.committed().await), shown(Err(StoreError::late())));
        assert!(slow.is_closed(), "nobody waits any more");
    }
}

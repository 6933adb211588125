//! What the writer does for a caller, and how the caller is told.

use crate::StoreResult;
use crate::committing::Reply;
use crate::error::StoreError;
use crate::sqlite::writer::Writing;

pub(super) trait Job: Send {
    /// Whether it is to be guarded from its beginning.
    fn guarded_from_the_start(&self) -> bool;
    /// Does the work; `true` where it is to be committed.
    fn run(&mut self, writing: &Writing<'_>) -> bool;
    /// Tells the caller what was decided, where that is worked on while it is committed.
    fn tell(&mut self);
    /// Tells the caller, `failed` being why the transaction could not be committed.
    fn answer(self: Box<Self>, failed: Option<&StoreError>);
}

/// How a job is done.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Manner {
    /// Guarded from its beginning, and told once it is on disk.
    Whole,
    /// Without a guard, and told while it is committed.
    Decision,
}

struct Pending<T, F> {
    work: Option<F>,
    manner: Manner,
    /// What came of it; without the answer once that was told.
    result: Option<StoreResult<Option<T>>>,
    reply: Reply<T>,
}

impl<T, F> Job for Pending<T, F>
where
    T: Send,
    F: FnOnce(&Writing<'_>) -> StoreResult<T> + Send,
{
    fn guarded_from_the_start(&self) -> bool {
        self.manner == Manner::Whole
    }

    fn run(&mut self, writing: &Writing<'_>) -> bool {
        let Some(work) = self.work.take() else {
            return false;
        };
        let result = self.result.insert(work(writing).map(Some));
        result.is_ok()
    }

    fn tell(&mut self) {
        if self.manner == Manner::Decision
            && let Some(Ok(value)) = &mut self.result
            && let Some(value) = value.take()
        {
            self.reply.decided(value);
        }
    }

    fn answer(self: Box<Self>, failed: Option<&StoreError>) {
        match (self.result, failed) {
            (Some(Err(error)), _) => self.reply.failed(error),
            (_, Some(error)) => self.reply.failed(error.clone()),
            (Some(Ok(Some(value))), None) => self.reply.done(value),
            (Some(Ok(None)), None) => self.reply.committed(),
            (None, None) => self.reply.failed(StoreError::Internal("a verb panicked".to_owned())),
        }
    }
}

pub(super) fn job<T, F>(work: F, manner: Manner, reply: Reply<T>) -> Box<dyn Job>
where
    T: Send + 'static,
    F: FnOnce(&Writing<'_>) -> StoreResult<T> + Send + 'static,
{
    Box::new(Pending { work: Some(work), manner, result: None, reply })
}

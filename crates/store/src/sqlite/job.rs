//! What the writer does for a caller, and how the caller is told.

use std::mem;

use crate::StoreResult;
use crate::committing::Reply;
use crate::error::StoreError;
use crate::sqlite::writing::Writing;

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
    manner: Manner,
    stage: Stage<T, F>,
    reply: Reply<T>,
}

/// How far a job has come.
enum Stage<T, F> {
    Waiting(F),
    /// It began, and did not end.
    Running,
    Failed(StoreError),
    Done(T),
    /// The caller knows what it did.
    Told,
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
        let Stage::Waiting(work) = mem::replace(&mut self.stage, Stage::Running) else {
            return false;
        };
        self.stage = work(writing).map_or_else(Stage::Failed, Stage::Done);
        matches!(self.stage, Stage::Done(_))
    }

    fn tell(&mut self) {
        if self.manner == Manner::Whole {
            return;
        }
        self.stage = match mem::replace(&mut self.stage, Stage::Told) {
            Stage::Done(answer) => {
                self.reply.decided(answer);
                Stage::Told
            }
            stage => stage,
        };
    }

    fn answer(self: Box<Self>, failed: Option<&StoreError>) {
        match (self.stage, failed) {
            (Stage::Failed(error), _) => self.reply.failed(error),
            (_, Some(error)) => self.reply.failed(error.clone()),
            (Stage::Done(answer), None) => self.reply.done(answer),
            (Stage::Told, None) => self.reply.committed(),
            (Stage::Running | Stage::Waiting(_), None) => {
                self.reply.failed(StoreError::Internal("a verb panicked".to_owned()));
            }
        }
    }
}

pub(super) fn job<T, F>(work: F, manner: Manner, reply: Reply<T>) -> Box<dyn Job>
where
    T: Send + 'static,
    F: FnOnce(&Writing<'_>) -> StoreResult<T> + Send + 'static,
{
    Box::new(Pending { manner, stage: Stage::Waiting(work), reply })
}

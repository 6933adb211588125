//! Which commits the database has acknowledged, as far as time goes.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use countersign_core::sessions::stall::Stall;
use countersign_core::time::Millis;

use crate::postgres::failures::{Fault, Outcome};

/// What a node knows of its commits.
#[derive(Default)]
pub(super) struct Commits(Mutex<Seen>);

#[derive(Default)]
struct Seen {
    /// How many were asked for.
    asked: u64,
    /// The newest decision that is known to be committed.
    last: Option<Millis>,
    /// Something may be committed that nobody was told of.
    open: Option<Open>,
    /// The last such time that is over.
    over: Option<Stall>,
}

struct Open {
    from: Millis,
    /// How many had been asked for: one that comes later and is answered comes after them in the database too.
    asked: u64,
}

impl Commits {
    /// To be called before what was decided `at` a time is committed.
    pub(super) fn ask(self: &Arc<Self>, at: Millis) -> Asked {
        let mut seen = self.seen();
        seen.asked += 1;
        Asked { commits: Arc::clone(self), number: seen.asked, at, is_open: true }
    }

    /// When it was not known lately whether anything was committed.
    pub(super) fn stall(&self, now: Millis) -> Option<Stall> {
        let seen = self.seen();
        match &seen.open {
            Some(open) => Some(Stall::after(seen.over, open.from, now)),
            None => seen.over,
        }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A commit that was asked for. Dropped without an answer, it may have happened or happen yet.
pub(super) struct Asked {
    commits: Arc<Commits>,
    number: u64,
    at: Millis,
    is_open: bool,
}

impl Asked {
    /// What came of it.
    pub(super) fn answer<T>(self, outcome: Outcome<T>) -> Outcome<T> {
        match &outcome {
            Ok(_) => self.committed(),
            // It was tried again, or stands as it did.
            Err(Fault::Again(_) | Fault::Held(_)) => self.refused(),
            // The connection may have broken in the middle.
            Err(Fault::Final(_)) => {}
        }
        outcome
    }

    /// It was committed, and so was what had been asked for before and was ever to be.
    fn committed(mut self) {
        self.is_open = false;
        let mut seen = self.commits.seen();
        if let Some(open) = seen.open.take_if(|open| open.asked < self.number) {
            seen.over = Some(Stall::after(seen.over, open.from, self.at));
        }
        seen.last = seen.last.max(Some(self.at));
    }

    /// The database has said that it was not.
    fn refused(mut self) {
        self.is_open = false;
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        if self.is_open {
            let mut seen = self.commits.seen();
            // What another node decided may hang for longer than what this one did: since the last commit that was seen.
            let from = seen.last.map_or(self.at, |last| last.min(self.at));
            let from = seen.open.as_ref().map_or(from, |open| open.from.min(from));
            seen.open = Some(Open { from, asked: seen.asked });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(time: i64) -> Millis {
        Millis::new(time)
    }

    fn stall(from: i64, until: i64) -> Option<Stall> {
        Some(Stall { from: at(from), until: at(until) })
    }

    #[test]
    fn a_commit_without_an_answer_opens_a_stall_and_the_next_one_with_an_answer_ends_it() {
        let commits = Arc::new(Commits::default());
        commits.ask(at(1000)).committed();
        assert_eq!(commits.stall(at(1500)), None);
        drop(commits.ask(at(2000)));
        drop(commits.ask(at(3000)));
        commits.ask(at(3500)).refused();
        assert_eq!([4000, 9000].map(|now| commits.stall(at(now))), [stall(1000, 4000), stall(1000, 9000)]);
        commits.ask(at(9000)).committed();
        assert_eq!(commits.stall(at(20_000)), stall(1000, 9000));
        commits.ask(at(200_000)).committed();
        drop(commits.ask(at(300_000)));
        assert_eq!(commits.stall(at(400_000)), stall(200_000, 400_000));
    }

    #[test]
    fn what_was_decided_first_counts_whichever_is_given_up_first() {
        let commits = Arc::new(Commits::default());
        let (first, second) = (commits.ask(at(1000)), commits.ask(at(2500)));
        commits.ask(at(2000)).committed();
        drop(first);
        assert_eq!(commits.stall(at(3000)), stall(1000, 3000));
        // It was asked for before the other was given up: its answer shows nothing about that.
        second.committed();
        assert_eq!(commits.stall(at(4000)), stall(1000, 4000));
        commits.ask(at(3500)).committed();
        assert_eq!(commits.stall(at(4000)), stall(1000, 3500));
    }
}

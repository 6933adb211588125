//! Which commits the database has acknowledged, as far as time goes.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use countersign_core::sessions::stall::Stall;
use countersign_core::time::Millis;

use crate::error::StoreError;
use crate::postgres::failures::{Fault, Outcome};
use crate::stalls::Stalls;

/// From how long on a commit that is given up has hung, and was not just left by a client that hung up. Below what is left of a verb's time where
/// it has waited for a lock as long as it may.
const HANGING: Duration = Duration::from_millis(300);
/// How long before the first commit of this node that hung one of another node may have.
const OF_OTHERS: Duration = Duration::from_secs(10);

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
    over: Stalls,
}

struct Open {
    from: Millis,
    /// When the last of them was given up.
    until: Millis,
    /// How many had been asked for by then. Whatever kept those from an answer keeps one that was asked for later as well, unless it is over.
    asked: u64,
}

impl Commits {
    /// To be called before what was decided `at` a time is committed.
    pub(super) fn ask(self: &Arc<Self>, at: Millis) -> Asked {
        let mut seen = self.seen();
        seen.asked += 1;
        Asked { commits: Arc::clone(self), number: seen.asked, at, since: Instant::now(), is_open: true }
    }

    /// When it was not known lately whether anything was committed.
    pub(super) fn stalls(&self, now: Millis) -> Stalls {
        let seen = self.seen();
        let mut stalls = seen.over.clone();
        if let Some(open) = &seen.open {
            stalls.push(Stall { from: open.from, until: now });
        }
        stalls
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A commit that was asked for.
pub(super) struct Asked {
    commits: Arc<Commits>,
    number: u64,
    at: Millis,
    since: Instant,
    is_open: bool,
}

impl Asked {
    /// What came of it.
    pub(super) fn answer<T>(mut self, outcome: Outcome<T>) -> Outcome<T> {
        self.is_open = false;
        match &outcome {
            Ok(_) => self.committed(),
            // The connection broke in the middle.
            Err(Fault::Final(StoreError::Unavailable(_))) => self.unknown(),
            // The database has said that it was not.
            Err(_) => {}
        }
        outcome
    }

    fn committed(&self) {
        let mut seen = self.commits.seen();
        if let Some(open) = seen.open.take_if(|open| open.asked < self.number) {
            seen.over.push(Stall { from: open.from, until: open.until.max(self.at) });
        }
        seen.last = seen.last.max(Some(self.at));
    }

    fn unknown(&self) {
        let mut seen = self.commits.seen();
        let until = self.at + self.since.elapsed();
        // What was decided with the last one that was answered, or before, is no part of it.
        let after_the_last =
            seen.last.map_or(self.at, |last| (last + Duration::from_millis(1)).max(self.at - OF_OTHERS));
        let from = after_the_last.min(self.at);
        let asked = seen.asked;
        seen.open = Some(match &seen.open {
            Some(open) => Open { from: open.from.min(from), until: open.until.max(until), asked },
            None => Open { from, until, asked },
        });
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        // A client that hangs up is no sign of anything.
        if self.is_open && self.since.elapsed() >= HANGING {
            self.unknown();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(time: i64) -> Millis {
        Millis::new(time)
    }

    fn stalls(of: &[(i64, i64)]) -> Vec<Stall> {
        of.iter().map(|(from, until)| Stall { from: at(*from), until: at(*until) }).collect()
    }

    impl Commits {
        fn told(&self, now: i64) -> Vec<Stall> {
            self.stalls(at(now)).as_slice().to_vec()
        }

        fn was_committed(self: &Arc<Self>, time: i64) {
            self.ask(at(time)).answer(Ok(())).unwrap_or_else(|_| unreachable!("it went well"));
        }
    }

    /// One that is given up after two seconds without an answer.
    fn hung(mut asked: Asked) {
        asked.since -= Duration::from_secs(2);
    }

    #[test]
    fn a_commit_that_hung_opens_a_stall_and_the_next_one_with_an_answer_ends_it() {
        let commits = Arc::new(Commits::default());
        commits.was_committed(100_000);
        assert_eq!(commits.told(100_500), []);
        hung(commits.ask(at(101_000)));
        hung(commits.ask(at(102_000)));
        assert_eq!(
            [104_000, 900_000].map(|now| commits.told(now)),
            [104_000, 900_000].map(|now| stalls(&[(100_001, now)]))
        );
        commits.was_committed(200_000);
        assert_eq!(commits.told(300_000), stalls(&[(100_001, 200_000)]));
        hung(commits.ask(at(250_000)));
        assert_eq!(
            commits.told(300_000),
            stalls(&[(100_001, 200_000), (240_000, 300_000)]),
            "others no earlier than ten seconds before"
        );
    }

    #[test]
    fn neither_a_client_that_hangs_up_nor_a_refusal_opens_one_and_a_broken_connection_does() {
        let commits = Arc::new(Commits::default());
        drop(commits.ask(at(1000)));
        let refusals = [
            Fault::Held(StoreError::Unavailable("held".to_owned())),
            Fault::Again(StoreError::Unavailable("serialization".to_owned())),
            Fault::Final(StoreError::Internal("a constraint".to_owned())),
        ];
        for refusal in refusals {
            assert!(commits.ask(at(1000)).answer::<()>(Err(refusal)).is_err());
        }
        assert_eq!(commits.told(5000), []);
        let broken = Fault::Final(StoreError::Unavailable("connection closed".to_owned()));
        assert!(commits.ask(at(1000)).answer::<()>(Err(broken)).is_err());
        assert_eq!(commits.told(5000), stalls(&[(1000, 5000)]));
    }

    #[test]
    fn an_answer_to_what_was_asked_for_before_ends_nothing() {
        let commits = Arc::new(Commits::default());
        let (first, second) = (commits.ask(at(10_000)), commits.ask(at(12_500)));
        commits.was_committed(11_000);
        hung(first);
        assert_eq!(commits.told(13_000), stalls(&[(10_000, 13_000)]));
        assert!(second.answer(Ok(())).is_ok());
        assert_eq!(commits.told(14_000), stalls(&[(10_000, 14_000)]));
        // It was decided before the other was given up, at the end of its two seconds.
        commits.was_committed(11_500);
        let [Stall { from, until }] = commits.told(14_000)[..] else { panic!("there is one") };
        assert_eq!(from, at(10_000));
        assert!(until >= at(12_000) && until < at(13_000), "{until:?}");
    }
}

//! Which commits the database has acknowledged, as far as time goes.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use countersign_core::sessions::stall::Stall;
use countersign_core::time::Millis;

use crate::postgres::failures::{Fault, Outcome};
use crate::stalls::Stalls;

/// From how long on a commit that is given up has hung, and was not just left by a client that hung up. Below what is left of a verb's time where
/// it has waited for a lock as long as it may.
const HANGING: Duration = Duration::from_millis(300);
/// How long before the first commit of this node that hung one of another node may have.
const OF_OTHERS: Duration = Duration::from_secs(10);
/// For how long after the last one that was given up nothing is known of the database where no other is asked for. What it commits for others
/// later than that has nothing to do with it.
const UNKNOWN_FOR: Duration = Duration::from_secs(600);
/// How many are told apart.
const APART: usize = 8;

/// What a node knows of its commits.
#[derive(Default)]
pub(super) struct Commits(Mutex<Seen>);

#[derive(Default)]
struct Seen {
    /// How many were asked for.
    asked: u64,
    /// The newest decision that is known to be committed.
    last: Option<Millis>,
    /// What may be committed although nobody was told, the first that was given up first.
    open: Vec<Open>,
    over: Stalls,
}

struct Open {
    from: Millis,
    /// When it was given up.
    until: Millis,
    /// How many had been asked for by then. Whatever kept it from an answer keeps one that was asked for later as well, unless it is over.
    asked: u64,
}

impl Seen {
    /// The end of what is open, as far as that goes now.
    fn end(&self, open: &Open, now: Millis) -> Millis {
        let given_up = self.open.iter().map(|open| open.until).fold(open.until, Ord::max);
        if now < given_up + UNKNOWN_FOR { now.max(open.until) } else { given_up }
    }

    /// Ends what was given up before this one was asked for.
    fn close(&mut self, asked_for: u64, at: Millis) {
        let asked_before = self.open.iter().filter(|open| open.asked < asked_for);
        let ended: Vec<_> = asked_before.map(|open| Stall { from: open.from, until: self.end(open, at) }).collect();
        ended.into_iter().for_each(|stall| self.over.push(stall));
        self.open.retain(|open| open.asked >= asked_for);
    }

    fn open(&mut self, mut open: Open) {
        if self.open.len() == APART {
            // Nothing was answered in between, or there would not be as many.
            let last = self.open.remove(APART - 1);
            open.from = open.from.min(last.from);
        }
        self.open.push(open);
    }
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
        for open in &seen.open {
            stalls.push(Stall { from: open.from, until: seen.end(open, now) });
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
            Err(Fault::Unknown(_)) => self.unknown(),
            // The database has said that it was not.
            Err(_) => {}
        }
        outcome
    }

    fn committed(&self) {
        let mut seen = self.commits.seen();
        seen.close(self.number, self.at);
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
        seen.open(Open { from, until, asked });
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
    use crate::error::StoreError;

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
        let both = |now| stalls(&[(100_001, now), (100_001, now)]);
        assert_eq!([104_500, 700_000].map(|now| commits.told(now)), [104_500, 700_000].map(both));
        commits.was_committed(200_000);
        assert_eq!(commits.told(300_000), both(200_000));
        hung(commits.ask(at(250_000)));
        let last = commits.told(300_000).pop();
        assert_eq!(last, stalls(&[(240_000, 300_000)]).pop(), "others no earlier than ten seconds before");
    }

    #[test]
    fn each_ends_with_the_next_answer_though_others_hang_meanwhile() {
        let commits = Arc::new(Commits::default());
        hung(commits.ask(at(100_000)));
        let next = commits.ask(at(103_000));
        hung(commits.ask(at(104_000)));
        assert!(next.answer(Ok(())).is_ok());
        let told = commits.told(200_000);
        assert_eq!((told[0].from, told[1]), (at(100_000), stalls(&[(104_000, 200_000)])[0]));
        assert!(told[0].until < at(107_000), "{told:?}");
    }

    #[test]
    fn one_lasts_for_ten_minutes_where_nothing_else_is_asked_for() {
        let commits = Arc::new(Commits::default());
        hung(commits.ask(at(100_000)));
        assert_eq!(commits.told(701_000), stalls(&[(100_000, 701_000)]));
        let ended = commits.told(703_000);
        assert!(ended[0].until >= at(102_000) && ended[0].until < at(103_000), "{ended:?}");
        commits.was_committed(9_000_000);
        assert_eq!(commits.told(9_000_000), ended, "nor does the next commit make it any longer");
    }

    #[test]
    fn of_many_the_first_is_not_forgotten() {
        let commits = Arc::new(Commits::default());
        (0..20).for_each(|number| hung(commits.ask(at(100_000 + number * 20_000))));
        let told = commits.told(500_000);
        assert_eq!(told.len(), APART);
        assert!(told.iter().all(|stall| stall.until == at(500_000)), "{told:?}");
        for decided in (0..20).map(|number| at(100_000 + number * 20_000)) {
            assert_eq!(Stall::latest_commit(&told, decided, at(500_000)), at(500_000), "{decided:?}");
        }
    }

    #[test]
    fn neither_a_client_that_hangs_up_nor_a_refusal_opens_one_and_a_broken_connection_does() {
        let commits = Arc::new(Commits::default());
        drop(commits.ask(at(1000)));
        let refusals = [
            Fault::Held(StoreError::Unavailable("held".to_owned())),
            Fault::Again(StoreError::Unavailable("serialization".to_owned())),
            Fault::Final(StoreError::Internal("a constraint".to_owned())),
            Fault::Final(StoreError::Unavailable("the disk is full".to_owned())),
        ];
        for refusal in refusals {
            assert!(commits.ask(at(1000)).answer::<()>(Err(refusal)).is_err());
        }
        assert_eq!(commits.told(5000), []);
        let broken = Fault::Unknown(StoreError::Unavailable("connection closed".to_owned()));
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

//! A session some rotations old, and a question about it.

use std::time::Duration;

use countersign_core::ids::ClientId;
use countersign_core::sessions::refresh_token::RefreshToken;
use countersign_core::sessions::rotation::{Decision, Found, Lifetimes, Presented, begin, decide};
use countersign_core::sessions::stall::Stall;
use countersign_core::sessions::state::{Family, Session, Standing};
use countersign_core::time::Millis;

use crate::support;

/// The default overlap.
pub(crate) const OVERLAP: Duration = Duration::from_secs(60);

/// The shortest time that a store can tell.
pub(crate) const INSTANT: Duration = Duration::from_millis(1);

/// The pause between two rotations: far longer than the overlap.
pub(crate) const PAUSE: Duration = Duration::from_secs(600);

/// When the session began.
pub(crate) const BEGAN: Millis = Millis::new(1_700_000_000_000);

/// The owner's retry key.
pub(crate) const KEY: &str = "the owner's own retry key";

/// The nonce of the question.
pub(crate) const NONCE: [u8; 16] = [9; 16];

/// A row, its session, and every token that was ever handed out.
pub(crate) struct Case {
    pub(crate) family: Family,
    pub(crate) session: Session,
    pub(crate) standing: Standing,
    pub(crate) lifetimes: Lifetimes,
    pub(crate) tokens: Vec<RefreshToken>,
    /// The retry key of the next question.
    pub(crate) key: Option<&'static str>,
    pub(crate) now: Millis,
    /// When nothing could be committed.
    pub(crate) stalls: Vec<Stall>,
}

impl Case {
    /// A session with ninety days to live that was rotated so often, one pause after the other, the last time just now.
    pub(crate) fn rotated(times: u32, key: Option<&'static str>) -> Self {
        let session = support::session(BEGAN + Duration::from_secs(90 * 86_400));
        let token = support::first_token();
        let lifetimes = support::lifetimes(OVERLAP);
        let family = begin(&token, ClientId::first_party(), &session, &lifetimes, BEGAN);
        let standing = support::standing();
        let mut case =
            Self { family, session, standing, lifetimes, tokens: vec![token], key, now: BEGAN, stalls: vec![] };
        for _ in 0..times {
            case.now = case.now + PAUSE;
            case.rotate();
        }
        case
    }

    /// Rotates now.
    pub(crate) fn rotate(&mut self) {
        let Decision::Rotated { family, successor } = self.ask(self.family.generation) else {
            panic!("the current token rotates");
        };
        self.family = family;
        self.tokens.push(successor);
    }

    /// The same a while later.
    pub(crate) fn after(mut self, wait: Duration) -> Self {
        self.now = self.now + wait;
        self
    }

    /// The same, presented with this retry key or without.
    pub(crate) fn with_key(mut self, key: Option<&'static str>) -> Self {
        self.key = key;
        self
    }

    /// What presenting a generation gets.
    pub(crate) fn ask(&self, generation: u32) -> Decision {
        self.present(&support::present(&self.tokens[usize::try_from(generation).unwrap()], self.key))
    }

    /// What the presented token gets.
    pub(crate) fn present(&self, presented: &Presented) -> Decision {
        let found =
            Found { family: &self.family, session: &self.session, standing: &self.standing, stalls: &self.stalls };
        decide(presented, Some(found), &self.lifetimes, NONCE, self.now)
    }

    /// A genuine token of a history that is not ours.
    pub(crate) fn of_another_history(&self, generation: u32) -> RefreshToken {
        let before = usize::try_from(generation.checked_sub(1).unwrap()).unwrap();
        self.tokens[before].successor(&[8; 16]).unwrap()
    }

    /// The row after a rotation; panics where there was none.
    #[track_caller]
    pub(crate) fn rotated_row(&self, generation: u32) -> Family {
        match self.ask(generation) {
            Decision::Rotated { family, .. } => family,
            other => panic!("{other:?}"),
        }
    }

    /// The row after a reissue; panics where there was none.
    #[track_caller]
    pub(crate) fn reissued_row(&self, generation: u32) -> Family {
        match self.ask(generation) {
            Decision::Reissued { family, successor, .. } => {
                let again = self.tokens[usize::try_from(generation + 1).unwrap()].clone();
                assert_eq!(successor, again, "the successor that was handed out before");
                family
            }
            other => panic!("{other:?}"),
        }
    }
}

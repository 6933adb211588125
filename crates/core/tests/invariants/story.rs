//! Random stories of one session: what is presented, what is revoked, how the clock moves, what is restored.

use std::time::Duration;

use countersign_core::ids::{ClientId, SessionId};
use countersign_core::sessions::refresh_token::{Nonce, RefreshToken};
use countersign_core::sessions::rotation::{Decision, Found, Lifetimes, Presented, begin, decide};
use countersign_core::sessions::state::{EndReason, Ended, Family, Session, Standing};
use countersign_core::time::Millis;
use proptest::prelude::*;
use proptest::sample::Index;

use crate::support;

pub(crate) const OVERLAP: Duration = Duration::from_secs(60);
pub(crate) const DAY: Duration = Duration::from_secs(86_400);
pub(crate) const BEGAN: Millis = Millis::new(1_700_000_000_000);

/// What happens next.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    Present { which: Which, key: Key, other_client: bool, access_token: Option<bool> },
    Wait(Duration),
    SetClockBack(Duration),
    End(EndReason),
    RevokeAccount,
    RevokeEveryone,
    Disable(bool),
    Copy,
    Restore(Index),
}

/// The token that is presented.
#[derive(Clone, Debug)]
pub(crate) enum Which {
    Current,
    Parent,
    AnyIssued(Index),
    OtherHistory(Index),
    Future(u8),
}

/// The retry key that comes with it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Key {
    None,
    Owners,
    Thiefs,
}

/// One presented token: what was found, what was answered.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) presented: Presented,
    pub(crate) family: Family,
    pub(crate) session: Session,
    pub(crate) standing: Standing,
    pub(crate) lifetimes: Lifetimes,
    pub(crate) now: Millis,
    pub(crate) decision: Decision,
    /// True once something was revoked, and not restored since.
    pub(crate) revoked: bool,
}

impl Step {
    /// The token that was handed out, and the row that was written with it.
    pub(crate) fn handed_out(&self) -> Option<(&RefreshToken, &Family)> {
        match &self.decision {
            Decision::Rotated { family, successor } | Decision::Reissued { family, successor, .. } => {
                Some((successor, family))
            }
            Decision::Replayed(_) | Decision::Refused(_) => None,
        }
    }
}

#[derive(Clone)]
struct Rows {
    family: Family,
    session: Session,
    standing: Standing,
    revoked: bool,
}

/// The session of a story.
pub(crate) struct World {
    rows: Rows,
    lifetimes: Lifetimes,
    pub(crate) now: Millis,
    issued: Vec<RefreshToken>,
    copies: Vec<Rows>,
    drawn: u64,
}

impl World {
    pub(crate) fn new(overlap: Duration) -> Self {
        let session = support::session(BEGAN + 45 * DAY);
        let lifetimes = support::lifetimes(overlap);
        let token = support::first_token();
        let family = begin(&token, ClientId::first_party(), &session, &lifetimes, BEGAN);
        let rows = Rows { family, session, standing: support::standing(), revoked: false };
        Self { rows, lifetimes, now: BEGAN, issued: vec![token], copies: vec![], drawn: 0 }
    }

    /// Tells a story; every presented token is a step.
    pub(crate) fn tell(mut self, story: &[Event]) -> Vec<Step> {
        story.iter().filter_map(|event| self.happen(event)).collect()
    }

    /// Goes on with a story; what was handed out, in order.
    pub(crate) fn run(&mut self, story: &[Event]) -> Vec<RefreshToken> {
        let steps: Vec<Step> = story.iter().filter_map(|event| self.happen(event)).collect();
        steps.iter().filter_map(Step::handed_out).map(|(successor, _)| successor.clone()).collect()
    }

    /// The database goes back to its newest copy.
    pub(crate) fn restore_last_copy(&mut self) {
        self.rows = self.copies.last().cloned().unwrap();
    }

    /// Changes the rows as no decision would.
    pub(crate) fn disturb(&mut self, change: impl FnOnce(&mut Family, &mut Session)) {
        change(&mut self.rows.family, &mut self.rows.session);
    }

    fn happen(&mut self, event: &Event) -> Option<Step> {
        let rows = &mut self.rows;
        match event {
            Event::Present { which, key, other_client, access_token } => {
                let mut presented = present(&self.choose(which)?, *key);
                if *other_client {
                    presented.client = ClientId::parse("another").unwrap();
                }
                let other = SessionId::from_bytes([0; 16]);
                presented.access_token_session = access_token.map(|own| if own { support::SESSION } else { other });
                return Some(self.present(presented));
            }
            Event::Wait(span) => self.now = self.now + *span,
            Event::SetClockBack(span) => self.now = self.now - *span,
            Event::End(reason) => {
                rows.session.ended.get_or_insert(Ended { at: self.now, reason: *reason });
                rows.revoked = true;
            }
            Event::RevokeAccount => {
                rows.standing.epochs.session = rows.standing.epochs.session.next(self.now);
                rows.revoked = true;
            }
            Event::RevokeEveryone => {
                rows.standing.epochs.global = rows.standing.epochs.global.next(self.now);
                rows.revoked = true;
            }
            Event::Disable(disabled) => rows.standing.account_disabled = *disabled,
            Event::Copy => self.copies.push(rows.clone()),
            Event::Restore(index) if !self.copies.is_empty() => self.rows = index.get(&self.copies).clone(),
            Event::Restore(_) => {}
        }
        None
    }

    /// Presents a token and writes what the answer says.
    pub(crate) fn present(&mut self, presented: Presented) -> Step {
        let Rows { family, session, standing, revoked } = self.rows.clone();
        let found = Found { family: &family, session: &session, standing: &standing, stalls: &[] };
        self.drawn += 1;
        let decision = decide(&presented, Some(found), &self.lifetimes, fresh(self.drawn), self.now);
        let (lifetimes, now) = (self.lifetimes, self.now);
        let step = Step { presented, family, session, standing, lifetimes, now, decision, revoked };
        if let Some((successor, family)) = step.handed_out() {
            self.rows.family = family.clone();
            self.issued.push(successor.clone());
        }
        if matches!(step.decision, Decision::Replayed(_)) {
            self.rows.session.ended = Some(Ended { at: self.now, reason: EndReason::Replayed });
            self.rows.revoked = true;
        }
        step
    }

    /// The newest token of the generation that the row is at.
    pub(crate) fn current(&self) -> Option<RefreshToken> {
        self.issued.iter().rfind(|token| token.hash() == self.rows.family.current).cloned()
    }

    fn choose(&self, which: &Which) -> Option<RefreshToken> {
        let current = self.current()?;
        match which {
            Which::Current => Some(current),
            Which::Parent => {
                let previous = self.rows.family.last?.previous;
                self.issued.iter().rfind(|token| token.hash() == previous).cloned()
            }
            Which::AnyIssued(index) => Some(index.get(&self.issued).clone()),
            Which::OtherHistory(index) => index.get(&self.issued).successor(&[0xff; 16]),
            Which::Future(steps) => (0..=*steps).try_fold(current, |token, step| token.successor(&[step; 16])),
        }
    }
}

/// A token with the retry key that its owner sends with it, with a thief's or without.
pub(crate) fn present(token: &RefreshToken, key: Key) -> Presented {
    let key = match key {
        Key::None => None,
        Key::Owners => Some(format!("the owner's, for generation {}", token.generation)),
        Key::Thiefs => Some(format!("a thief's, for generation {}", token.generation)),
    };
    support::present(token, key.as_deref())
}

/// Stories with everything in them but restored copies.
pub(crate) fn story() -> impl Strategy<Value = Vec<Event>> {
    any::<bool>().prop_flat_map(|keyed| proptest::collection::vec(event(keyed), 1..60))
}

/// Stories in which older copies of the rows come back.
pub(crate) fn story_with_restores() -> impl Strategy<Value = Vec<Event>> {
    any::<bool>().prop_flat_map(|keyed| {
        let restore = prop_oneof![Just(Event::Copy), any::<Index>().prop_map(Event::Restore)];
        proptest::collection::vec(prop_oneof![12 => event(keyed), 1 => restore], 1..60)
    })
}

/// As proptest would have it, but for files beside the tests: a failure prints the story itself.
pub(crate) fn config() -> ProptestConfig {
    ProptestConfig { failure_persistence: None, ..ProptestConfig::default() }
}

/// No overlap, the default, or any up to an hour.
pub(crate) fn overlap() -> impl Strategy<Value = Duration> {
    prop_oneof![Just(Duration::ZERO), Just(OVERLAP), (0u64..3_600_000).prop_map(Duration::from_millis)]
}

/// A wait as people and networks have them: a moment, about the overlap, or days.
pub(crate) fn wait() -> impl Strategy<Value = Duration> {
    let milliseconds = prop_oneof![
        8 => 0u64..5_000,
        4 => 50_000u64..130_000,
        1 => Just(60_000u64),
        1 => 0u64..600_000_000,
    ];
    milliseconds.prop_map(Duration::from_millis)
}

/// The key that the owner's client sends, and seldom another.
fn key(keyed: bool) -> impl Strategy<Value = Key> {
    let (usual, other) = if keyed { (Key::Owners, Key::None) } else { (Key::None, Key::Owners) };
    prop_oneof![30 => Just(usual), 1 => Just(other), 1 => Just(Key::Thiefs)]
}

fn event(keyed: bool) -> impl Strategy<Value = Event> {
    prop_oneof![
        400 => presentation(keyed),
        200 => wait().prop_map(Event::Wait),
        20 => wait().prop_map(Event::SetClockBack),
        8 => revocation(),
        8 => (1u32..40).prop_map(|days| Event::Wait(days * DAY)),
    ]
}

fn presentation(keyed: bool) -> impl Strategy<Value = Event> {
    let which = prop_oneof![
        80 => Just(Which::Current),
        32 => Just(Which::Parent),
        6 => any::<Index>().prop_map(Which::AnyIssued),
        1 => any::<Index>().prop_map(Which::OtherHistory),
        1 => (0u8..3).prop_map(Which::Future),
    ];
    let access_token = prop_oneof![8 => Just(None), 4 => Just(Some(true)), 1 => Just(Some(false))];
    (which, key(keyed), prop::bool::weighted(0.02), access_token)
        .prop_map(|(which, key, other_client, access_token)| Event::Present { which, key, other_client, access_token })
}

fn revocation() -> impl Strategy<Value = Event> {
    prop_oneof![
        prop::sample::select(EndReason::ALL.to_vec()).prop_map(Event::End),
        Just(Event::RevokeAccount),
        Just(Event::RevokeEveryone),
        any::<bool>().prop_map(Event::Disable),
    ]
}

fn fresh(drawn: u64) -> Nonce {
    let mut nonce = [0; 16];
    nonce[..8].copy_from_slice(&drawn.to_be_bytes());
    nonce
}

//! What changes in the world, and what tells two states of it apart.

use std::time::Duration;

use countersign_core::sessions::state::{Family, Session, Standing};
use countersign_core::time::Millis;

/// Time passes in ticks.
pub(crate) type Tick = u8;

/// The overlap: an age of one tick is inside, two are outside.
pub(crate) const OVERLAP: Tick = 2;

/// From this age on, one age is like another: more than twice the overlap.
const OLDEST: Tick = 2 * OVERLAP + 1;

/// The length of a tick.
pub(crate) const TICK: Duration = Duration::from_secs(30);

/// Everything that changes.
#[derive(Clone)]
pub(crate) struct State {
    pub(crate) now: Tick,
    pub(crate) family: Family,
    pub(crate) session: Session,
    pub(crate) standing: Standing,
    /// The newest generation that was ever handed out, and when that was first done.
    pub(crate) handed: (u8, Tick),
    /// What all tabs of the owner's browser read: the generation of the token that they hold.
    pub(crate) stored: u8,
    pub(crate) network: Vec<Message>,
    pub(crate) stolen: Option<Stolen>,
    pub(crate) revoked: bool,
}

/// What the thief has, and what came of it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Stolen {
    pub(crate) oldest: u8,
    pub(crate) newest: u8,
    /// True once the thief was given a token.
    pub(crate) succeeded: bool,
    /// True once both were given tokens since.
    pub(crate) shared: bool,
    /// When the owner, with what is stored, was first refused after the thief had been given a token.
    pub(crate) refused_at: Option<Tick>,
}

/// What is under way. A copy stays when it is delivered: that is how the network repeats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Message {
    /// The owner presents a generation.
    Request {
        /// Whose token.
        generation: u8,
        /// When it was sent.
        sent: Tick,
    },
    /// The owner is given the next one.
    Answer {
        /// The generation that was presented.
        presented: u8,
    },
}

/// Who presents a token, and with whose retry key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Who {
    /// The owner, whose client has a retry key or has none.
    Owner,
    /// The thief, with a retry key that is not the owner's, or without.
    Thief {
        /// True with one.
        keyed: bool,
    },
}

/// What may happen.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Action {
    /// A tab of the owner sends what it holds; another may have done so before.
    Send,
    /// The message arrives. A request stays, so that it can arrive again.
    Deliver(Message),
    /// The message is lost. A crash before the commit is a lost request, one after it a lost answer.
    Lose(Message),
    /// The thief copies this generation.
    Steal(u8),
    /// The thief presents this generation, with a retry key of the thief's own or without.
    Thief(u8, bool),
    /// Time passes; requests that are too old are lost.
    Tick,
    /// The session is revoked.
    RevokeSession,
    /// All sessions of the account are.
    RevokeAccount,
    /// All sessions of everyone are.
    RevokeEveryone,
}

impl State {
    /// True once the session was revoked or ended by a replay.
    pub(crate) fn is_over(&self) -> bool {
        self.revoked || self.session.ended.is_some()
    }

    /// What tells this state from others.
    pub(crate) fn key(&self) -> Key {
        let age = |tick: Tick| (self.now - tick).min(OLDEST);
        let age_of = |time: Millis| age(tick(time));
        let last = self.family.last;
        Key {
            generation: self.family.generation,
            current: *self.family.current.as_bytes(),
            retry: last.and_then(|last| last.retry.map(|retry| *retry.as_bytes())),
            rotated: last.map(|last| age_of(last.rotated_at)),
            marks: [self.family.recent.older, self.family.recent.newer]
                .map(|mark| mark.map(|mark| (mark.generation, age_of(mark.at)))),
            ended: self.session.ended.is_some(),
            revoked: self.revoked,
            handed: (self.handed.0, age(self.handed.1)),
            stored: self.stored,
            network: self.network.iter().map(|message| message.aged(age)).collect(),
            stolen: self.stolen.map(|stolen| Stolen { refused_at: stolen.refused_at.map(age), ..stolen }),
        }
    }
}

impl Message {
    /// The same with the age in the place of the time of sending.
    fn aged(self, age: impl Fn(Tick) -> Tick) -> Self {
        match self {
            Self::Request { generation, sent } => Self::Request { generation, sent: age(sent) },
            answer @ Self::Answer { .. } => answer,
        }
    }
}

/// What tells states apart. Instead of times there are ages, and those beyond [`OLDEST`] are one, so that time need not
/// end: no rule knows a longer span. The counters of reissues and the expiry of access tokens are left out: no answer
/// depends on them, and the property tests would notice if one did.
#[derive(PartialEq, Eq, Hash)]
pub(crate) struct Key {
    generation: u32,
    current: [u8; 32],
    retry: Option<[u8; 16]>,
    rotated: Option<Tick>,
    marks: [Option<(u32, Tick)>; 2],
    ended: bool,
    revoked: bool,
    handed: (u8, Tick),
    stored: u8,
    network: Vec<Message>,
    stolen: Option<Stolen>,
}

/// The time of a tick.
pub(crate) fn at(tick: Tick) -> Millis {
    Millis::new(1_700_000_000_000) + TICK * u32::from(tick)
}

/// The reverse of [`at`].
fn tick(time: Millis) -> Tick {
    let ticks = (time.get() - at(0).get()) / i64::try_from(TICK.as_millis()).unwrap();
    Tick::try_from(ticks).unwrap()
}

/// The network is a set in one order, so that states which differ in nothing else are one.
pub(crate) fn put(network: &mut Vec<Message>, message: Message) {
    if let Err(place) = network.binary_search(&message) {
        network.insert(place, message);
    }
}

pub(crate) fn take(network: &mut Vec<Message>, message: Message) {
    network.retain(|other| *other != message);
}

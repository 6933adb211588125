//! One session, its owner, a network that loses, repeats and reorders, and a thief. The server is the real decision.

use countersign_core::epochs::Epoch;
use countersign_core::sessions::refresh_token::{Nonce, RefreshToken};
use countersign_core::sessions::rotation::{Decision, Found, Lifetimes, Refusal, Replay, begin, decide};
use countersign_core::sessions::state::{EndReason, Ended};
use countersign_core::time::Millis;

use crate::search::Model;
use crate::state::{Action, Key, Message, OVERLAP, State, Stolen, TICK, Tick, Who, at, put, take};
use crate::support;

const MOST_REQUESTS: usize = 2;
const MOST_ANSWERS: usize = 2;

/// Who takes part, and what may happen.
#[derive(Clone, Copy)]
pub(crate) struct Rules {
    /// True where the owner sends a retry key with every request.
    pub(crate) keyed: bool,
    /// True where somebody may copy one token of the owner, once, but not the owner's retry key.
    pub(crate) thief: bool,
    /// True where the session, the account's sessions or everyone's may be revoked.
    pub(crate) revocations: bool,
    /// True where it counts as a broken promise that owner and thief both live on one session.
    pub(crate) sharing_is_forbidden: bool,
    /// A request is delivered before it is this old, or never.
    pub(crate) delay: Tick,
    /// How many rotations there are at most.
    pub(crate) rotations: u8,
}

/// An owner with a retry key, alone, whose requests are delivered in time.
pub(crate) const HONEST: Rules =
    Rules { keyed: true, thief: false, revocations: false, sharing_is_forbidden: false, delay: OVERLAP, rotations: 4 };

/// The rules, and the tokens that may be handed out, by generation.
pub(crate) struct World {
    rules: Rules,
    chain: Vec<RefreshToken>,
}

impl World {
    pub(crate) fn new(rules: Rules) -> Self {
        let mut chain = vec![support::first_token()];
        for generation in 0..=rules.rotations {
            let next = chain[usize::from(generation)].successor(&nonce(generation, 0)).unwrap();
            chain.push(next);
        }
        Self { rules, chain }
    }

    fn ask(&self, state: &State, who: Who, generation: u8) -> Decision {
        let key = match who {
            Who::Owner if self.rules.keyed => Some(format!("the owner's, for generation {generation}")),
            Who::Thief { keyed: true } => Some("the thief's own, not the owner's".to_owned()),
            Who::Owner | Who::Thief { keyed: false } => None,
        };
        let presented = support::present(&self.chain[usize::from(generation)], key.as_deref());
        let found = Found { family: &state.family, session: &state.session, standing: &state.standing, stalls: &[] };
        // Fresh randomness: another one, should this generation be rotated a second time.
        let nonce = nonce(generation, u8::from(state.handed.0 > generation));
        decide(&presented, Some(found), &lifetimes(), nonce, at(state.now))
    }

    /// Presents a token and writes what the answer says. True where a token was handed out.
    fn present(&self, state: &mut State, who: Who, generation: u8) -> Result<bool, String> {
        let decision = self.ask(state, who, generation);
        self.judge(state, who, generation, &decision)?;
        match decision {
            Decision::Rotated { family, .. } => {
                state.family = family;
                state.handed = (generation + 1, state.now);
            }
            Decision::Reissued { family, .. } => state.family = family,
            Decision::Replayed(_) => {
                state.session.ended = Some(Ended { at: at(state.now), reason: EndReason::Replayed });
                return Ok(false);
            }
            Decision::Refused(_) => return Ok(false),
        }
        Ok(true)
    }

    /// The promises about one answer, told without a word of how the decision comes to it.
    fn judge(&self, state: &State, who: Who, generation: u8, decision: &Decision) -> Result<(), String> {
        let thief_succeeded = state.stolen.is_some_and(|stolen| stolen.succeeded);
        match decision {
            Decision::Rotated { successor, .. } | Decision::Reissued { successor, .. } => {
                if *successor != self.chain[usize::from(generation) + 1] {
                    return Err("a second secret of one generation, or a second successor of one token".to_owned());
                }
                if who == Who::Owner && self.rules.keyed && thief_succeeded {
                    return Err("a token for the owner after one for the thief: sharing goes unnoticed".to_owned());
                }
                let keyless = who == Who::Thief { keyed: false } || (who == Who::Owner && !self.rules.keyed);
                let again = state.handed.0 > generation;
                if again && keyless && state.now >= state.handed.1 + OVERLAP {
                    return Err("a token without a retry key after the overlap".to_owned());
                }
                Ok(())
            }
            Decision::Replayed(replay) => {
                let lapsed =
                    !self.rules.keyed && *replay == Replay::AfterOverlap && state.now >= state.handed.1 + OVERLAP;
                if who == Who::Owner && !thief_succeeded && !lapsed {
                    return Err(format!("an honest owner loses the session: {replay:?}"));
                }
                Ok(())
            }
            Decision::Refused(Refusal::LateDuplicate) => {
                let refused_at = state.stolen.and_then(|stolen| stolen.refused_at);
                let in_earnest = who == Who::Owner && generation == state.stored;
                if in_earnest && !thief_succeeded {
                    return Err("an honest owner is late with the token that is stored".to_owned());
                }
                if in_earnest && refused_at.is_some_and(|tick| state.now >= tick + 2 * OVERLAP) {
                    return Err("an owner who was robbed is late for longer than twice the overlap".to_owned());
                }
                Ok(())
            }
            Decision::Refused(refusal) => Err(format!("refused as {refusal:?}")),
        }
    }

    fn owner_presents(&self, state: &mut State, generation: u8) -> Result<(), String> {
        let given = self.present(state, Who::Owner, generation)?;
        let now = state.now;
        if let Some(stolen) = state.stolen.as_mut().filter(|stolen| stolen.succeeded) {
            stolen.shared |= given;
            if !given && generation == state.stored {
                stolen.refused_at.get_or_insert(now);
            }
        }
        let answers = state.network.iter().filter(|message| matches!(message, Message::Answer { .. })).count();
        if given && answers < MOST_ANSWERS {
            put(&mut state.network, Message::Answer { presented: generation });
        }
        Ok(())
    }

    fn thief_presents(&self, state: &mut State, generation: u8, keyed: bool) -> Result<(), String> {
        let given = self.present(state, Who::Thief { keyed }, generation)?;
        if let Some(stolen) = state.stolen.as_mut().filter(|_| given) {
            stolen.succeeded = true;
            stolen.newest = stolen.newest.max(generation + 1);
        }
        Ok(())
    }

    /// Once a session is over, no token of it gets anything, whoever presents it.
    fn check_the_end(&self, state: &State) -> Result<(), String> {
        for generation in 0..=state.handed.0 {
            for who in [Who::Owner, Who::Thief { keyed: false }, Who::Thief { keyed: true }] {
                let decision = self.ask(state, who, generation);
                if !matches!(decision, Decision::Refused(Refusal::Dead(_))) {
                    return Err(format!("generation {generation} of a session that is over: {decision:?}"));
                }
            }
        }
        Ok(())
    }
}

impl Model for World {
    type State = State;
    type Key = Key;
    type Action = Action;

    fn start(&self) -> State {
        let session = support::session(Millis::new(i64::MAX));
        let client = support::present(&self.chain[0], None).client;
        State {
            now: 0,
            family: begin(&self.chain[0], client, &session, &lifetimes(), at(0)),
            session,
            standing: support::standing(),
            handed: (0, 0),
            stored: 0,
            network: vec![],
            stolen: None,
            revoked: false,
        }
    }

    fn actions(&self, state: &State) -> Vec<Action> {
        if state.is_over() {
            return vec![];
        }
        let requests = state.network.iter().filter(|message| matches!(message, Message::Request { .. })).count();
        let mut actions: Vec<Action> =
            state.network.iter().flat_map(|message| [Action::Deliver(*message), Action::Lose(*message)]).collect();
        if requests < MOST_REQUESTS {
            actions.push(Action::Send);
        }
        actions.push(Action::Tick);
        if self.rules.revocations && !state.revoked {
            actions.extend([Action::RevokeSession, Action::RevokeAccount, Action::RevokeEveryone]);
        }
        match state.stolen {
            None if self.rules.thief => {
                actions.push(Action::Steal(state.stored));
                actions.extend(state.network.iter().filter_map(|message| match message {
                    Message::Answer { presented } => Some(Action::Steal(presented + 1)),
                    Message::Request { .. } => None,
                }));
            }
            Some(stolen) => {
                let held = stolen.oldest..=stolen.newest;
                actions.extend(held.flat_map(|one| [Action::Thief(one, false), Action::Thief(one, true)]));
            }
            None => {}
        }
        actions
    }

    fn step(&self, state: &State, action: Action) -> Result<Option<State>, String> {
        let mut next = state.clone();
        match action {
            Action::Send => {
                put(&mut next.network, Message::Request { generation: state.stored, sent: state.now });
            }
            Action::Deliver(Message::Request { generation, .. }) => self.owner_presents(&mut next, generation)?,
            Action::Deliver(answer @ Message::Answer { presented }) => {
                take(&mut next.network, answer);
                // Another tab may have gone further: only the answer to what is stored replaces it.
                if next.stored == presented {
                    next.stored = presented + 1;
                    if let Some(stolen) = &mut next.stolen {
                        stolen.refused_at = None;
                    }
                }
            }
            Action::Lose(message) => take(&mut next.network, message),
            Action::Steal(generation) => {
                let none = Stolen {
                    oldest: generation,
                    newest: generation,
                    succeeded: false,
                    shared: false,
                    refused_at: None,
                };
                next.stolen = Some(none);
            }
            Action::Thief(generation, keyed) => self.thief_presents(&mut next, generation, keyed)?,
            Action::Tick => {
                next.now += 1;
                let oldest = (next.now + 1).saturating_sub(self.rules.delay);
                next.network.retain(|message| !matches!(message, Message::Request { sent, .. } if *sent < oldest));
            }
            Action::RevokeSession => {
                next.session.ended.get_or_insert(Ended { at: at(state.now), reason: EndReason::Revoked });
            }
            Action::RevokeAccount => next.standing.epochs.session = advance(next.standing.epochs.session, state.now),
            Action::RevokeEveryone => next.standing.epochs.global = advance(next.standing.epochs.global, state.now),
        }
        next.revoked |= matches!(action, Action::RevokeSession | Action::RevokeAccount | Action::RevokeEveryone);
        Ok((next.handed.0 <= self.rules.rotations).then_some(next))
    }

    fn check(&self, state: &State) -> Result<(), String> {
        if state.is_over() {
            return self.check_the_end(state);
        }
        if self.rules.sharing_is_forbidden && state.stolen.is_some_and(|stolen| stolen.shared) {
            return Err("owner and thief share a session".to_owned());
        }
        // Whatever the owner holds in any state, presenting it now keeps every promise.
        let decision = self.ask(state, Who::Owner, state.stored);
        self.judge(state, Who::Owner, state.stored, &decision)
    }

    fn key(&self, state: &State) -> Key {
        state.key()
    }
}

fn lifetimes() -> Lifetimes {
    support::lifetimes(TICK * u32::from(OVERLAP))
}

fn nonce(generation: u8, again: u8) -> Nonce {
    let mut nonce = [0; 16];
    nonce[..2].copy_from_slice(&[generation, again]);
    nonce
}

fn advance(epoch: Epoch, tick: Tick) -> Epoch {
    epoch.next(at(tick))
}

//! An exhaustive breadth-first search: every state that can be reached is visited once, the nearest first.

use std::collections::{HashSet, VecDeque};
use std::fmt::Debug;
use std::hash::Hash;

/// Something with states, and actions that lead from one to others.
pub(crate) trait Model {
    /// A state.
    type State: Clone;
    /// What tells two states apart: states with equal keys have equal futures.
    type Key: Eq + Hash;
    /// What leads from one state to the next.
    type Action: Copy + Debug;

    /// The state that everything begins in.
    fn start(&self) -> Self::State;
    /// The key of a state.
    fn key(&self, state: &Self::State) -> Self::Key;
    /// What can happen in a state.
    fn actions(&self, state: &Self::State) -> Vec<Self::Action>;
    /// Where an action leads; `None` outside the searched space; an error tells which promise was broken.
    fn step(&self, state: &Self::State, action: Self::Action) -> Result<Option<Self::State>, String>;
    /// What must hold in every state; an error tells which promise was broken.
    fn check(&self, state: &Self::State) -> Result<(), String>;
}

/// What a search found.
pub(crate) struct Found {
    /// The number of different states.
    pub(crate) states: usize,
    /// The first promise that was broken, with the shortest way there.
    pub(crate) broken: Option<String>,
}

/// Visits every state; stops at the first broken promise.
pub(crate) fn search<M: Model>(model: &M) -> Found {
    let start = model.start();
    let mut seen = HashSet::from([model.key(&start)]);
    let mut came_by: Vec<Option<(usize, M::Action)>> = vec![None];
    let mut queue = VecDeque::from([(0, start)]);
    while let Some((at, state)) = queue.pop_front() {
        if let Err(broken) = model.check(&state) {
            return Found { states: seen.len(), broken: Some(told(&came_by, at, None, &broken)) };
        }
        for action in model.actions(&state) {
            let next = match model.step(&state, action) {
                Ok(Some(next)) => next,
                Ok(None) => continue,
                Err(broken) => {
                    let broken = told(&came_by, at, Some(action), &broken);
                    return Found { states: seen.len(), broken: Some(broken) };
                }
            };
            if seen.insert(model.key(&next)) {
                queue.push_back((came_by.len(), next));
                came_by.push(Some((at, action)));
            }
        }
    }
    Found { states: seen.len(), broken: None }
}

fn told<A: Copy + Debug>(came_by: &[Option<(usize, A)>], at: usize, last: Option<A>, broken: &str) -> String {
    let mut way: Vec<A> = last.into_iter().collect();
    let mut at = at;
    while let Some((before, action)) = came_by[at] {
        way.push(action);
        at = before;
    }
    way.reverse();
    let way: Vec<String> = way.iter().map(|action| format!("{action:?}")).collect();
    format!("{broken}, after {}", way.join(", "))
}

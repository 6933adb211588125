//! A load in turns with what it is held against.

use super::yardstick::{Yardstick, each_turn};
use crate::bench::Run;
use crate::drive::{Chain, Drive, Turns};

/// How many turns each has.
pub(super) const TURNS: usize = 5;

/// The name of what a yardstick gave in turns with a figure.
pub(crate) fn yardstick_of(figure: &str) -> String {
    format!("yardstick of {figure}")
}

/// Drives a load for as long as the plan says, in turns with its yardsticks, each of which gives its own figure. The place of the load, and
/// its chains.
pub(super) fn in_turns<C: Chain>(
    run: &mut Run<'_>,
    figure: &str,
    drive: Drive<C>,
    mut yardsticks: Vec<Yardstick>,
) -> anyhow::Result<(usize, Vec<C>)> {
    let mut turns = Turns::of(drive, each_turn(run));
    for turn in 0..TURNS {
        // Now the one begins and now the other: what a turn leaves to be done meets all of them.
        for at in 0..=yardsticks.len() {
            match (turn + at) % (yardsticks.len() + 1) {
                0 => turns.take(run.terminal())?,
                number => yardsticks[number - 1].take(run)?,
            }
        }
    }
    let (load, chains) = turns.ended()?;
    let load = run.report(load);
    run.figures.per_second(figure, run.loads[load].per_second());
    for yardstick in yardsticks {
        yardstick.stop(run)?;
    }
    Ok((load, chains))
}

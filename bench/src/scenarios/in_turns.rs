//! A load in turns with the yardstick that it is held against.

use super::yardstick::{Yardstick, each_turn};
use crate::bench::Run;
use crate::drive::{Chain, Drive, Turns};

/// How many turns each of both has.
pub(super) const TURNS: u32 = 5;

/// The name of what a yardstick gave in turns with a figure.
pub(crate) fn yardstick_of(figure: &str) -> String {
    format!("yardstick of {figure}")
}

/// Drives a load for as long as the plan says, in turns with its yardstick. The place of the load, and its chains.
pub(super) fn in_turns<C: Chain>(
    run: &mut Run<'_>,
    figure: &str,
    drive: Drive<C>,
    mut yardstick: Yardstick,
) -> anyhow::Result<(usize, Vec<C>)> {
    let mut turns = Turns::of(drive, each_turn(run));
    for turn in 0..TURNS {
        // Now the one begins and now the other: what a turn leaves to be done meets both.
        if turn % 2 == 0 {
            turns.take(run.terminal())?;
            yardstick.take(run)?;
        } else {
            yardstick.take(run)?;
            turns.take(run.terminal())?;
        }
    }
    let (load, chains) = turns.ended()?;
    let load = run.report(load);
    run.figures.per_second(figure, run.loads[load].per_second());
    let rate = yardstick.stop(run)?;
    run.figures.per_second(&yardstick_of(figure), rate);
    Ok((load, chains))
}

//! A load in turns with what it is held against.

use super::yardstick::{Yardstick, turns_of};
use crate::bench::Run;
use crate::drive::{Chain, Drive};

/// How many turns each has: as many as there are orders of three.
pub(super) const TURNS: usize = 6;

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
    let mut turns = turns_of(run, drive);
    for turn in 0..TURNS {
        for part in order(turn, yardsticks.len() + 1) {
            match part {
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

/// In which order so many parts have this turn. Each begins as often as the others, and comes after each of them: what a turn leaves to be done
/// may fall into the next one.
fn order(turn: usize, parts: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..parts).map(|at| (turn + at) % parts).collect();
    if (turn / parts) % 2 == 1 {
        order.reverse();
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_begins_as_often_as_the_others_and_three_have_every_order() {
        for parts in 1..=3 {
            for part in 0..parts {
                let begun = (0..TURNS).filter(|turn| order(*turn, parts).first() == Some(&part)).count();
                assert_eq!(begun, TURNS / parts, "{part} of {parts}");
            }
        }
        let mut orders: Vec<_> = (0..TURNS).map(|turn| order(turn, 3)).collect();
        orders.sort_unstable();
        orders.dedup();
        assert_eq!(orders.len(), 6);
    }
}

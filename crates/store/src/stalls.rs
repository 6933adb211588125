//! The last times in which commits hung.

use countersign_core::sessions::stall::Stall;

/// How many are kept. Before the overlap of a refresh is over, hardly more can have come.
const KEPT: usize = 16;

/// The last of them, the oldest first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stalls(Vec<Stall>);

impl Stalls {
    pub(crate) fn push(&mut self, stall: Stall) {
        if self.0.len() == KEPT {
            self.0.remove(0);
        }
        self.0.push(stall);
    }

    pub(crate) fn as_slice(&self) -> &[Stall] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use countersign_core::time::Millis;

    use super::*;

    #[test]
    fn the_last_ones_are_kept() {
        let mut stalls = Stalls::default();
        let at = |at| Stall { from: Millis::new(at), until: Millis::new(at + 1) };
        (0..20).for_each(|number| stalls.push(at(number)));
        assert_eq!(stalls.as_slice(), (4..20).map(at).collect::<Vec<_>>());
    }
}

//! A load in turns with others: a machine changes its speed within seconds, and so all of them meet the same.

use std::time::Duration;

use anyhow::Context as _;

use super::{Chain, Drive, Load};
use crate::terminal::Terminal;

/// How long every turn but the first goes on before it is measured.
const WARM_UP: Duration = Duration::from_millis(300);

/// A load that is put on its server for one turn after the other. In between nobody asks the server anything.
pub(crate) struct Turns<C> {
    /// Without its chains.
    drive: Drive<C>,
    chains: Vec<C>,
    load: Option<Load>,
}

impl<C: Chain> Turns<C> {
    /// Each turn is measured for so long, the first one after this warm-up.
    pub(crate) fn of(drive: Drive<C>, warm_up: Duration, each: Duration) -> Self {
        let drive = drive.lasting(warm_up, each);
        Self { drive: drive.without_chains(), chains: drive.chains, load: None }
    }

    /// One turn.
    pub(crate) fn take(&mut self, terminal: &Terminal) -> anyhow::Result<()> {
        let chains = std::mem::take(&mut self.chains);
        let (load, chains) = Drive { chains, ..self.drive.without_chains() }.run(terminal)?;
        self.chains = chains;
        self.drive.warm_up = WARM_UP;
        self.load = Some(match self.load.take() {
            Some(before) => before.and(load),
            None => load,
        });
        Ok(())
    }

    /// What all turns gave together, and the chains as they are at the end.
    ///
    /// # Errors
    /// There was no turn.
    pub(crate) fn ended(self) -> anyhow::Result<(Load, Vec<C>)> {
        Ok((self.load.context("a load without a turn")?, self.chains))
    }
}

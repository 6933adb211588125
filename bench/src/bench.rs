//! The steps of a run, and what they give.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use serde::Serialize;

use crate::drive::{Chain, Drive, Load};
use crate::figures::Figures;
use crate::peers::Peer;
use crate::plan::Plan;
use crate::postgres::Postgres;
use crate::server::Programs;
use crate::terminal::Terminal;

/// What all runs share.
pub(crate) struct Bench {
    pub(crate) programs: Programs,
    pub(crate) plan: Plan,
    /// Or why there is none.
    pub(crate) postgres: Result<Postgres, String>,
    pub(crate) peers: Vec<Arc<Peer>>,
    /// Where databases and logs are; it is removed at the end.
    pub(crate) work: PathBuf,
    pub(crate) terminal: Terminal,
}

/// One run: every figure and its yardstick.
pub(crate) struct Run<'a> {
    pub(crate) bench: &'a Bench,
    pub(crate) dir: PathBuf,
    pub(crate) figures: Figures,
    pub(crate) loads: Vec<Load>,
}

/// How a step ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Ended {
    Measured,
    /// Something that it needs is not here.
    LeftOut(String),
    /// A wrong answer, or no answer: there is no figure, and the run has failed.
    Failed(String),
}

/// What a run gives.
#[derive(Debug, Serialize)]
pub(crate) struct Outcome {
    pub(crate) figures: Figures,
    pub(crate) loads: Vec<Load>,
    pub(crate) steps: Vec<(String, Ended)>,
}

/// Something that a step needs is not here: no failure.
#[derive(Debug)]
pub(crate) struct NotHere(pub(crate) String);

impl std::fmt::Display for NotHere {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NotHere {}

/// What a step does.
pub(crate) type Work = Box<dyn Fn(&mut Run<'_>) -> anyhow::Result<()>>;

/// A part of a run that stands alone: it sets up what it measures and clears it away.
pub(crate) struct Step {
    pub(crate) name: String,
    pub(crate) work: Work,
}

impl Step {
    pub(crate) fn new(name: impl Into<String>, work: impl Fn(&mut Run<'_>) -> anyhow::Result<()> + 'static) -> Self {
        Self { name: name.into(), work: Box::new(work) }
    }
}

impl Bench {
    pub(crate) fn run(&self, number: usize, steps: &[Step]) -> anyhow::Result<Outcome> {
        let dir = self.work.join(format!("run-{number}"));
        std::fs::create_dir_all(&dir)?;
        let mut run = Run { bench: self, dir, figures: Figures::default(), loads: Vec::new() };
        let mut ends = Vec::new();
        for (at, step) in (1..).zip(steps) {
            self.terminal.step(at, steps.len(), &step.name);
            let ended = match (step.work)(&mut run) {
                Ok(()) => Ended::Measured,
                Err(error) => match error.downcast_ref::<NotHere>() {
                    Some(not_here) => Ended::LeftOut(not_here.0.clone()),
                    None => Ended::Failed(format!("{error:#}")),
                },
            };
            match &ended {
                Ended::Measured => {}
                Ended::LeftOut(why) => self.terminal.result(&format!("left out: {why}")),
                Ended::Failed(why) => self.terminal.result(&format!("FAILED: {why}")),
            }
            ends.push((step.name.clone(), ended));
        }
        Ok(Outcome { figures: run.figures, loads: run.loads, steps: ends })
    }

    pub(crate) fn postgres(&self) -> anyhow::Result<&Postgres> {
        self.postgres.as_ref().map_err(|why| anyhow!(NotHere(why.clone())))
    }
}

impl Run<'_> {
    pub(crate) fn plan(&self) -> &Plan {
        &self.bench.plan
    }

    pub(crate) fn terminal(&self) -> &Terminal {
        &self.bench.terminal
    }

    /// Drives for as long as the plan says, keeps the load for the report and gives back the chains.
    pub(crate) fn drive<C: Chain>(&mut self, drive: Drive<C>) -> anyhow::Result<(usize, Vec<C>)> {
        self.drive_after(self.plan().warm_up, drive)
    }

    /// The same with a warm-up of its own.
    pub(crate) fn drive_after<C: Chain>(
        &mut self,
        warm_up: Duration,
        drive: Drive<C>,
    ) -> anyhow::Result<(usize, Vec<C>)> {
        let drive = drive.lasting(warm_up, self.plan().load);
        let (load, chains) = drive.run(self.terminal())?;
        Ok((self.report(load), chains))
    }

    /// Shows a load and keeps it for the report; its place.
    pub(crate) fn report(&mut self, load: Load) -> usize {
        self.terminal().result(&format!("{}: {}", load.name, load.line()));
        self.keep(load)
    }

    /// Keeps a load for the report; its place.
    pub(crate) fn keep(&mut self, load: Load) -> usize {
        self.loads.push(load);
        self.loads.len() - 1
    }
}

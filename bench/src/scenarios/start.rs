//! From the start of the process to its first answer.

use std::thread;
use std::time::Duration;

use crate::bench::Run;
use crate::figures::{bytes, median, seconds};
use crate::server::{Database, Installation};

/// How long a server is left alone before its memory is looked at.
pub(super) const IDLE: Duration = Duration::from_secs(1);

pub(super) fn on_an_empty_folder(run: &mut Run<'_>) -> anyhow::Result<()> {
    let mut times = Vec::new();
    let mut resident = 0;
    for number in 0..run.plan().starts {
        let name = format!("empty-{number}");
        let installation = Installation::new(&run.bench.programs, &run.dir, &name, Database::Sqlite)?;
        let (server, took) = installation.start_timed()?;
        times.push(took);
        if number == 0 {
            thread::sleep(IDLE);
            resident = server.process.tree().resident();
        }
        server.process.stop()?;
        installation.remove()?;
    }
    let took = median(&times).unwrap_or_default();
    run.terminal().result(&format!("{}; idle memory {}", seconds(took), bytes(resident as f64)));
    run.figures.seconds("start, empty folder", took);
    run.figures.bytes("idle memory, empty", resident as f64);
    Ok(())
}

//! The least that a refresh can do, on a server of its own.

use super::in_turns::{in_turns, yardstick_of};
use super::scale::sessions_each;
use super::yardstick::Yardstick;
use super::{Backend, MANY};
use crate::bench::Run;
use crate::chains::Refreshing;
use crate::drive::Drive;
use crate::plan::size_name;
use crate::process::Process;
use crate::yardsticks::bare;

/// The name of its figure.
pub(crate) fn bare_figure(backend: Backend) -> String {
    format!("bare refresh, {}", backend.name())
}

/// The name of the step that measures it where rows are met all over.
pub(crate) fn bare_all_over_step(backend: Backend) -> String {
    format!("limit: bare refreshes all over, {}", backend.name())
}

/// And of its figure at a size.
pub(crate) fn bare_all_over_figure(backend: Backend, size: u64) -> String {
    format!("bare refresh all over, {}, {}", backend.name(), size_name(size))
}

/// A server with so many rows, and a load of that name on it, each of whose connections refreshes so many of them.
pub(super) fn start(
    run: &Run<'_>,
    backend: Backend,
    name: &str,
    rows: u64,
    rows_each: usize,
) -> anyhow::Result<(Process, Drive<Refreshing>)> {
    let (server, chains) = bare::start(run, backend, rows, MANY, rows_each)?;
    let drive = Drive::new(format!("{name}, c{MANY}"), server.address, chains).watching("server", server.tree());
    let drive = match backend {
        Backend::Sqlite => drive,
        Backend::Postgres => drive.watching(backend.name(), run.bench.postgres()?.tree.clone()),
    };
    Ok((server, drive))
}

/// Refreshes where the rows are many and each is met once in a while, and where they are few.
pub(super) fn all_over(run: &mut Run<'_>, backend: Backend) -> anyhow::Result<()> {
    let (few, many) = (run.plan().smallest(), run.plan().largest());
    let figure = bare_all_over_figure(backend, many);
    let of_few = warmed(run, backend, few)?;
    let (of_many, drive) = warmed(run, backend, many)?;
    let yardstick = Yardstick::bare(run, yardstick_of(&figure), of_few);
    in_turns(run, &figure, drive, vec![yardstick])?;
    of_many.stop()
}

/// A server with so many rows, and a load all over them that has met each once.
fn warmed(run: &Run<'_>, backend: Backend, size: u64) -> anyhow::Result<(Process, Drive<Refreshing>)> {
    let name = bare_all_over_figure(backend, size);
    let (server, drive) = start(run, backend, &name, size, sessions_each(size)?)?;
    Ok((server, drive.warmed(run.plan().warm_up_all_over(), run.terminal())?))
}

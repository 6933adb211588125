//! Requests that an access token authorizes: at an API behind the bearer layer, and at the server itself.

use super::MANY;
use super::in_turns::in_turns;
use super::site::{Backend, Site};
use super::yardstick::Yardstick;
use crate::bench::Run;
use crate::chains::Asking;
use crate::drive::Drive;
use crate::yardsticks::hello;

pub(super) fn measure(run: &mut Run<'_>) -> anyhow::Result<()> {
    let mut site = Site::new(run, "authorized", Backend::Sqlite, run.plan().smallest(), 0)?;
    let weather = site.installation.weather()?;
    let tokens = site.access_tokens(MANY)?;
    let asking = tokens.iter().map(|token| Asking::weather(token)).collect();
    let drive = Drive::new(format!("authorized GET, bearer layer, c{MANY}"), weather.address, asking);
    let drive = drive.watching("weather", weather.tree()).watching("server", site.server.process.tree());
    let hello = Yardstick::hello(run, "authorized GET")?;
    in_turns(run, "authorized GET", drive, vec![hello])?;
    weather.stop()?;

    let trusting = hello::start_trusting(&run.bench.programs, &run.dir, &site.installation.url())?;
    let drive = hello::authorized_load(format!("hello behind the bearer layer, c{MANY}"), &trusting, &tokens);
    let hello = Yardstick::hello(run, "authorized hello")?;
    in_turns(run, "authorized hello", drive, vec![hello])?;
    trusting.stop()?;

    let asking = tokens.iter().map(|token| Asking::me(token)).collect();
    let drive = site.drive(run, format!("GET /api/auth/me, SQLite, c{MANY}"), asking);
    let hello = Yardstick::hello(run, "me")?;
    in_turns(run, "me", drive, vec![hello])?;
    site.end()
}

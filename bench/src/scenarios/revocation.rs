//! From the moment at which a session is ended until an API refuses its access token.

use std::time::{Duration, Instant};

use anyhow::{bail, ensure};

use super::site::{Backend, Site};
use crate::bench::Run;
use crate::drive::Kind;
use crate::figures::seconds;
use crate::http::Client;
use crate::server::{Installation, Server};

/// When it counts as never refused.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) fn one_node(run: &mut Run<'_>) -> anyhow::Result<()> {
    let mut site = Site::new(run, "revocation", Backend::Sqlite, run.plan().smallest(), 0)?;
    let tokens = site.crowd.take(run.plan().revocations)?;
    let weather = site.installation.weather()?;
    let kind = follow(run, "one node", &site.server, &mut Client::new(weather.address), &tokens)?;
    keep(run, "one node", &kind);
    weather.stop()?;
    site.end()
}

/// Ended at one node, refused by an API that follows the other.
pub(super) fn across_nodes(run: &mut Run<'_>) -> anyhow::Result<()> {
    let database = Backend::Postgres.database(run, "nodes")?;
    let near = Installation::new(&run.bench.programs, &run.dir, "node_a", database.clone())?;
    let far = Installation::new(&run.bench.programs, &run.dir, "node_b", database)?;
    let near = near.with("issuer", far.url());
    let key_file = near.key_file().display().to_string();
    let far = far.with("key_encryption_key_file", key_file);
    let mut site = Site::over(run, near, run.plan().smallest(), 0)?;
    let other = far.start()?;
    let tokens = site.crowd.take(run.plan().revocations)?;
    let weather = far.weather()?;
    let kind = follow(run, "across nodes", &site.server, &mut Client::new(weather.address), &tokens)?;
    keep(run, "across nodes", &kind);
    weather.stop()?;
    other.process.stop()?;
    far.remove()?;
    site.end()
}

fn keep(run: &mut Run<'_>, name: &str, kind: &Kind) {
    let [p50, p99] = [0.5, 0.99].map(|share| kind.quantile(share));
    run.terminal().result(&format!("p50 {}, p99 {}", seconds(p50), seconds(p99)));
    run.figures.seconds(&format!("revocation p50, {name}"), p50);
    run.figures.seconds(&format!("revocation p99, {name}"), p99);
}

/// Ends one session after the other at the server, and asks the weather until it refuses.
fn follow(run: &Run<'_>, name: &str, server: &Server, weather: &mut Client, tokens: &[String]) -> anyhow::Result<Kind> {
    let mut client = server.client();
    let mut latencies = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        run.terminal().progress(&format!("revocation, {name}: {at} of {}", tokens.len()));
        let access = server.refresh(&mut client, token)?.access_token;
        weather.get("/weatherforecast", Some(&access))?.expect(200, "the weather")?;
        let ended = Instant::now();
        client.plain("POST", "/api/auth/logout", Some(&access))?.expect(204, "a logout")?;
        loop {
            let answer = weather.get("/weatherforecast", Some(&access))?;
            let after = ended.elapsed();
            match answer.status {
                401 => {
                    let problem: serde_json::Value = serde_json::from_slice(&answer.body)?;
                    ensure!(problem["code"] == "session_revoked", "refused for another reason: {problem}");
                    latencies.push(u64::try_from(after.as_nanos())?);
                    break;
                }
                200 if after < PATIENCE => {}
                200 => bail!("still let in after {} s", PATIENCE.as_secs()),
                _ => bail!("the weather: {}", answer.status),
            }
        }
    }
    Ok(Kind::new("revocations", latencies))
}

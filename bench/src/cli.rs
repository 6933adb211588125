//! The command line.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::{Args, Parser, Subcommand};

use crate::bench::Bench;
use crate::machine::{self, Facts};
use crate::plan::Plan;
use crate::postgres::Postgres;
use crate::report::Report;
use crate::server::Programs;
use crate::terminal::{Terminal, print};
use crate::{peers, scenarios, yardsticks};

#[derive(Parser)]
#[command(
    name = "countersign-bench",
    about = "Measures Countersign beside its limits and its peers; scripts/bench calls it"
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    measure: Measure,
}

#[derive(Subcommand)]
enum Command {
    /// Serves the yardstick: a bare axum that says hello
    Hello {
        /// To whoever has an access token of the Countersign at this URL
        #[arg(long, value_name = "URL")]
        trusting: Option<String>,
    },
    /// Serves the yardstick: the least that a refresh can do
    Bare {
        /// The file of SQLite, or the URL of a database in PostgreSQL
        database: String,
        /// How many rows there are
        rows: u64,
    },
}

#[derive(Args)]
struct Measure {
    /// The main rows alone, once
    #[arg(long)]
    quick: bool,
    /// How many runs; the report has their medians
    #[arg(long, value_name = "N")]
    runs: Option<usize>,
    /// Only steps whose name contains this text; may be given several times
    #[arg(long, value_name = "TEXT")]
    only: Vec<String>,
    /// How long each load is measured, instead of what the plan says
    #[arg(long, value_name = "SECONDS")]
    seconds: Option<f64>,
    /// The numbers of sessions that are compared, smallest first
    #[arg(long, value_name = "SIZES", value_delimiter = ',')]
    sizes: Vec<u64>,
    /// A superuser's URL of a PostgreSQL on this machine that keeps what it commits
    #[arg(long, value_name = "URL")]
    postgres: Option<String>,
    /// The program pgbench
    #[arg(long, value_name = "FILE", default_value = "pgbench")]
    pgbench: PathBuf,
    /// The folder of the peers
    #[arg(long, value_name = "FOLDER", default_value = "bench/peers")]
    peers: PathBuf,
    /// Without the peers
    #[arg(long)]
    no_peers: bool,
    /// Where databases are made, on the disk that is to be measured
    #[arg(long, value_name = "FOLDER", default_value = "target/bench/work")]
    work: PathBuf,
    /// Where the report goes
    #[arg(long, value_name = "FOLDER", default_value = "target/bench")]
    out: PathBuf,
    /// Puts the report into this document, beside which data and picture go
    #[arg(long, value_name = "FILE")]
    publish: Option<PathBuf>,
    /// How the programs were built, for the report
    #[arg(long, value_name = "TEXT", default_value = "profile unknown")]
    profile: String,
    /// Lists the steps and does nothing
    #[arg(long)]
    list: bool,
}

/// Runs the program.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = match cli.command {
        Some(Command::Hello { trusting }) => yardsticks::hello::serve(trusting).map(|()| true),
        Some(Command::Bare { database, rows }) => yardsticks::bare::serve(&database, rows).map(|()| true),
        None => measure(cli.measure),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            Terminal::new().say(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// `false`: an answer was wrong, or did not come.
fn measure(arguments: Measure) -> anyhow::Result<bool> {
    if arguments.publish.is_some() && (arguments.quick || !arguments.only.is_empty() || arguments.no_peers) {
        bail!("--publish is for whole runs: without --quick, --only and --no-peers");
    }
    let bench = prepare(&arguments)?;
    let mut steps = scenarios::steps(&bench);
    if !arguments.only.is_empty() {
        let is_none = |text: &&String| !steps.iter().any(|step| step.name.contains(text.as_str()));
        if let Some(text) = arguments.only.iter().find(is_none) {
            bail!("no step has a name with \"{text}\" in it; --list shows their names");
        }
        steps.retain(|step| arguments.only.iter().any(|text| step.name.contains(text.as_str())));
    }
    if arguments.list {
        steps.iter().for_each(|step| print(&format!("{}\n", step.name)));
        return Ok(true);
    }
    let version = bench.postgres.as_ref().map_or_else(Clone::clone, |it| format!("PostgreSQL {}", it.version));
    let facts = Facts::gather(&bench.work, arguments.profile, version)?;
    for peer in &bench.peers {
        let is_part = |store: &String| steps.iter().any(|step| step.name == scenarios::peer_step(peer, store));
        if peer.protocol.stores.iter().any(is_part) {
            // Before the clock runs. Where it does not work, its step says so.
            let _ = peer.install(&bench.terminal);
        }
    }
    let bench = Bench { terminal: Terminal::new(), ..bench };
    let runs = arguments.runs.unwrap_or(if arguments.quick { 1 } else { 3 }).max(1);
    let mut outcomes = Vec::new();
    for number in 1..=runs {
        bench.terminal.say(&format!("run {number} of {runs}: {} steps", steps.len()));
        outcomes.push(bench.run(number, &steps)?);
    }
    let report = Report::new(&bench, facts, outcomes);
    report.show();
    let mut written = report.write(&arguments.out, &bench)?;
    if let Some(document) = arguments.publish {
        report.publish(&document, &bench)?;
        written.push(document);
    }
    let say = |text: String| bench.terminal.say(&text);
    written.iter().for_each(|path| say(format!("wrote {}", path.display())));
    say(format!("took {} s", bench.terminal.elapsed().as_secs()));
    if report.failed() {
        say(format!("FAILED: an answer was wrong or did not come; logs are in {}", bench.work.display()));
        return Ok(false);
    }
    std::fs::remove_dir_all(&bench.work)?;
    Ok(true)
}

/// Looks at what there is to measure, and with what.
fn prepare(arguments: &Measure) -> anyhow::Result<Bench> {
    let mut plan = if arguments.quick { Plan::quick() } else { Plan::whole() };
    if let Some(seconds) = arguments.seconds {
        plan.load = Duration::try_from_secs_f64(seconds)?;
        plan.warm_up = plan.warm_up.min(plan.load);
        plan.refreshes = 0;
    }
    if !arguments.sizes.is_empty() {
        plan.sizes.clone_from(&arguments.sizes);
        plan.sizes.sort_unstable();
    }
    let peers = if arguments.no_peers { Vec::new() } else { peers::find(&arguments.peers)? };
    let postgres = match &arguments.postgres {
        Some(url) => Ok(Postgres::look(url, arguments.pgbench.clone())?),
        None => Err("no PostgreSQL was given".to_owned()),
    };
    std::fs::create_dir_all(&arguments.work).with_context(|| arguments.work.display().to_string())?;
    // Servers run in folders of their own.
    let work = arguments.work.canonicalize()?.join(std::process::id().to_string());
    machine::insist_on_a_disk(&arguments.work)?;
    Ok(Bench { programs: Programs::beside_this()?, plan, postgres, peers, work, terminal: Terminal::new() })
}

//! The command line.
//!
//! Exit codes: 0 done; 1 it failed; 2 the command line or a setting is wrong, so the same call fails again.

mod config;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::{Environment, Flags};

const AFTER_HELP: &str = "\
Every setting can also stand in the environment, as COUNTERSIGN_ and its name in upper case, or in the TOML file, by \
its name with underscores: --database-url is COUNTERSIGN_DATABASE_URL is database_url. A flag wins over the \
environment, the environment over the file.";

#[derive(Parser)]
#[command(
    name = "countersign",
    version,
    about = "A login server for anyone's API: short-lived access tokens, rotating refresh tokens, revocation that works",
    after_long_help = AFTER_HELP,
    after_help = "`countersign --help` lists the settings too.",
    subcommand_required = true,
    arg_required_else_help = true
)]
struct Cli {
    #[command(flatten)]
    flags: Flags,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Look at the settings
    Config {
        #[command(subcommand)]
        command: config::Command,
    },
}

/// What a command came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Done,
    /// The command line or a setting is wrong.
    Misused,
}

/// Runs the command that this process was started with.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let environment = Environment::read();
    match run(&cli, &environment, &mut io::stdout().lock(), &mut io::stderr().lock()) {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::Misused) => ExitCode::from(2),
        // A reader that went away, such as `head`, has what it wanted.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn run(cli: &Cli, environment: &Environment, out: &mut impl Write, err: &mut impl Write) -> io::Result<Outcome> {
    match &cli.command {
        Command::Config { command } => config::run(command, &cli.flags, environment, out, err),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use clap::CommandFactory as _;

    use super::*;

    fn call(arguments: &[&str], variables: &[(&str, &str)]) -> (Outcome, String, String) {
        let cli = Cli::try_parse_from(["countersign"].iter().chain(arguments)).unwrap();
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let outcome = run(&cli, &variables.iter().copied().collect(), &mut out, &mut err).unwrap();
        (outcome, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn settings_may_stand_before_and_behind_the_command() {
        for arguments in [["--audience", "me", "config", "check"], ["config", "check", "--audience", "me"]] {
            let (outcome, out, err) = call(&arguments, &[]);
            assert_eq!((outcome, err.as_str()), (Outcome::Done, ""));
            let line = out.lines().find(|line| line.starts_with("audience ")).unwrap();
            assert!(line.contains(" me ") && line.ends_with("flag --audience"), "{line}");
        }
    }

    #[test]
    fn a_check_for_scripts_is_one_json_object() {
        let secret = "x".repeat(40);
        let variables = [("COUNTERSIGN_REVOCATION_READER_SECRET", secret.as_str())];
        let (outcome, out, _) = call(&["config", "check", "--json"], &variables);
        let json: serde_json::Value = serde_json::from_str(&out).unwrap();
        assert_eq!(outcome, Outcome::Done);
        assert_eq!(json["ok"], true);
        assert_eq!(json["settings"]["listen"]["value"], "127.0.0.1:5000");
        assert_eq!(json["settings"]["listen"]["source"], "default");
        assert_eq!(json["settings"]["password_min_length"]["value"], 8);
        assert_eq!(json["settings"]["trusted_proxies"]["value"], serde_json::json!([]));
        assert!(json["settings"]["metrics_listen"]["value"].is_null());
        assert!(!out.contains(&secret));
    }

    #[test]
    fn wrong_settings_are_told_and_end_with_misuse() {
        let arguments = ["config", "check", "--listen", "5000", "--log-format", "xml"];
        let (outcome, out, err) = call(&arguments, &[]);
        assert_eq!((outcome, out.as_str()), (Outcome::Misused, ""));
        assert!(err.starts_with("error: 2 settings are wrong:\n\n  listen = \"5000\"  (flag --listen)\n"), "{err}");

        let (outcome, out, err) = call(&[&arguments[..], &["--json"]].concat(), &[]);
        let json: serde_json::Value = serde_json::from_str(&out).unwrap();
        assert_eq!((outcome, err.as_str()), (Outcome::Misused, ""));
        assert_eq!(json["ok"], false);
        assert_eq!(json["errors"][0]["setting"], "listen");
        assert_eq!(json["errors"][1]["source"], "flag --log-format");
    }

    #[test]
    fn a_database_that_is_not_built_in_is_told() {
        let arguments =
            ["config", "check", "--database-url", "postgres://me:pw@db/x", "--key-encryption-key-file", "k"];
        let (outcome, _, err) = call(&arguments, &[]);
        assert_eq!(outcome, Outcome::Misused);
        assert!(err.contains("not built into this version") && err.contains("postgres://***@db/x"), "{err}");
    }
}

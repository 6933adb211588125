//! The settings as flags: one for each row of the table, the same for every subcommand.

use std::path::PathBuf;

use clap::builder::ValueParser;
use clap::{Arg, ArgAction, ArgMatches, Command};

use super::table::{ALL, Setting};

const CONFIG: &str = "config";

/// The settings given as flags. Use it with `#[command(flatten)]` at the root of the command line.
#[derive(Clone, Default)]
pub struct Flags {
    pub(super) config: Option<PathBuf>,
    pub(super) values: Vec<(&'static Setting, Vec<String>)>,
}

impl clap::Args for Flags {
    fn augment_args(command: Command) -> Command {
        let config = Arg::new(CONFIG)
            .long(CONFIG)
            .value_name("FILE")
            .help("Settings from a TOML file [default: countersign.toml where it exists]")
            .global(true)
            .value_parser(ValueParser::path_buf());
        command.arg(config).args(ALL.iter().map(argument))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

fn argument(setting: &'static Setting) -> Arg {
    let default = setting.default.unwrap_or(setting.unset);
    Arg::new(setting.key)
        .long(setting.flag())
        .value_name(setting.value_name)
        .help(format!("{} [default: {default}]", setting.help))
        .help_heading(setting.group.heading())
        // `-h` is for the commands; `--help` lists the settings too.
        .hide_short_help(true)
        .global(true)
        .action(if setting.list { ArgAction::Append } else { ArgAction::Set })
        .value_parser(ValueParser::string())
}

impl clap::FromArgMatches for Flags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut flags = Self::default();
        flags.update_from_arg_matches(matches)?;
        Ok(flags)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.config = matches.get_one::<PathBuf>(CONFIG).cloned();
        self.values = ALL
            .iter()
            .filter_map(|setting| Some((setting, matches.get_many::<String>(setting.key)?.cloned().collect())))
            .collect();
        Ok(())
    }
}

/// Shows names alone: values may be secrets.
impl std::fmt::Debug for Flags {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names = self.values.iter().map(|(setting, _)| setting.key);
        f.debug_struct("Flags").field(CONFIG, &self.config).field("values", &names.collect::<Vec<_>>()).finish()
    }
}

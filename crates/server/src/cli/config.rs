//! `countersign config`: the settings in force, and what is wrong with them.

use std::io::{self, Write};

use clap::Subcommand;
use serde_json::{Map, Value, json};

use super::Outcome;
use crate::config::{self, Environment, Flags, Loaded, WrongSettings};

#[derive(Subcommand)]
pub(super) enum Command {
    /// Check every setting, and show those in force and where each comes from
    Check {
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
}

pub(super) fn run(
    command: &Command,
    flags: &Flags,
    environment: &Environment,
    out: &mut impl Write,
    err: &mut impl Write,
) -> io::Result<Outcome> {
    let Command::Check { json } = command;
    match (config::load(flags, environment).and_then(Loaded::openable), json) {
        (Ok(loaded), true) => writeln!(out, "{}", as_json(&loaded)).map(|()| Outcome::Done),
        (Ok(loaded), false) => as_text(&loaded, out).map(|()| Outcome::Done),
        (Err(WrongSettings(errors)), true) => {
            writeln!(out, "{}", json!({ "ok": false, "errors": errors })).map(|()| Outcome::Misused)
        }
        (Err(wrong), false) => writeln!(err, "error: {wrong}").map(|()| Outcome::Misused),
    }
}

fn as_json(loaded: &Loaded) -> Value {
    let settings: Map<String, Value> = loaded
        .effective
        .iter()
        .map(|setting| (setting.key.to_owned(), json!({ "value": setting.value, "source": setting.source })))
        .collect();
    json!({ "ok": true, "file": loaded.file, "settings": settings })
}

fn as_text(loaded: &Loaded, out: &mut impl Write) -> io::Result<()> {
    let rows: Vec<_> = loaded.effective.iter().map(|row| (row.key, row.text(), row.source.to_string())).collect();
    let width = |cell: fn(&(&str, String, String)) -> usize| rows.iter().map(cell).max().unwrap_or_default();
    // One long value must not push every source off the screen.
    let (keys, values) = (width(|row| row.0.len()), width(|row| row.1.chars().count()).min(48));
    for (key, value, source) in &rows {
        writeln!(out, "{key:keys$}  {value:values$}  {source}")?;
    }
    match &loaded.file {
        Some(file) => writeln!(out, "\nThe settings are right. File: {}", file.display()),
        None => writeln!(out, "\nThe settings are right. No file was read."),
    }
}

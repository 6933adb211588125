//! `countersign config`: the settings in force, and what is wrong with them.

use clap::Subcommand;
use serde_json::{Map, Value, json};

use super::failure::Exit;
use super::output::Console;
use super::{Call, Failure};
use crate::config::{self, Loaded, WrongSettings};

#[derive(Subcommand)]
pub(super) enum Command {
    /// Check every setting, and show those in force and where each comes from
    Check,
}

pub(super) fn run(call: &mut Call<'_>, command: &Command, json: bool) -> Result<(), Failure> {
    let Command::Check = command;
    match (config::load(call.flags, call.environment), json) {
        (Ok(loaded), true) => call.console.json(&as_json(&loaded)),
        (Ok(loaded), false) => as_text(&loaded, &mut call.console),
        (Err(WrongSettings(errors)), true) => {
            call.console.json(&json!({ "ok": false, "errors": errors }))?;
            Err(Failure::told(Exit::Misused))
        }
        (Err(wrong), false) => Err(wrong.into()),
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

fn as_text(loaded: &Loaded, console: &mut Console<'_>) -> Result<(), Failure> {
    let rows: Vec<_> = loaded.effective.iter().map(|row| (row.key, row.text(), row.source.to_string())).collect();
    let width = |cell: fn(&(&str, String, String)) -> usize| rows.iter().map(cell).max().unwrap_or_default();
    // One long value must not push every source off the screen.
    let (keys, values) = (width(|row| row.0.len()), width(|row| row.1.chars().count()).min(48));
    for (key, value, source) in &rows {
        console.line(format_args!("{key:keys$}  {value:values$}  {source}"))?;
    }
    match &loaded.file {
        Some(file) => console.line(format_args!("\nThe settings are right. File: {}", file.display())),
        None => console.line("\nThe settings are right. No file was read."),
    }
}

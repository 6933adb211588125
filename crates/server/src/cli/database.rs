//! `countersign migrate`, `backup` and `accept-restore`: the database as a whole.

use std::io::{self, IsTerminal as _};
use std::path::PathBuf;

use clap::Args;
use countersign_core::events::Origin;
use countersign_store::database::{OpenMode, SchemaVersion};
use countersign_store::sqlite::{self, SqliteStore};
use countersign_store::{Clock, Store as _};
use serde::Serialize;

use super::output::Format;
use super::{Call, Failure, Missing, ask};

#[derive(Args)]
pub(super) struct Migrate {
    /// Change nothing: exit with 0 where the schema is current, with 1 where it is not
    #[arg(long)]
    check: bool,
    #[command(flatten)]
    format: Format,
}

pub(super) async fn migrate(call: &mut Call<'_>, command: Migrate) -> Result<(), Failure> {
    let missing = if command.check { Missing::Refuse } else { Missing::Make };
    let settings = call.prepare(missing)?.settings;
    let path = settings.database_url.sqlite_path().map_err(Failure::misused)?;
    let before = if path.exists() { Some(sqlite::schema_version(path)?) } else { None };
    if !command.check {
        SqliteStore::open(path, OpenMode::Maintain, Clock::System)?.close().await?;
    }
    let SchemaVersion { applied, known } = sqlite::schema_version(path)?;
    let is_current = applied == known;
    if command.format.json {
        let before = before.map(|version| version.applied);
        call.console.json(&Migrated { before, schema_version: applied, newest_known: known, current: is_current })?;
    } else if command.check {
        call.console.line(format_args!("The schema has version {applied}, this program has {known}."))?;
    } else {
        call.console.line(match before {
            Some(version) if version.is_current() => format!("The schema has version {applied} already."),
            Some(version) => format!("The schema has version {applied} now; it had {}.", version.applied),
            None => format!("Made the database {}, with schema version {applied}.", path.display()),
        })?;
    }
    if is_current { Ok(()) } else { Err(Failure::failed("the schema is not current: run `countersign migrate`")) }
}

/// A migration as scripts see it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Migrated {
    before: Option<u32>,
    schema_version: u32,
    newest_known: u32,
    current: bool,
}

#[derive(Args)]
pub(super) struct Backup {
    /// Where the copy goes; there must be no such file yet
    file: PathBuf,
    #[command(flatten)]
    format: Format,
}

pub(super) async fn backup(call: &mut Call<'_>, command: Backup) -> Result<(), Failure> {
    let Backup { file, format } = command;
    let settings = call.prepare(Missing::Refuse)?.settings;
    let path = settings.database_url.sqlite_path().map_err(Failure::misused)?;
    if file.exists() {
        return Err(Failure::failed(format!("{} exists, and a backup overwrites nothing", file.display())));
    }
    let mut shown = None;
    let watched = !format.json && io::stderr().is_terminal();
    sqlite::backup(path, &file, |progress| {
        let percent = (progress.copied * 100).checked_div(progress.total).unwrap_or(100);
        if watched && shown != Some(percent) {
            shown = Some(percent);
            call.console.progress(format_args!("{percent:>3} %"));
        }
    })?;
    if watched {
        call.console.note("");
    }
    let bytes = std::fs::metadata(&file).map_err(Failure::failed)?.len();
    if format.json {
        return call.console.json(&BackedUp { file: file.display().to_string(), bytes });
    }
    call.console.line(format_args!("Copied the database to {} ({bytes} bytes).", file.display()))?;
    call.console.line(format_args!(
        "It opens only with the key-encryption key {}: keep a copy of that too, and keep the two apart.",
        settings.key_encryption_key_file.display()
    ))
}

/// A backup as scripts see it.
#[derive(Serialize)]
struct BackedUp {
    file: String,
    bytes: u64,
}

#[derive(Args)]
pub(super) struct AcceptRestore {
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// The whole folder was restored, witness file included, as from a snapshot of the machine: nothing shows it then
    #[arg(long)]
    whole_folder: bool,
    #[command(flatten)]
    format: Format,
}

pub(super) async fn accept_restore(call: &mut Call<'_>, command: AcceptRestore) -> Result<(), Failure> {
    let AcceptRestore { yes, whole_folder, format } = command;
    let settings = call.prepare(Missing::Refuse)?.settings;
    let path = settings.database_url.sqlite_path().map_err(Failure::misused)?;
    if !whole_folder && sqlite::objection(path)?.is_none() {
        return Err(Failure::failed(format!(
            "there is nothing to accept: {} is the database that was served last. Where its whole folder was restored, witness file \
             included, say --whole-folder",
            path.display()
        )));
    }
    let question = format!(
        "Go on with {} as it is? Every session and every token issued before ends, and everybody has to sign in again.",
        path.display()
    );
    ask::confirm(&mut call.console, &question, yes)?;
    let store = SqliteStore::open(path, OpenMode::Maintain, Clock::System)?;
    let position = store.accept_restore(Origin::COMMAND_LINE).await;
    store.close().await?;
    let position = position?;
    if format.json {
        return call.console.json(&Accepted { incarnation: position.incarnation.to_string() });
    }
    call.console.line("Accepted. Start `countersign` again; everybody has to sign in again.")?;
    call.console
        .line("Accounts, passwords and roles are those of the copy: what was changed since has to be changed again.")
}

/// An accepted restore as scripts see it.
#[derive(Serialize)]
struct Accepted {
    incarnation: String,
}

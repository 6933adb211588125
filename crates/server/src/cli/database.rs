//! `countersign migrate`, `backup` and `accept-restore`: the database as a whole.

use std::io::{self, IsTerminal as _};
use std::path::PathBuf;

use clap::Args;
use countersign_core::events::Origin;
use countersign_store::database::{Database, OpenMode, SchemaVersion};
use countersign_store::{StoreError, sqlite};
use serde::Serialize;

use super::output::Format;
use super::{Call, Failure, ask, existing, schema_version};
use crate::installation::{OpenError, open_database};

#[derive(Args)]
pub(super) struct Migrate {
    /// Change nothing: exit with 0 where the schema is current, with 1 where it is not
    #[arg(long)]
    check: bool,
    #[command(flatten)]
    format: Format,
}

pub(super) async fn migrate(call: &mut Call<'_>, command: Migrate) -> Result<(), Failure> {
    let database = call.prepare()?.settings.database();
    let (before, SchemaVersion { applied, known }) = if command.check {
        let found = existing(&database).await?;
        (Some(found), found)
    } else {
        let before = schema_version(&database).await?;
        open_database(&database, OpenMode::Maintain).await?.close().await?;
        (before, existing(&database).await?)
    };
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
            None => format!("Made the database {database}, with schema version {applied}."),
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
    let settings = call.prepare()?.settings;
    let database = settings.database();
    let path = match &database {
        Database::Sqlite(path) => path,
        Database::Postgres { url, .. } => {
            return Err(Failure::misused(format!(
                "backup copies SQLite databases alone: copy {url} with pg_dump, or by the snapshots of whoever runs it, and keep a copy \
                 of {} apart from it",
                settings.key_encryption_key_file.display()
            )));
        }
    };
    existing(&database).await?;
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
    /// The witness file was restored too, as from a snapshot of the machine or its folder: nothing shows the restore then
    #[arg(long)]
    whole_folder: bool,
    #[command(flatten)]
    format: Format,
}

pub(super) async fn accept_restore(call: &mut Call<'_>, command: AcceptRestore) -> Result<(), Failure> {
    let AcceptRestore { yes, whole_folder, format } = command;
    let database = call.prepare()?.settings.database();
    existing(&database).await?;
    let named = |error: StoreError| OpenError::Database(database.clone(), error);
    if !whole_folder && database.objection().await.map_err(named)?.is_none() {
        return Err(Failure::failed(format!(
            "there is nothing to accept: {database} is the database that was served last. Where it was restored together with its \
             witness file, say --whole-folder"
        )));
    }
    let question = format!(
        "Go on with {database} as it is? Every session and every token issued before ends, and everybody has to sign in again."
    );
    ask::confirm(&mut call.console, &question, yes)?;
    let store = open_database(&database, OpenMode::Maintain).await?;
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

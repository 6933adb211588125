//! `countersign transfer`: everything moves to another database.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, IsTerminal as _};
use std::path::Path;

use clap::Args;
use countersign_store::Clock;
use countersign_store::database::Database;
use countersign_store::transfer::{Progress, TransferError, Transferred, abandon, transfer};
use serde::Serialize;

use super::output::{Console, Format, count};
use super::{Call, Failure, ask};
use crate::config::DatabaseUrl;

#[derive(Args)]
pub(super) struct Transfer {
    /// The database to leave [default: the setting database_url]
    #[arg(long, value_name = "URL")]
    from: Option<String>,
    /// The database to go to, which must be empty [default: the setting database_url]
    #[arg(long, value_name = "URL")]
    to: Option<String>,
    /// Take back a move that was interrupted: the database to leave may be served again
    #[arg(long, conflicts_with = "to")]
    abandon: bool,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    format: Format,
}

pub(super) async fn run(call: &mut Call<'_>, command: Transfer) -> Result<(), Failure> {
    let Transfer { from, to, abandon, yes, format } = command;
    let loaded = call.prepare()?;
    let configured = &loaded.settings.database_url;
    let named = |flag, value: Option<String>| named(flag, value).map(|url| url.unwrap_or_else(|| configured.clone()));
    if abandon {
        let (from, _) = loaded.another_database(named("from", from)?);
        return take_back(&mut call.console, &from, format).await;
    }
    if from.is_none() && to.is_none() {
        return Err(Failure::misused(
            "say where everything is to go: --to URL, and --from URL where it does not come from database_url",
        ));
    }
    let (from, key_file) = loaded.another_database(named("from", from)?);
    let (to, key_file_there) = loaded.another_database(named("to", to)?);
    let question = format!(
        "Move everything from {from} to {to}? From now on a server on {from} answers nothing, and everybody goes on with the other \
         database once it is served."
    );
    ask::confirm(&mut call.console, &question, yes)?;
    let mut shown = Shown::new(!format.json && io::stderr().is_terminal());
    let moved = transfer(&from, &to, &Clock::System, |progress| shown.show(&mut call.console, progress)).await;
    let moved = moved.map_err(|error| failure(error, shown.is_closed))?;
    let key_files = KeyFiles { here: &key_file, there: &key_file_there };
    tell(&mut call.console, &from, &to, &moved, &key_files, format)
}

/// A URL on the command line. Its error does not repeat it: there may be a password in it.
fn named(flag: &str, value: Option<String>) -> Result<Option<DatabaseUrl>, Failure> {
    let url = value.as_deref().map(DatabaseUrl::parse).transpose();
    url.map_err(|wrong| Failure::misused(format!("--{flag} {wrong}")))
}

fn failure(error: TransferError, is_closed: bool) -> Failure {
    match error {
        TransferError::Same(_) => Failure::misused(error),
        TransferError::Store(..) | TransferError::Differs { .. } if is_closed => Failure::failed(format!(
            "{error}. The same command goes on where it stopped; with --abandon in the place of --to, the database that was to be \
             left may be served again"
        )),
        _ => Failure::failed(error),
    }
}

async fn take_back(console: &mut Console<'_>, from: &Database, format: Format) -> Result<(), Failure> {
    let to = abandon(from, &Clock::System).await.map_err(|error| failure(error, false))?;
    if format.json {
        return console.json(&TakenBack { from: from.to_string(), to });
    }
    console.line(format_args!("{from} may be served again."))?;
    console.line(format_args!(
        "What was copied to {to} is of no use: remove it, a later transfer needs an empty database."
    ))
}

/// A move that was taken back, as scripts see it.
#[derive(Serialize)]
struct TakenBack {
    from: String,
    to: String,
}

/// How far it has come, as a person sees it.
struct Shown {
    /// Somebody looks on: one line is written over, again and again.
    is_watched: bool,
    is_closed: bool,
    last: Option<(&'static str, u64)>,
}

impl Shown {
    fn new(is_watched: bool) -> Self {
        Self { is_watched, is_closed: false, last: None }
    }

    fn show(&mut self, console: &mut Console<'_>, progress: Progress) {
        match progress {
            Progress::SourceClosed => {
                self.is_closed = true;
                console.note("The database that is left is closed: its servers answer nothing any more.");
            }
            Progress::Copied { table, rows, of } => self.copied(console, table, rows, of),
            Progress::DestinationTaken | Progress::Decided => {}
        }
    }

    fn copied(&mut self, console: &mut Console<'_>, table: &'static str, rows: u64, of: u64) {
        self.is_closed = true;
        if of == 0 {
            return;
        }
        let line = format!("{table} {rows}/{of}");
        if self.is_watched {
            console.progress(&line);
            if rows >= of {
                console.note("");
            }
            return;
        }
        // For a log: no more than ten lines a table.
        let tenth = rows * 10 / of;
        if self.last != Some((table, tenth)) {
            self.last = Some((table, tenth));
            console.note(line);
        }
    }
}

/// The files of the key that opens the keys in the database: the settings name one for each database.
struct KeyFiles<'a> {
    here: &'a Path,
    there: &'a Path,
}

impl fmt::Display for KeyFiles<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (here, there) = (self.here.display(), self.there.display());
        write!(
            f,
            "The key-encryption key has not moved: the keys in the database open with {here} and with nothing else. "
        )?;
        if self.here == self.there {
            return write!(f, "It stays where it is, and every server needs it.");
        }
        write!(
            f,
            "Copy it to {there}, where a server on the new database looks for it, or name it (key_encryption_key_file)."
        )
    }
}

fn tell(
    console: &mut Console<'_>,
    from: &Database,
    to: &Database,
    moved: &Transferred,
    key_files: &KeyFiles<'_>,
    format: Format,
) -> Result<(), Failure> {
    if format.json {
        return console.json(&Moved {
            from: from.to_string(),
            to: to.to_string(),
            rows: moved.rows.iter().copied().collect(),
            closed_for_milliseconds: moved.closed_for.map(|time| time.as_millis()),
            key_encryption_key_file: key_files.here.display().to_string(),
        });
    }
    let rows = |table| moved.rows.iter().find(|(name, _)| *name == table).map_or(0, |(_, rows)| *rows);
    let (accounts, sessions) = (count(rows("accounts"), "account"), count(rows("sessions"), "session"));
    match moved.closed_for {
        Some(time) => console.line(format_args!(
            "Moved {accounts} and {sessions} from {from} to {to} in {:.1} s. Every session goes on.",
            time.as_secs_f64()
        ))?,
        None => console.line(format_args!("{from} has moved to {to} before, with {accounts} and {sessions}."))?,
    }
    console.line(format_args!(
        "Serve it with database_url set to the new database. {from} is marked as moved and is not served any more."
    ))?;
    console.line(key_files)
}

/// A move as scripts see it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Moved {
    from: String,
    to: String,
    rows: BTreeMap<&'static str, u64>,
    closed_for_milliseconds: Option<u128>,
    key_encryption_key_file: String,
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_log_has_few_lines_and_a_terminal_one() {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut shown = Shown::new(false);
        for rows in (0..=100_000).step_by(1000) {
            let progress = Progress::Copied { table: "families", rows, of: 100_000 };
            shown.show(&mut Console::new(&mut out, &mut err), progress);
        }
        let nothing = Progress::Copied { table: "throttles", rows: 0, of: 0 };
        shown.show(&mut Console::new(&mut out, &mut err), nothing);
        let told = String::from_utf8(std::mem::take(&mut err)).unwrap();
        assert_eq!(told.lines().count(), 11, "{told}");
        assert!(told.starts_with("families 0/100000\n") && told.ends_with("families 100000/100000\n"), "{told}");
        let mut shown = Shown::new(true);
        for rows in [0, 12_000, 100_000] {
            let progress = Progress::Copied { table: "families", rows, of: 100_000 };
            shown.show(&mut Console::new(&mut out, &mut err), progress);
        }
        let told = String::from_utf8(err).unwrap();
        assert_eq!(told, "\rfamilies 0/100000\rfamilies 12000/100000\rfamilies 100000/100000\n");
        assert!(out.is_empty());
    }

    #[test]
    fn a_url_that_is_none_is_told_without_what_may_be_secret() {
        let refused = named("to", Some("postgres://me:hunter2@db/".to_owned())).unwrap_err();
        let told = refused.message().unwrap();
        assert!(told.starts_with("--to must name a database") && !told.contains("hunter2"), "{told}");
        assert!(named("to", None).unwrap().is_none());
    }

    #[test]
    fn where_the_key_is_looked_for_is_told() {
        let told = |here: &str, there: &str| KeyFiles { here: here.as_ref(), there: there.as_ref() }.to_string();
        assert!(told("data/a.key", "data/a.key").contains("stays where it is"));
        assert!(told("old/a.key", "data/a.key").contains("Copy it to data/a.key"));
    }
}

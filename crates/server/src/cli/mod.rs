//! The command line.
//!
//! Exit codes: 0 done; 1 it failed; 2 the command line or a setting is wrong, so the same call fails again.

mod account;
mod ask;
mod config;
mod database;
mod events;
mod failure;
mod health;
mod key;
mod output;
mod reader;
mod runtime;
mod serve;
mod session;
mod transfer;

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args as _, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use countersign_store::Store;
use countersign_store::database::{Database, OpenMode, SchemaVersion};

use self::failure::{Exit, Failure};
use self::output::{Console, Format};
use crate::config::{Environment, Flags, Loaded, WrongSettings};
use crate::installation::{Countersign, OpenError, open_database};
use crate::{config as settings, telemetry};

const AFTER_HELP: &str = "\
Every setting can also stand in the environment, as COUNTERSIGN_ and its name in upper case, or in the TOML file, by \
its name with underscores: --database-url is COUNTERSIGN_DATABASE_URL is database_url. A flag wins over the \
environment, the environment over the file.

Exit codes: 0 done; 1 it failed; 2 the command line or a setting is wrong.";

/// What a command that is no server tells of its work: what goes wrong, and that it made the key-encryption key.
const COMMAND_LOG: &str = "warn,countersign::key_file=info";

#[derive(Parser)]
#[command(
    name = "countersign",
    version,
    about = "A login server for anyone's API: short-lived access tokens, rotating refresh tokens, revocation that works",
    after_long_help = AFTER_HELP,
    after_help = "`countersign --help` lists the settings too."
)]
struct Cli {
    #[command(flatten)]
    flags: Flags,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Serve, until SIGTERM or Ctrl-C; what happens without a command too
    ///
    /// When it is ready it prints one line on standard output: `countersign listening on http://ADDRESS:PORT`. Its log goes to
    /// standard error. Asked to stop, it finishes the requests in flight; asked twice, it does not wait for them.
    Serve,
    /// Make, list and change accounts
    Account {
        #[command(flatten)]
        format: Format,
        #[command(subcommand)]
        command: account::Command,
    },
    /// End every session of everyone
    ///
    /// One write, however many sessions there are. Every access and refresh token issued before is refused from then on; accounts
    /// and passwords stay as they are, and everybody can sign in again at once.
    RevokeAll(session::RevokeAll),
    /// List what happened, newest first
    ///
    /// Sign-ins and refused ones, replayed refresh tokens, revocations, changes of passwords, roles and keys: each was written
    /// together with the change itself. It only looks, so it also works on a database that may not be served.
    Events(events::Events),
    /// List and rotate the keys that sign tokens
    Key {
        #[command(flatten)]
        format: Format,
        #[command(subcommand)]
        command: key::Command,
    },
    /// Admit resource servers to the revocation feed
    Reader {
        #[command(flatten)]
        format: Format,
        #[command(subcommand)]
        command: reader::Command,
    },
    /// Bring the database to the schema of this version
    ///
    /// The server does the same when it starts. Take a backup first: migrations only go forward.
    Migrate(database::Migrate),
    /// Copy a SQLite database to a file while the server runs
    ///
    /// The copy is the database as it was at one moment, checked before it counts. The key-encryption key is not in it: keep a copy
    /// of that file too, and keep the two apart, since together they can forge tokens. A PostgreSQL database is copied by pg_dump or
    /// by the snapshots of whoever runs it.
    Backup(database::Backup),
    /// Go on with a database that was restored from a copy, or that lost changes in a failover
    ///
    /// Such a database knows nothing of the sessions that were ended and the refresh tokens that were used since the copy was
    /// made, so the server refuses to start on it. This ends every session and every token issued before: everybody signs in
    /// again, with the accounts, passwords and roles of the copy.
    AcceptRestore(database::AcceptRestore),
    /// Move everything to another database: from SQLite to PostgreSQL, or back
    ///
    /// Accounts, sessions, keys, readers and events are copied to an empty database, and every session goes on there: nobody has to
    /// sign in again. The database that is left is closed first, also for a server that runs on it, so plan for a short pause: stop
    /// the server, move, start it with the new database_url. Interrupted, the same command goes on; as long as it has not finished,
    /// --abandon takes it back. Afterwards the old database is marked as moved and is not served any more.
    ///
    /// One of --from and --to may be left out: it is the setting database_url then, from the environment or the file, so that a
    /// password need not show in the process list.
    ///
    /// The file with the key-encryption key does not move: the new server needs the same one (key_encryption_key_file).
    #[command(after_long_help = "\
Example: countersign transfer --from sqlite:data/countersign.db --to postgres://USER:PASSWORD@HOST:PORT/DATABASE

Settings may be given as flags: `countersign --help` lists them.")]
    Transfer(transfer::Transfer),
    /// Look at the settings
    Config {
        #[command(flatten)]
        format: Format,
        #[command(subcommand)]
        command: config::Command,
    },
    /// Ask the running server whether it is ready
    ///
    /// It asks /readyz at the address that the setting listen names. Exit code 0: the server answers, and its database can be read
    /// and written.
    Health(Format),
}

/// What every command is given.
struct Call<'a> {
    flags: &'a Flags,
    environment: &'a Environment,
    console: Console<'a>,
}

/// What a command does where the database does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Missing {
    /// Makes it, as the server would.
    Make,
    /// Refuses: a list that is empty because the folder is the wrong one would mislead.
    Refuse,
}

impl Call<'_> {
    /// The settings, where they are right.
    fn load(&self) -> Result<Loaded, WrongSettings> {
        settings::load(self.flags, self.environment)
    }

    /// Opens what the settings name, for a command that ends soon.
    async fn open(&self, missing: Missing) -> Result<Countersign, Failure> {
        let loaded = self.prepare()?;
        if missing == Missing::Refuse {
            existing(&loaded.settings.database()).await?;
        }
        Ok(Countersign::open_for_a_command(loaded).await?)
    }

    /// Opens the database to look at it, and nothing else: even where it may not be served, as after a restore.
    async fn inspect(&self) -> Result<Arc<dyn Store>, Failure> {
        let database = self.prepare()?.settings.database();
        existing(&database).await?;
        Ok(open_database(&database, OpenMode::Inspect).await?)
    }

    /// The settings, for a command that is no server.
    fn prepare(&self) -> Result<Loaded, Failure> {
        let loaded = self.load()?;
        // A second command in one process, as in a test, keeps the log of the first.
        let _ = telemetry::start_logs(loaded.settings.log_format, COMMAND_LOG);
        Ok(loaded)
    }
}

/// How far the schema has come; refuses a database that does not exist yet.
async fn existing(database: &Database) -> Result<SchemaVersion, Failure> {
    if let Some(version) = schema_version(database).await? {
        return Ok(version);
    }
    Err(Failure::failed(match database {
        Database::Sqlite(path) => format!(
            "there is no database at {}: name the right one (database_url), or start `countersign` to make it",
            path.display()
        ),
        Database::Postgres { url, .. } => format!(
            "the database {url} has no Countersign tables yet: name the right one (database_url), start `countersign` or run \
             `countersign migrate`"
        ),
    }))
}

/// How far the schema has come; `None`: there is no database yet.
async fn schema_version(database: &Database) -> Result<Option<SchemaVersion>, Failure> {
    Ok(database.schema_version().await.map_err(|error| OpenError::Database(database.clone(), error))?)
}

/// Runs the command that this process was started with.
#[must_use]
pub fn main() -> ExitCode {
    let matches = command_line().get_matches();
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    // Not locked: the log writes to standard error too, from other threads.
    let (mut out, mut err) = (io::stdout(), io::stderr());
    run(cli, &Environment::read(), &mut out, &mut err).into()
}

/// The command line, where the help of a command does not repeat every setting.
fn command_line() -> clap::Command {
    let settings = Flags::augment_args(clap::Command::new(""));
    let hidden: Vec<_> = settings.get_arguments().map(|setting| setting.clone().hide(true)).collect();
    Cli::command().mut_subcommands(|command| without_settings(command, &hidden))
}

fn without_settings(command: clap::Command, hidden: &[clap::Arg]) -> clap::Command {
    command
        .args(hidden)
        .after_help("Settings may be given as flags: `countersign --help` lists them.")
        .mut_subcommands(|command| without_settings(command, hidden))
}

fn run(cli: Cli, environment: &Environment, out: &mut dyn Write, err: &mut dyn Write) -> Exit {
    let Cli { flags, command } = cli;
    let mut call = Call { flags: &flags, environment, console: Console::new(out, err) };
    let outcome = drive(&mut call, command.unwrap_or(Command::Serve)).and_then(|()| call.console.flush());
    let Err(failure) = outcome else { return Exit::Done };
    if let Some(message) = failure.message() {
        call.console.note(format_args!("error: {message}"));
    }
    failure.exit()
}

fn drive(call: &mut Call<'_>, command: Command) -> Result<(), Failure> {
    serve::arm_fail_points(call.environment)?;
    let runtime = match command {
        Command::Serve => runtime::serving(),
        _ => runtime::alone(),
    };
    runtime.map_err(Failure::failed)?.block_on(dispatch(call, command))
}

async fn dispatch(call: &mut Call<'_>, command: Command) -> Result<(), Failure> {
    match command {
        Command::Serve => serve::run(call).await,
        Command::Account { format, command } => account::run(call, command, format.json).await,
        Command::RevokeAll(command) => session::revoke_all(call, command).await,
        Command::Events(command) => events::run(call, command).await,
        Command::Key { format, command } => key::run(call, command, format.json).await,
        Command::Reader { format, command } => reader::run(call, command, format.json).await,
        Command::Migrate(command) => database::migrate(call, command).await,
        Command::Backup(command) => database::backup(call, command).await,
        Command::AcceptRestore(command) => database::accept_restore(call, command).await,
        Command::Transfer(command) => transfer::run(call, command).await,
        Command::Config { format, command } => config::run(call, &command, format.json),
        Command::Health(format) => health::run(call, format.json).await,
    }
}

#[cfg(test)]
mod tests;

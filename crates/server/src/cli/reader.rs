//! `countersign reader`: the resource servers that may read the revocation feed.

use clap::Subcommand;
use countersign_core::ids::ReaderId;
use countersign_operations::Operations;
use countersign_operations::administrators::Administrator;
use countersign_operations::readers;
use countersign_store::verbs::Reader;
use serde::Serialize;

use super::output::{Console, Table, time};
use super::{Call, Failure, Missing};

#[derive(Subcommand)]
pub(super) enum Command {
    /// Make a key with which a resource server reads the revocation feed
    ///
    /// The key is printed this once; the database holds only its hash.
    Create {
        /// What you call the reader: 1 to 64 characters
        name: String,
    },
    /// List the readers
    List,
    /// Take a reader's key away from it
    Revoke {
        /// The reader, as `reader list` shows it
        id: ReaderId,
    },
}

pub(super) async fn run(call: &mut Call<'_>, command: Command, json: bool) -> Result<(), Failure> {
    let missing = if matches!(command, Command::Create { .. }) { Missing::Make } else { Missing::Refuse };
    let opened = call.open(missing).await?;
    let outcome = act(&mut call.console, opened.operations(), command, json).await;
    outcome.and(opened.close().await.map_err(Failure::from))
}

async fn act(console: &mut Console<'_>, operations: &Operations, command: Command, json: bool) -> Result<(), Failure> {
    let by = &Administrator::OPERATOR;
    match command {
        Command::Create { name } => {
            let (reader, key) = readers::admit(operations, by, name).await?;
            let key = key.expose();
            if json {
                return console.json(&Shown { key: Some(key.as_str()), ..Shown::from(&reader) });
            }
            // The key alone is the answer, so that it can be piped to where it belongs.
            console.note(format_args!("{:?} may read the revocation feed. Its key, shown this once:", reader.name));
            console.line(key.as_str())
        }
        Command::List => {
            let readers = readers::list(operations, by).await?;
            if json {
                return readers.iter().try_for_each(|reader| console.json(&Shown::from(reader)));
            }
            if readers.is_empty() {
                console.note("There is no reader yet. Admit one: countersign reader create NAME");
            }
            let row = |reader: &Reader| [reader.id.to_string(), reader.name.clone(), time(reader.created_at)];
            Table::new(["ID", "NAME", "CREATED"]).print(console, readers.iter().map(row).collect())
        }
        Command::Revoke { id } => {
            readers::dismiss(operations, by, id).await?;
            if json {
                return console.json(&Revoked { id: id.to_string(), revoked: true });
            }
            console.line(format_args!("The key of reader {id} is good for nothing now."))
        }
    }
}

/// A reader as scripts see it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown<'a> {
    id: String,
    name: &'a str,
    created_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
}

impl<'a> From<&'a Reader> for Shown<'a> {
    fn from(reader: &'a Reader) -> Self {
        Self { id: reader.id.to_string(), name: &reader.name, created_at: time(reader.created_at), key: None }
    }
}

#[derive(Serialize)]
struct Revoked {
    id: String,
    revoked: bool,
}

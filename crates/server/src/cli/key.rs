//! `countersign key`: the keys that sign access tokens and tag refresh tokens.

use clap::Subcommand;
use countersign_core::keys::{KeyPhase, KeyUse};
use countersign_operations::Operations;
use countersign_operations::administrators::Administrator;
use countersign_operations::keys::{self, ListedKey, Rotated};
use serde::Serialize;

use super::output::{Console, Table, time};
use super::{Call, Failure, Missing};

#[derive(Subcommand)]
pub(super) enum Command {
    /// List the keys, and what each does now
    List,
    /// Make new keys; a running server takes them up by itself
    ///
    /// A new signing key is published for five minutes before it signs, so that every verifier has fetched it by then. The old
    /// one verifies until the last token that it signed has expired: no honest request fails.
    Rotate {
        /// For a key that leaked: the new one signs at once and the older ones verify nothing. Verifiers follow when they fetch the keys again
        #[arg(long)]
        now: bool,
    },
}

pub(super) async fn run(call: &mut Call<'_>, command: Command, json: bool) -> Result<(), Failure> {
    let opened = call.open(Missing::Refuse).await?;
    let outcome = act(&mut call.console, opened.operations(), command, json).await;
    outcome.and(opened.close().await.map_err(Failure::from))
}

async fn act(console: &mut Console<'_>, operations: &Operations, command: Command, json: bool) -> Result<(), Failure> {
    if let Command::Rotate { now } = command {
        let rotated = keys::rotate(operations, &Administrator::OPERATOR, now).await?;
        if !json {
            console.line(match (rotated, now) {
                (Rotated::All, true) => {
                    "Made new keys, in use from now on. The older signing keys verify nothing any more: every access token has to be refreshed."
                }
                (Rotated::All, false) => {
                    "Made new keys. Each takes over at its time; the old ones still verify what they made, for as long as that lives."
                }
                (Rotated::RefreshTag, _) => {
                    "Made a new key for refresh tokens. The signing keys are yours: put the new one first in signing_key_files and restart."
                }
            })?;
            console.line("")?;
        }
    }
    let keys = keys::list(operations).await?;
    if json {
        return keys.iter().try_for_each(|key| console.json(&Shown::from(key)));
    }
    let mut table = Table::new(["KEY", "USE", "ALGORITHM", "STATE", "CREATED", "IN USE FROM", "VERIFIES UNTIL"]);
    table.print(console, keys.iter().map(row).collect())
}

fn row(key: &ListedKey) -> [String; 7] {
    let time_or = |at: Option<_>, otherwise: &str| at.map_or_else(|| otherwise.to_owned(), time);
    [
        key.kid.clone(),
        in_words(key.key_use).to_owned(),
        key.algorithm.clone(),
        phase(key.phase).to_owned(),
        time_or(key.created_at, "from a file"),
        time_or(key.active_from, "-"),
        time_or(key.verifies_until, "-"),
    ]
}

const fn in_words(key_use: KeyUse) -> &'static str {
    match key_use {
        KeyUse::Signing => "access tokens",
        KeyUse::RefreshTag => "refresh tokens",
    }
}

const fn phase(phase: KeyPhase) -> &'static str {
    match phase {
        KeyPhase::Published => "published",
        KeyPhase::Active => "active",
        KeyPhase::Verifying => "verifying",
        KeyPhase::Retired => "retired",
    }
}

/// A key as scripts see it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown<'a> {
    kid: &'a str,
    r#use: &'static str,
    algorithm: &'a str,
    state: &'static str,
    created_at: Option<String>,
    active_from: Option<String>,
    verifies_until: Option<String>,
}

impl<'a> From<&'a ListedKey> for Shown<'a> {
    fn from(key: &'a ListedKey) -> Self {
        Self {
            kid: &key.kid,
            r#use: key.key_use.as_str(),
            algorithm: &key.algorithm,
            state: phase(key.phase),
            created_at: key.created_at.map(time),
            active_from: key.active_from.map(time),
            verifies_until: key.verifies_until.map(time),
        }
    }
}

//! `countersign revoke-all`, and how the end of many sessions is told.

use std::fmt::Display;

use clap::Args;
use countersign_operations::administrators::Administrator;
use countersign_operations::sessions::{Revoked, revoke_everyone};
use serde::Serialize;

use super::output::{Console, Format, count, time};
use super::{Call, Failure, Missing, ask};

#[derive(Args)]
pub(super) struct RevokeAll {
    /// Do not ask
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    format: Format,
}

pub(super) async fn revoke_all(call: &mut Call<'_>, command: RevokeAll) -> Result<(), Failure> {
    let opened = call.open(Missing::Refuse).await?;
    let outcome = async {
        ask::confirm(&mut call.console, "End every session of everyone? All have to sign in again.", command.yes)?;
        let revoked = revoke_everyone(opened.operations(), &Administrator::OPERATOR, true).await?;
        let revoked = revoked.unwrap_or(Revoked { sessions_ended: 0, last_access_expiry: None });
        let ended = count(revoked.sessions_ended, "session");
        show(
            &mut call.console,
            &revoked,
            command.format.json,
            format_args!("Ended {ended}. Everyone has to sign in again."),
        )
    }
    .await;
    outcome.and(opened.close().await.map_err(Failure::from))
}

/// Tells what a revocation ended.
pub(super) fn show(
    console: &mut Console<'_>,
    revoked: &Revoked,
    json: bool,
    told: impl Display,
) -> Result<(), Failure> {
    let until = revoked.last_access_expiry.map(time);
    if json {
        return console.json(&Shown { sessions_ended: revoked.sessions_ended, last_access_token_expires_at: until });
    }
    console.line(told)?;
    match until {
        Some(until) => console.line(format_args!(
            "Resource servers that do not read the revocation feed accept their access tokens until {until}."
        )),
        None => Ok(()),
    }
}

/// The end of many sessions as scripts see it, by the names of the API's receipt.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    sessions_ended: u64,
    last_access_token_expires_at: Option<String>,
}

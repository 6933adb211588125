//! The least that a refresh can do: read a row and write it where it is still the same, on disk together with all that wait, sign
//! meanwhile, and answer JSON over a bare axum.
//!
//! No token is checked, no session and no account is looked at, nothing is logged, counted, limited or protected. What Countersign does not reach of it, these take.

mod postgres;
mod sqlite;

use std::io::Write as _;
use std::net::Ipv4Addr;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::Context as _;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router};
use countersign_token::{Algorithm, Audience, SigningKey};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::bench::Run;
use crate::chains::Refreshing;
use crate::clock;
use crate::process::Process;
use crate::processors::keep_workers_apart;
use crate::scenarios::Backend;
use crate::yardsticks::crypto::{AUDIENCE, claims};

/// An update that waits for its commit.
struct Waiting {
    row: u64,
    committed: oneshot::Sender<()>,
}

enum Rows {
    Sqlite(sqlite::Rows),
    Postgres(postgres::Rows),
}

struct Bare {
    rows: Rows,
    key: SigningKey,
    audience: Audience,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    refresh_token: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Response {
    access_token: String,
    refresh_token: String,
    expiration: String,
    token_type: &'static str,
    expires_in: i64,
}

/// Serves until the process is ended, on the database of this name, with so many rows.
pub(crate) fn serve(database: &str, rows: u64) -> anyhow::Result<()> {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    keep_workers_apart(&mut runtime);
    runtime.enable_all().build()?.block_on(async {
        let rows = if database.starts_with("postgres") {
            Rows::Postgres(postgres::Rows::new(database, rows).await?)
        } else {
            Rows::Sqlite(sqlite::Rows::new(database.as_ref(), rows)?)
        };
        let key = SigningKey::generate(Algorithm::Es256)?;
        let bare = Arc::new(Bare { rows, key, audience: Audience::try_from(AUDIENCE)? });
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        writeln!(std::io::stdout(), "bare listening on http://{address}")?;
        // As Countersign's listener does.
        let listener = axum::serve::ListenerExt::tap_io(listener, |stream| {
            let _ = stream.set_nodelay(true);
        });
        let router = Router::new().route("/api/auth/refresh-token", post(refresh)).with_state(bare);
        axum::serve(listener, router).await?;
        Ok(())
    })
}

async fn refresh(State(bare): State<Arc<Bare>>, Json(request): Json<Request>) -> Result<Json<Response>, StatusCode> {
    let (row, generation) = opened(&request.refresh_token).ok_or(StatusCode::BAD_REQUEST)?;
    let (committed, is_on_disk) = oneshot::channel();
    let waiting = Waiting { row, committed };
    match &bare.rows {
        Rows::Sqlite(rows) => rows.update(waiting),
        Rows::Postgres(rows) => rows.update(waiting),
    }
    let claims = claims(row, bare.audience.clone());
    let access_token = bare.key.sign(&claims).map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    is_on_disk.await.map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    Ok(Json(Response {
        access_token,
        refresh_token: token(row, generation + 1),
        expiration: clock::rfc3339(claims.exp),
        token_type: "Bearer",
        expires_in: claims.exp - claims.iat,
    }))
}

/// A text as long as a refresh token: the row and how often it was refreshed, for whoever can read.
fn token(row: u64, generation: u64) -> String {
    format!("cs_rt_{row:016x}{generation:016x}{}", "A".repeat(62))
}

fn opened(token: &str) -> Option<(u64, u64)> {
    let number = |from: usize| u64::from_str_radix(token.get(from..from + 16)?, 16).ok();
    Some((number(6)?, number(22)?))
}

/// A server of its own on the same disk, and connections that refresh so many of its rows each, far from one another.
pub(crate) fn start(
    run: &Run<'_>,
    backend: Backend,
    rows: u64,
    connections: usize,
    rows_each: usize,
) -> anyhow::Result<(Process, Vec<Refreshing>)> {
    /// Each has a database of its own.
    static STARTED: AtomicU32 = AtomicU32::new(0);
    let number = STARTED.fetch_add(1, Ordering::Relaxed);
    let database = match backend {
        Backend::Sqlite => {
            let file = run.dir.join(format!("bare_{number}.db"));
            file.to_str().context("a path is text")?.to_owned()
        }
        Backend::Postgres => run.bench.postgres()?.fresh(&format!("bench_bare_{number}"))?,
    };
    let mut command = Command::new(&run.bench.programs.own);
    command.args(["bare", &database, &rows.to_string()]);
    let server = Process::start(command, &run.dir.join("bare.log"))?;
    let tokens: Vec<String> = scattered(rows, (connections * rows_each) as u64).map(|row| token(row, 0)).collect();
    Ok((server, tokens.chunks(rows_each).map(|tokens| Refreshing::new(tokens.to_vec())).collect()))
}

/// So many of the rows, as far apart as they can be, those that follow one another too.
fn scattered(rows: u64, count: u64) -> impl Iterator<Item = u64> {
    /// A prime that divides no `count` here, so that every multiple of it is met once.
    const STEP: u64 = 7919;
    let count = count.clamp(1, rows);
    (0..count).map(move |number| number * STEP % count * (rows / count))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_tells_its_row() {
        let token = token(7, 300);
        assert_eq!((token.len(), opened(&token)), (100, Some((7, 300))));
        assert_eq!(opened("cs_rt_ä"), None);
    }

    #[test]
    fn scattered_rows_are_met_once_and_reach_from_end_to_end() {
        for (rows, count) in [(1_000, 64), (1_000, 704), (1_000_000, 65_536)] {
            let mut met: Vec<u64> = scattered(rows, count).collect();
            met.sort_unstable();
            met.dedup();
            assert_eq!(met.len() as u64, count);
            assert!(met.last().is_some_and(|last| (rows / 2..rows).contains(last)), "{met:?}");
        }
    }
}

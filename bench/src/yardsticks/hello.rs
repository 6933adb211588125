//! The least that a server can do: a bare axum that says hello, to everyone or behind the bearer layer.

use std::io::Write as _;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;

use anyhow::ensure;
use axum::Router;
use axum::routing::get;
use countersign_bearer::Bearer;
use tokio::net::TcpListener;

use crate::chains::Asking;
use crate::drive::Drive;
use crate::process::Process;
use crate::server::{Programs, READER_SECRET};
use crate::yardsticks::crypto::AUDIENCE;

const HELLO: &str = "Hello, World!";

/// Serves until the process is ended; to whoever has an access token of the Countersign that it trusts, if any.
pub(crate) fn serve(trusting: Option<String>) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut router = Router::new().route("/", get(async || HELLO));
        if let Some(authority) = trusting {
            let bearer = Bearer::discover(authority).audience(AUDIENCE).reader_key(READER_SECRET).build()?;
            bearer.ready().await;
            router = router.layer(bearer);
        }
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        writeln!(std::io::stdout(), "hello listening on http://{address}")?;
        // As Countersign's listener does.
        let listener = axum::serve::ListenerExt::tap_io(listener, |stream| {
            let _ = stream.set_nodelay(true);
        });
        axum::serve(listener, router).await?;
        Ok(())
    })
}

pub(crate) fn start(programs: &Programs, work: &Path) -> anyhow::Result<Process> {
    let mut command = Command::new(&programs.own);
    command.arg("hello");
    Process::start(command, &work.join("hello.log"))
}

/// The same behind the bearer layer, which trusts the Countersign at this URL.
pub(crate) fn start_trusting(programs: &Programs, work: &Path, authority: &str) -> anyhow::Result<Process> {
    let mut command = Command::new(&programs.own);
    command.args(["hello", "--trusting", authority]);
    Process::start(command, &work.join("hello_trusting.log"))
}

/// The load on it.
pub(crate) fn load(name: impl Into<String>, server: &Process, connections: usize) -> Drive<Asking> {
    let chains = (0..connections).map(|_| asking(None)).collect();
    Drive::new(name, server.address, chains).watching("server", server.tree())
}

/// The load on the one behind the bearer layer, one access token a connection.
pub(crate) fn authorized_load(name: impl Into<String>, server: &Process, tokens: &[String]) -> Drive<Asking> {
    let chains = tokens.iter().map(|token| asking(Some(token))).collect();
    Drive::new(name, server.address, chains).watching("server", server.tree())
}

fn asking(access: Option<&str>) -> Asking {
    Asking::new("/", access, |body| {
        ensure!(body == HELLO.as_bytes(), "not hello");
        Ok(())
    })
}

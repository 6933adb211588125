//! The least that a server can do: a bare axum that says hello.

use std::io::Write as _;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;

use anyhow::ensure;
use axum::Router;
use axum::routing::get;
use tokio::net::TcpListener;

use crate::chains::Asking;
use crate::drive::Drive;
use crate::process::Process;
use crate::server::Programs;

const HELLO: &str = "Hello, World!";

/// Serves until the process is ended.
pub(crate) fn serve() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        writeln!(std::io::stdout(), "hello listening on http://{address}")?;
        // As Countersign's listener does.
        let listener = axum::serve::ListenerExt::tap_io(listener, |stream| {
            let _ = stream.set_nodelay(true);
        });
        axum::serve(listener, Router::new().route("/", get(async || HELLO))).await?;
        Ok(())
    })
}

pub(crate) fn start(programs: &Programs, work: &Path) -> anyhow::Result<Process> {
    let mut command = Command::new(&programs.own);
    command.arg("hello");
    Process::start(command, &work.join("hello.log"))
}

/// The load on it.
pub(crate) fn load(name: impl Into<String>, server: &Process, connections: usize) -> Drive<Asking> {
    let asking = || {
        Asking::new("/", None, |body| {
            ensure!(body == HELLO.as_bytes(), "not hello");
            Ok(())
        })
    };
    let chains = (0..connections).map(|_| asking()).collect();
    Drive::new(name, server.address, chains).watching("server", server.tree())
}

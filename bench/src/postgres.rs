//! The PostgreSQL that the bench was given: what it is, and databases in it.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use tokio_postgres::{Client, NoTls};

use crate::machine;
use crate::usage::Tree;

/// A PostgreSQL on this machine that keeps what it commits.
#[derive(Clone, Debug)]
pub(crate) struct Postgres {
    /// A superuser's URL.
    url: String,
    pub(crate) version: String,
    /// All of its processes.
    pub(crate) tree: Tree,
    pub(crate) pgbench: PathBuf,
}

impl Postgres {
    /// Looks at the server behind the URL.
    ///
    /// # Errors
    /// It cannot be reached, or would lose commits, so that its figures would be none.
    pub(crate) fn look(url: &str, pgbench: PathBuf) -> anyhow::Result<Self> {
        let (version, backend, folder) = with(url, async |client| {
            for setting in ["fsync", "synchronous_commit", "full_page_writes"] {
                let value: String = client.query_one(&format!("SHOW {setting}"), &[]).await?.get(0);
                if value != "on" {
                    bail!("{setting} of PostgreSQL is {value}: it would lose commits");
                }
            }
            let version: String = client.query_one("SHOW server_version", &[]).await?.get(0);
            let backend: i32 = client.query_one("SELECT pg_backend_pid()", &[]).await?.get(0);
            let folder: String = client.query_one("SHOW data_directory", &[]).await?.get(0);
            // While the connection is open its process can be looked at.
            Ok((version, parent_of(u32::try_from(backend)?)?, folder))
        })?;
        machine::insist_on_a_disk(Path::new(&folder))?;
        Ok(Self { url: url.to_owned(), version, tree: Tree::of(backend), pgbench })
    }

    /// An empty database with this name; one of an earlier run is dropped.
    pub(crate) fn fresh(&self, name: &str) -> anyhow::Result<String> {
        with(&self.url, async |client| {
            client.batch_execute(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")).await?;
            client.batch_execute(&format!("CREATE DATABASE {name}")).await?;
            Ok(())
        })?;
        let (server, _) = self.url.rsplit_once('/').context("the URL names a database")?;
        Ok(format!("{server}/{name}"))
    }
}

fn parent_of(process: u32) -> anyhow::Result<u32> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).context("PostgreSQL is on this machine")?;
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:")).context("a process has a parent")?;
    Ok(parent.trim().parse()?)
}

/// Does something over one connection.
pub(crate) fn with<T>(url: &str, work: impl AsyncFnOnce(&mut Client) -> anyhow::Result<T>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (mut client, connection) = tokio_postgres::connect(url, NoTls).await.context("PostgreSQL")?;
        tokio::select! {
            biased;
            done = work(&mut client) => done,
            ended = connection => {
                ended.context("PostgreSQL")?;
                bail!("PostgreSQL ended the connection")
            }
        }
    })
}

//! A server with a crowd, set up for one step.

use anyhow::{Context as _, ensure};
use rusqlite::{Connection, OpenFlags};

use crate::bench::Run;
use crate::chains::{Refreshing, look_at_me};
use crate::drive::{Chain, Drive};
use crate::loader::{self, Crowd};
use crate::postgres;
use crate::server::{Database, Installation, Server};

/// Where a server keeps its data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Backend {
    Sqlite,
    Postgres,
}

impl Backend {
    /// Of the name of a store in a peer's protocol.
    pub(crate) fn of(store: &str) -> Self {
        if store == "postgres" { Self::Postgres } else { Self::Sqlite }
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "SQLite",
            Self::Postgres => "PostgreSQL",
        }
    }

    /// A database of its own for an installation with this name.
    pub(super) fn database(self, run: &Run<'_>, name: &str) -> anyhow::Result<Database> {
        Ok(match self {
            Self::Sqlite => Database::Sqlite,
            Self::Postgres => Database::Postgres(run.bench.postgres()?.fresh(&format!("bench_{name}"))?),
        })
    }
}

/// An installation, its crowd and the server that runs on it.
pub(super) struct Site {
    pub(super) installation: Installation,
    pub(super) crowd: Crowd,
    pub(super) server: Server,
}

/// What a database holds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Contents {
    pub(super) rows: i64,
    pub(super) bytes: i64,
}

impl Site {
    /// Sets it up with `size` accounts and sessions, and `over` that ended long ago.
    pub(super) fn new(run: &Run<'_>, name: &str, backend: Backend, size: u64, over: u64) -> anyhow::Result<Self> {
        let database = backend.database(run, name)?;
        let installation = Installation::new(&run.bench.programs, &run.dir, name, database)?;
        Self::over(run, installation, size, over)
    }

    pub(super) fn over(run: &Run<'_>, installation: Installation, size: u64, over: u64) -> anyhow::Result<Self> {
        run.terminal().progress("loading accounts and sessions");
        let crowd = loader::load(&installation, size, over)?;
        let server = installation.start()?;
        Ok(Self { installation, crowd, server })
    }

    /// Chains of refreshes, of so many sessions each.
    pub(super) fn refreshing(&mut self, chains: usize, sessions_each: usize) -> anyhow::Result<Vec<Refreshing>> {
        let tokens = self.crowd.take(chains * sessions_each)?;
        Ok(tokens.chunks(sessions_each).map(|tokens| Refreshing::new(tokens.to_vec())).collect())
    }

    /// So many access tokens, each of a session of its own.
    pub(super) fn access_tokens(&mut self, count: usize) -> anyhow::Result<Vec<String>> {
        let mut client = self.server.client();
        let tokens = self.crowd.take(count)?;
        tokens.iter().map(|token| Ok(self.server.refresh(&mut client, token)?.access_token)).collect()
    }

    /// A load on the server, which is watched.
    pub(super) fn drive<C: Chain>(&self, run: &Run<'_>, name: String, chains: Vec<C>) -> Drive<C> {
        let drive = Drive::new(name, self.server.address, chains).watching("server", self.server.process.tree());
        match (&self.installation.database, &run.bench.postgres) {
            (Database::Postgres(_), Ok(postgres)) => drive.watching("PostgreSQL", postgres.tree.clone()),
            _ => drive,
        }
    }

    /// Whether the server itself takes the newest access tokens.
    pub(super) fn insist_on(&self, chains: &[Refreshing]) -> anyhow::Result<()> {
        let mut client = self.server.client();
        for chain in chains {
            ensure!(chain.answers > 0, "a session was never refreshed");
            let answer = client.get("/api/auth/me", Some(chain.access()))?;
            look_at_me(&answer.expect(200, "the newest access token")?.body)?;
        }
        Ok(())
    }

    /// What the database holds now.
    pub(super) fn contents(&self) -> anyhow::Result<Contents> {
        match &self.installation.database {
            Database::Sqlite => {
                let connection = self.sqlite()?;
                let mut tables = connection.prepare("SELECT name FROM sqlite_schema WHERE type = 'table'")?;
                let names = tables.query_map([], |row| row.get(0))?.collect::<Result<Vec<String>, _>>()?;
                let mut rows = 0;
                for name in names {
                    let sql = format!("SELECT count(*) FROM {name}");
                    rows += connection.query_row(&sql, [], |row| row.get::<_, i64>(0))?;
                }
                Ok(Contents { rows, bytes: loader::sqlite_bytes(&connection)? })
            }
            Database::Postgres(url) => postgres::with(url, async |client| {
                let sql = "SELECT tablename::text FROM pg_tables WHERE schemaname = 'countersign'";
                let mut rows = 0;
                for table in client.query(sql, &[]).await? {
                    let sql = format!("SELECT count(*) FROM countersign.{}", table.get::<_, String>(0));
                    rows += client.query_one(&sql, &[]).await?.get::<_, i64>(0);
                }
                let bytes = client.query_one("SELECT pg_database_size(current_database())", &[]).await?.get(0);
                Ok(Contents { rows, bytes })
            }),
        }
    }

    fn sqlite(&self) -> anyhow::Result<Connection> {
        let path = self.installation.database_file();
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        Connection::open_with_flags(&path, flags).with_context(|| path.display().to_string())
    }

    /// Whether the database still has one of the sessions that ended long ago.
    pub(super) fn has_sessions_over(&self) -> anyhow::Result<bool> {
        let Some(last) = self.crowd.last_over() else { return Ok(false) };
        match &self.installation.database {
            Database::Sqlite => {
                let sql = "SELECT EXISTS (SELECT 1 FROM sessions WHERE id = ?1)";
                Ok(self.sqlite()?.query_row(sql, [last.as_bytes()], |row| row.get(0))?)
            }
            Database::Postgres(url) => postgres::with(url, async |client| {
                let sql = "SELECT EXISTS (SELECT 1 FROM countersign.sessions WHERE id = $1)";
                Ok(client.query_one(sql, &[&last]).await?.get(0))
            }),
        }
    }

    /// Stops the server and starts it again; how long it took until it answered, in seconds.
    pub(super) fn restart(self) -> anyhow::Result<(Self, f64)> {
        let Self { installation, crowd, server } = self;
        server.process.stop()?;
        let (server, took) = installation.start_timed()?;
        Ok((Self { installation, crowd, server }, took))
    }

    /// Stops the server and removes what it kept.
    pub(super) fn end(self) -> anyhow::Result<()> {
        self.server.process.stop()?;
        self.installation.remove()
    }
}

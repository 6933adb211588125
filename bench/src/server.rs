//! Countersign as the bench runs it: the defaults, in a folder of its own, on a database of its own.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};
use serde::Deserialize;
use serde_json::json;

use crate::http::Client;
use crate::process::{self, Process};

/// The password of every account.
pub(crate) const PASSWORD: &str = "correct horse battery";
/// The account that the loader copies.
pub(crate) const MODEL: &str = "model";
/// The administrator.
const ROOT: &str = "root";
pub(crate) const READER_SECRET: &str = "the-bench-reads-what-was-revoked";

/// The programs that are measured, and this one.
#[derive(Clone, Debug)]
pub(crate) struct Programs {
    pub(crate) countersign: PathBuf,
    pub(crate) weather: PathBuf,
    pub(crate) own: PathBuf,
}

impl Programs {
    /// Those that were built together with this one.
    pub(crate) fn beside_this() -> anyhow::Result<Self> {
        let own = std::env::current_exe()?;
        let built = own.parent().context("a program is in a folder")?;
        let found = Self {
            countersign: built.join("countersign"),
            weather: built.join("examples").join("weather"),
            own: own.clone(),
        };
        for program in [&found.countersign, &found.weather] {
            if !program.exists() {
                bail!("{} is missing: scripts/bench builds it", program.display());
            }
        }
        Ok(found)
    }
}

/// Where the server keeps its data.
#[derive(Clone, Debug)]
pub(crate) enum Database {
    /// In its folder.
    Sqlite,
    /// At this URL.
    Postgres(String),
}

/// A folder and the settings with which a server runs in it.
#[derive(Clone, Debug)]
pub(crate) struct Installation {
    programs: Programs,
    pub(crate) dir: PathBuf,
    pub(crate) database: Database,
    port: u16,
    settings: Vec<(&'static str, String)>,
}

/// A server that runs.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) process: Process,
    pub(crate) address: SocketAddr,
}

/// What a sign-in or a refresh gives.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Tokens {
    #[serde(alias = "token")]
    pub(crate) access_token: String,
    pub(crate) refresh_token: String,
}

impl Installation {
    /// A new folder under `work`.
    pub(crate) fn new(programs: &Programs, work: &Path, name: &str, database: Database) -> anyhow::Result<Self> {
        let dir = work.join(name);
        if dir.exists() {
            // Of a step that failed.
            fs::remove_dir_all(&dir).with_context(|| dir.display().to_string())?;
        }
        fs::create_dir_all(dir.join("data")).with_context(|| dir.display().to_string())?;
        let port = process::free_port()?;
        Ok(Self { programs: programs.clone(), dir, database, port, settings: Vec::new() })
    }

    pub(crate) fn with(mut self, setting: &'static str, value: impl Into<String>) -> Self {
        self.settings.retain(|(name, _)| *name != setting);
        self.settings.push((setting, value.into()));
        self
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub(crate) fn database_file(&self) -> PathBuf {
        self.dir.join("data/countersign.db")
    }

    pub(crate) fn key_file(&self) -> PathBuf {
        self.dir.join("data/key-encryption.key")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.programs.countersign);
        command.args(arguments).env_clear().current_dir(&self.dir);
        if let Database::Postgres(url) = &self.database {
            command.env("COUNTERSIGN_DATABASE_URL", url);
        }
        command.env("COUNTERSIGN_LISTEN", format!("127.0.0.1:{}", self.port));
        command.env("COUNTERSIGN_ISSUER", self.url());
        command.env("COUNTERSIGN_REVOCATION_READER_SECRET", READER_SECRET);
        for (name, value) in &self.settings {
            command.env(format!("COUNTERSIGN_{}", name.to_ascii_uppercase()), value);
        }
        command
    }

    pub(crate) fn start(&self) -> anyhow::Result<Server> {
        let process = Process::start(self.command(&[]), &self.dir.join("log"))?;
        let address = process.address;
        Ok(Server { process, address })
    }

    /// Starts it; how long it took until it answered 200, in seconds.
    pub(crate) fn start_timed(&self) -> anyhow::Result<(Server, f64)> {
        let server = self.start()?;
        server.client().get("/readyz", None)?.expect(200, "the first request")?;
        let took = server.process.spawned.elapsed().as_secs_f64();
        Ok((server, took))
    }

    /// Makes the administrator.
    pub(crate) fn create_administrator(&self) -> anyhow::Result<()> {
        let command = self.command(&["account", "create", "--admin", ROOT, "--email", "root@example.com"]);
        process::run(command, Some(&format!("{PASSWORD}\n"))).map(drop)
    }

    /// Starts the weather, an API that trusts this server and follows its revocations.
    pub(crate) fn weather(&self) -> anyhow::Result<Process> {
        let mut command = Command::new(&self.programs.weather);
        command.args(["--listen", "127.0.0.1:0", "--authority", &self.url()]).env_clear();
        command.env("COUNTERSIGN_REVOCATION_READER_SECRET", READER_SECRET);
        Process::start(command, &self.dir.join("weather.log"))
    }

    /// Removes the folder.
    pub(crate) fn remove(self) -> anyhow::Result<()> {
        Ok(fs::remove_dir_all(&self.dir)?)
    }
}

impl Server {
    pub(crate) fn client(&self) -> Client {
        Client::new(self.address)
    }

    pub(crate) fn register(&self, name: &str) -> anyhow::Result<()> {
        let email = format!("{name}@example.com");
        let body = json!({ "username": name, "email": email, "password": PASSWORD });
        self.client().post_json("/api/auth/register", &body)?.expect(200, "a registration").map(drop)
    }

    pub(crate) fn sign_in(&self, client: &mut Client, name: &str) -> anyhow::Result<Tokens> {
        let body = json!({ "username": name, "password": PASSWORD });
        let answer = client.post_json("/api/auth/login", &body)?.expect(200, "a sign-in")?;
        Ok(serde_json::from_slice(&answer.body)?)
    }

    pub(crate) fn sign_in_administrator(&self, client: &mut Client) -> anyhow::Result<Tokens> {
        self.sign_in(client, ROOT)
    }

    pub(crate) fn refresh(&self, client: &mut Client, refresh_token: &str) -> anyhow::Result<Tokens> {
        let body = json!({ "refreshToken": refresh_token });
        let answer = client.post_json("/api/auth/refresh-token", &body)?.expect(200, "a refresh")?;
        let tokens: Tokens = serde_json::from_slice(&answer.body)?;
        if tokens.refresh_token == refresh_token {
            bail!("a refresh gave the same refresh token again");
        }
        Ok(tokens)
    }
}

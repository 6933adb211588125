//! The weather on a socket: on its own beside a Countersign, or with one in the same process.

use std::fs;
use std::io::{self, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use axum::{Extension, Router};
use clap::Parser;
use countersign::Countersign;
use countersign::config::{self, Environment, Flags, LogFormat};
use countersign::listener::{Listener, Shutdown, asked_to_stop};
use countersign::telemetry;
use countersign_bearer::{Bearer, BuildError};
use http::HeaderValue;
use tokio::time::timeout;
use zeroize::Zeroizing;

/// As `countersign` has it; many small things are made for every request.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const READER_SECRET: &str = "COUNTERSIGN_REVOCATION_READER_SECRET";

const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 5001);

/// How long the ready line waits for the keys of the Countersign.
const PATIENCE: Duration = Duration::from_secs(5);

/// A protected API that trusts a Countersign by its URL.
#[derive(Parser)]
#[command(
    name = "weather",
    version,
    after_help = "With the reader secret of the Countersign, or a reader key of it, in the file of --reader-secret-file or in \
                  COUNTERSIGN_REVOCATION_READER_SECRET, the example reads the revocation feed. Without one it asks the \
                  Countersign about each token."
)]
struct Cli {
    /// Where to listen; port 0 picks one [default: 127.0.0.1:5001; with --embedded Countersign's own setting]
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,

    /// The Countersign to trust
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:5000", conflicts_with = "embedded")]
    authority: String,

    /// The `aud` that access tokens must carry
    #[arg(long, default_value = "http://localhost:4200", conflicts_with = "embedded")]
    audience: String,

    /// A file with the secret for the revocation feed
    #[arg(long, value_name = "FILE", conflicts_with = "embedded")]
    reader_secret_file: Option<PathBuf>,

    /// The origin of a browser front end; may be given several times
    #[arg(long, value_name = "ORIGIN", value_parser = origin, default_value = "http://localhost:4200", conflicts_with = "embedded")]
    cors_origin: Vec<HeaderValue>,

    /// Run a Countersign in this process too, with its settings from the environment
    #[arg(long)]
    embedded: bool,
}

/// One origin: `*` would let in every site, or none.
fn origin(text: &str) -> Result<HeaderValue, String> {
    let told = "must be one origin, such as https://app.example";
    if text.contains('*') {
        return Err(told.to_owned());
    }
    text.parse().map_err(|_| told.to_owned())
}

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = if cli.embedded { embedded(&cli).await } else { beside(&cli).await };
    let Err(error) = outcome else { return ExitCode::SUCCESS };
    // Where nobody reads standard error, the exit code still tells.
    let _ = writeln!(io::stderr(), "error: {error:#}");
    ExitCode::FAILURE
}

/// The weather alone. All that it knows of the Countersign is its URL.
async fn beside(cli: &Cli) -> anyhow::Result<()> {
    telemetry::start_logs(LogFormat::Text, "info")?;
    let listener = bind(cli.listen.unwrap_or(DEFAULT_LISTEN))?;
    let mut bearer = Bearer::discover(&cli.authority).audience(&cli.audience);
    if let Some(secret) = reader_secret(cli.reader_secret_file.as_deref())? {
        bearer = bearer.reader_key(secret.as_str());
    }
    let bearer = bearer.build().map_err(|error| {
        let wrong = wrong_setting(cli, &error);
        anyhow::Error::new(error).context(wrong)
    })?;
    let router = weather::router(bearer.clone(), cli.cors_origin.iter().cloned());
    serve(listener, router, &bearer, Shutdown::new(), asked_to_stop()).await
}

/// What of the command line or the environment is to be changed.
fn wrong_setting(cli: &Cli, error: &BuildError) -> String {
    match (error, &cli.reader_secret_file) {
        (BuildError::AudienceMissing, _) => "--audience is empty".to_owned(),
        (BuildError::ReaderKeyMalformed, Some(file)) => {
            format!("--reader-secret-file {} does not hold the secret alone", file.display())
        }
        (BuildError::ReaderKeyMalformed, None) => format!("{READER_SECRET} is not the secret alone"),
        _ => format!("--authority {} cannot be trusted", cli.authority),
    }
}

/// One program, one port: the weather and the Countersign that it trusts.
async fn embedded(cli: &Cli) -> anyhow::Result<()> {
    let loaded = config::load(&Flags::default(), &Environment::read())?;
    telemetry::start_logs(loaded.settings.log_format, &loaded.settings.log_level)?;
    // The port first: a second program on it must not touch the database.
    let listener = bind(cli.listen.unwrap_or(loaded.settings.listen))?;
    let countersign =
        Countersign::open(loaded.listening_on(listener.address())).await.context("Countersign cannot be opened")?;
    let bearer = countersign.bearer();
    let origins = countersign.settings().cors_origins.iter().map(|origin| origin.header().clone());
    let shutdown = Shutdown::new();
    // Countersign's long polls look for the shutdown among the extensions of their request.
    let routes = countersign.router().layer(Extension(shutdown.clone()));
    let router = weather::router(bearer.clone(), origins).merge(routes);
    let stop = async {
        tokio::select! {
            asked = asked_to_stop() => asked,
            // It is told when Countersign closes.
            _ = countersign.failure() => Ok(()),
        }
    };
    let served = serve(listener, router, &bearer, shutdown, stop).await;
    let closed = countersign.close().await.context("Countersign cannot be closed");
    served.and(closed)
}

fn bind(address: SocketAddr) -> anyhow::Result<Listener> {
    Listener::bind(address).map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => {
            anyhow!("cannot listen on {address}: {error}; choose another address with --listen")
        }
        _ => anyhow!("cannot listen on {address}: {error}"),
    })
}

/// Serves until it has to stop, then finishes the requests in flight.
async fn serve(
    listener: Listener,
    router: Router,
    bearer: &Bearer,
    shutdown: Shutdown,
    stop: impl Future<Output = io::Result<()>>,
) -> anyhow::Result<()> {
    let address = listener.address();
    let stop = async {
        let stopped = stop.await;
        shutdown.begin();
        stopped
    };
    let tell = async {
        if timeout(PATIENCE, bearer.ready()).await.is_err() {
            tracing::warn!("the Countersign does not answer yet: requests with a token get 503 until it does");
        }
        // Where nobody reads standard output, the weather is served all the same.
        let _ = writeln!(io::stdout(), "weather listening on http://{address}");
        let _ = io::stdout().flush();
    };
    let serving = listener.serve(router, &shutdown);
    tokio::pin!(serving);
    tokio::select! {
        ended = &mut serving => return Ok(ended?),
        // `tell` ends long before `stop` and must not end the wait for it.
        (stopped, ()) = async { tokio::join!(stop, tell) } => stopped?,
    }
    Ok(serving.await?)
}

/// The secret for the revocation feed, if there is one.
fn reader_secret(file: Option<&Path>) -> anyhow::Result<Option<Zeroizing<String>>> {
    let Some(file) = file else { return secret_of_the_environment() };
    let text = fs::read_to_string(file).map(Zeroizing::new);
    let text = text.with_context(|| format!("--reader-secret-file {} cannot be read", file.display()))?;
    let secret = text.trim_end();
    if secret.is_empty() {
        return Err(anyhow!("--reader-secret-file {} is empty: it must hold the secret on one line", file.display()));
    }
    Ok(Some(Zeroizing::new(secret.to_owned())))
}

#[expect(clippy::disallowed_methods, reason = "the only variable of the example")]
fn secret_of_the_environment() -> anyhow::Result<Option<Zeroizing<String>>> {
    match std::env::var(READER_SECRET) {
        Ok(secret) if !secret.is_empty() => Ok(Some(Zeroizing::new(secret))),
        Ok(_) | Err(std::env::VarError::NotPresent) => Ok(None),
        Err(std::env::VarError::NotUnicode(_)) => Err(anyhow!("{READER_SECRET} is not text")),
    }
}

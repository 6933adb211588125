//! The weather example: a resource server that knows nothing but the issuer's URL.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::{Answer, Process, Request, Server, until};

/// A weather API that runs.
pub(crate) struct Weather {
    pub(crate) process: Process,
    pub(crate) address: SocketAddr,
}

impl Weather {
    /// Trusting a server, which has to be findable.
    #[track_caller]
    pub(crate) fn trusting(server: &Server) -> Self {
        Self::start(&["--authority", &server.process.url], &[])
    }

    /// With these arguments and nothing in its environment but these variables.
    #[track_caller]
    pub(crate) fn start(arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let program = Path::new(env!("CARGO_BIN_EXE_countersign")).with_file_name("examples").join("weather");
        assert!(
            program.exists(),
            "{} is missing: `cargo test` without -p builds it, and so does `cargo build -p weather --examples`",
            program.display()
        );
        let mut command = Command::new(program);
        command.args(["--listen", "127.0.0.1:0"]).args(arguments).env_clear().envs(variables.iter().copied());
        match Process::start(command) {
            Ok(process) => {
                let address = process.url.strip_prefix("http://").unwrap().parse().unwrap();
                Self { process, address }
            }
            Err(finished) => panic!("the weather did not start ({:?}):\n{}", finished.code, finished.err),
        }
    }

    pub(crate) fn get(&self, target: &str) -> Request {
        Request::new(self.address, "GET", target)
    }

    pub(crate) fn forecast(&self, access_token: &str) -> Answer {
        self.get("/weatherforecast").bearer(access_token).send()
    }

    /// Waits until the access token is refused, and gives back the code that says why.
    #[track_caller]
    pub(crate) fn refused_within(&self, patience: Duration, access_token: &str) -> String {
        until(patience, "the weather refuses the access token", || {
            let answer = self.forecast(access_token);
            (answer.status == 401).then(|| answer.json()["code"].as_str().unwrap_or_default().to_owned())
        })
    }
}

//! A program that runs beside the bench and says when it is ready. It ends with the bench.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, bail};
use rustix::process::{Pid, Signal};

use crate::usage::Tree;

/// How long a program may take to be ready, and to end.
const PATIENCE: Duration = Duration::from_secs(60);

/// A program that said that it is ready.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    log: PathBuf,
    pub(crate) address: SocketAddr,
    /// When it was spawned.
    pub(crate) spawned: Instant,
}

impl Process {
    /// Starts it and waits for its line `NAME listening on http://ADDRESS`. What it says on standard error goes to `log`.
    pub(crate) fn start(mut command: Command, log: &Path) -> anyhow::Result<Self> {
        let errors = File::options().create(true).append(true).open(log).with_context(|| log.display().to_string())?;
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(errors);
        let spawned = Instant::now();
        let program = command.get_program().to_string_lossy().into_owned();
        let mut child = command.spawn().with_context(|| format!("{program} cannot be started"))?;
        let out = child.stdout.take().context("a pipe was asked for")?;
        let (ready, lines) = channel();
        // It goes on reading, so that a program that says more does not wait for a full pipe.
        thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                if let Some((_, url)) = line.split_once(" listening on http://") {
                    let _ = ready.send(url.trim().trim_end_matches('/').to_owned());
                }
            }
        });
        let unknown = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        let mut process = Self { child, log: log.to_owned(), address: unknown, spawned };
        match lines.recv_timeout(PATIENCE) {
            Ok(address) => {
                process.address = address.parse().with_context(|| format!("{program} listens on {address}"))?;
                Ok(process)
            }
            Err(RecvTimeoutError::Timeout) => {
                Err(anyhow!("{program} was not ready within {} s{}", PATIENCE.as_secs(), process.said()))
            }
            Err(RecvTimeoutError::Disconnected) => {
                let status = process.child.wait()?;
                Err(anyhow!("{program} ended before it was ready ({status}){}", process.said()))
            }
        }
    }

    pub(crate) fn tree(&self) -> Tree {
        Tree::of(self.child.id())
    }

    /// The last that it said on standard error.
    fn said(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().rev().take(5).collect();
        lines.into_iter().rev().map(|line| format!("\n  {line}")).collect()
    }

    /// Asks it to stop and waits until it has.
    pub(crate) fn stop(mut self) -> anyhow::Result<()> {
        self.ask_to_stop()?;
        let asked = Instant::now();
        while self.child.try_wait()?.is_none() {
            if asked.elapsed() > PATIENCE {
                bail!("it does not stop{}", self.said());
            }
            thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    fn ask_to_stop(&self) -> anyhow::Result<()> {
        Ok(rustix::process::kill_process(Pid::from_child(&self.child), Signal::TERM)?)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            return;
        }
        // A shell in between passes the signal on only where it may end by itself.
        if self.ask_to_stop().is_ok() {
            let asked = Instant::now();
            while asked.elapsed() < Duration::from_secs(5) {
                if matches!(self.child.try_wait(), Ok(Some(_))) {
                    return;
                }
                thread::sleep(Duration::from_millis(20));
            }
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a command to its end; `Err` has the last line that it said.
pub(crate) fn run(mut command: Command, input: Option<&str>) -> anyhow::Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    command.stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() });
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("{program} cannot be started"))?;
    if let (Some(input), Some(mut stdin)) = (input, child.stdin.take()) {
        std::io::Write::write_all(&mut stdin, input.as_bytes())?;
    }
    let output = child.wait_with_output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{program}: {}", said.lines().last().unwrap_or("it failed and said nothing"));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A port that nobody has at the moment.
pub(crate) fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

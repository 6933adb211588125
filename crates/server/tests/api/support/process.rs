//! A program that runs beside the test: it is killed with the test, and all that it says is kept.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::until;

/// How long a program may take to be ready, on a machine that has other things to do.
const TO_START: Duration = Duration::from_secs(30);

/// A program that said that it is ready.
pub(crate) struct Process {
    child: Child,
    said: Arc<Mutex<Vec<u8>>>,
    listening: Option<JoinHandle<()>>,
    /// What stands behind `listening on ` in its ready line.
    pub(crate) url: String,
}

/// A program that ended by itself.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Process {
    /// Starts it and waits for its ready line; `Err`: it ended before.
    pub(crate) fn start(mut command: Command) -> Result<Self, Finished> {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let said = Arc::new(Mutex::new(Vec::new()));
        let listening = keep(child.stderr.take().unwrap(), &said);
        let (ready, lines) = channel();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        thread::spawn(move || {
            let mut line = String::new();
            while out.read_line(&mut line).is_ok_and(|bytes| bytes > 0) {
                let _ = ready.send(std::mem::take(&mut line));
            }
        });
        let mut process = Self { child, said, listening: Some(listening), url: String::new() };
        match lines.recv_timeout(TO_START) {
            Ok(line) => {
                let url = line.split_once(" listening on ").map(|(_, url)| url.trim_end().to_owned());
                process.url = url.unwrap_or_else(|| panic!("not a ready line: {line:?}"));
                Ok(process)
            }
            Err(RecvTimeoutError::Disconnected) => Err(process.finished()),
            Err(RecvTimeoutError::Timeout) => panic!("not ready in time:\n{}", process.said()),
        }
    }

    fn finished(mut self) -> Finished {
        let status = self.wait();
        Finished { code: status.code(), out: String::new(), err: self.said() }
    }

    /// What it has said on standard error so far.
    pub(crate) fn said(&self) -> String {
        String::from_utf8_lossy(&self.said.lock().unwrap()).into_owned()
    }

    pub(crate) fn id(&self) -> rustix::process::Pid {
        rustix::process::Pid::from_child(&self.child)
    }

    /// Kills it as `kill -9` does.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        self.wait();
    }

    /// Asks it to stop, as `kill` does, and waits until it has.
    pub(crate) fn stop(&mut self) -> ExitStatus {
        rustix::process::kill_process(self.id(), rustix::process::Signal::TERM).unwrap();
        self.ends()
    }

    /// Waits until it ends.
    pub(crate) fn ends(&mut self) -> ExitStatus {
        let child = &mut self.child;
        until(Duration::from_secs(20), "the program ends", || child.try_wait().unwrap());
        self.wait()
    }

    fn wait(&mut self) -> ExitStatus {
        let status = self.child.wait().unwrap();
        if let Some(listening) = self.listening.take() {
            listening.join().unwrap();
        }
        status
    }
}

impl Drop for Process {
    #[expect(clippy::print_stderr, reason = "shown with the failure of its test, and only then")]
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() && !self.url.is_empty() {
            eprintln!("---- what {} said ----\n{}", self.url, self.said());
        }
    }
}

fn keep(mut stream: impl std::io::Read + Send + 'static, said: &Arc<Mutex<Vec<u8>>>) -> JoinHandle<()> {
    let said = Arc::clone(said);
    thread::spawn(move || {
        let mut buffer = [0; 8192];
        while let Ok(bytes @ 1..) = stream.read(&mut buffer) {
            said.lock().unwrap().extend_from_slice(&buffer[..bytes]);
        }
    })
}

/// Runs a program to its end.
pub(crate) fn run(mut command: Command, input: &str) -> Finished {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // A program that does not want its input may close it at once.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    let mut err = child.stderr.take().unwrap();
    let err = thread::spawn(move || {
        let mut text = Vec::new();
        err.read_to_end(&mut text).map(|_| String::from_utf8_lossy(&text).into_owned())
    });
    let output = child.wait_with_output().unwrap();
    Finished {
        code: output.status.code(),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: err.join().unwrap().unwrap(),
    }
}

impl Finished {
    /// Insists on success and gives back what it printed.
    #[track_caller]
    pub(crate) fn done(self) -> String {
        assert_eq!(self.code, Some(0), "{}{}", self.out, self.err);
        self.out
    }
}

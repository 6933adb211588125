//! Programs of others that a test starts: none outlives it, not even where the test is killed, and none runs as root.

use std::io;
use std::path::Path;
use std::process::{Child, Command};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, OnceLock};
use std::thread;

/// The user that PostgreSQL and its poolers run as where the tests run as root.
const UNPRIVILEGED: &str = "postgres";

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// The program, told to end at once when these tests do, as a user without rights.
pub(crate) fn unprivileged(program: &Path) -> Command {
    let mut command = ending_with_us("QUIT");
    if is_root() {
        command.args(["--reuid", UNPRIVILEGED, "--regid", UNPRIVILEGED, "--clear-groups"]);
    }
    command.arg(program);
    command
}

/// The program, told to end when these tests do.
pub(crate) fn as_ourselves(program: &str) -> Command {
    let mut command = ending_with_us("TERM");
    command.arg(program);
    command
}

fn ending_with_us(signal: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", signal]);
    command
}

/// Hands a file or folder over to that user.
pub(crate) fn hand_to_unprivileged(path: &Path) {
    if is_root() {
        let owner = format!("{UNPRIVILEGED}:{UNPRIVILEGED}");
        let status = Command::new("chown").arg(owner).arg(path).status().unwrap();
        assert!(status.success(), "chown {}", path.display());
    }
}

/// Starts a program. To the system its parent is the thread that started it, so a thread does that which never ends.
pub(crate) fn spawn(command: Command) -> Child {
    type Order = (Command, Sender<io::Result<Child>>);
    static PARENT: OnceLock<Mutex<Sender<Order>>> = OnceLock::new();
    let parent = PARENT.get_or_init(|| {
        let (orders, taken) = channel::<Order>();
        thread::spawn(move || {
            for (mut command, started) in taken {
                let _ = started.send(command.spawn());
            }
        });
        Mutex::new(orders)
    });
    let (started, child) = channel();
    parent.lock().unwrap().send((command, started)).unwrap();
    child.recv().unwrap().unwrap()
}

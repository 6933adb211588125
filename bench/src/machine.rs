//! What was measured on.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::ensure;
use serde::Serialize;

use crate::usage::Machine;
use crate::{clock, process, usage};

/// For how long it is watched whether the machine has other things to do.
const WATCHED: Duration = Duration::from_secs(2);

/// Facts that belong to every figure.
#[derive(Debug, Serialize)]
pub(crate) struct Facts {
    /// When the first run began, as RFC 3339 writes it.
    pub(crate) began: String,
    pub(crate) commit: String,
    pub(crate) processor: String,
    pub(crate) cores: usize,
    /// In bytes.
    pub(crate) memory: u64,
    pub(crate) kernel: String,
    /// The file system that the databases are on.
    pub(crate) file_system: String,
    pub(crate) rustc: String,
    /// What the programs were built with.
    pub(crate) profile: String,
    pub(crate) sqlite: String,
    pub(crate) postgres: String,
    /// Which share of its processors was busy before.
    pub(crate) busy_before: f64,
}

impl Facts {
    pub(crate) fn gather(work: &Path, profile: String, postgres: String) -> anyhow::Result<Self> {
        let line = |file: &str, name: &str| {
            let text = fs::read_to_string(file).unwrap_or_default();
            let found = text.lines().find_map(|line| line.strip_prefix(name).map(str::to_owned));
            found.map(|rest| rest.trim_start_matches([':', ' ', '\t']).to_owned()).unwrap_or_default()
        };
        let memory = line("/proc/meminfo", "MemTotal");
        Ok(Self {
            began: clock::rfc3339(clock::seconds()),
            commit: said("git", &["describe", "--always", "--dirty", "--abbrev=12"]),
            processor: line("/proc/cpuinfo", "model name"),
            cores: usage::cores(),
            memory: memory.split(' ').next().and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) * 1024,
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned(),
            file_system: file_system(work),
            rustc: said("rustc", &["--version"]),
            profile,
            sqlite: rusqlite::version().to_owned(),
            postgres,
            busy_before: busy()?,
        })
    }

    /// Whether the machine had other things to do.
    pub(crate) fn is_noisy(&self) -> bool {
        self.busy_before > 0.05
    }
}

/// Which share of the processors is busy while this process does nothing. The load average would remember what was built before.
fn busy() -> anyhow::Result<f64> {
    let (before, began) = (Machine::now()?.busy, Instant::now());
    thread::sleep(WATCHED);
    let busy = Machine::now()?.busy.saturating_sub(before);
    Ok(busy.as_secs_f64() / (began.elapsed().as_secs_f64() * usage::cores() as f64))
}

fn said(program: &str, arguments: &[&str]) -> String {
    let mut command = Command::new(program);
    command.args(arguments);
    process::run(command, None).map_or_else(|_| "unknown".to_owned(), |said| said.trim().to_owned())
}

/// Insists on a disk: what is flushed to memory costs nothing.
pub(crate) fn insist_on_a_disk(folder: &Path) -> anyhow::Result<()> {
    let kind = mount(folder).map(|(_, kind)| kind).unwrap_or_default();
    ensure!(!matches!(kind.as_str(), "tmpfs" | "ramfs"), "{} is in memory ({kind})", folder.display());
    Ok(())
}

/// The file system that a folder is on, and whether it keeps a journal, which makes a flush cost more.
fn file_system(folder: &Path) -> String {
    let Some((device, kind)) = mount(folder) else { return "unknown".to_owned() };
    let Some(device) = Path::new(&device).file_name() else { return kind };
    let is_listed = |folder: &str, is_it: &dyn Fn(&str) -> bool| {
        fs::read_dir(folder).is_ok_and(|names| names.flatten().any(|name| is_it(&name.file_name().to_string_lossy())))
    };
    let device = device.to_string_lossy();
    let is_ext4 = is_listed("/proc/fs/ext4", &|name| name == device);
    let has_journal = is_listed("/proc/fs/jbd2", &|name| name.starts_with(&format!("{device}-")));
    if is_ext4 && !has_journal { format!("{kind} without a journal") } else { kind }
}

/// The device and the type of what a folder is on.
fn mount(folder: &Path) -> Option<(String, String)> {
    let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
    let fields = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ');
        Some((fields.next()?, fields.next()?, fields.next()?))
    });
    let under = fields.filter(|(_, at, _)| folder.starts_with(at));
    let (device, _, kind) = under.max_by_key(|(_, at, _)| at.len())?;
    Some((device.to_owned(), kind.to_owned()))
}

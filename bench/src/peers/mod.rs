//! What somebody would pick instead, driven by a description of how to sign in and refresh (`bench/peers/PROTOCOL.md`).

mod chain;
mod protocol;
mod template;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, OnceLock};

use anyhow::Context as _;

use crate::process;
use crate::terminal::Terminal;

pub(crate) use chain::sign_in;
pub(crate) use protocol::Protocol;

/// A peer that is described here.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) folder: PathBuf,
    pub(crate) protocol: Protocol,
    installed: OnceLock<Result<(), String>>,
}

impl Peer {
    /// The name of a figure of it on a store.
    pub(crate) fn figure(&self, figure: &str, store: &str) -> String {
        format!("peer {} on {store}: {figure}", self.protocol.name)
    }

    /// Installs it, the first time; why that did not work.
    pub(crate) fn install(&self, terminal: &Terminal) -> &Result<(), String> {
        self.installed.get_or_init(|| {
            terminal.say(&format!("installing {} {}", self.protocol.name, self.protocol.version));
            let installed = process::run(Command::new(self.folder.join("install")), None);
            let installed = installed.map(drop).map_err(|error| format!("it could not be installed: {error:#}"));
            if let Err(why) = &installed {
                terminal.result(why);
            }
            installed
        })
    }
}

/// The names of stores in a protocol, and as people write them.
pub(crate) fn store_name(store: &str) -> &str {
    match store {
        "sqlite" => "SQLite",
        "postgres" => "PostgreSQL",
        other => other,
    }
}

/// Reads every description of the folder, in the order of their names.
pub(crate) fn find(folder: &Path) -> anyhow::Result<Vec<Arc<Peer>>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let folder = entry?.path();
        let file = folder.join("protocol.json");
        if !file.exists() {
            continue;
        }
        // Its scripts run wherever they like.
        let folder = folder.canonicalize()?;
        let text = std::fs::read_to_string(&file)?;
        let protocol: Protocol = serde_json::from_str(&text).with_context(|| file.display().to_string())?;
        let peer = Peer { folder, installed: OnceLock::new(), protocol };
        found.insert(peer.protocol.name.clone(), Arc::new(peer));
    }
    Ok(found.into_values().collect())
}

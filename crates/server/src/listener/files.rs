//! How many connections fit beside the files that the server itself needs open.

/// The most connections, however many files the system grants.
const MOST: u64 = 16_384;

/// Raises the process's limit on open files to what the system grants, and leaves a quarter of it for the database.
#[cfg(unix)]
pub(super) fn connections() -> usize {
    use rustix::process::{Resource, getrlimit, setrlimit};

    let mut limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        let wanted = rustix::process::Rlimit { current: limit.maximum, maximum: limit.maximum };
        if setrlimit(Resource::Nofile, wanted).is_ok() {
            limit = wanted;
        }
    }
    let files = limit.current.unwrap_or(MOST * 2);
    usize::try_from((files - files / 4).min(MOST)).unwrap_or(usize::MAX)
}

/// Windows has no such limit.
#[cfg(not(unix))]
pub(super) fn connections() -> usize {
    MOST as usize
}

//! Where tests kill the process, or let something fail. Only builds for tests have fail points.

use std::io;

pub(crate) fn before_commit() {
    fail::fail_point!("store::before-commit", |_| std::process::abort());
}

/// The transaction is on disk, and nobody was told.
pub(crate) fn after_commit(rotated: bool) {
    fail::fail_point!("store::after-commit", |_| std::process::abort());
    if rotated {
        fail::fail_point!("rotation::after-commit", |_| std::process::abort());
    }
}

/// The disk does not take what was written.
pub(crate) fn flush() -> io::Result<()> {
    fail::fail_point!("store::flush", |_| Err(io::Error::other("a fail point")));
    Ok(())
}

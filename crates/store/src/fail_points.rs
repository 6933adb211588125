//! Where tests kill the process. Only builds for tests have fail points.

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

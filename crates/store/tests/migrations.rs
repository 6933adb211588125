//! A migration that was applied somewhere never changes, not even in a comment: the databases that it made are refused otherwise.
#![allow(clippy::unwrap_used)]

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use aws_lc_rs::digest::{SHA256, digest};

/// As `sha256sum postgres/*.sql sqlite/*.sql` gives it: a new migration adds its line.
const SUMS: &str = include_str!("../migrations/SHA256SUMS");

#[test]
fn every_migration_is_the_one_that_was_applied() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
    let mut found = String::new();
    for back_end in ["postgres", "sqlite"] {
        let mut files: Vec<_> = fs::read_dir(folder.join(back_end)).unwrap().map(|file| file.unwrap().path()).collect();
        files.sort();
        for file in files {
            for byte in digest(&SHA256, &fs::read(&file).unwrap()).as_ref() {
                write!(found, "{byte:02x}").unwrap();
            }
            writeln!(found, "  {}", file.strip_prefix(&folder).unwrap().display()).unwrap();
        }
    }
    assert_eq!(found, SUMS, "put it back as it was, and change the schema with a new one");
}

//! The disk does not take what is flushed to it: the server ends. That its log has everything then, the tests of the store show.

use std::fs;

use crate::support::{KEY, Settings, refreshed};

/// The length of a log that is copied back: a thousand pages of 4 KiB and a head of 24 bytes each, after one of 32.
const LONG: u64 = 32 + 1000 * (24 + 4096);
/// More refreshes than that takes.
const MANY: usize = 2000;

#[test]
fn the_server_ends_and_tells_why_though_nobody_asks_and_the_next_one_goes_on() {
    let settings = Settings::new().with("fail_points", "store::flush=return");
    let log = settings.database().with_extension("db-wal");
    let mut server = settings.start();
    let mut chain = server.user("alice");
    for _ in 0..MANY {
        if fs::metadata(&log).unwrap().len() >= LONG {
            break;
        }
        chain = refreshed(server.refresh_keyed(&chain.refresh, KEY));
    }
    assert_eq!(server.process.ends().code(), Some(1));
    let said = server.process.said();
    assert_eq!(said.matches("nothing is read or written any more").count(), 1, "{said}");
    let last = said.lines().last().unwrap_or_default();
    assert!(last.starts_with("error: the database is unavailable: the disk did not take"), "{last}");
    assert!(fs::metadata(&log).unwrap().len() >= LONG, "it was tidied away");

    let server = settings.without("fail_points").start();
    refreshed(server.refresh_keyed(&chain.refresh, KEY));
    server.me(&chain.access).expect(200);
}

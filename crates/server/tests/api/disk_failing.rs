//! The disk does not take what is flushed to it: the server ends, and the next one has everything.

use crate::support::{KEY, Settings, refreshed};

/// More refreshes than it takes until the log is copied back.
const MANY: usize = 5000;

#[test]
fn the_server_ends_and_the_next_one_has_what_was_acknowledged() {
    let settings = Settings::new().with("fail_points", "store::flush=return");
    let mut server = settings.start();
    let mut chain = server.user("alice");
    let refused = (0..MANY).find_map(|_| {
        let body = serde_json::json!({ "refreshToken": chain.refresh, "retryKey": KEY });
        match server.post("/api/auth/refresh-token").json(&body).try_send() {
            Ok(answer) if answer.status == 503 => Some(Ok(answer)),
            Ok(answer) => {
                chain = refreshed(answer);
                None
            }
            // It has ended between two requests.
            Err(error) => Some(Err(error)),
        }
    });
    if let Ok(answer) = refused.expect("the log was copied back, and nobody noticed the disk") {
        answer.refused(503, "store_unavailable");
    }
    assert_eq!(server.process.ends().code(), Some(1));
    let said = server.process.said();
    assert_eq!(said.matches("nothing is read or written any more").count(), 1, "{said}");
    let last = said.lines().last().unwrap_or_default();
    assert!(last.starts_with("error: the database is unavailable: the disk did not take"), "{last}");
    let log = settings.database().with_extension("db-wal");
    assert!(log.exists(), "the log is all that there is");

    let server = settings.without("fail_points").start();
    refreshed(server.refresh_keyed(&chain.refresh, KEY));
    server.me(&chain.access).expect(200);
}

//! The disk is full: writes are refused, tokens still verify, and all is well once there is room again.

use std::time::Duration;

use rustix::process::{Resource, Rlimit, prlimit};

use crate::support::{PASSWORD, Server, Settings, refreshed, until};

/// Lets the files of the server grow no further than this.
fn limit_files(server: &Server, bytes: Option<u64>) {
    prlimit(Some(server.process.id()), Resource::Fsize, Rlimit { current: bytes, maximum: None }).unwrap();
}

#[test]
fn writes_are_refused_tokens_verify_and_it_recovers() {
    let settings = Settings::new();
    let server = settings.start_with(settings.command_without_xfsz());
    let alice = server.user("alice");
    limit_files(&server, Some(0));

    let refused = until(Duration::from_secs(10), "a write meets the full disk", || {
        let answer = server.try_register("bob");
        (answer.status != 200).then_some(answer)
    });
    refused.refused(503, "store_unavailable");
    for _ in 0..3 {
        server.refresh(&alice.refresh).refused(503, "store_unavailable");
        server.try_log_in("alice", PASSWORD).refused(503, "store_unavailable");
    }
    server.me(&alice.access).expect(200);
    server.get("/.well-known/jwks.json").send().expect(200);
    server.get("/livez").send().expect(200);
    // Ready to verify and to answer: a proxy must not take the last server away because it cannot write for a while.
    server.get("/readyz").send().expect(200);

    limit_files(&server, None);
    let patience = Duration::from_secs(5);
    let next = until(patience, "it writes again", || {
        Some(server.refresh(&alice.refresh)).filter(|answer| answer.status != 503)
    });
    let next = refreshed(next);
    server.me(&next.access).expect(200);
    server.register("bob");
    let server = server.kill_and_restart();
    server.log_in("bob");
    refreshed(server.refresh(&next.refresh));
}

//! The one place that draws random numbers for operations.

use countersign_core::time::Millis;
use uuid::{NoContext, Timestamp, Uuid};

/// `N` bytes from the system's generator.
///
/// Not from that of aws-lc, which gathers entropy of its own for some 25 ms when it is first used: a start that makes no keys need not
/// wait for that.
///
/// # Panics
/// Where the operating system has no randomness to give: nothing this program does would be safe then.
#[expect(clippy::disallowed_methods, reason = "the one place where operations draw randomness")]
#[expect(clippy::expect_used, reason = "without randomness every further step would be unsafe")]
pub(crate) fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system gives randomness");
    bytes
}

/// An id that sorts by the time it was drawn (UUID version 7, RFC 9562 §5.7), so that rows written together lie together.
///
/// An id is no secret: its random part comes from a generator of the thread (ChaCha, seeded anew by the system after every 64 KiB), without
/// a system call for each.
#[expect(clippy::disallowed_methods, reason = "the one place where operations draw ids")]
pub(crate) fn id(now: Millis) -> Uuid {
    let milliseconds = u64::try_from(now.get()).unwrap_or(0);
    let [seconds, nanoseconds] = [milliseconds / 1000, milliseconds % 1000 * 1_000_000];
    Uuid::new_v7(Timestamp::from_unix(NoContext, seconds, u32::try_from(nanoseconds).unwrap_or(0)))
}

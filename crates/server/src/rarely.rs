//! What is said now and then: a flood of requests must not become a flood of log lines.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How long lies between two lines of the log about the same trouble.
const PAUSE: Duration = Duration::from_secs(10);

/// Lets something be said once in ten seconds.
#[derive(Debug)]
pub(crate) struct Rarely(Mutex<Said>);

#[derive(Debug)]
struct Said {
    last: Option<Instant>,
    unsaid: u64,
}

impl Rarely {
    pub(crate) const fn new() -> Self {
        Self(Mutex::new(Said { last: None, unsaid: 0 }))
    }

    /// Whether it is to be said now, and then how often it was not since the last time.
    pub(crate) fn is_time(&self) -> Option<u64> {
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if said.last.is_some_and(|last| now.duration_since(last) < PAUSE) {
            said.unsaid += 1;
            return None;
        }
        said.last = Some(now);
        Some(std::mem::take(&mut said.unsaid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_is_said_rarely_is_said_again_later() {
        let rarely = Rarely::new();
        assert_eq!([(); 4].map(|()| rarely.is_time()), [Some(0), None, None, None]);
        tokio::time::advance(PAUSE).await;
        assert_eq!([(); 2].map(|()| rarely.is_time()), [Some(3), None]);
        tokio::time::advance(PAUSE).await;
        assert_eq!(rarely.is_time(), Some(1));
    }
}

//! How much is measured.

use std::time::Duration;

/// How long, how many, how large.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// The main rows alone, in a few minutes.
    pub(crate) quick: bool,
    pub(crate) warm_up: Duration,
    /// How long a load is measured.
    pub(crate) load: Duration,
    /// The numbers of accounts and sessions that are compared, smallest first.
    pub(crate) sizes: Vec<u64>,
    /// How many starts are timed.
    pub(crate) starts: usize,
    /// How many revocations are followed to a refusal.
    pub(crate) revocations: usize,
    /// How many times everyone is revoked.
    pub(crate) revoke_alls: usize,
    /// How many refreshes are made at the least to see what grows.
    pub(crate) refreshes: u64,
}

impl Plan {
    pub(crate) fn quick() -> Self {
        Self {
            quick: true,
            warm_up: Duration::from_millis(500),
            load: Duration::from_millis(1500),
            sizes: vec![1_000, 100_000],
            starts: 5,
            revocations: 100,
            revoke_alls: 7,
            refreshes: 0,
        }
    }

    pub(crate) fn whole() -> Self {
        Self {
            quick: false,
            warm_up: Duration::from_secs(2),
            load: Duration::from_secs(15),
            sizes: vec![1_000, 100_000, 1_000_000],
            starts: 9,
            revocations: 300,
            revoke_alls: 15,
            refreshes: 1_000_000,
        }
    }

    /// How long refreshes all over go on before they are measured: until each session was met once. The first change of a page after a
    /// checkpoint costs PostgreSQL the whole page in its log, which is rare where a server runs for longer than a bench.
    pub(crate) fn warm_up_all_over(&self) -> Duration {
        if self.quick { self.warm_up } else { Duration::from_secs(10) }
    }

    /// How many sessions are long over where pruning is measured: more than are removed while it is, which are 500 a second.
    pub(crate) fn over(&self) -> u64 {
        if self.quick {
            return 0;
        }
        let seconds = (self.warm_up + self.load).as_secs() + 3;
        seconds * 500
    }

    pub(crate) fn smallest(&self) -> u64 {
        self.sizes.first().copied().unwrap_or(1_000)
    }

    pub(crate) fn largest(&self) -> u64 {
        self.sizes.last().copied().unwrap_or(1_000)
    }
}

/// A number of sessions as people say it: `1 k`, `1 M`.
pub(crate) fn size_name(size: u64) -> String {
    match size {
        size if size >= 1_000_000 && size.is_multiple_of(1_000_000) => format!("{} M", size / 1_000_000),
        size if size >= 1_000 && size.is_multiple_of(1_000) => format!("{} k", size / 1_000),
        size => size.to_string(),
    }
}

//! The figures of a load.

use serde::{Serialize, Serializer};

/// What a load gave.
#[derive(Debug, Serialize)]
pub(crate) struct Load {
    pub(crate) name: String,
    /// How long was measured.
    pub(crate) seconds: f64,
    pub(crate) kinds: Vec<Kind>,
    /// Requests that were due and found no free connection.
    pub(crate) late: u64,
    /// Processor time of the driver's threads while it was measured, in seconds.
    pub(crate) driver_cpu: f64,
    pub(crate) watched: Vec<Watched>,
    /// Share of the machine's processors that went to none of these: others, and the kernel on nobody's account.
    pub(crate) others_share: f64,
}

/// Answers of one kind: their latencies in nanoseconds, shortest first.
#[derive(Debug)]
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    latencies: Vec<u64>,
}

/// What a process used meanwhile.
#[derive(Debug, Serialize)]
pub(crate) struct Watched {
    pub(crate) name: &'static str,
    /// Processor time in seconds.
    pub(crate) cpu: f64,
    /// The most memory that was seen, in bytes.
    pub(crate) resident: u64,
}

impl Load {
    /// What both gave, the second one having been put on the same server after the first.
    pub(super) fn and(mut self, after: Self) -> Self {
        let whole = self.seconds + after.seconds;
        if whole > 0.0 {
            self.others_share = (self.others_share * self.seconds + after.others_share * after.seconds) / whole;
        }
        self.seconds = whole;
        self.late += after.late;
        self.driver_cpu += after.driver_cpu;
        for (kind, after) in self.kinds.iter_mut().zip(after.kinds) {
            kind.latencies.extend(after.latencies);
            kind.latencies.sort_unstable();
        }
        for (watched, after) in self.watched.iter_mut().zip(after.watched) {
            watched.cpu += after.cpu;
            watched.resident = watched.resident.max(after.resident);
        }
        self
    }

    fn first(&self) -> Option<&Kind> {
        self.kinds.first()
    }

    /// Answers of the first kind a second.
    pub(crate) fn per_second(&self) -> f64 {
        self.rate(0)
    }

    /// Answers of a kind a second.
    pub(crate) fn rate(&self, kind: usize) -> f64 {
        let count = self.kinds.get(kind).map_or(0, |kind| kind.latencies.len());
        if self.seconds > 0.0 { count as f64 / self.seconds } else { 0.0 }
    }

    /// The latency of the first kind, in seconds, which a share of the answers did not exceed.
    pub(crate) fn quantile(&self, share: f64) -> f64 {
        self.first().map_or(0.0, |kind| kind.quantile(share))
    }

    /// Whether there was any answer of a kind; there may be none of the others.
    pub(crate) fn has(&self, kind: usize) -> bool {
        kind == 0 || self.rate(kind) > 0.0
    }

    pub(crate) fn count(&self) -> u64 {
        self.kinds.iter().map(|kind| kind.latencies.len() as u64).sum()
    }

    /// What an answer took of this processor time.
    pub(crate) fn an_answer(&self, cpu: f64) -> f64 {
        cpu / self.count().max(1) as f64
    }

    /// The memory of the first process that was watched.
    pub(crate) fn resident(&self) -> Option<u64> {
        self.watched.first().map(|watched| watched.resident)
    }

    /// One line for a person.
    pub(crate) fn line(&self) -> String {
        use crate::figures::{count, seconds};

        let kinds = self.kinds.iter().enumerate().filter(|(at, _)| self.has(*at)).map(|(at, kind)| {
            let [p50, p95, p99] = [0.5, 0.95, 0.99].map(|share| seconds(kind.quantile(share)));
            format!("{}/s {}, p50 {p50}, p95 {p95}, p99 {p99}", count(self.rate(at)), kind.name)
        });
        let used =
            self.watched.iter().map(|watched| format!("{} {}", watched.name, seconds(self.an_answer(watched.cpu))));
        let others = match self.others_share {
            share if share > 0.05 => format!("; others had {:.0} % of the machine", share * 100.0),
            _ => String::new(),
        };
        let kinds = kinds.collect::<Vec<_>>().join("; ");
        let driver = format!("driver {}", seconds(self.an_answer(self.driver_cpu)));
        let used = used.chain([driver]).collect::<Vec<_>>().join(", ");
        format!("{kinds}; processor time an answer: {used}{others}")
    }
}

impl Kind {
    pub(crate) fn new(name: &'static str, mut latencies: Vec<u64>) -> Self {
        latencies.sort_unstable();
        Self { name, latencies }
    }

    /// In seconds; the nearest rank.
    pub(crate) fn quantile(&self, share: f64) -> f64 {
        let rank = (self.latencies.len() as f64 * share).ceil() as usize;
        self.latencies.get(rank.saturating_sub(1)).map_or(0.0, |latency| *latency as f64 / 1e9)
    }
}

impl Serialize for Kind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Shown {
            name: &'static str,
            answers: usize,
            p50: f64,
            p95: f64,
            p99: f64,
            longest: f64,
        }
        let [p50, p95, p99, longest] = [0.5, 0.95, 0.99, 1.0].map(|share| self.quantile(share));
        Shown { name: self.name, answers: self.latencies.len(), p50, p95, p99, longest }.serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_the_nearest_rank() {
        let kind = Kind::new("x", (1..=100).rev().map(|n| n * 1_000_000_000).collect());
        assert_eq!([0.5, 0.95, 0.99, 1.0].map(|share| kind.quantile(share)), [50.0, 95.0, 99.0, 100.0]);
        assert_eq!(Kind::new("x", vec![7_000_000_000]).quantile(0.5), 7.0);
        assert_eq!(Kind::new("x", vec![]).quantile(0.5), 0.0);
    }

    #[test]
    fn two_loads_in_a_row_are_one_that_took_as_long_as_both() {
        let load = |seconds: f64, latencies: &[u64], cpu: f64, resident: u64, others_share: f64| Load {
            name: "x".to_owned(),
            seconds,
            kinds: vec![Kind::new("x", latencies.to_vec())],
            late: 1,
            driver_cpu: cpu,
            watched: vec![Watched { name: "server", cpu, resident }],
            others_share,
        };
        let both =
            load(1.0, &[3_000_000_000, 1_000_000_000], 0.5, 7, 0.0).and(load(3.0, &[2_000_000_000], 1.0, 5, 0.4));
        assert_eq!((both.seconds, both.count(), both.per_second(), both.late), (4.0, 3, 0.75, 2));
        assert_eq!([0.1, 0.5, 1.0].map(|share| both.quantile(share)), [1.0, 2.0, 3.0]);
        assert_eq!((both.driver_cpu, both.watched[0].cpu, both.watched[0].resident), (1.5, 1.5, 7));
        assert!((both.others_share - 0.3).abs() < 1e-9);
    }
}

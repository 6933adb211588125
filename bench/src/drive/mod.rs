//! The closed loop: so many connections, each of which asks again as soon as it was answered.
//!
//! It shares the machine with the server, so it must be lean: few threads, each with one epoll and its connections, one read and one write
//! an answer. What it uses itself is counted and reported.

mod line;
mod load;
mod turns;
mod watch;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::anyhow;

use crate::http::Answer;
use crate::processors::keep_at;
use crate::terminal::Terminal;
use crate::usage::Tree;

pub(crate) use load::{Kind, Load, Watched};
pub(crate) use turns::Turns;

/// Threads that drive: as many as the machine of the targets has cores.
const THREADS: usize = 2;

/// What one connection does: requests in sequence, each answer judged.
pub(crate) trait Chain: Send + 'static {
    /// The kinds of answer that are counted apart.
    const KINDS: &'static [&'static str];

    /// Writes the next request, whole.
    fn ask(&mut self, to: &mut Vec<u8>);

    /// Judges an answer. Its kind, or why it is wrong.
    ///
    /// # Errors
    /// The answer is wrong: the load is no figure then.
    fn answered(&mut self, answer: &Answer<'_>) -> anyhow::Result<usize>;
}

/// A load to be put on a server.
pub(crate) struct Drive<C> {
    name: String,
    address: SocketAddr,
    chains: Vec<C>,
    warm_up: Duration,
    duration: Duration,
    /// Requests a second, whatever the answers do, instead of the closed loop.
    pace: Option<f64>,
    /// From how many addresses of 127.0.0.0/8 the connections come.
    addresses: u8,
    watched: Vec<(&'static str, Tree)>,
}

/// What the threads of a load and the one that watches them share.
pub(crate) struct Shared {
    pub(crate) from: Instant,
    pub(crate) until: Instant,
    /// Whoever sets it ends the load early.
    pub(crate) over: AtomicBool,
    pub(crate) answers: AtomicU64,
    pub(crate) late: AtomicU64,
}

impl Shared {
    pub(crate) fn is_over(&self, now: Instant) -> bool {
        now >= self.until || self.over.load(Ordering::Relaxed)
    }
}

impl<C: Chain> Drive<C> {
    pub(crate) fn new(name: impl Into<String>, address: SocketAddr, chains: Vec<C>) -> Self {
        Self {
            name: name.into(),
            address,
            chains,
            warm_up: Duration::from_secs(1),
            duration: Duration::from_secs(5),
            pace: None,
            addresses: 1,
            watched: Vec::new(),
        }
    }

    pub(crate) fn lasting(mut self, warm_up: Duration, duration: Duration) -> Self {
        (self.warm_up, self.duration) = (warm_up, duration);
        self
    }

    pub(crate) fn paced(mut self, a_second: f64) -> Self {
        self.pace = Some(a_second);
        self
    }

    pub(crate) fn with_addresses(mut self, addresses: u8) -> Self {
        self.addresses = addresses.max(1);
        self
    }

    /// Counts what a process and its descendants use meanwhile.
    pub(crate) fn watching(mut self, name: &'static str, tree: Tree) -> Self {
        self.watched.push((name, tree));
        self
    }

    /// The same load after it was put on the server for so long.
    pub(crate) fn warmed(self, duration: Duration, terminal: &Terminal) -> anyhow::Result<Self> {
        let (this, lasted) = (self.without_chains(), self.lasting(Duration::ZERO, duration));
        let (_, chains) = lasted.run(terminal)?;
        Ok(Self { chains, ..this })
    }

    /// The same load with nobody to put it on.
    fn without_chains(&self) -> Self {
        let (name, watched) = (self.name.clone(), self.watched.clone());
        Self { name, chains: Vec::new(), watched, ..*self }
    }

    /// Starts the threads.
    pub(crate) fn start(self) -> anyhow::Result<Running<C>> {
        let now = Instant::now();
        let from = now + self.warm_up;
        let shared = Arc::new(Shared {
            from,
            until: from + self.duration,
            over: AtomicBool::new(false),
            answers: AtomicU64::new(0),
            late: AtomicU64::new(0),
        });
        let threads = THREADS.min(self.chains.len()).max(1);
        let mut groups: Vec<Vec<line::Line<C>>> = (0..threads).map(|_| Vec::new()).collect();
        for (number, chain) in self.chains.into_iter().enumerate() {
            let last = u8::try_from(number % usize::from(self.addresses)).unwrap_or(0) + 1;
            let source = Ipv4Addr::new(127, 0, 0, last);
            groups[number % threads].push(line::Line::open(source, self.address, number, chain)?);
        }
        let pace = self.pace.map(|pace| pace / threads as f64);
        let spawn = |(number, lines)| {
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                keep_at(number);
                let ended = line::run(lines, pace, &shared);
                if ended.is_err() {
                    shared.over.store(true, Ordering::Relaxed);
                }
                ended
            })
        };
        let threads = groups.into_iter().enumerate().map(spawn).collect();
        Ok(Running { name: self.name, shared, threads, watched: self.watched })
    }

    /// Starts the threads, watches them, and gives back the figures and the chains as they are at the end.
    pub(crate) fn run(self, terminal: &Terminal) -> anyhow::Result<(Load, Vec<C>)> {
        let running = self.start()?;
        let watched = watch::until_over(&running.name, &running.shared, running.watched.clone(), terminal)?;
        running.finish(watched)
    }
}

/// A load that is on.
pub(crate) struct Running<C> {
    name: String,
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<anyhow::Result<line::Ended<C>>>>,
    watched: Vec<(&'static str, Tree)>,
}

impl<C: Chain> Running<C> {
    /// Ends it before its time.
    pub(crate) fn stop(self) -> anyhow::Result<(Load, Vec<C>)> {
        self.shared.over.store(true, Ordering::Relaxed);
        self.finish(watch::Seen::default())
    }

    fn finish(self, seen: watch::Seen) -> anyhow::Result<(Load, Vec<C>)> {
        let mut samples: Vec<Vec<u64>> = C::KINDS.iter().map(|_| Vec::new()).collect();
        let (mut chains, mut driver, mut wrong) = (Vec::new(), Duration::ZERO, None);
        let mut last = self.shared.from;
        for thread in self.threads {
            match thread.join().map_err(|_| anyhow!("a thread of the driver panicked"))? {
                Ok(ended) => {
                    for (all, new) in samples.iter_mut().zip(ended.samples) {
                        all.extend(new);
                    }
                    chains.extend(ended.chains);
                    driver += ended.cpu;
                    last = last.max(ended.stopped);
                }
                Err(error) => wrong = Some(wrong.unwrap_or(error)),
            }
        }
        if let Some(error) = wrong {
            return Err(error.context(self.name));
        }
        chains.sort_by_key(|(number, _)| *number);
        let kinds = C::KINDS.iter().zip(samples).map(|(name, samples)| Kind::new(name, samples)).collect();
        let load = Load {
            name: self.name,
            seconds: last.min(self.shared.until).saturating_duration_since(self.shared.from).as_secs_f64(),
            kinds,
            late: self.shared.late.load(Ordering::Relaxed),
            driver_cpu: driver.as_secs_f64(),
            watched: seen.watched,
            others_share: seen.others_share,
        };
        Ok((load, chains.into_iter().map(|(_, chain)| chain).collect()))
    }
}

#[cfg(test)]
mod tests;

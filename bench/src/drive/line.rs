//! One thread of the driver: its connections behind one epoll.

use std::collections::VecDeque;
use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::fd::OwnedFd;
use rustix::net::{AddressFamily, SocketType};
use rustix::time::Timespec;

use super::{Chain, Shared};
use crate::http::parse;
use crate::usage;

/// How long an answer may take before the load counts as failed.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often it is looked whether somebody waits for longer, and whether the load is over.
const LOOK: Duration = Duration::from_millis(50);

/// A connection and what it does.
pub(super) struct Line<C> {
    number: usize,
    source: Ipv4Addr,
    address: SocketAddr,
    stream: TcpStream,
    chain: C,
    /// When the request that is under way was due.
    asked: Option<Instant>,
    out: Vec<u8>,
    read: Vec<u8>,
}

/// What a thread gives back.
pub(super) struct Ended<C> {
    pub(super) chains: Vec<(usize, C)>,
    /// Latencies in nanoseconds, for each kind.
    pub(super) samples: Vec<Vec<u64>>,
    /// Processor time while the load was measured.
    pub(super) cpu: Duration,
    /// When it asked no more.
    pub(super) stopped: Instant,
}

impl<C: Chain> Line<C> {
    pub(super) fn open(source: Ipv4Addr, address: SocketAddr, number: usize, chain: C) -> anyhow::Result<Self> {
        let stream = connect(source, address)?;
        Ok(Self { number, source, address, stream, chain, asked: None, out: Vec::new(), read: Vec::new() })
    }

    fn ask(&mut self, due: Instant) -> anyhow::Result<()> {
        self.out.clear();
        self.chain.ask(&mut self.out);
        self.asked = Some(due);
        self.read.clear();
        // Requests are far smaller than what a socket holds.
        let sent = (&self.stream).write(&self.out).context("a request was not sent")?;
        if sent != self.out.len() {
            bail!("a request was sent in part");
        }
        Ok(())
    }

    /// Takes what has come. The kind of the answer and when it was whole, once it is.
    fn listen(&mut self, buffer: &mut [u8], scratch: &mut Vec<u8>) -> anyhow::Result<Option<Heard>> {
        let count = match (&self.stream).read(buffer) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(error).context("no answer"),
        };
        if self.asked.is_none() {
            // A server that ends a connection which nobody uses.
            return Ok((count == 0).then_some(Heard::Closed));
        }
        if count == 0 {
            bail!("the server ended a connection before its answer");
        }
        // Mostly an answer comes whole, and is read where it came to.
        let bytes = if self.read.is_empty() {
            &buffer[..count]
        } else {
            self.read.extend_from_slice(&buffer[..count]);
            &self.read[..]
        };
        let Some((answer, used)) = parse(bytes, scratch)? else {
            if self.read.is_empty() {
                self.read.extend_from_slice(&buffer[..count]);
            }
            return Ok(None);
        };
        let at = Instant::now();
        if used != bytes.len() {
            bail!("more came than the answer: {}", answer.shown());
        }
        let closes = answer.closes;
        let kind = self.chain.answered(&answer).with_context(|| format!("a wrong answer: {}", answer.shown()))?;
        let due = self.asked.take().context("nobody had asked")?;
        Ok(Some(Heard::Answer { kind, due, at, closes }))
    }
}

enum Heard {
    Answer { kind: usize, due: Instant, at: Instant, closes: bool },
    Closed,
}

/// A thread's connections and where they stand.
struct Lines<'a, C> {
    lines: Vec<Line<C>>,
    epoll: OwnedFd,
    shared: &'a Shared,
    /// How long lies between two requests, where they come at a pace.
    interval: Option<Duration>,
    /// When the next one is due.
    due: Instant,
    /// The connections that nobody uses, where requests come at a pace.
    idle: VecDeque<usize>,
    /// How many wait for an answer.
    asking: usize,
    /// What this thread had used when the measuring began; `None` before.
    cpu_before: Option<Duration>,
    /// When it was seen that the load is over.
    stopped: Option<Instant>,
    samples: Vec<Vec<u64>>,
}

pub(super) fn run<C: Chain>(lines: Vec<Line<C>>, pace: Option<f64>, shared: &Shared) -> anyhow::Result<Ended<C>> {
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    for (at, line) in lines.iter().enumerate() {
        epoll::add(&epoll, &line.stream, EventData::new_u64(at as u64), EventFlags::IN)?;
    }
    let mut lines = Lines {
        idle: if pace.is_some() { (0..lines.len()).collect() } else { VecDeque::new() },
        lines,
        epoll,
        shared,
        interval: pace.map(|pace| Duration::from_secs_f64(1.0 / pace)),
        due: Instant::now(),
        asking: 0,
        cpu_before: None,
        stopped: None,
        samples: C::KINDS.iter().map(|_| Vec::new()).collect(),
    };
    lines.drive()?;
    Ok(Ended {
        chains: lines.lines.into_iter().map(|line| (line.number, line.chain)).collect(),
        samples: lines.samples,
        cpu: lines.cpu_before.map_or(Duration::ZERO, |before| usage::thread() - before),
        stopped: lines.stopped.unwrap_or_else(Instant::now),
    })
}

impl<C: Chain> Lines<'_, C> {
    /// Until the load is over and everybody was answered.
    fn drive(&mut self) -> anyhow::Result<()> {
        let mut buffer = vec![0; 64 * 1024];
        let mut scratch = Vec::new();
        let mut events = Vec::with_capacity(self.lines.len().max(1));
        if self.interval.is_none() {
            for at in 0..self.lines.len() {
                self.ask(at, Instant::now())?;
            }
        }
        let mut looked = Instant::now();
        loop {
            let now = Instant::now();
            if self.cpu_before.is_none() && now >= self.shared.from {
                self.cpu_before = Some(usage::thread());
            }
            if self.stopped.is_none() && self.shared.is_over(now) {
                self.stopped = Some(now);
            }
            if self.stopped.is_some() && self.asking == 0 {
                return Ok(());
            }
            let wait = self.keep_the_pace(now)?;
            if now.duration_since(looked) > LOOK {
                looked = now;
                self.look_for_the_forgotten(now)?;
            }
            epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&timespec(wait)))?;
            for event in events.drain(..) {
                let at = usize::try_from(event.data.u64())?;
                if let Some(heard) = self.lines[at].listen(&mut buffer, &mut scratch)? {
                    self.go_on(at, heard)?;
                }
            }
        }
    }

    fn ask(&mut self, at: usize, due: Instant) -> anyhow::Result<()> {
        self.asking += 1;
        self.lines[at].ask(due)
    }

    /// Sends what is due, where there is a pace; how long to wait for answers.
    fn keep_the_pace(&mut self, now: Instant) -> anyhow::Result<Duration> {
        let Some(interval) = self.interval else { return Ok(LOOK) };
        if self.stopped.is_some() {
            return Ok(LOOK);
        }
        while self.due <= now {
            match self.idle.pop_front() {
                Some(at) => self.ask(at, self.due)?,
                None => {
                    self.shared.late.fetch_add(1, Ordering::Relaxed);
                }
            }
            self.due += interval;
        }
        Ok(self.due.saturating_duration_since(now).min(LOOK))
    }

    fn look_for_the_forgotten(&self, now: Instant) -> anyhow::Result<()> {
        let waits = |line: &Line<C>| line.asked.is_some_and(|asked| now.duration_since(asked) > PATIENCE);
        if self.lines.iter().any(waits) {
            bail!("no answer within {} s", PATIENCE.as_secs());
        }
        Ok(())
    }

    /// Counts an answer and sends the next request.
    fn go_on(&mut self, at: usize, heard: Heard) -> anyhow::Result<()> {
        let closed = match heard {
            Heard::Closed => true,
            Heard::Answer { kind, due, at: whole, closes } => {
                self.asking -= 1;
                if whole >= self.shared.from && whole < self.shared.until && self.stopped.is_none() {
                    self.samples[kind].push(u64::try_from((whole - due).as_nanos()).unwrap_or(u64::MAX));
                    self.shared.answers.fetch_add(1, Ordering::Relaxed);
                }
                if self.interval.is_some() {
                    self.idle.push_back(at);
                }
                closes
            }
        };
        let now = Instant::now();
        let line = &mut self.lines[at];
        if closed {
            // The new connection is part of the next request's time.
            line.stream = connect(line.source, line.address)?;
            epoll::add(&self.epoll, &line.stream, EventData::new_u64(at as u64), EventFlags::IN)?;
        }
        let is_free = self.interval.is_none() && line.asked.is_none();
        if is_free && self.stopped.is_none() && !self.shared.is_over(now) {
            self.ask(at, now)?;
        }
        Ok(())
    }
}

fn timespec(duration: Duration) -> Timespec {
    Timespec { tv_sec: i64::try_from(duration.as_secs()).unwrap_or(0), tv_nsec: duration.subsec_nanos().into() }
}

/// A connection from an address of this machine, that does not block.
fn connect(source: Ipv4Addr, address: SocketAddr) -> anyhow::Result<TcpStream> {
    let socket: OwnedFd = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None)?;
    if source != Ipv4Addr::LOCALHOST {
        rustix::net::bind(&socket, &SocketAddrV4::new(source, 0))?;
    }
    rustix::net::connect(&socket, &address).with_context(|| format!("{address} does not answer"))?;
    let stream = TcpStream::from(socket);
    stream.set_nodelay(true)?;
    stream.set_nonblocking(true)?;
    Ok(stream)
}

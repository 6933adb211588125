//! What a person sees meanwhile: a line a step, and how far it is.

use std::cell::Cell;
use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

/// How often the count under a step is written anew.
const AGAIN: Duration = Duration::from_millis(200);

#[derive(Debug)]
pub(crate) struct Terminal {
    began: Instant,
    is_person: bool,
    step: Cell<(usize, usize)>,
    shown: Cell<Option<Instant>>,
}

impl Terminal {
    pub(crate) fn new() -> Self {
        let is_person = std::io::stderr().is_terminal();
        Self { began: Instant::now(), is_person, step: Cell::new((0, 0)), shown: Cell::new(None) }
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// A new step of so many.
    pub(crate) fn step(&self, number: usize, of: usize, what: &str) {
        self.step.set((number, of));
        self.say(&format!("{number:>2}/{of} {what}"));
    }

    /// A line that stays.
    pub(crate) fn say(&self, text: &str) {
        let seconds = self.began.elapsed().as_secs();
        let clear = if self.is_person { "\r\x1b[K" } else { "" };
        // Where nobody reads standard error, the report still comes.
        let _ = writeln!(std::io::stderr(), "{clear}[{:>2}:{:02}] {text}", seconds / 60, seconds % 60);
    }

    /// What came out of a step, under it.
    pub(crate) fn result(&self, text: &str) {
        self.say(&format!("      {text}"));
    }

    /// A line that the next one takes the place of; only a person gets it.
    pub(crate) fn progress(&self, text: &str) {
        if !self.is_person || self.shown.get().is_some_and(|at| at.elapsed() < AGAIN) {
            return;
        }
        self.shown.set(Some(Instant::now()));
        let mut err = std::io::stderr();
        let _ = write!(err, "\r\x1b[K        {text}");
        let _ = err.flush();
    }
}

/// Writes the report to standard output.
pub(crate) fn print(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}

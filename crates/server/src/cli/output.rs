//! What commands print: tables and sentences for people, JSON for scripts.

use std::fmt::{self, Display};
use std::io::Write;

use clap::Args;
use countersign_core::time::Millis;
use jiff::Timestamp;
use serde::Serialize;

use super::failure::Failure;

/// How a command prints.
#[derive(Args, Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Format {
    /// Print JSON for scripts: one object a line
    #[arg(long, global = true, display_order = 900)]
    pub(super) json: bool,
}

/// The two streams of the process. A closed one ends the command and never the process by a panic.
pub(super) struct Console<'a> {
    out: &'a mut dyn Write,
    err: &'a mut dyn Write,
}

impl<'a> Console<'a> {
    pub(super) fn new(out: &'a mut dyn Write, err: &'a mut dyn Write) -> Self {
        Self { out, err }
    }

    /// A line of the answer.
    pub(super) fn line(&mut self, text: impl Display) -> Result<(), Failure> {
        writeln!(self.out, "{text}").map_err(|error| Failure::output(&error))
    }

    /// The answer as one line of JSON.
    pub(super) fn json(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        self.line(serde_json::to_string(value).map_err(Failure::failed)?)
    }

    /// Sees to it that everything said so far is out.
    pub(super) fn flush(&mut self) -> Result<(), Failure> {
        self.out.flush().map_err(|error| Failure::output(&error))
    }

    /// Something for a person beside the answer. It is lost where nobody reads it.
    pub(super) fn note(&mut self, text: impl Display) {
        let _ = writeln!(self.err, "{text}");
    }

    /// How far something has come, over what was said of it before.
    pub(super) fn progress(&mut self, text: impl Display) {
        let _ = write!(self.err, "\r{text}").and_then(|()| self.err.flush());
    }

    /// A question, left open for the answer on the same line.
    pub(super) fn question(&mut self, text: impl Display) {
        let _ = write!(self.err, "{text} ").and_then(|()| self.err.flush());
    }
}

/// Columns under headings. Rows may come a page at a time: a column never gets narrower.
pub(super) struct Table<const N: usize> {
    headings: [&'static str; N],
    widths: [usize; N],
    has_begun: bool,
}

impl<const N: usize> Table<N> {
    pub(super) fn new(headings: [&'static str; N]) -> Self {
        Self { headings, widths: headings.map(str::len), has_begun: false }
    }

    /// Prints rows, and the headings before the first.
    pub(super) fn print(&mut self, console: &mut Console<'_>, rows: Vec<[String; N]>) -> Result<(), Failure> {
        let rows: Vec<_> = rows.into_iter().map(|row| row.map(|cell| Printable(&cell).to_string())).collect();
        for row in &rows {
            for (width, cell) in self.widths.iter_mut().zip(row) {
                *width = cell.chars().count().max(*width);
            }
        }
        if !self.has_begun && !rows.is_empty() {
            self.has_begun = true;
            console.line(self.layout(&self.headings))?;
        }
        rows.iter().try_for_each(|row| console.line(self.layout(row)))
    }

    fn layout(&self, cells: &[impl AsRef<str>; N]) -> String {
        let mut line = String::new();
        for (cell, width) in cells.iter().zip(self.widths) {
            line += &format!("{:width$}  ", cell.as_ref());
        }
        line.truncate(line.trim_end().len());
        line
    }
}

/// A text that somebody else chose, with what could move the cursor, colour the terminal or turn the line around escaped.
pub(super) struct Printable<'a>(pub(super) &'a str);

impl Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write as _;

        for character in self.0.chars() {
            let turns =
                matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
            if character.is_control() || turns || matches!(character, '\u{2028}' | '\u{2029}') {
                write!(f, "{}", character.escape_unicode())?;
            } else {
                f.write_char(character)?;
            }
        }
        Ok(())
    }
}

/// An instant in RFC 3339, in UTC with milliseconds, so that times line up and sort.
pub(super) fn time(at: Millis) -> String {
    // A time that no calendar has can only come from a damaged row: the epoch is shown rather than an error.
    format!("{:.3}", Timestamp::from_millisecond(at.get()).unwrap_or(Timestamp::UNIX_EPOCH))
}

/// `1 session`, `2 sessions`.
pub(super) fn count(number: u64, one: &str) -> String {
    format!("{number} {one}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn printed(act: impl FnOnce(&mut Console<'_>) -> Result<(), Failure>) -> String {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        act(&mut Console::new(&mut out, &mut err)).unwrap();
        assert!(err.is_empty());
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn columns_line_up_and_never_get_narrower() {
        let row = |a: &str, b: &str| [a.to_owned(), b.to_owned()];
        let text = printed(|console| {
            let mut table = Table::new(["NAME", "STATE"]);
            table.print(console, vec![])?;
            table.print(console, vec![row("élodie", "active"), row("bo", "")])?;
            table.print(console, vec![row("al", "disabled")])
        });
        assert_eq!(text, "NAME    STATE\nélodie  active\nbo\nal      disabled\n");
    }

    #[test]
    fn a_chosen_text_cannot_act_on_the_terminal() {
        let text = printed(|console| Table::new(["X"]).print(console, vec![["a\u{1b}[31m\nb\u{202e}c".to_owned()]]));
        assert_eq!(text, "X\na\\u{1b}[31m\\u{a}b\\u{202e}c\n");
    }

    #[test]
    fn times_have_one_width() {
        assert_eq!(time(Millis::new(1_795_521_900_000)), "2026-11-24T12:05:00.000Z");
        assert_eq!(time(Millis::new(1_795_521_900_250)), "2026-11-24T12:05:00.250Z");
        assert_eq!(time(Millis::new(i64::MAX)), "1970-01-01T00:00:00.000Z");
    }

    #[test]
    fn numbers_agree_with_their_nouns() {
        assert_eq!((count(1, "session"), count(0, "session")), ("1 session".to_owned(), "0 sessions".to_owned()));
    }

    #[test]
    fn a_closed_stream_is_told_as_a_value() {
        struct Closed;
        impl Write for Closed {
            fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
                Err(std::io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let (mut out, mut err) = (Closed, Closed);
        let mut console = Console::new(&mut out, &mut err);
        console.note("lost");
        assert_eq!(console.line("x").unwrap_err().exit(), super::super::failure::Exit::Done);
    }
}

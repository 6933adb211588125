//! What commands ask of a person: passwords, and whether they mean it.

use std::io::{self, BufRead, IsTerminal as _, Read as _};

use countersign_core::passwords::MAX_BYTES;
use zeroize::Zeroizing;

use super::failure::Failure;
use super::output::Console;

/// The longest line that is read from standard input: a password of the greatest length with its line break.
const LONGEST_LINE: u64 = MAX_BYTES as u64 + 2;

/// A new password: asked for twice where standard input is a terminal, otherwise its first line.
///
/// A password is never an argument, since arguments show in the process list and in the shell's history.
pub(super) fn new_password(username: &str) -> Result<Zeroizing<String>, Failure> {
    let stdin = io::stdin();
    if !stdin.is_terminal() {
        return first_line(stdin.lock());
    }
    let first = hidden(&format!("New password for {username}: "))?;
    let second = hidden("The same again: ")?;
    if *first != *second {
        return Err(Failure::failed("the two passwords differ; nothing was changed"));
    }
    Ok(first)
}

fn hidden(prompt: &str) -> Result<Zeroizing<String>, Failure> {
    rpassword::prompt_password(prompt)
        .map(Zeroizing::new)
        .map_err(|error| Failure::failed(format!("the password cannot be read: {error}")))
}

/// The first line without its line break, no longer than any password can be.
fn first_line(input: impl BufRead) -> Result<Zeroizing<String>, Failure> {
    // All of its room at once: a buffer that grows leaves copies behind.
    let mut line = Zeroizing::new(Vec::with_capacity(MAX_BYTES + 2));
    let read = input.take(LONGEST_LINE).read_until(b'\n', &mut line);
    read.map_err(|error| Failure::failed(format!("the password cannot be read from standard input: {error}")))?;
    if line.is_empty() {
        let expected = "no password on standard input: write it on one line, or call from a terminal to be asked";
        return Err(Failure::failed(expected));
    }
    if line.last() == Some(&b'\n') {
        line.pop();
        if line.last() == Some(&b'\r') {
            line.pop();
        }
    }
    match std::str::from_utf8(&line) {
        Ok(text) => Ok(Zeroizing::new(text.to_owned())),
        Err(_) => Err(Failure::failed("the password on standard input is not UTF-8")),
    }
}

/// Goes on only where somebody means it: they said `--yes`, or say so now.
pub(super) fn confirm(console: &mut Console<'_>, question: &str, yes: bool) -> Result<(), Failure> {
    if yes {
        return Ok(());
    }
    let stdin = io::stdin();
    if !stdin.is_terminal() {
        return Err(Failure::misused(format!("{question} Nobody is there to be asked: say --yes to mean it")));
    }
    console.question(format_args!("{question} [y/N]"));
    let mut answer = String::new();
    stdin.lock().take(64).read_line(&mut answer).map_err(|error| Failure::failed(format!("no answer: {error}")))?;
    if means_yes(&answer) { Ok(()) } else { Err(Failure::failed("nothing was changed")) }
}

fn means_yes(answer: &str) -> bool {
    ["y", "yes"].iter().any(|yes| answer.trim().eq_ignore_ascii_case(yes))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn one_line_is_read_and_only_its_line_break_taken_off() {
        for (input, password) in [
            ("correct horse\n", "correct horse"),
            ("correct horse\r\n", "correct horse"),
            ("correct horse", "correct horse"),
            (" spaces count \nsecond line\n", " spaces count "),
            ("\n", ""),
        ] {
            assert_eq!(*first_line(input.as_bytes()).unwrap(), password, "{input:?}");
        }
    }

    #[test]
    fn what_cannot_be_a_password_is_refused_before_it_fills_the_memory() {
        let refused = |input: &[u8]| first_line(input).unwrap_err();
        assert!(refused(b"").message().unwrap().contains("no password on standard input"));
        assert!(refused(b"\xff\xfe\n").message().unwrap().contains("not UTF-8"));
        // Too long by far: what is handed on is still longer than any password, so the rule refuses it.
        let endless = io::BufReader::new(io::repeat(b'x'));
        assert_eq!(first_line(endless).unwrap().len() as u64, LONGEST_LINE);
        let longest = "x".repeat(MAX_BYTES);
        assert_eq!(*first_line(format!("{longest}\r\n").as_bytes()).unwrap(), longest);
    }

    #[test]
    fn only_a_clear_yes_is_one() {
        assert!(["y\n", "YES\n", " yes "].into_iter().all(means_yes));
        assert!(["", "\n", "n\n", "yess\n", "ja\n"].into_iter().all(|answer| !means_yes(answer)));
    }
}

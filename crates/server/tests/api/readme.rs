//! The README's first walk, with curl, as it stands there.

use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::support::{PASSWORD, PROGRAM, Settings, Weather, run, until};

const README: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../README.md");

/// A command of the walk, and what the README says that it prints.
struct Step {
    command: String,
    printed: String,
}

/// The steps between two headings: lines behind `$ ` with those that continue them, and what follows.
fn steps(text: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut continues = false;
    for block in text.split("```").skip(1).step_by(2) {
        let mut inside = false;
        for line in block.lines().skip(1) {
            if let Some(command) = line.strip_prefix("$ ") {
                steps.push(Step { command: command.to_owned(), printed: String::new() });
                inside = true;
            } else if let (Some(step), true) = (steps.last_mut(), inside) {
                let text = if continues { &mut step.command } else { &mut step.printed };
                text.push('\n');
                text.push_str(line);
            }
            continues = inside && line.ends_with('\\');
        }
    }
    steps
}

/// Whether what was printed is what the README says, but for what differs from run to run: whatever `…` stands for, times,
/// and the weather.
fn is_as_said(printed: &str, said: &str) -> bool {
    match (serde_json::from_str(printed), serde_json::from_str(&said.replace(",…]", ",\"…\"]"))) {
        (Ok(printed), Ok(said)) => alike(&printed, &said),
        _ => text_alike(printed.trim(), said.trim()),
    }
}

fn text_alike(printed: &str, said: &str) -> bool {
    let said: Vec<&str> = said.lines().collect();
    let printed: Vec<&str> = printed.lines().collect();
    let (said, is_whole) = match said.split_last() {
        Some((&"…", before)) => (before, false),
        _ => (said.as_slice(), true),
    };
    let line_alike = |(printed, said): (&&str, &&str)| {
        let (printed, said) = (printed.split_whitespace(), said.split_whitespace());
        printed.clone().count() == said.clone().count()
            && printed.zip(said).all(|(printed, said)| word_alike(printed, said))
    };
    has_all(printed.len(), said.len(), is_whole) && printed.iter().zip(said).all(line_alike)
}

/// A list is as long as the README says, or longer where it ends with `…`.
fn has_all(printed: usize, said: usize, is_whole: bool) -> bool {
    if is_whole { printed == said } else { printed > said }
}

fn alike(printed: &Value, said: &Value) -> bool {
    match (printed, said) {
        (Value::Object(printed), Value::Object(said)) => {
            let weather = said.contains_key("temperatureC");
            printed.len() == said.len()
                && said
                    .iter()
                    .all(|(name, said)| printed.get(name).is_some_and(|printed| weather || alike(printed, said)))
        }
        (Value::Array(printed), Value::Array(said)) => {
            let (said, is_whole) = match said.split_last() {
                Some((last, before)) if last == "…" => (before, false),
                _ => (said.as_slice(), true),
            };
            has_all(printed.len(), said.len(), is_whole)
                && printed.iter().zip(said).all(|(printed, said)| alike(printed, said))
        }
        (Value::String(printed), Value::String(said)) => word_alike(printed, said),
        _ => printed == said,
    }
}

fn word_alike(printed: &str, said: &str) -> bool {
    match said.split_once('…') {
        // Further in stand the time and chance.
        Some((start, _)) => printed.starts_with(&start.chars().take(10).collect::<String>()),
        None => printed == said || is_time(printed) && is_time(said),
    }
}

fn is_time(text: &str) -> bool {
    text.parse::<jiff::Timestamp>().is_ok()
}

#[test]
fn what_differs_from_run_to_run_is_all_that_may_differ() {
    let said = r#"{"a":"eyJhbGciOiJFUzI1NiIs…","at":"2026-11-24T22:15:42Z","n":300}"#;
    assert!(is_as_said(r#"{"a":"eyJhbGciOiXX","at":"2027-01-01T00:00:00.5Z","n":300}"#, said));
    for other in [
        r#"{"a":"xxJhbGciOiJFUzI1NiIs","at":"2027-01-01T00:00:00Z","n":300}"#,
        r#"{"a":"eyJhbGciOiJFUzI1NiIs","at":"soon","n":300}"#,
        r#"{"a":"eyJhbGciOiJFUzI1NiIs","at":"2027-01-01T00:00:00Z","n":301}"#,
        r#"{"a":"eyJhbGciOiJFUzI1NiIs","at":"2027-01-01T00:00:00Z","n":300,"more":1}"#,
        r#"{"a":"eyJhbGciOiJFUzI1NiIs","at":"2027-01-01T00:00:00Z"}"#,
        "nothing",
    ] {
        assert!(!is_as_said(other, said), "{other}");
    }
    assert!(is_as_said("204\n", "\n204") && !is_as_said("200\n", "\n204"));
    assert!(is_as_said("[1,2,3]", "[1,2,…]") && !is_as_said("[1,2]", "[1,2,…]") && !is_as_said("[1,2,3]", "[1,2]"));
    let (table, said) = ("A  B\n2  2027-01-01T00:00:00Z\n1 x\n", "A  B\n2  2026-11-24T22:34:40.116Z\n…");
    assert!(is_as_said(table, said) && !is_as_said("A  B\n2  soon\n1 x\n", said));
    let walk = steps("# A\n```\n$ one \\\n    two\n1\n\n$ three\n3\n```\ntext\n```\nnot a step\n```\n");
    let walk: Vec<_> = walk.iter().map(|step| (step.command.as_str(), step.printed.trim())).collect();
    assert_eq!(walk, [("one \\\n    two", "1"), ("three", "3")]);
}

#[test]
#[ignore = "needs curl and jq: run scripts/test"]
fn the_first_walk_prints_what_the_readme_says() {
    let server = Settings::new().without("issuer").start();
    let weather = Weather::trusting(&server);
    let walk = steps(&std::fs::read_to_string(README).unwrap());
    assert!(walk.len() >= 6, "the README has a walk of {} steps", walk.len());
    for Step { command, printed } in walk {
        let here = command.replace("http://127.0.0.1:5000", &server.process.url);
        let here = here.replace("http://127.0.0.1:5001", &weather.process.url);
        let here = here.replace("cargo run --release --", PROGRAM);
        assert!(!here.contains(":500"), "where would that go? {command}");
        let print = || {
            let mut shell = Command::new("/bin/sh");
            shell.args(["-c", &here]).current_dir(server.settings.dir());
            // That of other tests: the program would take it for a setting.
            shell.env_remove("COUNTERSIGN_TEST_POSTGRES_URL");
            run(shell, PASSWORD).done()
        };
        // Within a second the weather knows of a revocation; a person takes longer to type.
        let asks = !here.contains(" -d ") && !here.contains(" -X ");
        let mut last = print();
        if asks && !is_as_said(&last, &printed) {
            until(Duration::from_secs(1), &format!("what the README says of\n{command}"), || {
                last = print();
                is_as_said(&last, &printed).then_some(())
            });
        }
        assert!(is_as_said(&last, &printed), "{command}\nprints {last}\nand not{printed}");
    }
}

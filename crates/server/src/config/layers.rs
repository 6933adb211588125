//! The three layers above the defaults (flags over environment over file), and the reading of one value from them.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use super::environment::{CONFIG_VARIABLE, Environment, FAIL_POINTS_VARIABLE};
use super::error::{Source, WrongSetting, shown};
use super::flags::Flags;
use super::show::{Effective, Show, Shown};
use super::suggest::nearest;
use super::table::{ALL, Setting};

/// The file that is read where none is named and it exists in the working directory.
const DEFAULT_FILE: &str = "countersign.toml";

/// A value as a layer gave it.
#[derive(Clone, Debug)]
enum Raw {
    One(String),
    Many(Vec<String>),
}

/// What the layers hold, the errors found so far, and the values read so far.
#[derive(Default)]
pub(super) struct Layers {
    given: BTreeMap<&'static str, (Raw, Source)>,
    pub(super) errors: Vec<WrongSetting>,
    pub(super) effective: Vec<Effective>,
    pub(super) file: Option<PathBuf>,
}

impl Layers {
    /// Lays the layers over each other; later ones hide earlier ones.
    pub(super) fn gather(flags: &Flags, environment: &Environment) -> Self {
        let mut layers = Self::default();
        layers.add_file(flags, environment);
        layers.add_environment(environment);
        for (setting, values) in &flags.values {
            let raw = match values.as_slice() {
                [one] => Raw::One(one.clone()),
                many => Raw::Many(many.iter().flat_map(|value| split(value)).collect()),
            };
            layers.given.insert(setting.key, (raw, Source::Flag(setting.flag())));
        }
        layers
    }

    fn add_file(&mut self, flags: &Flags, environment: &Environment) {
        let (path, named_by) = match (&flags.config, environment.config_file()) {
            (Some(path), _) => (path.clone(), Some(Source::Flag("config".to_owned()))),
            (None, Some(path)) => (PathBuf::from(path), Some(Source::Environment(CONFIG_VARIABLE.to_owned()))),
            (None, None) => (PathBuf::from(DEFAULT_FILE), None),
        };
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && named_by.is_none() => return,
            Err(error) => {
                let source = named_by.unwrap_or(Source::File { path: path.clone(), line: None });
                let expected = format!("must be a file that can be read: {error}");
                return self.wrong("config", Some(shown(&path.to_string_lossy())), source, expected);
            }
        };
        self.file = Some(path.clone());
        self.add_toml(&path, &text);
    }

    fn add_toml(&mut self, path: &Path, text: &str) {
        let line = |offset: usize| text.as_bytes().iter().take(offset).filter(|byte| **byte == b'\n').count() + 1;
        let at = |line: usize| Source::File { path: path.to_owned(), line: Some(line) };
        let (table, problems) = DeTable::parse_recoverable(text);
        let mut broken = Vec::with_capacity(problems.len());
        for problem in problems {
            // The parser's own rendering quotes the line, which may hold a secret.
            let line = line(problem.span().unwrap_or(0..0).start);
            self.wrong("config", None, at(line), format!("is not TOML: {}", problem.message()));
            broken.push(line);
        }
        for (key, value) in table.into_inner() {
            let (first, last) = (line(key.span().start), line(value.span().end));
            // What the parser made of lines that it told about is not judged again.
            if broken.iter().any(|line| (first..=last).contains(line)) {
                continue;
            }
            let (key, source) = (key.into_inner(), at(first));
            let Some(setting) = ALL.iter().find(|setting| setting.key == key) else {
                let known = ALL.iter().map(|setting| setting.key);
                let expected = unknown(nearest(&key, known), "settings stand at the top level of the file");
                self.wrong(&printable(&key), None, source, expected);
                continue;
            };
            match raw(value.get_ref()) {
                Some(raw) => drop(self.given.insert(setting.key, (raw, source))),
                None => self.wrong(setting.key, None, source, kind_expected(setting).to_owned()),
            }
        }
    }

    fn add_environment(&mut self, environment: &Environment) {
        for (name, value) in environment.variables() {
            let source = || Source::Environment(name.to_owned());
            match name {
                CONFIG_VARIABLE => continue,
                FAIL_POINTS_VARIABLE if fail::has_failpoints() => continue,
                FAIL_POINTS_VARIABLE => {
                    let expected = "this build has no fail points; they exist in test builds only".to_owned();
                    self.wrong(name, None, source(), expected);
                    continue;
                }
                _ => {}
            }
            let Some(setting) = ALL.iter().find(|setting| setting.variable() == name) else {
                let known: Vec<String> = ALL.iter().map(Setting::variable).collect();
                let known = known.iter().map(String::as_str).chain([CONFIG_VARIABLE]);
                let expected = unknown(nearest(name, known), "the prefix COUNTERSIGN_ is kept for settings");
                self.wrong(&printable(name), None, source(), expected);
                continue;
            };
            match text(value) {
                Some(value) => drop(self.given.insert(setting.key, (Raw::One(value), source()))),
                None => self.wrong(setting.key, None, source(), "must be UTF-8".to_owned()),
            }
        }
    }

    /// Reads a setting that always has a value. `None` means that it was wrong and that the error is noted.
    pub(super) fn one<T: Show>(
        &mut self,
        setting: &'static Setting,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        self.optional(setting, parse)?
    }

    /// Reads a setting that may be left out: the inner `None`.
    pub(super) fn optional<T: Show>(
        &mut self,
        setting: &'static Setting,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<Option<T>> {
        let (raw, source) = self.take(setting);
        let value = match raw {
            None => None,
            Some(Raw::One(value)) => Some(value),
            Some(Raw::Many(values)) => {
                self.refuse(setting, &values.join(","), source, "must be one value, not several".to_owned());
                return None;
            }
        };
        let parsed = match value.as_deref().map(parse).transpose() {
            Ok(parsed) => parsed,
            Err(expected) => {
                self.refuse(setting, value.as_deref().unwrap_or_default(), source, expected);
                return None;
            }
        };
        self.note(setting, parsed.as_ref().map_or(Shown::Unset, Show::show), source);
        Some(parsed)
    }

    /// Reads a list. Every wrong entry is noted, not only the first.
    pub(super) fn list<T: Show>(
        &mut self,
        setting: &'static Setting,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<Vec<T>> {
        let (raw, source) = self.take(setting);
        let values = match raw {
            None => Vec::new(),
            Some(Raw::One(value)) => split(&value).collect(),
            Some(Raw::Many(values)) => values,
        };
        let before = self.errors.len();
        let mut parsed = Vec::with_capacity(values.len());
        for value in &values {
            match parse(value) {
                Ok(value) => parsed.push(value),
                Err(expected) => self.refuse(setting, value, source.clone(), expected),
            }
        }
        if self.errors.len() > before {
            return None;
        }
        let shown = parsed.iter().map(Show::show).collect();
        self.note(setting, Shown::Many(shown), source);
        Some(parsed)
    }

    /// Notes that a value which parses is wrong beside the other settings.
    pub(super) fn refuse_value(&mut self, setting: &'static Setting, expected: String) {
        let (value, source) = match self.effective.iter().find(|effective| effective.key == setting.key) {
            Some(effective) => (effective.value.given().then(|| effective.value.quoted()), effective.source.clone()),
            None => (None, Source::Default),
        };
        self.wrong(setting.key, value, source, expected);
    }

    /// Notes the value that a setting takes where it is left out.
    pub(super) fn derived(&mut self, setting: &'static Setting, value: Shown) {
        if let Some(effective) = self.effective.iter_mut().find(|effective| effective.key == setting.key) {
            effective.value = value;
        }
    }

    fn take(&mut self, setting: &'static Setting) -> (Option<Raw>, Source) {
        match self.given.remove(setting.key) {
            Some((raw, source)) => (Some(raw), source),
            None => (setting.default.map(|default| Raw::One(default.to_owned())), Source::Default),
        }
    }

    fn note(&mut self, setting: &'static Setting, value: Shown, source: Source) {
        let value = if setting.secret && value.given() { Shown::Hidden } else { value };
        self.effective.push(Effective { key: setting.key, unset: setting.unset, value, source });
    }

    fn refuse(&mut self, setting: &Setting, value: &str, source: Source, expected: String) {
        let value = if setting.secret { "(not shown)".to_owned() } else { shown(value) };
        self.wrong(setting.key, Some(value), source, expected);
    }

    fn wrong(&mut self, setting: &str, value: Option<String>, source: Source, expected: String) {
        self.errors.push(WrongSetting { setting: setting.to_owned(), value, source, expected });
    }
}

fn unknown(suggestion: Option<&str>, otherwise: &str) -> String {
    match suggestion {
        Some(name) => format!("is not a setting; did you mean {name}?"),
        None => format!("is not a setting; {otherwise}, and `countersign --help` lists them"),
    }
}

fn kind_expected(setting: &Setting) -> &'static str {
    if setting.list { "must be an array of strings" } else { "must be a string or a whole number" }
}

/// A TOML value as text; `None` for the kinds that no setting has.
fn raw(value: &DeValue<'_>) -> Option<Raw> {
    match value {
        DeValue::Array(values) => {
            values.iter().map(|value| value.get_ref().as_str().map(str::to_owned)).collect::<Option<_>>().map(Raw::Many)
        }
        DeValue::String(text) => Some(Raw::One(text.clone().into_owned())),
        DeValue::Integer(number) if number.radix() == 10 => Some(Raw::One(number.as_str().to_owned())),
        _ => None,
    }
}

fn text(value: &OsString) -> Option<String> {
    value.to_str().map(str::to_owned)
}

/// The entries of a list written with commas; blanks around them and empty entries do not count.
fn split(value: &str) -> impl Iterator<Item = String> {
    value.split(',').map(str::trim).filter(|entry| !entry.is_empty()).map(str::to_owned)
}

/// A name that nobody vetted, fit for a terminal.
fn printable(name: &str) -> String {
    name.chars().take(64).flat_map(char::escape_debug).collect()
}

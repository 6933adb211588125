//! The rules that no compiler holds: arrows between crates, sizes of files, unfinished code, paths named in the docs.
//!
//! Each rule is a function over texts, tested here with what it must refuse, and then over the whole repository.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Who may depend on whom, in every kind of dependency: the arrows of ARCHITECTURE.md.
const ARROWS: &[(&str, &[&str])] = &[
    ("countersign-token", &[]),
    ("countersign-core", &[]),
    ("countersign-store", &["countersign-core"]),
    ("countersign-operations", &["countersign-store", "countersign-core", "countersign-token"]),
    ("countersign-bearer", &["countersign-token"]),
    (
        "countersign",
        &["countersign-operations", "countersign-store", "countersign-core", "countersign-token", "countersign-bearer"],
    ),
    ("weather", &["countersign", "countersign-bearer"]),
    ("countersign-bench", &["countersign-core", "countersign-token", "countersign-bearer"]),
];

/// The only places of the server that may name the store: the command line, the root where the parts are put together, and the
/// setting that says where the database is.
const MAY_NAME_THE_STORE: &[&str] =
    &["crates/server/src/cli/", "crates/server/src/config/database.rs", "crates/server/src/installation.rs"];

/// Lines that a source file may have without its tests.
const LONGEST: usize = 400;

/// Marks of unfinished code, in two parts so that this file has none.
const UNFINISHED: &[&str] = &[
    concat!("to", "do!("),
    concat!("unimple", "mented!("),
    concat!("db", "g!("),
    concat!("FIX", "ME"),
    concat!("TO", "DO"),
];

/// Folders of the repository: a word of the docs that begins with one names a path.
const FOLDERS: &[&str] = &[".ci", "bench", "clients", "crates", "docs", "examples", "fuzz", "scripts", "tests"];

/// Endings that only a file of the repository has, in the docs.
const ENDINGS: &[&str] = &["md", "mjs", "py", "rs", "sh", "sql", "toml"];

/// Files that the docs name and an operator makes.
const OPERATORS_OWN: &[&str] = &["countersign.toml"];

// ---- the rules ----

/// Arrows that a manifest draws and `ARROWS` does not.
fn forbidden_arrows(path: &str, text: &str) -> Vec<String> {
    let manifest: toml::Table = text.parse().expect("a manifest is TOML");
    let name = manifest["package"]["name"].as_str().expect("a package has a name");
    let Some((_, allowed)) = ARROWS.iter().find(|(from, _)| *from == name) else {
        return vec![format!(
            "{path}: the crate {name} has no arrows: say in tidy.rs and ARCHITECTURE.md what it may use"
        )];
    };
    let mut tables = vec![&manifest];
    if let Some(targets) = manifest.get("target").and_then(toml::Value::as_table) {
        tables.extend(targets.values().filter_map(toml::Value::as_table));
    }
    let mut faults = Vec::new();
    for table in tables {
        for kind in ["dependencies", "dev-dependencies", "build-dependencies"] {
            let Some(dependencies) = table.get(kind).and_then(toml::Value::as_table) else { continue };
            for (key, how) in dependencies {
                let to = how.get("package").and_then(toml::Value::as_str).unwrap_or(key);
                if ARROWS.iter().any(|(crate_name, _)| *crate_name == to) && !allowed.contains(&to) {
                    faults.push(format!("{path}: {kind}: {name} must not use {to}"));
                }
            }
        }
    }
    faults
}

/// Lines of the server that reach past the operations into the store.
fn store_named(path: &str, text: &str) -> Vec<String> {
    if !path.starts_with("crates/server/src/") || MAY_NAME_THE_STORE.iter().any(|place| path.starts_with(place)) {
        return Vec::new();
    }
    numbered(text)
        .filter(|(_, line)| !line.trim_start().starts_with("//") && line.contains("countersign_store"))
        .map(|(number, _)| {
            format!("{path}:{number}: only the command line, the composition root and the setting of the database may name the store")
        })
        .collect()
}

/// A source file that is too long to be read in one sitting. Its tests do not count: clippy puts them last in the file.
fn too_long(path: &str, text: &str) -> Vec<String> {
    let is_test = path.ends_with("/tests.rs") || path.split('/').any(|folder| folder == "tests");
    if is_test {
        return Vec::new();
    }
    let lines: Vec<&str> = text.lines().collect();
    let starts_tests = |at: usize| {
        let item = lines[at..].iter().find(|line| !line.starts_with("#["));
        lines[at].starts_with("#[cfg(test)]")
            && item.is_some_and(|line| line.starts_with("mod ") && line.ends_with('{'))
    };
    let length = (0..lines.len()).find(|&at| starts_tests(at)).unwrap_or(lines.len());
    if length <= LONGEST {
        return Vec::new();
    }
    vec![format!("{path}: {length} lines without its tests, {LONGEST} at most")]
}

/// Lines that say the work is not done.
fn unfinished(path: &str, text: &str) -> Vec<String> {
    numbered(text)
        .flat_map(|(number, line)| {
            let marks = UNFINISHED.iter().filter(move |mark| line.contains(**mark));
            marks.map(move |mark| format!("{path}:{number}: {mark}"))
        })
        .collect()
}

/// Bans of the root's clippy.toml that the core's lacks: a crate's own file replaces the root's.
fn unrepeated_bans(root: &str, core: &str) -> Vec<String> {
    let bans = |text: &str| -> BTreeSet<String> {
        let settings: toml::Table = text.parse().expect("clippy.toml is TOML");
        let listed = settings["disallowed-methods"].as_array().expect("a list of bans");
        listed.iter().map(|ban| ban["path"].as_str().expect("a ban has a path").to_owned()).collect()
    };
    bans(root)
        .difference(&bans(core))
        .map(|ban| format!("crates/core/clippy.toml: does not repeat the ban of {ban}"))
        .collect()
}

/// Paths that a page names, in backticks or as the target of a link, and the repository does not have.
fn missing_paths(page: &str, text: &str, files: &BTreeSet<String>) -> Vec<String> {
    let mut faults = Vec::new();
    let mut fenced = false;
    for (number, line) in numbered(text) {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
            continue;
        }
        if fenced {
            continue;
        }
        let spans = line.split('`').skip(1).step_by(2);
        let words =
            spans.flat_map(str::split_whitespace).filter_map(path_in).filter(|word| !names_a_file(page, word, files));
        let links = line.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        let links = links.filter_map(link_target).filter(|target| !links_to_a_file(page, target, files));
        faults.extend(words.chain(links).map(|path| format!("{page}:{number}: {path} does not exist")));
    }
    faults
}

/// What of a word in backticks is a path of the repository.
fn path_in(word: &str) -> Option<&str> {
    let word = word.trim_matches(|c: char| "(),;\"'".contains(c)).trim_end_matches(['.', ':']);
    let word = word.strip_prefix("./").unwrap_or(word);
    // `file.rs:12` names a line; a pattern such as `docs/*.md` is as good as the folder before it.
    let word = word.split_once(':').map_or(word, |(file, _)| file);
    let word = match word.find(['*', '{', '<', '…', '[', '$']) {
        Some(pattern) => &word[..word[..pattern].rfind('/')? + 1],
        None => word,
    };
    if !word.chars().all(|c| c.is_ascii_alphanumeric() || "._/-".contains(c)) {
        return None;
    }
    let first = word.split('/').next()?;
    let in_a_folder = word.contains('/') && FOLDERS.contains(&first);
    let ends_as_a_file = ENDINGS.iter().any(|ending| word.strip_suffix(ending).is_some_and(|rest| rest.ends_with('.')));
    let is_ours = in_a_folder || (ends_as_a_file && !word.starts_with('/') && word.rfind('.') > Some(0));
    let is_made = word.split('/').any(|folder| folder == "node_modules") || OPERATORS_OWN.contains(&word);
    (is_ours && !is_made).then(|| word.trim_end_matches('/'))
}

/// The file that a link leads to, where it stays in the repository.
fn link_target(target: &str) -> Option<&str> {
    let path = target.split('#').next()?;
    (!path.is_empty() && !path.contains(':')).then(|| path.trim_end_matches('/'))
}

/// A word may name a path from the root, from the page's own folder, or from further down, as `src/lib.rs` does.
fn names_a_file(page: &str, word: &str, files: &BTreeSet<String>) -> bool {
    let from_a_folder = FOLDERS.iter().any(|folder| word.split('/').next() == Some(folder));
    links_to_a_file(page, word, files)
        || files.contains(word)
        || (!from_a_folder && files.iter().any(|file| file.ends_with(&format!("/{word}"))))
}

fn links_to_a_file(page: &str, target: &str, files: &BTreeSet<String>) -> bool {
    let mut at: Vec<&str> = page.split('/').collect();
    at.pop();
    for step in target.split('/') {
        match step {
            "." => {}
            ".." => {
                if at.pop().is_none() {
                    return false;
                }
            }
            name => at.push(name),
        }
    }
    files.contains(&at.join("/"))
}

fn numbered(text: &str) -> impl Iterator<Item = (usize, &str)> {
    (1..).zip(text.lines())
}

// ---- the repository ----

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// Every file and folder of the repository, by its path from the root. What git ignores is left out.
fn tree() -> BTreeSet<String> {
    const NOT_OURS: &[&str] = &[".git", ".hypothesis", ".tools", ".venv", "__pycache__", "node_modules", "target"];
    let root = root();
    let mut found = BTreeSet::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if NOT_OURS.iter().any(|name| path.ends_with(name)) || path == root.join("data") {
                continue;
            }
            let from_root = path.strip_prefix(&root).unwrap().to_str().unwrap();
            found.insert(from_root.replace(std::path::MAIN_SEPARATOR, "/"));
            if path.is_dir() {
                folders.push(path);
            }
        }
    }
    found
}

/// Asks a rule about every file that `is_meant`, and shows all of its faults at once.
fn hold(is_meant: impl Fn(&str) -> bool, rule: impl Fn(&str, &str) -> Vec<String>) {
    let root = root();
    let meant: Vec<String> = tree().into_iter().filter(|path| is_meant(path) && root.join(path).is_file()).collect();
    assert!(!meant.is_empty(), "the rule was asked about no file at all");
    let faults: Vec<String> =
        meant.iter().flat_map(|path| rule(path, &fs::read_to_string(root.join(path)).unwrap())).collect();
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn crates_use_only_what_the_arrows_allow() {
    hold(|path| path != "Cargo.toml" && path.ends_with("Cargo.toml"), forbidden_arrows);
}

#[test]
fn the_server_reaches_the_store_in_its_named_places_only() {
    hold(|path| path.ends_with(".rs"), store_named);
}

#[test]
fn no_source_file_is_too_long() {
    hold(|path| path.ends_with(".rs"), too_long);
}

#[test]
fn nothing_is_left_unfinished() {
    let is_code = |path: &str| {
        path.starts_with("scripts/") || [".rs", ".sql", ".mjs", ".ts", ".py"].iter().any(|e| path.ends_with(e))
    };
    hold(is_code, unfinished);
}

#[test]
fn the_core_repeats_every_ban() {
    let read = |path: &str| fs::read_to_string(root().join(path)).unwrap();
    assert_eq!(unrepeated_bans(&read("clippy.toml"), &read("crates/core/clippy.toml")), Vec::<String>::new());
}

#[test]
fn paths_named_in_the_docs_exist() {
    let files = tree();
    let is_page = |path: &str| path.ends_with(".md") && (path.starts_with("docs/") || !path.contains('/'));
    hold(is_page, |page, text| missing_paths(page, text, &files));
}

// ---- what the rules must refuse ----

mod refuses {
    use super::*;

    #[test]
    fn an_arrow_up_in_any_kind_of_dependency() {
        let core = |rest: &str| format!("[package]\nname = \"countersign-core\"\n{rest}");
        let refused = |text: &str| forbidden_arrows("Cargo.toml", text).len();
        assert_eq!(refused(&core("[dependencies]\nserde = \"1\"")), 0);
        assert_eq!(refused(&core("[dependencies]\ncountersign-store = { workspace = true }")), 1);
        assert_eq!(refused(&core("[dev-dependencies]\ncountersign-token.workspace = true")), 1);
        assert_eq!(refused(&core("[target.'cfg(unix)'.build-dependencies]\ncountersign = \"1\"")), 1);
        assert_eq!(refused(&core("[dependencies]\nother = { package = \"countersign-store\", version = \"1\" }")), 1);
    }

    #[test]
    fn a_crate_without_arrows() {
        assert_eq!(forbidden_arrows("Cargo.toml", "[package]\nname = \"countersign-new\"").len(), 1);
    }

    #[test]
    fn a_handler_that_names_the_store() {
        let text = "use countersign_core::ids;\nuse countersign_store::Store;\n";
        let faults = store_named("crates/server/src/http/login.rs", text);
        assert_eq!(faults.len(), 1);
        assert!(faults[0].starts_with("crates/server/src/http/login.rs:2:"));
        assert_eq!(store_named("crates/server/src/cli/account.rs", text), Vec::<String>::new());
        assert_eq!(store_named("crates/operations/src/lib.rs", text), Vec::<String>::new());
    }

    #[test]
    fn a_file_of_401_lines_but_not_its_tests() {
        let code = |lines| "let x = 1;\n".repeat(lines);
        let tests = "#[cfg(test)]\n#[allow(clippy::unwrap_used)]\nmod tests {\n";
        assert_eq!(too_long("src/a.rs", &code(400)).len(), 0);
        assert_eq!(too_long("src/a.rs", &code(401)).len(), 1);
        assert_eq!(too_long("src/a.rs", &(code(400) + tests + &code(500))).len(), 0);
        assert_eq!(too_long("src/a.rs", &(code(401) + tests)).len(), 1);
        // Tests in a file of their own do not end the code of this one.
        assert_eq!(too_long("src/a.rs", &("#[cfg(test)]\nmod tests;\n".to_owned() + &code(400))).len(), 1);
        assert_eq!(too_long("tests/a.rs", &code(401)).len(), 0);
    }

    #[test]
    fn each_mark_of_unfinished_code() {
        for mark in UNFINISHED {
            let faults = unfinished("src/a.rs", &format!("fn done() {{}}\n    {mark}"));
            assert_eq!(faults, [format!("src/a.rs:2: {mark}")]);
        }
        assert_eq!(unfinished("src/a.rs", "fn todos() {} // a debug!( call"), Vec::<String>::new());
    }

    #[test]
    fn a_ban_that_the_core_does_not_repeat() {
        let root = "disallowed-methods = [{ path = \"a::b\" }, { path = \"c::d\" }]";
        let core = "disallowed-methods = [{ path = \"c::d\" }, { path = \"e::f\" }]";
        assert_eq!(unrepeated_bans(root, core).len(), 1);
        assert_eq!(unrepeated_bans(root, root), Vec::<String>::new());
    }

    #[test]
    fn a_path_that_is_not_there() {
        let files = BTreeSet::from(
            [
                "README.md",
                "crates",
                "crates/core",
                "crates/core/src/lib.rs",
                "docs",
                "docs/a.md",
                "docs/b.md",
                "deny.toml",
            ]
            .map(str::to_owned),
        );
        let refused = |text: &str| missing_paths("docs/a.md", text, &files).len();
        for good in [
            "`crates/core`, `crates/core/`, `./crates/core/src/lib.rs`, `crates/core/src/lib.rs:12`, `core/src/lib.rs`",
            "`crates/*/src`, `docs/*.md`, `deny.toml`, `b.md`, [b](b.md#part), [root](../README.md), [there](https://a.example/b)",
            "`application/json`, `/api/auth/login`, `data/countersign.db`, `countersign.toml`, `.well-known/jwks.json`",
            "`at+jwt`, `a.b.c`, `tests/clients/node_modules`, `target/release/countersign`, `/etc/hosts.toml`",
            "```\ncrates/none `crates/none`\n```",
        ] {
            assert_eq!(refused(good), 0, "{good}: {:?}", missing_paths("docs/a.md", good, &files));
        }
        for bad in [
            "`crates/none`",
            "run `scripts/none --quick`",
            "`crates/core/src/none.rs:12`",
            "`none.rs`",
            "`core/src/none.rs`",
            "`crates/none/*.rs`",
            "[none](none.md)",
            "[above](../../README.md)",
            "(see `docs/none.md`)",
        ] {
            assert_eq!(refused(bad), 1, "{bad}");
        }
    }
}

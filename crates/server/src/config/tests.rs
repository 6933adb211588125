#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;

use super::*;

/// Settings from a file with the given text, the given variables, and flags as on a command line.
fn load_from(toml: &str, variables: &[(&str, &str)], arguments: &[&str]) -> Result<Loaded, WrongSettings> {
    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        flags: Flags,
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("test.toml");
    fs::write(&path, toml).unwrap();
    let line = ["countersign", "--config", path.to_str().unwrap()].into_iter().chain(arguments.iter().copied());
    let line = <Line as clap::Parser>::try_parse_from(line).unwrap();
    load(&line.flags, &variables.iter().copied().collect())
}

fn refusals(toml: &str, variables: &[(&str, &str)], arguments: &[&str]) -> Vec<(String, String)> {
    let wrong = load_from(toml, variables, arguments).expect_err("is wrong");
    wrong.0.into_iter().map(|wrong| (wrong.setting, wrong.expected)).collect()
}

#[test]
fn defaults_are_those_of_the_contract_and_every_setting_is_read_once() {
    let loaded = load(&Flags::default(), &Environment::default()).unwrap();
    let keys: Vec<_> = loaded.effective.iter().map(|effective| effective.key).collect();
    let table: Vec<_> = table::ALL.iter().map(|setting| setting.key).collect();
    assert_eq!(keys, table);
    assert!(loaded.effective.iter().all(|effective| effective.source == Source::Default));

    let settings = loaded.settings;
    assert_eq!(settings.listen.to_string(), "127.0.0.1:5000");
    assert_eq!(settings.database_url.to_string(), "sqlite:data/countersign.db");
    assert_eq!(settings.witness_file, PathBuf::from("data/countersign.db.witness"));
    assert_eq!(settings.key_encryption_key_file, PathBuf::from("data/key-encryption.key"));
    assert_eq!(settings.issuer.as_str(), "http://localhost:5000");
    assert_eq!(settings.audience, "http://localhost:4200");
    assert_eq!(settings.cors_origins, [Origin::parse("http://localhost:4200").unwrap()]);
    let lifetimes = [
        settings.access_token_lifetime,
        settings.refresh_token_idle_lifetime,
        settings.session_lifetime,
        settings.rotation_overlap,
    ];
    assert_eq!(lifetimes.map(|lifetime| lifetime.as_secs()), [300, 7 * 86_400, 90 * 86_400, 60]);
    assert_eq!(settings.sessions_per_account.get(), 200);
    assert_eq!(settings.signing_algorithm, Algorithm::Es256);
    assert_eq!(settings.registration, Registration::Open);
    assert_eq!(settings.password_hash, PasswordHash { memory_kib: 19_456, iterations: 2, parallelism: 1 });
    assert!(settings.trusted_proxies.is_empty() && loaded.signing_keys.is_empty());
    assert!(settings.metrics_listen.is_none() && settings.revocation_reader_secret.is_none());
}

#[test]
fn a_flag_wins_over_the_environment_over_the_file() {
    let toml = "audience = 'file'\nissuer = 'http://localhost:1'\nlisten = '127.0.0.1:1'";
    let variables = [("COUNTERSIGN_AUDIENCE", "environment"), ("COUNTERSIGN_ISSUER", "http://localhost:2")];
    let loaded = load_from(toml, &variables, &["--audience", "flag"]).unwrap();
    assert_eq!(loaded.settings.audience, "flag");
    assert_eq!(loaded.settings.issuer.as_str(), "http://localhost:2");
    assert_eq!(loaded.settings.listen.port(), 1);

    let source = |key| loaded.effective.iter().find(|effective| effective.key == key).unwrap().source.to_string();
    assert_eq!(source("audience"), "flag --audience");
    assert_eq!(source("issuer"), "environment variable COUNTERSIGN_ISSUER");
    assert!(source("listen").ends_with("test.toml, line 3"));
    assert_eq!(source("registration"), "default");
}

#[test]
fn lists_are_arrays_or_separated_by_commas_or_repeated_flags() {
    let two = ["https://a.example", "https://b.example"].map(|origin| Origin::parse(origin).unwrap());
    let joined = "https://a.example, https://b.example,";
    for loaded in [
        load_from("cors_origins = ['https://a.example', 'https://b.example']", &[], &[]),
        load_from(&format!("cors_origins = '{joined}'"), &[], &[]),
        load_from("", &[("COUNTERSIGN_CORS_ORIGINS", joined)], &[]),
        load_from("", &[], &["--cors-origins", joined]),
        load_from("", &[], &["--cors-origins", "https://a.example", "--cors-origins", "https://b.example"]),
    ] {
        assert_eq!(loaded.unwrap().settings.cors_origins, two);
    }
    let none = load_from("", &[("COUNTERSIGN_CORS_ORIGINS", "")], &[]).unwrap();
    assert!(none.settings.cors_origins.is_empty());
}

#[test]
fn every_mistake_is_reported_at_once() {
    let toml = "listen = 5000\nissuer = 'http://id.example.com'\nlisen = 'x'\nregistration = true\n[server]\nport = 1";
    let variables = [
        ("COUNTERSIGN_ISUER", "x"),
        ("COUNTERSIGN_SESSION_LIFETIME", "1d"),
        ("COUNTERSIGN_TRUSTED_PROXIES", "10.0.0.0/8,everyone,anyone"),
    ];
    let refused = refusals(toml, &variables, &["--rotation-overlap", "10m", "--password-hash-iterations", "1"]);
    let names: Vec<_> = refused.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        names,
        [
            "lisen",
            "registration",
            "server",
            "COUNTERSIGN_ISUER",
            "listen",
            "trusted_proxies",
            "trusted_proxies",
            "issuer",
            "rotation_overlap",
            "password_hash_memory_kib",
        ]
    );
    let expected = |name| &refused.iter().find(|(found, _)| found == name).unwrap().1;
    assert_eq!(expected("lisen"), "is not a setting; did you mean listen?");
    assert_eq!(expected("COUNTERSIGN_ISUER"), "is not a setting; did you mean COUNTERSIGN_ISSUER?");
    assert_eq!(expected("rotation_overlap"), "must be shorter than access_token_lifetime, which is 5m");
    assert!(expected("server").contains("top level"));
}

#[test]
fn the_issuer_follows_the_port() {
    let load = |flags: &[&str]| load_from("", &[], flags).unwrap();
    assert_eq!(load(&["--listen", "127.0.0.1:5999"]).settings.issuer.as_str(), "http://localhost:5999");
    let picked = load(&["--listen", "127.0.0.1:0"]).listening_on("127.0.0.1:40123".parse().unwrap());
    assert_eq!(picked.settings.issuer.as_str(), "http://localhost:40123");
    let named = load(&["--listen", "127.0.0.1:0", "--issuer", "https://id.example.com"]);
    let named = named.listening_on("127.0.0.1:40123".parse().unwrap());
    assert_eq!(named.settings.issuer.as_str(), "https://id.example.com");
}

#[test]
fn the_overlap_follows_a_short_access_token() {
    let overlap = |flags: &[&str]| load_from("", &[], flags).unwrap().settings.rotation_overlap.as_secs();
    assert_eq!(overlap(&["--access-token-lifetime", "10s"]), 5);
    assert_eq!(overlap(&["--access-token-lifetime", "1s"]), 0);
    assert_eq!(overlap(&["--access-token-lifetime", "1h"]), 60);
    assert_eq!(overlap(&["--access-token-lifetime", "10s", "--rotation-overlap", "9s"]), 9);
}

#[test]
fn an_account_has_one_session_at_least_and_not_any_number() {
    let limit = |value: &str| load_from("", &[("COUNTERSIGN_SESSIONS_PER_ACCOUNT", value)], &[]);
    for number in [1, 2_000] {
        assert_eq!(limit(&number.to_string()).unwrap().settings.sessions_per_account.get(), number);
    }
    for wrong in ["0", "2001", "-1", "many", ""] {
        let told = limit(wrong).unwrap_err().to_string();
        assert!(told.contains("sessions_per_account") && told.contains("whole number from 1 to 2000"), "{told}");
    }
    let flag = load_from("sessions_per_account = 7", &[], &["--sessions-per-account", "8"]).unwrap();
    assert_eq!(flag.settings.sessions_per_account.get(), 8);
    assert_eq!(load_from("sessions_per_account = 7", &[], &[]).unwrap().settings.sessions_per_account.get(), 7);
}

#[test]
fn the_message_tells_file_and_line() {
    let wrong = load_from("# comment\n\naudience = ''", &[], &[]).unwrap_err().to_string();
    assert!(wrong.starts_with("1 setting is wrong:\n\n  audience = \"\"  ("), "{wrong}");
    assert!(wrong.contains("test.toml, line 3)\n      must be 1 to 256 bytes"), "{wrong}");
}

#[test]
fn a_file_that_is_not_toml_is_told_by_line_and_never_quoted() {
    let toml = "listen = '127.0.0.1:1'\nrevocation_reader_secret = hunter2hunter2\nissuer = 'http://x.example'";
    let wrong = load_from(toml, &[("COUNTERSIGN_AUDIENCE", " ")], &[]).unwrap_err().to_string();
    assert!(wrong.contains("test.toml, line 2)\n      is not TOML: "), "{wrong}");
    assert!(wrong.contains("audience") && wrong.contains("must be https"), "the rest is checked too: {wrong}");
    assert!(!wrong.contains("hunter2"), "{wrong}");

    let count = |toml| load_from(toml, &[], &[]).unwrap_err().0.len();
    for once in [
        "listen = 127.0.0.1:5000",
        "listen = \"x",
        "audience = ",
        "[server",
        "cors_origins = [\n'a'",
        "revocation_reader_secret = x",
    ] {
        assert_eq!(count(once), 1, "{once}");
    }

    let twice = load_from("audience = 'a'\naudience = 'b'", &[], &[]).unwrap_err().to_string();
    assert!(twice.contains("line 2)\n      is not TOML: duplicate key"), "{twice}");
}

#[test]
fn a_file_that_is_named_must_exist() {
    let flags = Flags { config: Some("/nonexistent/c.toml".into()), ..Flags::default() };
    let wrong = load(&flags, &Environment::default()).unwrap_err().to_string();
    assert!(wrong.contains("config = \"/nonexistent/c.toml\"  (flag --config)"), "{wrong}");

    let environment = [(CONFIG_VARIABLE, "/nonexistent")].into_iter().collect();
    let wrong = load(&Flags::default(), &environment).unwrap_err().to_string();
    assert!(wrong.contains("(environment variable COUNTERSIGN_CONFIG)"), "{wrong}");
}

#[test]
fn secrets_stand_in_no_message_and_no_debug_output() {
    let secret = "0123456789abcdef0123456789abcdef-very-secret";
    let variables = [("COUNTERSIGN_REVOCATION_READER_SECRET", secret)];
    let loaded = load_from("database_url = 'postgres://me:hunter2@db/x'", &variables, &[]).unwrap();
    assert_eq!(loaded.settings.revocation_reader_secret.as_ref().unwrap().expose(), secret);
    let everything = format!("{loaded:?} {}", serde_json::to_string(&loaded.effective).unwrap());
    assert!(!everything.contains("very-secret") && !everything.contains("hunter2"), "{everything}");

    let wrong = load_from("revocation_reader_secret = 'too short'", &[], &[]).unwrap_err().to_string();
    assert!(wrong.contains("revocation_reader_secret = (not shown)") && !wrong.contains("too short"), "{wrong}");

    let environment: Environment = variables.into_iter().collect();
    assert!(!format!("{environment:?}").contains("very-secret"));
}

#[test]
fn a_postgres_url_is_the_whole_change() {
    let loaded = load_from("database_url = 'postgres://me:hunter2@db/x'", &[], &[]).unwrap();
    let settings = &loaded.settings;
    assert_eq!(settings.database().to_string(), "postgres://db:5432/x");
    assert_eq!(settings.key_encryption_key_file, PathBuf::from("data/key-encryption.key"));
    assert_eq!(settings.witness_file, PathBuf::from("data/countersign.witness"));
    let named = load_from("witness_file = '/var/lib/w'", &[("COUNTERSIGN_DATABASE_URL", "postgres://db/x")], &[]);
    assert_eq!(named.unwrap().settings.witness_file, PathBuf::from("/var/lib/w"));
}

#[test]
fn a_wrong_postgres_url_is_told_with_the_rest_and_without_its_password() {
    let wrong = load_from("database_url = 'postgres://me:hunter2@db'\nlisten = 'x'", &[], &[]).unwrap_err().to_string();
    assert!(
        wrong.contains("database_url = \"postgres://***@db\"") && wrong.contains("must name a database"),
        "{wrong}"
    );
    assert!(wrong.contains("listen") && !wrong.contains("hunter2"), "{wrong}");
}

#[test]
fn the_witness_of_a_sqlite_database_is_not_chosen() {
    let loaded = load_from("database_url = 'sqlite:/a/x.db'", &[], &[]).unwrap();
    assert_eq!(loaded.settings.witness_file, PathBuf::from("/a/x.db.witness"));
    let refused = refusals("database_url = 'sqlite:/a/x.db'\nwitness_file = 'w'", &[], &[]);
    assert_eq!(refused.len(), 1);
    assert!(refused[0].0 == "witness_file" && refused[0].1.contains("is /a/x.db.witness"), "{refused:?}");
}

#[test]
fn the_key_file_stands_beside_the_database() {
    for (url, file) in [("sqlite:x.db", "key-encryption.key"), ("sqlite:/a/b/x.db", "/a/b/key-encryption.key")] {
        let loaded = load_from("", &[("COUNTERSIGN_DATABASE_URL", url)], &[]).unwrap();
        assert_eq!(loaded.settings.key_encryption_key_file, PathBuf::from(file));
    }
}

#[test]
fn hs256_takes_one_file_with_a_long_secret() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &str| {
        let path = directory.path().join(name);
        fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let long = file("long", &format!("{}\r\n", "x".repeat(32)));
    let short = file("short", &format!("{}\n", "x".repeat(31)));

    let hs256 = |files: &str| {
        let variables = [("COUNTERSIGN_SIGNING_ALGORITHM", "HS256"), ("COUNTERSIGN_SIGNING_KEY_FILES", files)];
        load_from("", &variables, &[])
    };
    assert_eq!(hs256(&long).unwrap().signing_keys[0].algorithm(), Algorithm::Hs256);
    for (files, reason) in [
        (String::new(), "exactly one file"),
        (format!("{long},{long}"), "exactly one file"),
        (short, "31 bytes"),
        ("/nonexistent".to_owned(), "cannot be read"),
        (file("huge", &"x".repeat(70_000)), "longer than 64 KiB"),
    ] {
        let wrong = hs256(&files).unwrap_err().to_string();
        assert!(wrong.contains("signing_key_files") && wrong.contains(reason), "{wrong}");
    }
}

#[test]
fn key_files_are_parsed_and_the_first_must_sign_as_set() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("not-a-key.pem");
    fs::write(&path, "-----BEGIN EC PRIVATE KEY-----\n-----END EC PRIVATE KEY-----\n").unwrap();
    let wrong = load_from("", &[], &["--signing-key-files", path.to_str().unwrap()]).unwrap_err().to_string();
    assert!(wrong.contains("not-a-key.pem: the key is in SEC 1 form"), "{wrong}");

    // RFC 8410 §10.3.
    let ed25519 = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n\
                   -----END PRIVATE KEY-----\n";
    fs::write(&path, ed25519).unwrap();
    let arguments = ["--signing-key-files", path.to_str().unwrap()];
    let wrong = load_from("", &[], &arguments).unwrap_err().to_string();
    assert!(wrong.contains("is a key for EdDSA, and the first file signs with ES256"), "{wrong}");
    let loaded = load_from("signing_algorithm = 'EdDSA'", &[], &arguments).unwrap();
    assert_eq!(loaded.signing_keys.len(), 1);
}

#[test]
fn two_listeners_do_not_share_an_address() {
    let metrics = |listen| load_from("metrics_listen = '127.0.0.1:9000'", &[("COUNTERSIGN_LISTEN", listen)], &[]);
    assert!(metrics("127.0.0.1:9000").is_err());
    assert!(metrics("0.0.0.0:9000").is_err());
    assert!(metrics("127.0.0.1:0").is_ok());
    assert!(metrics("127.0.0.1:9001").is_ok());
}

#[test]
fn fail_points_are_refused_by_a_build_that_has_none() {
    let loaded = load_from("", &[(FAIL_POINTS_VARIABLE, "a=panic")], &[]);
    assert_eq!(loaded.is_ok(), fail::has_failpoints());
}

#[cfg(unix)]
#[test]
fn a_variable_that_is_not_utf_8_is_refused() {
    use std::os::unix::ffi::OsStringExt as _;
    let value = std::ffi::OsString::from_vec(vec![b'a', 0xff]);
    let environment = [("COUNTERSIGN_AUDIENCE", value)].into_iter().collect();
    let wrong = load(&Flags::default(), &environment).unwrap_err();
    assert_eq!(wrong.0[0].expected, "must be UTF-8");
}

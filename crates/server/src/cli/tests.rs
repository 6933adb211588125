#![allow(clippy::unwrap_used)]

use super::*;

fn parse(arguments: &[&str]) -> Result<Cli, clap::Error> {
    let matches = command_line().try_get_matches_from(["countersign"].iter().chain(arguments))?;
    Cli::from_arg_matches(&matches)
}

fn call(arguments: &[&str], variables: &[(&str, &str)]) -> (Exit, String, String) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let cli = parse(arguments).unwrap();
    let exit = run(cli, &variables.iter().copied().collect(), &mut out, &mut err);
    (exit, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
}

#[test]
fn the_command_line_is_consistent() {
    command_line().debug_assert();
}

#[test]
fn without_a_command_it_serves() {
    assert!(parse(&[]).unwrap().command.is_none());
    assert!(matches!(parse(&["--listen", "127.0.0.1:0", "serve"]).unwrap().command, Some(Command::Serve)));
}

#[test]
fn every_command_of_the_contract_is_one() {
    for line in [
        "account create --admin alice --email alice@example.com",
        "account create alice --admin --email alice@example.com",
        "account create --email alice@example.com alice --json",
        "account list",
        "account --json list",
        "account set-password alice",
        "account set-roles alice User",
        "account set-roles alice User billing:read Admin --json",
        "account disable alice",
        "account enable alice",
        "account revoke alice",
        "revoke-all",
        "revoke-all --yes --json",
        "key list",
        "key rotate",
        "key rotate --now --json",
        "migrate",
        "backup copy.db",
        "accept-restore --yes",
        "transfer --from sqlite:a.db --to postgres://me:pw@db/x --yes --json",
        "transfer --to sqlite:b.db",
        "transfer --abandon --from sqlite:a.db",
        "reader create weather",
        "reader list",
        "reader revoke 0198a3c2-0000-7000-8000-000000000000",
        "events",
        "events --account alice --kind signed_in --limit 10 --before 7 --json",
        "config check",
        "health --json",
    ] {
        let arguments: Vec<_> = line.split(' ').collect();
        assert!(parse(&arguments).is_ok_and(|cli| cli.command.is_some()), "{line}");
    }
}

#[test]
fn what_makes_no_sense_is_refused_before_anything_is_opened() {
    for (line, why) in [
        ("account create --admin --email alice@example.com", "required"),
        ("account create alice", "--email <ADDRESS>"),
        ("account create a --email alice@example.com", "must have 2 to 64 characters"),
        ("account create two\u{a0}words --email alice@example.com", "no spaces"),
        ("account create alice --email alice", "name@example.com"),
        ("account create alice secret --email alice@example.com", "unexpected argument 'secret'"),
        ("account create alice --password secret --email alice@example.com", "unexpected argument '--password'"),
        ("account set-password alice secret", "unexpected argument 'secret'"),
        ("account set-roles alice", "<ROLE>"),
        ("account set-roles alice Ädmin", "ASCII letters"),
        ("account remove alice", "unrecognized subcommand"),
        ("reader revoke 7", "invalid value '7'"),
        ("events --kind sign_in", "signed_in"),
        ("events --limit 0", "0 is not in 1.."),
        ("events --before x", "invalid digit"),
        ("serve --json", "unexpected argument '--json'"),
        ("backup", "<FILE>"),
        ("transfer --abandon --to sqlite:b.db", "cannot be used with"),
    ] {
        let arguments: Vec<_> = line.split(' ').collect();
        let Err(error) = parse(&arguments) else { panic!("{line}: accepted") };
        assert_eq!(error.exit_code(), 2, "{line}");
        assert!(error.to_string().contains(why), "{line}: {error}");
    }
}

#[test]
fn settings_may_stand_before_between_and_behind_the_commands() {
    for arguments in [
        ["--audience", "me", "config", "check"],
        ["config", "--audience", "me", "check"],
        ["config", "check", "--audience", "me"],
    ] {
        let (exit, out, err) = call(&arguments, &[]);
        assert_eq!((exit, err.as_str()), (Exit::Done, ""));
        let line = out.lines().find(|line| line.starts_with("audience ")).unwrap();
        assert!(line.contains(" me ") && line.ends_with("flag --audience"), "{line}");
    }
}

#[test]
fn help_lists_the_settings_once_and_not_for_every_command() {
    let help = |arguments: &[&str]| parse(arguments).err().map(|error| error.to_string()).unwrap_or_default();
    assert!(help(&["--help"]).contains("--database-url <URL>"));
    for arguments in
        [&["-h"][..], &["account", "--help"], &["account", "create", "--help"], &["key", "rotate", "--help"]]
    {
        let text = help(arguments);
        assert!(!text.contains("--database-url"), "{text}");
        assert!(text.contains("countersign --help"), "{text}");
    }
}

#[test]
fn a_check_for_scripts_is_one_json_object() {
    let secret = "x".repeat(40);
    let variables = [("COUNTERSIGN_REVOCATION_READER_SECRET", secret.as_str())];
    let (exit, out, _) = call(&["config", "check", "--json"], &variables);
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(exit, Exit::Done);
    assert_eq!(json["ok"], true);
    assert_eq!(json["settings"]["listen"]["value"], "127.0.0.1:5000");
    assert_eq!(json["settings"]["listen"]["source"], "default");
    assert_eq!(json["settings"]["password_min_length"]["value"], 8);
    assert_eq!(json["settings"]["trusted_proxies"]["value"], serde_json::json!([]));
    assert!(json["settings"]["metrics_listen"]["value"].is_null());
    assert!(!out.contains(&secret));
}

#[test]
fn wrong_settings_are_told_and_end_with_misuse() {
    let arguments = ["config", "check", "--listen", "5000", "--log-format", "xml"];
    let (exit, out, err) = call(&arguments, &[]);
    assert_eq!((exit, out.as_str()), (Exit::Misused, ""));
    assert!(err.starts_with("error: 2 settings are wrong:\n\n  listen = \"5000\"  (flag --listen)\n"), "{err}");

    let (exit, out, err) = call(&[&arguments[..], &["--json"]].concat(), &[]);
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((exit, err.as_str()), (Exit::Misused, ""));
    assert_eq!(json["ok"], false);
    assert_eq!(json["errors"][0]["setting"], "listen");
    assert_eq!(json["errors"][1]["source"], "flag --log-format");
}

#[test]
fn a_postgres_database_is_shown_without_its_password() {
    for more in [&[][..], &["--json"]] {
        let arguments = ["config", "check", "--database-url", "postgres://me:hunter2@db/x"];
        let (exit, out, err) = call(&[&arguments[..], more].concat(), &[]);
        assert_eq!((exit, err.as_str()), (Exit::Done, ""));
        assert!(out.contains("postgres://db:5432/x") && !out.contains("hunter2"), "{out}");
    }
}

#[test]
fn a_postgres_database_is_not_copied_to_a_file() {
    let (exit, out, err) = call(&["backup", "copy.db", "--database-url", "postgres://me:hunter2@db/x"], &[]);
    assert_eq!((exit, out.as_str()), (Exit::Misused, ""));
    assert!(err.contains("postgres://db:5432/x with pg_dump") && err.contains("data/key-encryption.key"), "{err}");
    assert!(!err.contains("hunter2"), "{err}");
}

#[test]
fn the_port_of_a_server_that_picked_one_is_not_guessed() {
    let (exit, _, err) = call(&["health", "--listen", "127.0.0.1:0"], &[]);
    assert_eq!(exit, Exit::Misused);
    assert!(err.contains("listen has port 0"), "{err}");
}

#[test]
fn fail_points_are_read_as_pairs() {
    let named = |points: &str| {
        let environment = [("COUNTERSIGN_FAIL_POINTS", points)].into_iter().collect();
        serve::arm_fail_points(&environment).err().and_then(|failure| failure.message().map(str::to_owned))
    };
    assert_eq!(named(""), None);
    assert_eq!(named("cli::tests::a=off; cli::tests::b=1*off ;"), None);
    assert!(named("cli::tests::a").unwrap().contains("name=action"));
    assert!(named("cli::tests::a=explode").unwrap().starts_with("fail point cli::tests::a: "));
}

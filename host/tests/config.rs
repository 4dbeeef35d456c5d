//! The settings, through the binary and a real environment.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::process::{Command, Output};

use serde_json::Value;

fn picloud(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_picloud"))
        .args(arguments)
        .env_clear()
        .envs(variables.iter().copied())
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn every_setting_is_printed_with_its_value_default_and_unit() {
    let variables =
        [("PICLOUD_MAX_WALL_MS", "2500"), ("PICLOUD_OWNER_KEY", "a-secret-of-16-chars")];
    let printed = picloud(&["config", "--local"], &variables);
    assert!(printed.status.success());
    let row =
        text(&printed.stdout).lines().find(|row| row.contains("PICLOUD_MAX_WALL_MS")).unwrap();
    let cells: Vec<&str> = row.split_whitespace().take(4).collect();
    assert_eq!(cells, ["PICLOUD_MAX_WALL_MS", "2500", "60000", "ms"]);
    assert!(!text(&printed.stdout).contains("a-secret"));
}

#[test]
fn the_settings_are_also_printed_as_json() {
    let printed =
        picloud(&["config", "--local", "--json"], &[("PICLOUD_MAX_MEMORY_BYTES", "64MiB")]);
    let settings: Value = serde_json::from_slice(&printed.stdout).unwrap();
    let memory = &settings["PICLOUD_MAX_MEMORY_BYTES"];
    assert_eq!((&memory["value"], &memory["unit"]), (&"64MiB".into(), &"bytes".into()));
    assert_eq!(settings["PICLOUD_LISTEN"]["value"], "127.0.0.1:8080");
}

#[test]
fn wrong_values_stop_the_start_all_at_once() {
    let variables = [
        ("PICLOUD_LISTEN", "everywhere"),
        ("PICLOUD_MAX_CONCURRENCY", "0"),
        ("PICLOUD_DATABASE_URL", "postgers://user:hidden@host/name"),
    ];
    for arguments in [&["serve"][..], &["config"], &["owner-key", "reset"]] {
        let stopped = picloud(arguments, &variables);
        assert_eq!(stopped.status.code(), Some(2));
        let said = text(&stopped.stderr);
        for (name, _) in variables {
            assert!(said.contains(name), "{name} is not in {said}");
        }
        assert!(said.contains("\"0\" was given, 1 to 4096 is allowed"), "{said}");
        assert!(!said.contains("hidden"), "{said}");
    }
}

#[test]
fn a_variable_that_nothing_reads_is_a_warning() {
    let printed = picloud(&["config", "--local"], &[("PICLOUD_LISTN", "127.0.0.1:1")]);
    assert!(printed.status.success());
    assert!(text(&printed.stderr).contains("did you mean PICLOUD_LISTEN?"));
}

#[test]
fn a_command_line_that_makes_no_sense_is_told_from_a_failure() {
    assert_eq!(picloud(&["deploy"], &[]).status.code(), Some(2));
    assert_eq!(picloud(&["invoke", "hello"], &[]).status.code(), Some(2));
    let no_key = picloud(&["logs", "--app", "demo"], &[]);
    assert_eq!(no_key.status.code(), Some(1));
    assert!(text(&no_key.stderr).contains("PICLOUD_OWNER_KEY"));
    assert_eq!(picloud(&["--help"], &[]).status.code(), Some(0));
}

#[test]
fn a_server_that_does_not_run_is_named() {
    // Nothing listens on port 1, which needs privileges and is not assigned here.
    let variables =
        [("PICLOUD_OWNER_KEY", "0123456789abcdef"), ("PICLOUD_URL", "http://127.0.0.1:1")];
    let refused = picloud(&["logs", "--app", "demo"], &variables);
    assert_eq!(refused.status.code(), Some(1));
    let said = text(&refused.stderr);
    assert!(said.contains("is `picloud serve` running at http://127.0.0.1:1?"), "{said}");
}

/// Every setting that the packaging and the documentation name exists.
#[test]
fn what_is_packaged_and_documented_names_settings_that_exist() {
    // Read by Caddy and by Compose.
    let of_others = ["PICLOUD_DOMAIN", "PICLOUD_UPSTREAM", "PICLOUD_UPSTREAMS", "PICLOUD_SUBNET"];
    let printed = picloud(&["config", "--local", "--json"], &[]);
    let settings: Value = serde_json::from_slice(&printed.stdout).unwrap();
    for file in [
        "Dockerfile",
        "docker-compose.yml",
        "packaging/picloud.service",
        "packaging/picloud.env",
        "packaging/compose.env",
        "caddy/Caddyfile",
        "caddy/Caddyfile.cluster",
        "docs/operations.md",
        "docs/accounts.md",
    ] {
        let path = format!("{}/../{file}", env!("CARGO_MANIFEST_DIR"));
        let content = std::fs::read_to_string(path).unwrap();
        let words = content.split(|c: char| !c.is_ascii_uppercase() && c != '_');
        let named: Vec<_> =
            words.filter(|word| word.len() > 8 && word.starts_with("PICLOUD_")).collect();
        assert!(!named.is_empty(), "{file}");
        for name in named {
            let exists = settings.get(name).is_some() || of_others.contains(&name);
            assert!(exists, "{file}: {name}");
        }
    }
}

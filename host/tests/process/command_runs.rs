//! The commands for logs, executions, events and settings.

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::server::{OWNER_KEY, picloud};
use crate::shell::{Shell, text};

/// Fails on demand.
const GREET: &str = r#"
    let name = ctx.request.query.name;
    log::info("greets", #{ name: name });
    if name == "nobody" { throw "nobody is there" }
    `hello ${name}`
"#;

#[test]
fn a_log_is_searched_and_filtered() {
    let shell = Shell::start();
    shell.deploy("greet", GREET);
    shell.deploy("other", "1");
    for name in ["ada", "bob"] {
        shell.does(&["invoke", "demo/greet", "--query", &format!("name={name}")]);
    }
    shell.fails_after_printing(&["invoke", "demo/greet", "--query", "name=nobody"]);
    shell.does(&["invoke", "demo/other"]);

    let runs = |arguments: &[&str]| {
        let printed = shell.does(&[&["logs", "--app", "demo", "--json"], arguments].concat());
        let lines = printed.lines().map(|line| serde_json::from_str(line).unwrap());
        lines.collect::<Vec<Value>>()
    };
    let all = runs(&[]);
    assert_eq!(all.len(), 4);
    assert_eq!((&all[0]["script"], &all[3]["script"]), (&json!("greet"), &json!("other")));
    assert_eq!(all[0]["log"][0]["message"], "greets");
    assert_eq!(all[3]["log"], json!([]));
    assert_eq!(runs(&["--script", "greet"]).len(), 3);
    assert_eq!(runs(&["--script", "greet", "--limit", "2"]).len(), 2);
    let failed = runs(&["--status", "error"]);
    assert_eq!(failed.len(), 1);
    assert_eq!(failed[0]["error"]["message"], "nobody is there");
    assert_eq!(runs(&["--search", "BOB"]).len(), 1);
    assert_eq!(runs(&["--search", "bob", "--status", "error"]).len(), 0);
    assert_eq!(runs(&["--since", "1h"]).len(), 4);
    assert_eq!(runs(&["--since", "0s"]).len(), 0);
    assert!(shell.does(&["logs", "demo/greet", "--search", "ada"]).contains("info  greets"));

    let both = shell.fails(2, &["logs", "demo/greet", "--follow", "--search", "ada"]);
    assert!(both.contains("--search") && both.contains("--follow"), "{both}");
    shell.fails(2, &["logs", "demo/greet", "--script", "greet"]);
    assert!(shell.fails(2, &["logs", "demo/greet", "--status", "moon"]).contains("moon"));
}

#[test]
fn a_run_is_shown_in_full() {
    let shell = Shell::start();
    shell.deploy("greet", GREET);
    shell.fails_after_printing(&["invoke", "demo/greet", "--query", "name=nobody"]);
    let runs = shell.does(&["logs", "demo/greet", "--json"]);
    let run: Value = serde_json::from_str(&runs).unwrap();
    let id = text(&run, "id");
    let shown = shell.does(&["executions", "show", id]);
    for part in [
        "status             error",
        "script             greet",
        "\"path\": \"/x/demo/greet\"",
        "failed: nobody is there (line 4",
        "info  greets {\"name\":\"nobody\"} (line 3)",
    ] {
        assert!(shown.contains(part), "{part} is not in\n{shown}");
    }
    let shown = shell.json(&["executions", "show", id]);
    assert_eq!(shown["request"]["query"], json!([["name", "nobody"]]), "{shown}");
    let nowhere = "01980000-0000-7000-8000-000000000000";
    assert!(shell.fails(1, &["executions", "show", nowhere]).contains("no such execution"));
}

#[test]
fn events_that_wait_are_cancelled() {
    let shell = Shell::start();
    shell.deploy("greet", GREET);
    let send = |target: &[&str]| {
        let send = ["events", "send", "demo", "--delay-ms", "3600000"];
        shell.does(&[&send[..], target].concat())
    };
    let first = send(&["--queue", "mails"]);
    send(&["--queue", "mails"]);
    send(&["--queue", "other"]);
    send(&["--script", "greet"]);
    shell.does(&["events", "cancel", &first]);
    assert!(shell.fails(1, &["events", "cancel", &first]).contains("no such event"));
    let purge = ["events", "purge", "demo", "--queue", "mails"];
    let refused = shell.fails(1, &purge);
    assert!(refused.contains("all pending events of demo, queue mails"), "{refused}");
    assert_eq!(shell.does(&["events", "list", "demo"]).lines().count(), 3);
    assert_eq!(shell.does(&[&purge[..], &["--yes"]].concat()), "1");
    let waits = shell.json(&["events", "list", "demo", "--script", "greet"]);
    assert_eq!(waits.as_array().unwrap().len(), 1);
    let of_script = ["events", "purge", "demo", "--script", "greet", "--yes"];
    assert_eq!(shell.json(&of_script), json!({ "cancelled": 1 }));
    assert!(shell.does(&["events", "list", "demo"]).contains("queue send other"));
    assert_eq!(shell.does(&["events", "purge", "demo", "--yes"]), "1");
    assert_eq!(shell.does(&["events", "list", "demo"]), "");
    shell.fails(2, &["events", "purge", "demo", "--queue", "q", "--kind", "kv", "--yes"]);
}

#[test]
fn the_servers_settings_are_printed_and_not_the_clients() {
    let shell = Shell::start();
    let settings = shell.json(&["config"]);
    // The server is started with 1, the command without the variable.
    assert_eq!(settings["PICLOUD_TRIGGER_RETRY_ATTEMPTS"]["value"], "1");
    assert_eq!(settings["PICLOUD_OWNER_KEY"]["value"], "(set)");
    let local = shell.json(&["config", "--local"]);
    let default = &local["PICLOUD_TRIGGER_RETRY_ATTEMPTS"]["default"];
    assert_eq!(&local["PICLOUD_TRIGGER_RETRY_ATTEMPTS"]["value"], default);
    let table = shell.does(&["config"]);
    assert!(table.starts_with("NAME ") && !table.contains(OWNER_KEY), "{table}");

    let key = shell.does(&["keys", "create", "CI", "--scope", "script:read"]);
    let refused = shell.fails(1, &["config", "--key", &key]);
    assert!(refused.contains("lacks the scope instance:admin"), "{refused}");
    shell.fails(2, &["config", "--local", "--url", "http://127.0.0.1:1"]);
}

#[test]
fn without_a_server_the_settings_of_the_environment_are_offered() {
    let data = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let run = |key: &[(&str, &str)]| {
        // Nothing listens on port 1, which needs privileges and is not assigned here.
        let mut command = picloud(data.path());
        command.args(["config", "--url", "http://127.0.0.1:1"]).envs(key.iter().copied());
        let ended = command.output().unwrap();
        assert_eq!((ended.status.code(), &*ended.stdout), (Some(1), &b""[..]));
        String::from_utf8(ended.stderr).unwrap()
    };
    let said = run(&[("PICLOUD_OWNER_KEY", OWNER_KEY)]);
    assert!(said.contains("cannot connect") && said.contains("picloud config --local"), "{said}");
    assert!(run(&[]).contains("picloud config --local"));
}

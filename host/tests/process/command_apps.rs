//! The commands for apps: apps, members, private hosts, scripts and their versions.

use serde_json::json;

use crate::shell::Shell;

#[test]
fn an_app_is_made_shown_renamed_and_deleted() {
    let shell = Shell::start();
    shell.does(&["apps", "create", "demo", "--description", "to try things"]);
    assert_eq!(shell.does(&["apps", "list"]), "demo · to try things");
    assert_eq!(shell.does(&["apps", "list", "--search", "nothing"]), "");
    assert_eq!(shell.json(&["apps", "list"])[0]["name"], "demo");
    let shown = shell.does(&["apps", "show", "demo"]);
    assert!(shown.contains("to try things") && shown.contains("0 of at most 1000000"), "{shown}");
    assert_eq!(shell.json(&["apps", "show", "demo"])["storage"]["entries"]["used"], 0);

    shell.does(&["apps", "rename", "demo", "shop"]);
    assert!(shell.fails(1, &["apps", "show", "demo"]).contains("no such app"));
    let refused = shell.fails(1, &["apps", "delete", "shop"]);
    assert!(refused.contains("nothing was done, add --yes to do it"), "{refused}");
    assert_eq!(shell.does(&["apps", "list"]), "shop · to try things");
    shell.does(&["apps", "delete", "shop", "--yes"]);
    assert_eq!(shell.does(&["apps", "list"]), "");
}

#[test]
fn members_are_set_listed_and_removed() {
    let shell = Shell::start();
    shell.does(&["apps", "create", "demo"]);
    shell.does(&["users", "create", "ada"]);
    shell.does(&["members", "set", "demo", "ada", "editor"]);
    let listed = shell.does(&["members", "list", "demo"]);
    assert!(listed.starts_with("ada                  editor    since "), "{listed}");
    shell.does(&["members", "set", "demo", "ada", "app_admin"]);
    assert_eq!(shell.json(&["members", "list", "demo"])[0]["role"], "app_admin");
    shell.does(&["members", "remove", "demo", "ada"]);
    assert_eq!(shell.does(&["members", "list", "demo"]), "");
    assert!(shell.fails(1, &["members", "set", "demo", "bob", "editor"]).contains("no such user"));
}

#[test]
fn private_hosts_are_set_and_listed() {
    let shell = Shell::start();
    shell.does(&["apps", "create", "demo"]);
    assert_eq!(shell.does(&["outbound", "list", "demo"]), "");
    let hosts = ["intranet.example:8080", "10.0.0.7"];
    assert_eq!(shell.does(&["outbound", "set", "demo", hosts[0], hosts[1]]), hosts.join("\n"));
    assert_eq!(shell.json(&["outbound", "list", "demo"]), json!({ "private_hosts": hosts }));
    // A forgotten argument clears nothing.
    shell.fails(2, &["outbound", "set", "demo"]);
    assert_eq!(shell.does(&["outbound", "set", "demo", "--none"]), "");
    assert_eq!(shell.does(&["outbound", "list", "demo"]), "");
}

#[test]
fn a_script_goes_back_to_an_older_version_and_is_deleted() {
    let shell = Shell::start();
    let sources = ["\"one\"\n", "\"two\"\n", "\"three\"\n"];
    for source in sources {
        shell.deploy("hello", source);
    }
    let listed = shell.does(&["scripts", "versions", "demo/hello"]);
    let lines: Vec<_> = listed.lines().collect();
    assert_eq!(lines.len(), 3);
    assert!(lines[0].starts_with("version 3 · ") && lines[0].ends_with(" · current"), "{listed}");
    assert!(lines[2].starts_with("version 1 · ") && !lines[2].ends_with("current"), "{listed}");
    let source = |arguments: &[&str]| {
        shell.run(&[&["scripts", "show", "demo/hello"], arguments].concat()).out
    };
    assert_eq!(source(&[]), sources[2]);
    assert_eq!(source(&["--version", "1"]), sources[0]);
    let shown = shell.json(&["scripts", "show", "demo/hello", "--version", "2"]);
    assert_eq!((&shown["source"], &shown["running"]), (&json!(sources[1]), &json!(false)));

    assert!(shell.run(&["rollback", "demo/hello"]).err.contains("now runs version 2"));
    assert_eq!(shell.does(&["invoke", "demo/hello"]), "\"two\"");
    assert_eq!(shell.json(&["rollback", "demo/hello", "--to", "1"])["version"], 1);
    assert_eq!(shell.does(&["invoke", "demo/hello"]), "\"one\"");
    let refused = shell.fails(1, &["rollback", "demo/hello"]);
    assert!(refused.contains("no version before the current one"), "{refused}");
    shell.fails(1, &["rollback", "demo/hello", "--to", "9"]);

    assert!(shell.fails(1, &["scripts", "delete", "demo/hello"]).contains("add --yes"));
    shell.does(&["scripts", "delete", "demo/hello", "--yes"]);
    assert_eq!(shell.does(&["scripts", "list", "--app", "demo"]), "");
}

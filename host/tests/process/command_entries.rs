//! The commands for stored data: keys and files.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::server::{OWNER_KEY, picloud};
use crate::shell::{Shell, path, text};

#[test]
fn a_key_is_set_read_and_deleted() {
    let shell = Shell::start();
    shell.does(&["apps", "create", "demo"]);
    let set = ["kv", "set", "demo/orders", "a/b", "--data", r#"{"n": 1}"#];
    let said = shell.run(&set);
    assert_eq!((said.code, &*said.out), (Some(0), ""), "{}", said.err);
    assert_eq!(shell.does(&["kv", "get", "demo/orders", "a/b"]), "{\n  \"n\": 1\n}");
    let entry = shell.json(&["kv", "get", "demo/orders", "a/b"]);
    assert_eq!((&entry["value"], &entry["expires_at"]), (&json!({"n": 1}), &Value::Null));
    let file = shell.data.path().join("value.json");
    std::fs::write(&file, "[2]").unwrap();
    let data = format!("@{}", path(&file));
    let set =
        shell.json(&["kv", "set", "demo/orders", "c", "--data", &data, "--ttl-ms", "3600000"]);
    assert!(set["expires_at"].is_i64(), "{set}");
    let piped = shell.run_with_input(&["kv", "set", "demo/orders", "d", "--data", "-"], b"3");
    assert_eq!(piped.code, Some(0), "{}", piped.err);
    shell.does(&["kv", "set", "demo/numbers", "n", "--data", "-7"]);
    assert_eq!(shell.does(&["kv", "get", "demo/numbers", "n"]), "-7");
    let late = ["kv", "set", "demo/orders", "d", "--data", "4", "--if-version", "0"];
    assert!(shell.fails(1, &late).contains("another version"));

    let listed = shell.does(&["kv", "list", "demo/orders"]);
    let lines: Vec<_> = listed.lines().collect();
    assert_eq!((lines[0], lines[2]), ("a/b\t{\"n\":1}", "d\t3"));
    assert!(lines[1].starts_with("c\t[2] · until "), "{listed}");
    assert_eq!(shell.does(&["kv", "collections", "demo"]), "numbers · 1\norders · 3");
    shell.does(&["kv", "delete", "demo/orders", "a/b"]);
    assert!(shell.fails(1, &["kv", "get", "demo/orders", "a/b"]).contains("no such key"));
    assert!(shell.fails(1, &["kv", "set", "demo/o", "k", "--data", "{"]).contains("is not JSON"));
    shell.fails(2, &["kv", "set", "demo", "k", "--data", "1"]);
}

#[test]
fn many_keys_are_paged_through_and_deleted_by_their_beginning() {
    let shell = Shell::start();
    shell.deploy(
        "fill",
        r#"let c = kv::collection("c");
           let from = parse_int(ctx.request.query.from);
           for n in from..from + 125 { c.set("a" + n, n); }
           for n in 0..5 { c.set("b" + n, n); }"#,
    );
    // A run has at most 200 effects.
    shell.does(&["invoke", "demo/fill", "--query", "from=0"]);
    shell.does(&["invoke", "demo/fill", "--query", "from=125"]);
    let list = |arguments: &[&str]| shell.run(&[&["kv", "list", "demo/c"], arguments].concat());
    let first = list(&[]);
    assert_eq!(first.out.lines().count(), 50);
    assert!(first.err.contains("there are more; --after"), "{}", first.err);
    let last = first.out.lines().last().unwrap().split('\t').next().unwrap();
    let rest = list(&["--after", last, "--limit", "201"]);
    assert_eq!(rest.out.lines().count(), 201);
    let all = list(&["--all"]);
    let names: BTreeSet<_> = all.out.lines().collect();
    assert_eq!((names.len(), &*all.err), (255, ""));
    assert_eq!(list(&["--prefix", "b"]).out, "b0\t0\nb1\t1\nb2\t2\nb3\t3\nb4\t4\n");
    let json = shell.json(&["kv", "list", "demo/c", "--all", "--prefix", "a"]);
    assert_eq!(json.as_array().unwrap().len(), 250);
    assert_eq!(shell.json(&["kv", "list", "demo/c", "--prefix", "z"]), json!([]));

    let delete = ["kv", "delete", "demo/c", "--prefix", "a"];
    assert!(shell.fails(1, &delete).contains("add --yes"));
    assert_eq!(list(&["--all"]).out, all.out);
    assert_eq!(shell.does(&[&delete[..], &["--yes"]].concat()), "250");
    assert_eq!(list(&["--all"]).out.lines().count(), 5);
    shell.fails(2, &["kv", "delete", "demo/c"]);
    shell.fails(2, &["kv", "delete", "demo/c", "b0", "--prefix", "b", "--yes"]);
}

#[test]
fn a_file_is_put_read_and_deleted() {
    let shell = Shell::start();
    shell.does(&["apps", "create", "demo"]);
    let bytes = [0xff, 0x00, b'a', b'\n'];
    let local = shell.data.path().join("local.bin");
    std::fs::write(&local, bytes).unwrap();
    let put = ["files", "put", "demo/photos", "2026/cat.jpg", path(&local)];
    shell.does(&[&put[..], &["--content-type", "image/jpeg"]].concat());
    let piped = shell.run_with_input(&["files", "put", "demo/photos", "note"], b"hi");
    assert_eq!((piped.code, &*piped.out), (Some(0), ""), "{}", piped.err);
    let put = shell.json(&["files", "put", "demo/photos", "again", path(&local)]);
    assert_eq!(put["size_bytes"], 4);

    let copy = shell.data.path().join("copy.bin");
    let got = shell.does(&["files", "get", "demo/photos", "2026/cat.jpg", "-o", path(&copy)]);
    assert_eq!((&*got, &std::fs::read(&copy).unwrap()[..]), ("", &bytes[..]));
    let got = picloud(shell.data.path())
        .args(["files", "get", "demo/photos", "2026/cat.jpg"])
        .envs([("PICLOUD_OWNER_KEY", OWNER_KEY), ("PICLOUD_URL", &shell.server.url)])
        .output()
        .unwrap();
    assert_eq!(got.stdout, bytes);
    let listed = shell.does(&["files", "list", "demo/photos", "--prefix", "2026/"]);
    assert!(listed.starts_with("2026/cat.jpg · 4 bytes · image/jpeg · "), "{listed}");
    let listed = shell.json(&["files", "list", "demo/photos"]);
    let names: Vec<_> = listed.as_array().unwrap().iter().map(|file| text(file, "name")).collect();
    assert_eq!(names, ["2026/cat.jpg", "again", "note"]);
    assert_eq!(shell.does(&["files", "buckets", "demo"]), "photos · 3");

    shell.does(&["files", "delete", "demo/photos", "note"]);
    assert!(shell.fails(1, &["files", "get", "demo/photos", "note"]).contains("no such file"));
    let delete = ["files", "delete", "demo/photos", "--prefix", ""];
    assert!(shell.fails(1, &delete).contains("add --yes"));
    assert_eq!(shell.json(&[&delete[..], &["--yes"]].concat()), json!({ "deleted": 2 }));
    assert_eq!(shell.does(&["files", "list", "demo/photos"]), "");
}

//! The rules of the house: which room may know which, and which library may be
//! used where. Read from the sources, so that a rule that is broken fails here and
//! not in a review.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).canonicalize().unwrap()
}

/// Every Rust file below `folder`: its path from the root, and its lines of code.
fn sources(folder: &str) -> Vec<(String, Vec<String>)> {
    let mut files = Vec::new();
    let mut open = vec![root().join(folder)];
    while let Some(place) = open.pop() {
        for entry in fs::read_dir(place).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
                let text = fs::read_to_string(&path).unwrap();
                let code = text.lines().map(str::trim).filter(|line| !line.starts_with("//"));
                files.push((name, code.map(str::to_owned).collect()));
            }
        }
    }
    assert!(!files.is_empty(), "{folder} has no sources");
    files
}

/// Whether a line of code names `path` as a path, not as a part of a longer word.
fn names(line: &str, path: &str) -> bool {
    line.match_indices(path).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        before.is_none_or(|c| !c.is_alphanumeric() && !matches!(c, '_' | '"' | ':'))
    })
}

/// Fails with every line below `folder` that names `path` in a file that is not
/// `allowed`.
fn only(folder: &str, path: &str, allowed: impl Fn(&str) -> bool) {
    let mut broken = Vec::new();
    for (file, lines) in sources(folder) {
        if !allowed(&file) {
            let found = lines.iter().filter(|line| names(line, path));
            broken.extend(found.map(|line| format!("{file}: {line}")));
        }
    }
    assert!(broken.is_empty(), "{path} is named where it may not be:\n{}", broken.join("\n"));
}

/// The file or folder of a room.
fn room(name: &'static str) -> impl Fn(&str) -> bool {
    move |file| {
        file == format!("host/src/{name}.rs") || file.starts_with(&format!("host/src/{name}/"))
    }
}

fn not_in(rooms: &[&'static str]) -> impl Fn(&str) -> bool {
    let rooms: Vec<_> = rooms.iter().map(|name| room(name)).collect();
    move |file| !rooms.iter().any(|room| room(file))
}

#[test]
fn a_rule_that_is_broken_is_seen() {
    assert!(names("use crate::store::Store;", "crate::store"));
    assert!(names("let x = sqlx::query(\"…\");", "sqlx::"));
    assert!(!names("use my_sqlx::query;", "sqlx::"));
    let found = std::panic::catch_unwind(|| only("host/src", "sqlx::", |_| false));
    assert!(found.is_err(), "the store uses sqlx, and this test must see it");
}

#[test]
fn the_contract_knows_nobody() {
    for somebody in ["picloud::", "picloud_guest", "rhai::", "wasmtime::", "tokio::"] {
        only("shared/src", somebody, |_| false);
    }
}

#[test]
fn the_guest_knows_only_the_contract() {
    for somebody in ["picloud::", "wasmtime::", "tokio::", "axum::", "sqlx::"] {
        only("guest/src", somebody, |_| false);
    }
}

#[test]
fn the_host_sees_the_guest_only_as_bytes() {
    only("host/src", "picloud_guest::", |_| false);
    only("host/src", "rhai::", |_| false);
}

#[test]
fn manager_and_orchestrator_meet_only_in_the_store() {
    only("host/src", "crate::orchestrator", not_in(&["manager", "executor", "store"]));
    only("host/src", "crate::manager", not_in(&["orchestrator", "executor", "store"]));
}

#[test]
fn the_store_uses_nobody() {
    for somebody in [
        "manager",
        "orchestrator",
        "executor",
        "auth",
        "error",
        "config",
        "clock",
        "telemetry",
        "limits",
    ] {
        only("host/src", &format!("crate::{somebody}"), not_in(&["store"]));
    }
}

/// The store may name the moments at which a test kills it, so they know nobody.
#[test]
fn faults_know_nobody() {
    let lines = fs::read_to_string(root().join("host/src/faults.rs")).unwrap();
    let known: Vec<_> = lines.lines().filter(|line| names(line, "crate::")).collect();
    assert_eq!(known, [""; 0]);
}

#[test]
fn the_executor_reads_and_never_writes() {
    for verb in ["commit(", "append_", "insert_", "update_", "delete_", "claim_", "replay_"] {
        only("host/src", verb, not_in(&["executor"]));
    }
}

#[test]
fn each_library_stays_in_its_room() {
    only("host/src", "sqlx::", room("store"));
    only("host/src", "wasmtime::", room("executor"));
    only("host/src", "deadpool::", room("executor"));
    let outside = [room("command"), room("executor/outbound"), room("auth/oidc")];
    only("host/src", "reqwest::", |file| outside.iter().any(|room| room(file)));
    only("host/src", "hickory_resolver::", room("dns"));
    let http = [
        room("manager"),
        room("auth"),
        room("answers"),
        room("error"),
        room("lib"),
        room("serving"),
        room("orchestrator/ingress"),
    ];
    only("host/src", "axum::", |file| http.iter().any(|room| room(file)));
}

#[test]
fn raw_memory_is_touched_only_at_the_boundary() {
    let allowed = ["guest/src/abi.rs", "guest/src/alloc.rs", "host/src/executor/module.rs"];
    for folder in ["host/src", "guest/src", "shared/src"] {
        for word in ["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern", "expect(unsafe_code"]
        {
            only(folder, word, |file| allowed.contains(&file));
        }
    }
}

#[test]
fn one_file_reads_the_environment() {
    only("host/src", "std::env::var", room("config"));
}

#[test]
fn every_service_is_one_file_of_the_same_name_in_three_rooms() {
    let names = |folder: &str| -> Vec<String> {
        let files = fs::read_dir(root().join(folder)).unwrap();
        let stem = |path: PathBuf| path.file_stem().unwrap().to_str().unwrap().to_owned();
        let mut names: Vec<_> = files.map(|file| stem(file.unwrap().path())).collect();
        names.sort_unstable();
        names
    };
    let called = names("shared/src/calls");
    assert_eq!(called, names("host/src/executor/services"));
    let api = names("guest/src/api");
    for service in called.iter().filter(|name| *name != "guest") {
        assert!(api.contains(service), "{service} has no file in guest/src/api");
    }
}

/// A feature of the library makes another value of some JSON: see `store/verbatim.rs`.
#[test]
fn foreign_json_is_read_verbatim() {
    let ours = |file: &str| file == "host/src/store/verbatim.rs" || file.ends_with("tests.rs");
    for reads in [
        "from_str::<Value>",
        "from_slice::<Value>",
        "json::<Value>",
        ".to::<Value>",
        ": Value = serde_json",
    ] {
        only("host/src", reads, ours);
    }
}

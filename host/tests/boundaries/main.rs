//! The rules of the architecture: which module uses which, and where each library is used.
//! Read from the sources, so that a broken rule fails here and not in a review.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod imports;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use imports::Imports;
use tempfile::TempDir;

/// The layers of `host/src`, the top one first. A file uses only files of its own module and of
/// the layers below. Modules of one layer do not use each other.
const LAYERS: &[&[&str]] = &[
    &["command"],
    &["lib"],
    &["instance"],
    &["backup"],
    &["manager"],
    &["config"],
    &["orchestrator"],
    &["answers"],
    &["executor"],
    &["events"],
    &["definitions"],
    &["auth"],
    &["requests"],
    &["data_folder"],
    &["secrets"],
    &["store"],
    &["blobs", "serving", "telemetry"],
    &["metrics", "error"],
    &["clock", "cron", "dns", "faults", "hostname", "json", "limits", "private_hosts", "shares"],
];

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

/// The module below `host/src` that a file belongs to.
fn module_of(file: &str) -> &str {
    file.split('/').next().unwrap().trim_end_matches(".rs")
}

/// Every use of a file that is not below the user.
fn upward(imports: &Imports, layers: &[&[&str]]) -> Vec<String> {
    let floors: BTreeMap<_, _> = layers
        .iter()
        .rev()
        .enumerate()
        .flat_map(|(floor, modules)| modules.iter().map(move |module| (*module, floor)))
        .collect();
    let floor = |file: &str| {
        let module = module_of(file);
        *floors.get(module).unwrap_or_else(|| panic!("{module} is in no layer"))
    };
    let uses = imports.uses.iter();
    let uses = uses.flat_map(|(file, used)| used.iter().map(move |used| (file, used)));
    uses.filter(|(file, used)| module_of(file) != module_of(used))
        .filter(|(file, used)| floor(used) >= floor(file))
        .map(|(file, used)| format!("{file} uses {used}"))
        .collect()
}

#[test]
fn each_layer_uses_only_those_below_it() {
    let imports = Imports::read(&root().join("host/src"));
    let upward = upward(&imports, LAYERS);
    assert!(upward.is_empty(), "\n{}", upward.join("\n"));
}

#[test]
fn manager_and_orchestrator_do_not_use_each_other() {
    let imports = Imports::read(&root().join("host/src"));
    let both = ["manager", "orchestrator"];
    for (file, used) in &imports.uses {
        let others = both.into_iter().filter(|module| *module != module_of(file));
        for other in others.filter(|_| both.contains(&module_of(file))) {
            let met: Vec<_> = used.iter().filter(|used| module_of(used) == other).collect();
            assert!(met.is_empty(), "{file} uses {met:?}");
        }
    }
}

#[test]
fn no_file_uses_itself_through_others() {
    let imports = Imports::read(&root().join("host/src"));
    let circles: Vec<_> = imports.circles().iter().map(|circle| circle.join(" ")).collect();
    assert!(circles.is_empty(), "\n{}", circles.join("\n"));
}

#[test]
fn imports_are_seen_through_re_exports_aliases_and_macros() {
    let folder = TempDir::new().unwrap();
    let write = |file: &str, text: &str| {
        let path = folder.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    write("lib.rs", "mod upper; mod middle; mod lower; mod other;");
    write("upper.rs", "use crate::middle; pub struct Up; fn f() { middle::inner::g(); }");
    write("middle.rs", "pub mod inner; mod deep; pub use deep::{Thing as Renamed, *};");
    write("middle/inner.rs", "pub fn g() { println!(\"{}\", crate::lower::X); }");
    write("middle/deep.rs", "pub struct Thing; pub struct Globbed;");
    write("lower.rs", "pub const X: u8 = 1; #[cfg(test)] mod tests { use crate::upper::Up; }");
    write("other.rs", "fn f(_: crate::middle::Globbed) {} impl From<super::upper::Up> for u8 {}");
    let imports = Imports::read(folder.path());
    let uses = |file: &str| imports.uses[file].iter().map(String::as_str).collect::<Vec<_>>();
    assert_eq!(uses("upper.rs"), ["middle.rs", "middle/inner.rs"]);
    assert_eq!(uses("middle/inner.rs"), ["lower.rs"]);
    assert_eq!(uses("lower.rs"), [""; 0]);
    assert_eq!(uses("other.rs"), ["middle/deep.rs", "upper.rs"]);
    assert!(imports.circles().is_empty());

    let layers: &[&[&str]] = &[&["other"], &["lib"], &["middle"], &["upper", "lower"]];
    assert_eq!(
        upward(&imports, layers),
        ["upper.rs uses middle.rs", "upper.rs uses middle/inner.rs"]
    );
    write("middle/deep.rs", "pub struct Thing(crate::upper::Up); pub struct Globbed;");
    write("upper.rs", "pub struct Up(crate::middle::Renamed);");
    let circle = vec!["middle/deep.rs".to_owned(), "upper.rs".to_owned()];
    assert_eq!(Imports::read(folder.path()).circles(), [circle]);
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

#[test]
fn one_file_makes_events() {
    let in_store = room("store");
    let mut broken = Vec::new();
    for (file, lines) in sources("host/src") {
        if file == "host/src/events/intake.rs" || in_store(&file) {
            continue;
        }
        let makes = |line: &&String| names(line, "NewEvent {") && !line.contains("-> NewEvent {");
        broken.extend(lines.iter().filter(makes).map(|line| format!("{file}: {line}")));
    }
    assert_eq!(broken, [""; 0]);
}

/// A feature of the library makes another value of some JSON: see `json/verbatim.rs`.
#[test]
fn foreign_json_is_read_verbatim() {
    let ours = |file: &str| file == "host/src/json/verbatim.rs" || file.ends_with("tests.rs");
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

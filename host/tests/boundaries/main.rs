//! Checks the rules of the architecture in the sources: which module uses which, and where each
//! library is used.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod imports;
mod probes;
mod prose;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use imports::Imports;
use probes::{has_word, probes};
use tempfile::TempDir;

/// The layers of `host/src`, top layer first. A file uses only files of its own module and of the
/// layers below. Modules of one layer do not use each other.
const LAYERS: &[&[&str]] = &[
    &["command"],
    &["lib"],
    &["roles"],
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
    &["data_folder", "retention"],
    &["secrets"],
    &["store"],
    &["blobs", "serving", "telemetry"],
    &["metrics", "error"],
    &[
        "clock",
        "cron",
        "dns",
        "faults",
        "hostname",
        "json",
        "limits",
        "named",
        "private_hosts",
        "shares",
    ],
];

fn root() -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).canonicalize().unwrap()
}

/// Returns every Rust file below `folder`: its path from the root, and its lines of code.
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

/// Whether a line of code contains `path` as a path, not as a part of a longer word.
fn names(line: &str, path: &str) -> bool {
    line.match_indices(path).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        before.is_none_or(|c| !c.is_alphanumeric() && !matches!(c, '_' | '"' | ':'))
    })
}

/// Fails with every line below `folder` that contains `path`, except in files that are `allowed`.
fn only(folder: &str, path: &str, allowed: impl Fn(&str) -> bool) {
    let mut broken = Vec::new();
    for (file, lines) in sources(folder) {
        if !allowed(&file) {
            let found = lines.iter().filter(|line| names(line, path));
            broken.extend(found.map(|line| format!("{file}: {line}")));
        }
    }
    assert!(broken.is_empty(), "{path} is not allowed here:\n{}", broken.join("\n"));
}

/// Matches the file or folder of a module.
fn module(name: &'static str) -> impl Fn(&str) -> bool {
    move |file| {
        file == format!("host/src/{name}.rs") || file.starts_with(&format!("host/src/{name}/"))
    }
}

fn not_in(modules: &[&'static str]) -> impl Fn(&str) -> bool {
    let modules: Vec<_> = modules.iter().map(|name| module(name)).collect();
    move |file| !modules.iter().any(|module| module(file))
}

#[test]
fn a_rule_that_is_broken_is_seen() {
    assert!(names("use crate::store::Store;", "crate::store"));
    assert!(names("let x = sqlx::query(\"…\");", "sqlx::"));
    assert!(!names("use my_sqlx::query;", "sqlx::"));
    let found = std::panic::catch_unwind(|| only("host/src", "sqlx::", |_| false));
    assert!(found.is_err(), "the store uses sqlx, and this test must see it");
}

/// Returns the module below `host/src` that a file belongs to.
fn module_of(file: &str) -> &str {
    file.split('/').next().unwrap().trim_end_matches(".rs")
}

/// Returns every use of a file that is not in a lower layer.
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
        // The replay is a test, and fills its database.
        let is_test = |file: &str| file == "host/src/executor/host/replay.rs";
        only("host/src", verb, |file| not_in(&["executor"])(file) || is_test(file));
    }
}

#[test]
fn each_library_stays_in_its_module() {
    only("host/src", "sqlx::", module("store"));
    only("host/src", "wasmtime::", module("executor"));
    only("host/src", "deadpool::", module("executor"));
    let outside = [module("command"), module("executor/outbound"), module("auth/oidc")];
    only("host/src", "reqwest::", |file| outside.iter().any(|module| module(file)));
    only("host/src", "hickory_resolver::", module("dns"));
    let http = [
        module("manager"),
        module("auth"),
        module("answers"),
        module("error"),
        module("serving"),
        module("orchestrator/ingress"),
        module("orchestrator/execute"),
        module("roles"),
    ];
    only("host/src", "axum::", |file| http.iter().any(|module| module(file)));
}

#[test]
fn raw_memory_is_touched_only_at_the_boundary() {
    let allowed = [
        "guest/src/abi.rs",
        "guest/src/alloc.rs",
        "guest/src/import.rs",
        "host/src/executor/module.rs",
    ];
    for folder in ["host/src", "guest/src", "shared/src"] {
        for word in ["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern", "expect(unsafe_code"]
        {
            only(folder, word, |file| allowed.contains(&file));
        }
    }
}

#[test]
fn one_file_reads_the_environment() {
    only("host/src", "std::env::var", module("config"));
}

#[test]
fn every_service_is_one_file_of_the_same_name_in_three_folders() {
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
    let in_store = module("store");
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

/// The executor gets a store handle without writes, so that it cannot write.
#[test]
fn the_executor_is_given_reads_only() {
    let platform = fs::read_to_string(root().join("host/src/executor/platform.rs")).unwrap();
    assert!(platform.contains("store: Reads,") && !platform.contains("store: Store,"));
    for (file, lines) in sources("host/src/executor") {
        let uses = lines.iter().filter(|line| line.contains("store::") && names(line, "Store"));
        let uses: Vec<_> = uses.filter(|line| !line.contains("wasmtime::")).collect();
        assert!(uses.is_empty() || file.ends_with("/replay.rs"), "{file}: {uses:?}");
    }
}

/// The constructors check every sent message, so no other file builds one.
#[test]
fn one_file_makes_what_is_sent() {
    let (mut made, mut broken) = (0, Vec::new());
    for (file, lines) in sources("host/src/events").into_iter().chain(sources("host/src/manager")) {
        for line in
            lines.iter().filter(|line| line.starts_with("Ok(Self::") || line.contains("Ok(Sent::"))
        {
            let makes = ["Queue(", "Topic {", "Script("].iter().any(|kind| line.contains(kind));
            let ours = file == "host/src/events/sent.rs";
            made += usize::from(makes && ours);
            broken.extend((makes && !ours).then(|| format!("{file}: {line}")));
        }
    }
    assert_eq!((made, broken), (3, Vec::new()));
}

/// A feature of the JSON library turns some JSON into another value: see `json/verbatim.rs`.
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

/// The files of the command line that handle arbitrary JSON: responses of the server, and values of
/// scripts.
const ANY_JSON: [&str; 2] = ["host/src/command/client/answer.rs", "host/src/command/rows.rs"];

/// The command line reads responses by the types of `manager/api.rs`.
#[test]
fn the_command_line_reads_json_by_its_type() {
    let (mut untyped, mut allowed) = (Vec::new(), 0);
    let sources = sources("host/src/command").into_iter();
    for (file, lines) in sources.filter(|(file, _)| !file.ends_with("/tests.rs")) {
        let code = lines.join("\n");
        untyped.extend(probes(&code).into_iter().map(|probe| format!("{file}: {probe}")));
        let names_value = has_word(&code, "serde_json") && has_word(&code, "Value");
        match (names_value, ANY_JSON.contains(&&*file)) {
            (true, false) => untyped.push(format!("{file} names serde_json::Value")),
            (true, true) => allowed += 1,
            (false, _) => {}
        }
    }
    assert_eq!((untyped, allowed), (Vec::new(), ANY_JSON.len()));
}

#[test]
fn json_that_is_read_by_names_is_seen() {
    for probe in [
        r#"app["name"]"#,
        r#"format!("{}", app["name"])"#,
        r#"page["items"].take()"#,
        r#"client.call(path).await?["id"]"#,
        r#"read(body)["id"]"#,
        r#"made["on"]["kind"] == "kv""#,
        r#"route["auth"] = auth"#,
        r#"app.get("name")"#,
        r#"format!("{:?}", app.get_mut("name"))"#,
        "value.as_u64()",
        "if error.is_null() {}",
        r#"value.pointer("/a/b")"#,
        "event.payload.0.as_str()",
    ] {
        assert!(!probes(&format!("fn f() {{ {probe}; }}")).is_empty(), "{probe}");
    }
    for typed in [
        r#"for kind in ["kv", "cron"] { f(kind) }"#,
        r#"return ["kv"]"#,
        r#"command.args(["serve"]).arg(["a"])"#,
        r#"let all = [&["logs"][..], more].concat()"#,
        r#"#[arg(conflicts_with_all = ["kind", "source"])] struct A;"#,
        "names.get(id)",
        "kind.as_str()",
        "key.as_deref()",
        r#"#[cfg(test)] mod tests { fn f() { app["name"] } }"#,
        r#"#[cfg(test)] use super::app["name"]; fn g() {}"#,
    ] {
        assert_eq!(probes(&format!("fn f() {{ {typed} }}")), [""; 0], "{typed}");
    }
    assert!(has_word("fn f(app: &Value) {}", "Value") && !has_word("struct ValueEnum;", "Value"));
}

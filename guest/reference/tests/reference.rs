//! Tests that the reference matches the interpreter, and that the guide covers all of it.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use picloud_guest::{engine, script};
use picloud_reference::{Function, Reference, reference};
use picloud_shared::codec;
use picloud_shared::execution::{
    Answer, AnswerKind, ExecutionInfo, HttpRequest, Input, RunRequest,
};
use serde_json::Value;

fn docs(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(name)
}

/// `UPDATE_SNAPSHOTS=1 cargo test -p picloud-reference` writes the file again.
#[test]
fn the_committed_reference_is_what_the_interpreter_has() {
    let file = docs("functions.json");
    let fresh = serde_json::to_string_pretty(&reference().unwrap()).unwrap() + "\n";
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        fs::write(&file, &fresh).unwrap();
    }
    assert!(
        fs::read_to_string(&file).unwrap() == fresh,
        "docs/functions.json does not match the guest's doc comments; run the tests with \
         UPDATE_SNAPSHOTS=1"
    );
}

#[test]
fn every_function_of_a_service_says_what_it_does() {
    let Reference { modules, functions, .. } = reference().unwrap();
    assert!(functions.len() > 50, "{}", functions.len());
    for function in &functions {
        for form in &function.forms {
            assert!(!form.doc.is_empty(), "{} says nothing", form.signature);
        }
    }
    for module in modules {
        let belongs = |function: &&Function| function.module.as_deref() == Some(&module.name);
        assert!(functions.iter().any(|function| belongs(&function)), "{}", module.name);
        assert!(!module.doc.is_empty() || module.name == "json", "{}", module.name);
    }
}

#[test]
fn the_guide_tells_every_function() {
    let guide = fs::read_to_string(docs("scripting.md")).unwrap();
    for function in reference().unwrap().functions {
        let module = function.module.clone().unwrap();
        let told = parts_about(&module, &guide);
        let name = &function.name;
        let ways = [format!("::{name}("), format!("`{name}("), format!("`{name}`")];
        assert!(ways.iter().any(|way| told.contains(way)), "scripting.md: {module}, {name}");
    }
}

/// Returns a service's own section, and the table rows that start with it.
fn parts_about(module: &str, guide: &str) -> String {
    let mut told = String::new();
    let mut inside = false;
    for line in guide.lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            inside = heading.starts_with(&format!("`{module}`"));
        }
        if inside || line.starts_with(&format!("| `{module}::")) {
            told += line;
            told += "\n";
        }
    }
    told
}

#[test]
fn ctx_has_the_members_that_the_guide_tells_and_no_others() {
    let known = reference().unwrap().context;
    let known: BTreeSet<_> = known.iter().map(|member| member.path.as_str()).collect();
    let seen = seen_by_a_script(Input::Http(HttpRequest::default()));
    let told = known.iter().filter(|path| !path.starts_with("ctx.event"));
    assert_eq!(seen.iter().map(String::as_str).collect::<BTreeSet<_>>(), told.copied().collect());

    let event = r#"{"kind":"queue","operation":"send","app":"a","id":"i","attempt":1,"depth":1,
        "created_at":1,"queue":{"queue":"q","payload":1}}"#;
    for path in seen_by_a_script(Input::Event(event.to_owned())) {
        assert!(known.contains(path.as_str()), "scripting.md does not tell {path}");
    }
}

/// Returns the paths of all members of `ctx`. Objects count only through their members.
fn seen_by_a_script(input: Input) -> BTreeSet<String> {
    engine::install();
    script::compile(b"#{ seen: ctx }").unwrap();
    let execution = ExecutionInfo {
        id: "e".to_owned(),
        app: "a".to_owned(),
        script: "s".to_owned(),
        version: 1,
        attempt: 1,
    };
    let request = RunRequest { execution, input, answer: AnswerKind::Response, call_depth_max: 8 };
    let Answer::Response(response) = script::run(&codec::encode(&request)).unwrap() else {
        panic!("the request asked for a response");
    };
    let seen: Value = serde_json::from_slice(&response.body).unwrap();
    let mut paths = BTreeSet::new();
    collect("ctx", &seen["seen"], &mut paths);
    paths
}

fn collect(path: &str, value: &Value, paths: &mut BTreeSet<String>) {
    match value.as_object() {
        Some(members) if !members.is_empty() => {
            for (name, value) in members {
                collect(&format!("{path}.{name}"), value, paths);
            }
        }
        _ => {
            paths.insert(path.to_owned());
        }
    }
}

//! Scripts as test cases: the head of every `host/tests/scripts/**/*.rhai` states the expected
//! result. A new file is a new case and needs no Rust.
//!
//! ```text
//! //! The purpose of the case, in a sentence.
//! //!
//! //! key: value
//! ```
//!
//! The keys are the fields of [`Expectations`]; a value is JSON or, if it does not parse, a text.

mod check;
mod expectations;

use std::path::{Path, PathBuf};

use serde_json::json;

use crate::app::TestApp;
use crate::with_an_app;

pub(crate) use check::{complaints, complaints_about_a_repetition};
pub(crate) use expectations::{Case, Expectations};

/// Returns the cases of a folder below `host/tests/scripts`, sorted by name.
pub(crate) fn cases_in(folder: &str) -> Vec<Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts").join(folder);
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "rhai"));
    files.sort();
    assert!(!files.is_empty(), "{} has no cases", folder.display());
    files
        .iter()
        .map(|file| Case::read(file).unwrap_or_else(|why| panic!("{}: {why}", file.display())))
        .collect()
}

/// Runs a case, and returns the differences from what it expects.
pub(crate) async fn run(app: &TestApp, case: &Case) -> Vec<String> {
    let limits = json!({
        "fuel_max": case.expected.fuel_max,
        "memory_bytes_max": case.expected.memory_bytes_max,
        "wall_ms_max": case.expected.wall_ms_max,
    });
    let script = json!({"name": case.name, "source": case.source, "limits": limits});
    let made = app.admin().post("/apps/cases/scripts", script).send().await;
    if made.status != 201 {
        return complaints(&case.expected, &check::Came::of_a_refusal(&made));
    }
    let id = made.json()["id"].as_str().unwrap().to_owned();
    let execute =
        || app.admin().post(&format!("/execute/{id}"), case.expected.request.clone()).send();
    let answer = execute().await.is(200).json();
    let mut wrong = complaints(&case.expected, &check::Came::of_a_run(&answer));
    let row = app.execution(answer["execution_id"].as_str().unwrap()).await;
    for same in ["status", "error", "log", "fuel_used"] {
        if row[same] != answer[same] {
            wrong.push(format!("{same}: {} answered, {} kept", answer[same], row[same]));
        }
    }
    if case.expected.varies.is_none() {
        let again = execute().await.is(200).json();
        wrong.extend(complaints_about_a_repetition(&answer, &again));
    }
    wrong
}

with_an_app! {
    async fn every_script_does_what_its_head_says(app) {
        app.admin().post("/apps", json!({"name": "cases"})).send().await.is(201);
        let mut wrong = Vec::new();
        for case in cases_in("") {
            let complaints = run(app, &case).await;
            wrong.extend(
                complaints.into_iter().map(|complaint| format!("{}: {complaint}", case.name)),
            );
        }
        assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    }
}

//! Tests the description of the API.

use std::collections::{BTreeSet, HashSet};
use std::path::Path;

use picloud::manager;
use picloud::orchestrator::execute;
use serde_json::Value;

fn described() -> Value {
    manager::describe(execute::api().into_openapi())
}

/// `UPDATE_SNAPSHOTS=1 cargo test --test openapi` writes the file again.
#[test]
fn the_committed_description_is_what_the_handlers_say() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/openapi.json");
    let described = serde_json::to_string_pretty(&described()).unwrap() + "\n";
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        std::fs::write(&file, &described).unwrap();
    }
    let committed = std::fs::read_to_string(&file).unwrap();
    assert!(
        committed == described,
        "docs/openapi.json is not what the handlers say; run the tests with UPDATE_SNAPSHOTS=1"
    );
}

/// Adds the places below `schema` at which any JSON is allowed.
fn free_forms(schema: &Value, place: &str, found: &mut BTreeSet<String>) {
    let kind = &schema["type"];
    let is_object =
        kind == "object" || kind.as_array().is_some_and(|of| of.contains(&"object".into()));
    let says = ["properties", "allOf", "oneOf", "anyOf", "$ref", "type"];
    let is_free = is_object && schema["properties"].is_null() && schema["allOf"].is_null();
    if is_free || says.iter().all(|part| schema[*part].is_null()) {
        found.insert(place.to_owned());
        return;
    }
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        free_forms(property, &format!("{place}.{name}"), found);
    }
    if schema["items"].is_object() {
        free_forms(&schema["items"], place, found);
    }
    for parts in ["allOf", "oneOf", "anyOf"] {
        for part in schema[parts].as_array().into_iter().flatten() {
            free_forms(part, place, found);
        }
    }
}

/// The dashboard's types are generated from the description, so only fields with arbitrary JSON
/// have no type.
#[test]
fn only_what_scripts_and_callers_make_has_no_type() {
    let doc = described();
    let mut found = BTreeSet::new();
    for (name, schema) in doc["components"]["schemas"].as_object().unwrap() {
        // The fields of a list are those of its items.
        if !name.starts_with("List_") {
            free_forms(schema, name, &mut found);
        }
    }
    let expected = [
        // These are resources of any kind.
        "AuditEntry.after",
        "AuditEntry.before",
        // Values and payloads are arbitrary JSON.
        "CapturedEvent.event",
        "DeadLetter.payload",
        "Entry.value",
        "Event.payload",
        // The contract with the guest has this type, and does not depend on the API.
        "Failure.limit",
        "FireTrigger.payload",
        "Key.value",
        "RecordedRequest.event",
        "ReplayDeadLetter.payload",
        "SendEvent.payload",
        "SetKey.value",
        "TestScript.event",
    ];
    assert_eq!(found, expected.map(str::to_owned).into());
}

#[test]
fn every_operation_has_a_name_of_its_own_and_says_how_errors_look() {
    let doc = described();
    let mut names = HashSet::new();
    for (path, item) in doc["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let name = operation["operationId"].as_str().unwrap();
            assert!(names.insert(name.to_owned()), "{method} {path}: {name} is there twice");
            assert!(operation["responses"]["default"].is_object(), "{method} {path}");
        }
    }
    assert!(names.len() > 20, "{names:?}");
}

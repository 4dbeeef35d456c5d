//! The description of the API.

use std::collections::HashSet;
use std::path::Path;

use picloud::manager;
use picloud::orchestrator::ingress;
use utoipa::openapi::OpenApi;

fn described() -> OpenApi {
    manager::describe(ingress::api().into_openapi())
}

/// `UPDATE_SNAPSHOTS=1 cargo test --test openapi` writes it anew.
#[test]
fn the_committed_description_is_what_the_handlers_say() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/openapi.json");
    let described = described().to_pretty_json().unwrap() + "\n";
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        std::fs::write(&file, &described).unwrap();
    }
    let committed = std::fs::read_to_string(&file).unwrap();
    assert!(
        committed == described,
        "docs/openapi.json is not what the handlers say; run the tests with UPDATE_SNAPSHOTS=1"
    );
}

#[test]
fn every_operation_has_a_name_of_its_own_and_says_how_errors_look() {
    let doc = serde_json::to_value(described()).unwrap();
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

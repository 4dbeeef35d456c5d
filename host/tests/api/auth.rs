//! The admin API is never open.

use serde_json::Value;

use crate::app::{OWNER_KEY, TestApp};
use crate::with_an_app;

/// Every operation of the API's own description: method and a path with something
/// in the place of each parameter. Without those that say they need no key.
async fn guarded_operations(app: &TestApp) -> Vec<(String, String)> {
    let document = app.get("/api/v1/openapi.json").send().await.is(200).json();
    let mut operations = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        let path: String = path
            .split('/')
            .map(|segment| match segment {
                "{app}" => "shop",
                "{version}" => "1",
                parameter if parameter.starts_with('{') => "0197f3a4-5c1e-7b7a-8f6e-3d2c1b0a9f8e",
                literal => literal,
            })
            .collect::<Vec<_>>()
            .join("/");
        for (method, operation) in item.as_object().unwrap() {
            let is_open = operation["security"] == serde_json::json!([{}]);
            if operation["operationId"] != Value::Null && !is_open {
                operations.push((method.to_uppercase(), path.clone()));
            }
        }
    }
    operations
}

with_an_app! {
    async fn no_operation_answers_without_the_owner_key(app) {
        app.deploy("shop", "hello", "1").await;
        let operations = guarded_operations(app).await;
        assert!(operations.len() >= 24, "{operations:?}");
        for (method, path) in operations {
            let call = || app.request(&method, &path).body("application/json", "{}");
            for answer in [
                call().send().await,
                call().header("authorization", "Bearer owner-key-of-the-test").send().await,
                call().header("authorization", "Bearer owner-key-of-the-testsx").send().await,
                call().header("authorization", "Bearer ").send().await,
                call().header("authorization", OWNER_KEY).send().await,
                call().header("authorization", "Basic b3duZXI6a2V5").send().await,
                call().header("x-api-key", OWNER_KEY).send().await,
            ] {
                answer.refuses(401, "unauthorized");
                assert_eq!(answer.header("www-authenticate"), Some("Bearer realm=\"PiCloud\""));
            }
            let let_in = call().by_owner().send().await;
            assert_ne!(let_in.status, 401, "{method} {path}");
        }
    }

    async fn what_was_asked_without_the_key_was_not_done(app) {
        let id = app.deploy("shop", "hello", "1").await;
        app.request("DELETE", "/api/v1/apps/shop").send().await.is(401);
        app.request("DELETE", &format!("/api/v1/scripts/{id}")).send().await.is(401);
        app.post(&format!("/api/v1/execute/{id}")).send().await.is(401);
        app.get("/x/shop/hello").send().await.is(200);
        assert_eq!(app.count_executions(&id).await, 1);
    }

    async fn a_path_that_does_not_exist_is_known_to_the_owner_only(app) {
        app.get("/api/v1/nothing").send().await.refuses(401, "unauthorized");
        app.admin().get("/nothing").send().await.refuses(404, "path_not_found");
        app.admin().request("PATCH", "/apps").send().await.refuses(405, "method_not_allowed");
    }

    async fn the_scheme_of_the_key_has_no_case(app) {
        let key = format!("bearer {OWNER_KEY}");
        app.get("/api/v1/apps").header("authorization", &key).send().await.is(200);
    }
}

//! An array in the place of an object is refused everywhere, at any depth.

use serde_json::{Value, json};

use crate::access::{Fixture, operations};
use crate::app::TestApp;
use crate::with_an_app;

with_an_app! {
    async fn no_operation_takes_an_array_for_its_body(app) {
        let fixture = Fixture::make(app).await;
        let document = app.get("/api/v1/openapi.json").send().await.is(200).json();
        let mut sent = 0;
        for operation in operations(app).await {
            let method = operation.method.to_lowercase();
            let described = &document["paths"][&operation.template][&method]["requestBody"];
            if !described["content"]["application/json"].is_object() {
                continue;
            }
            for length in [0, 1, 2, 5] {
                let body = Value::Array(vec![Value::Null; length]).to_string();
                let call = fixture.call(app, &operation).by_owner();
                let answer = call.replace_body(&body).send().await;
                let (method, template) = (&operation.method, &operation.template);
                assert_eq!(answer.status, 400, "{method} {template} {body}: {answer:?}");
                sent += 1;
            }
        }
        assert!(sent > 80, "{sent}");
        for (path, body) in [("/auth/login", "[\"admin\", \"password\"]"), ("/auth/oidc/start", "[\"/\", null]"),
            ("/auth/invitation", "[\"a\"]"), ("/auth/invitation/accept", "[\"a\", \"b\"]")]
        {
            let call = app.post(&format!("/api/v1{path}")).body("application/json", body);
            call.send().await.refuses(400, "body_invalid");
        }
    }

    async fn nothing_inside_of_a_body_is_an_array_for_an_object(app) {
        let script = app.deploy("shop", "hello", "1").await;
        let on = json!({"kind": "queue", "queue": "q"});
        let route = |more: Value| {
            let mut route = json!({"script_id": script, "method": "GET", "path": "/a"});
            route.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            route
        };
        let custom = json!({"mode": "hmac", "secrets": ["a"], "custom": ["x-signature"]});
        for (method, path, body) in [
            ("POST", "/apps/shop/dead-letters/replay".to_owned(), json!({"filter": [null, null]})),
            ("POST", "/apps/shop/dead-letters/resolve".to_owned(), json!({"filter": [false]})),
            ("POST", "/apps/shop/triggers".to_owned(), json!({"script_id": script, "on": ["queue", "q"]})),
            ("POST", "/apps/shop/triggers".to_owned(), json!({"script_id": script, "on": on, "retry": [1]})),
            ("POST", "/apps/shop/routes".to_owned(), route(json!({"auth": ["none"]}))),
            ("POST", "/apps/shop/routes".to_owned(), route(json!({ "auth": custom }))),
            ("POST", "/apps/shop/routes".to_owned(), route(json!({"rate_limit": [1, 1]}))),
            ("POST", "/apps/shop/routes".to_owned(), route(json!({"cors": [["*"]]}))),
            ("PUT", "/apps/shop/ingress".to_owned(), json!({"rate_limit": [1, 1]})),
            ("POST", "/apps/shop/scripts".to_owned(), json!({"name": "a", "source": "1", "limits": [1]})),
            ("POST", format!("/scripts/{script}/test"), json!({"event": ["kind"]})),
            ("PUT", "/apps/shop/kv/c/k".to_owned(), json!([1, null, null])),
        ] {
            let answer = app.admin().request(method, &path).json(&body).send().await;
            assert_eq!(answer.status, 400, "{method} {path} {body}: {answer:?}");
            let said = answer.json()["error"]["message"].to_string();
            let is_told = said.contains("sequence") || said.contains("must be an object");
            assert!(is_told, "{method} {path} {body}: {said}");
        }
        // Arrays that are part of the schema are accepted.
        let asked = json!({"method": "GET", "headers": [["x-a", "1"]]});
        app.admin().post(&format!("/execute/{script}"), asked).send().await.is(200);
    }
}

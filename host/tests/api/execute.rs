//! `POST /execute/{id}`: the test panel.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::app::{Answer, TestApp};
use crate::with_an_app;

/// Returns the whole request.
const ECHO: &str = r#"
    let request = ctx.request;
    #{
        method: request.method, path: request.path, query: request.query,
        headers: request.headers, body: request.body, bytes: request.raw.len(),
        params: request.params, remote_address: request.remote_address,
    }
"#;

async fn execute(app: &TestApp, id: &str, request: Value) -> Answer {
    app.admin().post(&format!("/execute/{id}"), request).send().await
}

/// Returns the result of [`ECHO`].
async fn echoed(app: &TestApp, id: &str, request: Value) -> Value {
    let answer = execute(app, id, request).await.is(200).json();
    assert_eq!(answer["status"], "success", "{answer}");
    serde_json::from_str(answer["response"]["body"].as_str().unwrap()).unwrap()
}

with_an_app! {
    async fn a_script_is_tried_with_any_request(app) {
        let id = app.deploy("shop", "echo", ECHO).await;
        let request = json!({
            "method": "PROPFIND", "path": "/any/where", "query": "a=1&b=%C3%BC",
            "headers": [["content-type", "application/json"], ["x-who", "me"], ["x-who", "you"]],
            "body": "{\"deep\":[1,2]}",
        });
        let expected = json!({
            "method": "PROPFIND", "path": "/any/where", "query": {"a": "1", "b": "ü"},
            "headers": {"content-type": "application/json", "x-who": "me, you"},
            "body": {"deep": [1, 2]}, "bytes": 14, "params": {}, "remote_address": "",
        });
        assert_eq!(echoed(app, &id, request).await, expected);
    }

    async fn without_anything_it_is_asked_as_its_endpoint_would_be(app) {
        let id = app.deploy("shop", "echo", ECHO).await;
        let said = echoed(app, &id, json!({})).await;
        assert_eq!(
            (&said["path"], &said["body"], &said["bytes"]),
            (&json!("/x/shop/echo"), &Value::Null, &json!(0))
        );
        let empty = app.admin().request("POST", &format!("/execute/{id}")).send().await.is(200);
        assert_eq!(empty.json()["status"], "success");
    }

    async fn bytes_travel_as_base64_both_ways(app) {
        let id = app.deploy("shop", "echo", "#{ body: ctx.request.raw }").await;
        let bytes = [0x00, 0xff, 0xfe, b'a'];
        let request = json!({"body": STANDARD.encode(bytes), "body_encoding": "base64"});
        let response = execute(app, &id, request).await.is(200).json()["response"].clone();
        assert_eq!(response["body"], STANDARD.encode(bytes));
        assert_eq!(response["body_encoding"], "base64");
        let response =
            execute(app, &id, json!({"body": "grün"})).await.is(200).json()["response"].clone();
        assert_eq!(
            (&response["body"], &response["body_encoding"]),
            (&json!("grün"), &json!("text"))
        );
    }

    async fn the_answer_tells_all_about_the_run(app) {
        let id = app
            .deploy(
                "shop",
                "hello",
                "log::warn(\"w\", 7);\n#{ status: 404, headers: #{ \"x-a\": 1 }, body: \"b\" }",
            )
            .await;
        let answer = execute(app, &id, json!({})).await.is(200).json();
        assert_eq!(answer["status"], "success");
        assert_eq!(
            answer["response"],
            json!({
                "status": 404,
                "headers": [["x-a", "1"], ["content-type", "text/plain; charset=utf-8"]],
                "body": "b",
                "body_encoding": "text",
            })
        );
        assert_eq!(
            answer["log"],
            json!([{"level": "warn", "message": "w", "data": "7", "line": 1}])
        );
        assert_eq!(answer["error"], Value::Null);
        let row = app.execution(answer["execution_id"].as_str().unwrap()).await;
        assert_eq!((&row["trigger"], &row["status"]), (&json!("execute"), &json!("success")));
        for same in ["log", "fuel_used", "memory_peak_bytes", "duration_us"] {
            assert_eq!(row[same], answer[same], "{same}");
        }
    }

    async fn the_answer_tells_where_it_failed(app) {
        let id = app.deploy("shop", "bad", "let x = 1;\nfn f(a) {\n    a.none()\n}\nf(x);").await;
        let answer = execute(app, &id, json!({})).await.is(200).json();
        assert_eq!((&answer["status"], &answer["response"]), (&json!("error"), &Value::Null));
        let error = &answer["error"];
        assert_eq!((&error["line"], &error["column"]), (&json!(3), &json!(7)), "{error}");
        assert!(error["message"].as_str().unwrap().contains("none"), "{error}");
        let id = app.deploy("shop", "thrower", "throw #{ code: 7, message: `out` };").await;
        let answer = execute(app, &id, json!({})).await.is(200).json();
        let error = json!({
            "message": "out", "line": 1, "column": 1, "thrown": "{\"code\":7,\"message\":\"out\"}",
        });
        assert_eq!(answer["error"], error);
        let row = app.execution(answer["execution_id"].as_str().unwrap()).await;
        assert_eq!(row["error"], error);
    }

    async fn what_is_no_request_is_refused_and_not_run(app) {
        let id = app.deploy("shop", "echo", ECHO).await;
        for request in [
            json!({"method": "NOT A METHOD"}),
            json!({"method": ""}),
            json!({"path": "no slash, spaces"}),
            json!({"headers": [["bad name", "x"]]}),
            json!({"headers": [["x-a", "line\r\nbreak"]]}),
            json!({"body": "%%%", "body_encoding": "base64"}),
        ] {
            execute(app, &id, request.clone()).await.refuses(400, "request_invalid");
        }
        for body in [
            json!("GET"),
            json!({"headers": {"x-a": "b"}}),
            json!({"body": "x", "body_encoding": "hex"}),
            json!({"verb": "GET"}),
        ] {
            execute(app, &id, body.clone()).await.refuses(400, "body_invalid");
        }
        let json = json!({"headers": [["content-type", "application/json"]], "body": "{"});
        execute(app, &id, json).await.refuses(400, "body_invalid");
        assert_eq!(app.count_executions(&id).await, 0);
    }

    async fn a_body_is_bounded_as_at_the_endpoint(app) {
        let id = app.deploy("shop", "size", "ctx.request.raw.len()").await;
        let largest = "a".repeat(4 << 20);
        let answer = execute(app, &id, json!({"body": largest})).await.is(200).json();
        assert_eq!(answer["response"]["body"], "4194304");
        let larger = format!("{largest}a");
        execute(app, &id, json!({"body": larger})).await.refuses(413, "body_too_large");
        let base64 = STANDARD.encode(largest.as_bytes());
        let request = json!({"body": base64, "body_encoding": "base64"});
        let answer = execute(app, &id, request).await.is(200).json();
        assert_eq!(answer["response"]["body"], "4194304");
    }

    async fn a_missing_field_of_an_event_is_named(app) {
        let sources = [
            ("let x = ctx.event.queu.payload; x", "ctx.event has no field \"queu\"; did you mean \"queue\"?"),
            (
                "let x = ctx.event.kv.value; x",
                "there is no ctx.event.kv: an event of another kind has started this run",
            ),
            (
                "let x = ctx.event.queue.paylod.item; x",
                "ctx.event.queue has no field \"paylod\"; did you mean \"payload\"?",
            ),
            ("let x = ctx.request.body; x", "there is no ctx.request: an event has started this run"),
        ];
        for (n, (source, said)) in sources.into_iter().enumerate() {
            let script = app.deploy("shop", &format!("reads-{n}"), source).await;
            let event = json!({"event": {"kind": "queue", "queue": {"queue": "q", "payload": 1}}});
            let answer = app.admin().post(&format!("/scripts/{script}/test"), event).send().await;
            let answer = answer.is(200).json();
            assert_eq!((&answer["status"], &answer["error"]["message"]), (&json!("error"), &json!(said)));
        }
        let right = "[ctx.event.queue.payload.item, ctx.event.kind.len()]";
        let script = app.deploy("shop", "reads", right).await;
        let event = json!({"event": {"kind": "queue", "queue": {"queue": "q", "payload": {"item": 1}}}});
        let answer = app.admin().post(&format!("/scripts/{script}/test"), event).send().await.is(200);
        assert_eq!(answer.json()["response"]["body"], "[1,5]");
    }
}

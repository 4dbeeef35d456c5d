//! Request bodies and their encodings, as scripts see them.

use serde_json::{Value, json};

use crate::app::{CALLER, TestApp};
use crate::with_an_app;

/// The largest body, in bytes.
const BODY_BYTES_MAX: usize = 4 << 20;

/// Returns the request body.
const ECHO: &str = "#{ body: ctx.request.body }";
/// Returns the type of the body.
const KIND: &str = "type_of(ctx.request.body)";

with_an_app! {
    async fn a_json_body_comes_back_as_it_was(app) {
        app.deploy("shop", "echo", "ctx.request.body").await;
        for body in [
            json!({"a": [1, -2, 2.5, true, null, "ü\u{0}\"\\"], "b": {"": {}}}),
            json!([]),
            json!("text"),
            json!(7),
            json!(-1.25),
            json!(false),
            json!(i64::MIN),
            json!(i64::MAX),
        ] {
            let echoed = app.post("/x/shop/echo").json(&body).send().await.is(200);
            assert_eq!(echoed.json(), body);
            assert_eq!(echoed.header("content-type"), Some("application/json"));
        }
        let null = app.post("/x/shop/echo").json(&Value::Null).send().await.is(200);
        assert_eq!(null.text(), "null");
    }

    async fn a_body_is_shown_as_its_type_says(app) {
        app.deploy("shop", "kind", KIND).await;
        for (content_type, body, kind) in [
            ("application/json", b"{}".as_slice(), "map"),
            ("application/JSON; charset=utf-8", b"[1]", "array"),
            ("application/problem+json", b"1", "i64"),
            ("application/json", b"1.5", "f64"),
            ("application/json", b"null", "()"),
            ("text/plain", "grün".as_bytes(), "string"),
            ("text/plain", b"\xff", "blob"),
            ("application/x-www-form-urlencoded", b"a=b", "string"),
            ("image/svg+xml", b"<svg/>", "string"),
            ("image/png", b"abc", "blob"),
            ("application/octet-stream", b"abc", "blob"),
            ("application/json", b"", "()"),
            ("text/plain", b"", "()"),
        ] {
            let answer = app.post("/x/shop/kind").body(content_type, body).send().await.is(200);
            assert_eq!(answer.json(), kind, "{content_type}");
        }
        let bare = app.post("/x/shop/kind").send().await.is(200);
        assert_eq!(bare.json(), "()");
    }

    async fn bytes_come_back_as_they_were(app) {
        app.deploy("shop", "echo", ECHO).await;
        let every_byte: Vec<u8> = (0..=255).cycle().take(5000).collect();
        let call = app.post("/x/shop/echo").body("application/octet-stream", every_byte.clone());
        let echoed = call.send().await.is(200);
        assert_eq!(echoed.body, every_byte);
        assert_eq!(echoed.header("content-type"), Some("application/octet-stream"));
        let echoed = app.post("/x/shop/echo").text("grün\u{0}").send().await.is(200);
        assert_eq!(echoed.text(), "grün\u{0}");
        assert_eq!(echoed.header("content-type"), Some("text/plain; charset=utf-8"));
        let echoed = app.post("/x/shop/echo").send().await.is(200);
        assert!(echoed.body.is_empty() && echoed.header("content-type").is_none(), "{echoed:?}");
    }

    async fn the_raw_bytes_are_there_whatever_the_type(app) {
        app.deploy("shop", "raw", "#{ body: ctx.request.raw }").await;
        for content_type in ["application/json", "text/plain", "image/png"] {
            let answer = app.post("/x/shop/raw").body(content_type, " [ 1 ] ").send().await.is(200);
            assert_eq!(answer.text(), " [ 1 ] ", "{content_type}");
        }
    }

    async fn the_largest_body_is_taken_and_one_byte_more_is_not(app) {
        let id =
            app.deploy("shop", "size", "[ctx.request.raw.len(), ctx.request.body.len()]").await;
        let text = "a".repeat(BODY_BYTES_MAX);
        let json = format!("\"{}\"", "a".repeat(BODY_BYTES_MAX - 2));
        for (content_type, body, length) in [
            ("text/plain", text.clone(), BODY_BYTES_MAX),
            ("image/png", text.clone(), BODY_BYTES_MAX),
            ("application/json", json.clone(), BODY_BYTES_MAX - 2),
        ] {
            let answer = app.post("/x/shop/size").body(content_type, body.clone()).send().await;
            assert_eq!(answer.is(200).json(), json!([BODY_BYTES_MAX, length]), "{content_type}");
            let refused =
                app.post("/x/shop/size").body(content_type, format!("{body} ")).send().await;
            refused.refuses(413, "body_too_large");
        }
        assert_eq!(app.count_executions(&id).await, 3);
    }

    async fn invalid_json_is_refused_before_the_script_runs(app) {
        let id = app.deploy("shop", "echo", ECHO).await;
        for body in
            ["{", "{\"a\":}", "nul", "1 2", "1e999", "\"\\ud800\"", "[1,]", "'a'", "\u{feff}\u{feff}1"]
        {
            let refused = app.post("/x/shop/echo").body("application/json", body).send().await;
            refused.refuses(400, "body_invalid");
            assert_eq!(refused.header("x-picloud-execution-id"), None);
        }
        let call = app.post("/x/shop/echo").body("application/json", b"\"\xff\"".as_slice());
        call.send().await.refuses(400, "body_invalid");
        let call = app.post("/x/shop/echo").body("application/json", "{\n  \"a\": oops\n}");
        let error = call.send().await.refuses(400, "body_invalid");
        assert_eq!((&error["line"], &error["column"]), (&json!(2), &json!(8)), "{error}");
        assert_eq!(app.count_executions(&id).await, 0);
    }

    async fn json_nests_so_deep_and_no_deeper(app) {
        let id = app.deploy("shop", "echo", "ctx.request.body").await;
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        let call = |depth| app.post("/x/shop/echo").body("application/json", nested(depth)).send();
        assert_eq!(call(127).await.is(200).text(), nested(127));
        for depth in [128, 10_000, BODY_BYTES_MAX / 2] {
            call(depth).await.refuses(400, "body_invalid");
        }
        let objects = format!("{}1{}", "{\"a\":".repeat(1000), "}".repeat(1000));
        let call = app.post("/x/shop/echo").body("application/json", objects);
        call.send().await.refuses(400, "body_invalid");
        assert_eq!(app.count_executions(&id).await, 1);
    }

    async fn a_script_sees_the_whole_request(app) {
        let source = "let r = ctx.request; #{ method: r.method, path: r.path, query: r.query, \
            accept: r.headers.accept, cookie: r.headers.cookie, from: r.remote_address, \
            app: ctx.app, script: ctx.script, execution: ctx.execution }";
        app.deploy("shop", "whole", source).await;
        let call = app.request("PATCH", "/x/shop/whole?a=1&a=2&b=c%26d&flag");
        let call = call.header("Accept", "a").header("accept", "b");
        let answer = call.header("cookie", "c=1").header("cookie", "d=2").send().await.is(200);
        assert_eq!(
            answer.json(),
            json!({
                "method": "PATCH", "path": "/x/shop/whole",
                "query": {"a": "2", "b": "c&d", "flag": ""},
                "accept": "a, b", "cookie": "c=1; d=2", "from": CALLER,
                "app": "shop", "script": "whole",
                "execution": {"id": answer.execution_id(), "version": 1, "attempt": 1},
            })
        );
    }

    async fn every_method_reaches_a_script(app) {
        app.deploy("shop", "method", "#{ headers: #{ \"x-method\": ctx.request.method } }").await;
        for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PURGE"] {
            let answer = app.request(method, "/x/shop/method").send().await.is(200);
            assert_eq!(answer.header("x-method"), Some(method));
        }
    }

    async fn concurrent_callers_each_get_their_own_answer(app) {
        app.deploy("shop", "echo", "ctx.request.query.n").await;
        let numbers = 0..64;
        let answers = futures::future::join_all(
            numbers.clone().map(|number| app.get(&format!("/x/shop/echo?n={number}")).send()),
        );
        let mut ids = std::collections::HashSet::new();
        for (number, answer) in numbers.zip(answers.await) {
            assert_eq!(answer.json(), number.to_string());
            assert!(ids.insert(answer.is(200).execution_id().to_owned()));
        }
    }
}

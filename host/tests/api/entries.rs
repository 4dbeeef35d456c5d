//! Reading and changing keys and files by hand.

use serde_json::{Value, json};

use crate::app::{Answer, TestApp};
use crate::with_an_app;

/// Creates an app whose script stores every event it gets.
async fn with_listener(app: &TestApp, on: Value) {
    let script = app
        .deploy(
            "shop",
            "listen",
            r#"
                let seen = kv::collection("seen");
                seen.set(seen.increment("count").to_string(), ctx.event);
            "#,
        )
        .await;
    app.trigger("shop", &script, on).await;
}

async fn put(app: &TestApp, path: &str, body: Value) -> Answer {
    app.admin().put(&format!("/apps/shop/kv/{path}"), body).send().await
}

async fn get(app: &TestApp, path: &str) -> Answer {
    app.admin().get(&format!("/apps/shop/{path}")).send().await
}

with_an_app! {
    async fn a_key_is_set_shown_and_deleted_and_its_triggers_fire(app) {
        with_listener(app, json!({"kind": "kv", "collection": "stock"})).await;
        let set = put(app, "stock/apple", json!({"value": {"n": 1}})).await.is(200).json();
        assert_eq!((&set["collection"], &set["key"]), (&json!("stock"), &json!("apple")));
        assert_eq!((&set["value"], &set["expires_at"]), (&json!({"n": 1}), &Value::Null));
        assert_eq!(get(app, "kv/stock/apple").await.is(200).json(), set);
        put(app, "stock/apple", json!({"value": [2]})).await.is(200);
        app.admin().delete("/apps/shop/kv/stock/apple").send().await.is(204);
        get(app, "kv/stock/apple").await.refuses(404, "key_not_found");
        app.admin().delete("/apps/shop/kv/stock/apple").send().await.refuses(404, "key_not_found");
        app.settled("shop").await;
        let mut seen = Vec::new();
        for n in ["1", "2", "3"] {
            let event = app.value("shop", "seen", n).await;
            seen.push((event["operation"].clone(), event["kv"].clone()));
        }
        seen.sort_by_key(|(operation, _)| operation.to_string());
        let of = |value: Value| json!({"collection": "stock", "key": "apple", "value": value});
        assert_eq!(seen, [
            (json!("delete"), of(Value::Null)),
            (json!("insert"), of(json!({"n": 1}))),
            (json!("update"), of(json!([2]))),
        ]);
    }

    async fn a_name_that_nothing_can_have_is_refused_in_lists_too(app) {
        app.deploy("shop", "any", "1").await;
        let long = "c".repeat(257);
        for path in [
            format!("/apps/shop/kv/{long}"),
            format!("/apps/shop/files/{long}"),
            "/apps/shop/kv/c%00".to_owned(),
            "/apps/shop/outbox?source=%00".to_owned(),
            "/apps/shop/audit?action=%00".to_owned(),
        ] {
            app.admin().get(&path).send().await.refuses(400, "query_invalid");
        }
        let longest = "c".repeat(256);
        app.admin().get(&format!("/apps/shop/kv/{longest}")).send().await.is(200);
    }

    async fn a_script_sees_what_was_set_by_hand(app) {
        let source = r#"kv::collection("c").get("k")"#;
        app.deploy("shop", "read", source).await;
        put(app, "c/k", json!({"value": "by hand"})).await.is(200);
        assert_eq!(app.get("/x/shop/read").send().await.is(200).json(), "by hand");
    }

    async fn a_key_is_set_only_at_the_version_that_was_seen(app) {
        app.deploy("shop", "any", "1").await;
        put(app, "c/k", json!({"value": 1, "if_version": 7})).await.refuses(409, "version_conflict");
        let made = put(app, "c/k", json!({"value": 1, "if_version": 0})).await.is(200).json();
        put(app, "c/k", json!({"value": 2, "if_version": 0})).await.refuses(409, "version_conflict");
        let next = json!({"value": 2, "if_version": made["version"]});
        let changed = put(app, "c/k", next.clone()).await.is(200).json();
        assert!(changed["version"].as_i64() > made["version"].as_i64());
        put(app, "c/k", next).await.refuses(409, "version_conflict");
        assert_eq!(get(app, "kv/c/k").await.is(200).json()["value"], 2);
    }

    async fn keys_and_paths_may_hold_any_character(app) {
        app.deploy("shop", "any", "1").await;
        for (encoded, key) in
            [("a%2Fb", "a/b"), ("%2F", "/"), ("%C3%BC%20%3F%23", "ü ?#"), ("..%2Fup", "../up")]
        {
            let set = put(app, &format!("c/{encoded}"), json!({"value": key})).await.is(200).json();
            assert_eq!(set["key"], key);
            assert_eq!(get(app, &format!("kv/c/{encoded}")).await.is(200).json()["value"], key);
            let put = app.admin().request("PUT", &format!("/apps/shop/files/b/{encoded}"));
            assert_eq!(put.body("text/x", key).send().await.is(200).json()["path"], key);
            assert_eq!(get(app, &format!("files/b/{encoded}")).await.is(200).text(), key);
        }
    }

    async fn what_no_script_could_write_is_refused(app) {
        app.deploy("shop", "any", "1").await;
        let refused = async |path: &str, body: Value| {
            put(app, path, body).await.refuses(400, "entry_invalid")["message"].to_string()
        };
        assert!(refused("c/%00", json!({"value": 1})).await.contains("NUL"));
        assert!(refused("c%00/k", json!({"value": 1})).await.contains("NUL"));
        for (bytes, allowed) in [(256, true), (257, false)] {
            let answer = put(app, &format!("{}/k", "c".repeat(bytes)), json!({"value": 1})).await;
            assert_eq!(answer.status == 200, allowed, "a collection of {bytes} bytes");
        }
        for (bytes, allowed) in [(1024, true), (1025, false)] {
            let answer = put(app, &format!("c/{}", "k".repeat(bytes)), json!({"value": 1})).await;
            assert_eq!(answer.status == 200, allowed, "a key of {bytes} bytes");
        }
        let most = 256 * 1024 - 2;
        put(app, "c/k", json!({"value": "x".repeat(most)})).await.is(200);
        assert!(refused("c/k", json!({"value": "x".repeat(most + 1)})).await.contains("262144"));
        let nested = |deep: usize| (0..deep).fold(json!(1), |value, _| json!([value]));
        put(app, "c/k", json!({"value": nested(64)})).await.is(200);
        assert!(refused("c/k", json!({"value": nested(65)})).await.contains("64"));
        for (ttl_ms, allowed) in [(0, false), (1, true), (-1, false), (3_153_600_000_000_i64, true),
            (3_153_600_000_001, false)]
        {
            let answer = put(app, "c/ttl", json!({"value": 1, "ttl_ms": ttl_ms})).await;
            assert_eq!(answer.status == 200, allowed, "{ttl_ms}");
        }
        put(app, "c/k", json!({"valeu": 1})).await.refuses(400, "body_invalid");
        app.admin().put("/apps/other/kv/c/k", json!({"value": 1})).send().await
            .refuses(404, "app_not_found");
    }

    async fn a_file_is_written_sent_and_deleted_and_its_triggers_fire(app) {
        with_listener(app, json!({"kind": "files", "bucket": "in", "path": "*.html"})).await;
        let path = "/apps/shop/files/in/a%2Fpage.html";
        let page = "<script>alert(1)</script>";
        let file = app.admin().request("PUT", path).body("text/html", page).send().await;
        let file = file.is(200).json();
        assert_eq!((&file["bucket"], &file["path"]), (&json!("in"), &json!("a/page.html")));
        assert_eq!((&file["size_bytes"], &file["content_type"]), (&json!(25), &json!("text/html")));
        let sent = app.admin().get(path).send().await.is(200);
        assert_eq!(sent.text(), page);
        assert_eq!(sent.header("content-type"), Some("application/octet-stream"));
        assert_eq!(sent.header("x-picloud-content-type"), Some("text/html"));
        assert_eq!(sent.header("content-disposition"), Some("attachment; filename*=UTF-8''page.html"));
        assert_eq!(sent.header("x-content-type-options"), Some("nosniff"));
        assert!(sent.header("content-security-policy").unwrap().starts_with("sandbox"));
        app.admin().delete(path).send().await.is(204);
        app.admin().get(path).send().await.refuses(404, "file_not_found");
        app.settled("shop").await;
        let mut operations = Vec::new();
        for n in ["1", "2"] {
            operations.push(app.value("shop", "seen", n).await["operation"].to_string());
        }
        operations.sort();
        assert_eq!(operations, ["\"delete\"", "\"insert\""]);
    }

    async fn what_is_set_is_answered_also_when_its_time_is_up_at_once(app) {
        app.deploy("shop", "any", "1").await;
        let first = put(app, "c/k", json!({"value": {"a": 1}, "ttl_ms": 1})).await.is(200).json();
        assert_eq!((&first["value"], &first["key"]), (&json!({"a": 1}), &json!("k")));
        // The clock of the tests advances by a minute with each read.
        assert!(first["expires_at"].as_i64() < first["updated_at"].as_i64(), "{first}");
        get(app, "kv/c/k").await.refuses(404, "key_not_found");
        let second = put(app, "c/k", json!({"value": 2})).await.is(200).json();
        assert!(second["version"].as_i64() > first["version"].as_i64(), "{first} {second}");
        assert_eq!(get(app, "kv/c/k").await.is(200).json(), second);
    }

    async fn a_content_type_has_no_control_characters(app) {
        app.deploy("shop", "put", r#"files::bucket("b").put("f", "x", ctx.request.body); 1"#).await;
        for c in ('\0'..' ').chain(['\u{7f}', '\u{80}', '\u{85}', '\u{9f}']) {
            let content_type = format!("text/plain{c}x-evil: 1");
            let refused = app.post("/x/shop/put").json(&json!(content_type)).by_owner().send().await;
            assert!(refused.is(500).text().contains("a content type must not contain"), "{c:?}");
        }
        app.admin().get("/apps/shop/files/b/f").send().await.refuses(404, "file_not_found");
        // All bytes that a header can hold.
        for content_type in [&b"text/plain\tx"[..], b"text/pl\xc3\xa4in", b"text/\xff"] {
            let value = axum::http::HeaderValue::from_bytes(content_type).unwrap();
            let call = app.admin().request("PUT", "/apps/shop/files/b/f").header_value("content-type", value);
            call.send().await.refuses(400, "entry_invalid");
        }
        let good = "text/plain; charset=utf-8; x=\"y\"";
        app.post("/x/shop/put").json(&json!(good)).send().await.is(200);
        let file = app.admin().get("/apps/shop/files/b/f").send().await.is(200);
        assert_eq!(file.header("x-picloud-content-type"), Some(good));
    }

    async fn a_file_has_a_largest_size_and_may_be_empty(app) {
        app.deploy("shop", "any", "1").await;
        let put = async |bytes: usize| {
            let call = app.admin().request("PUT", "/apps/shop/files/b/f");
            call.body("application/octet-stream", vec![7_u8; bytes]).send().await
        };
        put(0).await.is(200);
        assert_eq!(app.admin().get("/apps/shop/files/b/f").send().await.is(200).body.len(), 0);
        put(4 << 20).await.is(200);
        put((4 << 20) + 1).await.refuses(413, "body_too_large");
        assert_eq!(app.admin().get("/apps/shop/files/b/f").send().await.is(200).body.len(), 4 << 20);
    }
}

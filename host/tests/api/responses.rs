//! Responses to callers: a script's own, or a failure.

use serde_json::json;

use crate::app::TestApp;
use crate::with_an_app;

/// The most bytes of a response, body and headers together.
const RESPONSE_BYTES_MAX: usize = 4 << 20;
/// The content type of a blob: `content-type: application/octet-stream`.
const BLOB_HEADER_BYTES: usize = 12 + 24;

with_an_app! {
    async fn status_and_headers_are_the_scripts(app) {
        let source = r#"#{ status: 418, headers: #{ "X-Tea": "green", "x-cups": 2, "x-hot": true,
            "set-cookie": ["a=1", "b=2"], "content-type": "text/x-tea" },
            body: "short and stout" }"#;
        app.deploy("shop", "tea", source).await;
        let answer = app.get("/x/shop/tea").send().await.is(418);
        assert_eq!(answer.header("x-tea"), Some("green"));
        assert_eq!((answer.header("x-cups"), answer.header("x-hot")), (Some("2"), Some("true")));
        assert_eq!(answer.header("content-type"), Some("text/x-tea"));
        let cookies: Vec<_> = answer.headers.get_all("set-cookie").iter().collect();
        assert_eq!(cookies, ["a=1", "b=2"]);
        assert_eq!(answer.text(), "short and stout");
    }

    async fn every_status_from_200_to_599_is_passed_on(app) {
        app.deploy("shop", "status", "#{ status: parse_int(ctx.request.query.s) }").await;
        for status in [200, 201, 204, 302, 304, 400, 404, 418, 451, 500, 503, 599] {
            let answer = app.get(&format!("/x/shop/status?s={status}")).send().await.is(status);
            assert!(answer.body.is_empty(), "{answer:?}");
        }
        for status in [-1, 0, 99, 101, 199, 600, 1000, 8_589_934_792_i64] {
            let answer = app.get(&format!("/x/shop/status?s={status}")).send().await;
            answer.refuses(500, "execution_error");
        }
    }

    async fn every_execution_has_an_id_that_its_caller_can_name(app) {
        app.deploy("shop", "good", "1").await;
        app.deploy("shop", "bad", "throw 1").await;
        app.deploy(
            "shop",
            "forger",
            r#"#{ headers: #{ "x-picloud-execution-id": "mine" } }"#,
        )
        .await;
        let good = app.get("/x/shop/good").send().await.is(200);
        assert_eq!(app.execution(good.execution_id()).await["status"], "success");
        let bad = app.get("/x/shop/bad").send().await.is(500);
        assert_eq!(app.execution(bad.execution_id()).await["status"], "error");
        assert_eq!(bad.json()["error"]["execution_id"], bad.execution_id());
        let forged = app.get("/x/shop/forger").send().await.is(500);
        assert_eq!(app.execution(forged.execution_id()).await["script"], "forger");
    }

    async fn only_the_owner_is_told_what_an_execution_cost(app) {
        app.deploy("shop", "good", "1").await;
        app.deploy("shop", "bad", "throw 1").await;
        for (path, status) in [("/x/shop/good", 200), ("/x/shop/bad", 500)] {
            assert_eq!(app.get(path).send().await.is(status).header("x-picloud-fuel"), None);
            let wrong = app.get(path).header("authorization", "Bearer owner-key-of-the-test");
            assert_eq!(wrong.send().await.is(status).header("x-picloud-fuel"), None);
            let told = app.get(path).by_owner().send().await.is(status);
            let row = app.execution(told.execution_id()).await;
            assert_eq!(told.header("x-picloud-fuel"), Some(row["fuel_used"].to_string().as_str()));
        }
    }

    async fn only_the_owner_is_told_why_a_script_failed(app) {
        app.deploy("shop", "bad", "\n  throw #{ message: \"S3CRET\" };").await;
        let told = app.get("/x/shop/bad").send().await;
        let error = told.refuses(500, "execution_error");
        assert_eq!(
            error,
            json!({
                "code": "execution_error", "message": "the script failed",
                "execution_id": told.execution_id(),
            })
        );
        let told = app.get("/x/shop/bad").by_owner().send().await;
        let error = told.refuses(500, "execution_error");
        assert_eq!(
            (&error["message"], &error["line"], &error["column"]),
            (&json!("S3CRET"), &json!(2), &json!(3))
        );
    }

    async fn a_failure_has_a_status_and_a_code_by_its_kind(app) {
        let limits = json!({"wall_ms_max": 30, "fuel_max": 40_000_000_000_i64});
        let endless = json!({"name": "slow", "source": "loop {}", "limits": limits});
        app.deploy_with("shop", endless).await;
        app.deploy("shop", "busy", "loop {}").await;
        app.deploy("shop", "fat", "let a = \"0123456789abcdef\"; loop { a += a; }").await;
        app.deploy("shop", "deep", "fn f() { f() } f()").await;
        for (script, status, code) in [
            ("slow", 504, "execution_timeout"),
            ("busy", 500, "execution_budget_exceeded"),
            ("fat", 500, "execution_memory_exceeded"),
            ("deep", 500, "execution_limit_exceeded"),
        ] {
            let answer = app.get(&format!("/x/shop/{script}")).by_owner().send().await;
            let error = answer.refuses(status, code);
            assert!(error["limit"]["allowed"].as_u64() > Some(0), "{error}");
            let words = error["message"].as_str().unwrap();
            assert!(words.contains(error["limit"]["limit"].as_str().unwrap()), "{error}");
        }
    }

    async fn the_largest_response_is_sent_and_one_byte_more_is_not(app) {
        app.deploy("shop", "blob", "#{ body: blob(parse_int(ctx.request.query.n), 7) }").await;
        let largest = RESPONSE_BYTES_MAX - BLOB_HEADER_BYTES;
        let answer = app.get(&format!("/x/shop/blob?n={largest}")).send().await.is(200);
        assert_eq!(answer.body.len(), largest);
        assert!(answer.body.iter().all(|byte| *byte == 7));
        for more in [1, 100_000] {
            let path = format!("/x/shop/blob?n={}", largest + more);
            let error =
                app.get(&path).by_owner().send().await.refuses(500, "execution_limit_exceeded");
            assert_eq!(error["limit"]["limit"], "response_bytes", "{error}");
            assert_eq!(error["limit"]["allowed"], RESPONSE_BYTES_MAX);
            assert!(error["limit"]["used"].as_u64() > Some(RESPONSE_BYTES_MAX as u64), "{error}");
        }
    }
}

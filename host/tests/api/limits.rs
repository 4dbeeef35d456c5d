//! A script gets exactly the limits it requests, within the ceiling.

use serde_json::json;

use crate::app::TestApp;
use crate::{on_both_databases, with_an_app};

const FUEL_CEILING: u64 = 40_000_000_000;
const MEMORY_CEILING: u64 = 256 << 20;
const MEMORY_LEAST: u64 = 8 << 20;
const WALL_CEILING: u64 = 60_000;
const LOG_LINE_CHARS_MAX: usize = 10_000;

with_an_app! {
    /// Nested calls share the limits of the whole run, and a script cannot catch the end of the
    /// run.
    async fn a_limit_is_that_of_the_whole_run(app) {
        for (name, source) in [
            ("calls", r#"for n in 0..99 { kv::collection("c").has("k"); } 1"#),
            ("lines", r#"for n in 0..400 { log::info("x"); } 1"#),
            ("bytes", r#"let line = ""; line.pad(9000, 'x'); for n in 0..15 { log::info(line); } 1"#),
            ("values", r#"
                let value = ""; value.pad(200000, 'x');
                for n in 0..20 { kv::collection("c").set(`${ctx.event.script.payload}-${n}`, value); } 1"#),
        ] {
            app.deploy("shop", name, source).await;
        }
        app.deploy("shop", "three", r#"
            for n in 0..3 {
                try { scripts::call(ctx.request.body, n); } catch { log::warn("caught"); }
            }
            "survived""#).await;
        for (script, limit) in [
            ("calls", "host_calls"),
            ("lines", "log_lines"),
            ("bytes", "log_bytes"),
            ("values", "effects_bytes"),
        ] {
            let call = app.post("/x/shop/three").json(&json!(script)).by_owner().send().await;
            let error = call.is(500).json()["error"].clone();
            assert_eq!(error["limit"]["limit"], limit, "{script}: {error}");
        }
        assert_eq!(app.value("shop", "c", "0-0").await, json!(null));
    }

    async fn a_change_of_the_same_entry_counts_once_in_bytes_too(app) {
        app.deploy("shop", "again", r#"
            let value = ""; value.pad(200000, 'x');
            for n in 0..100 { kv::collection("c").set("k", value); }
            1"#).await;
        app.post("/x/shop/again").by_owner().send().await.is(200);
    }

    async fn a_listing_has_a_size(app) {
        app.deploy("shop", "fill", r#"
            let value = ""; value.pad(250000, 'x');
            for n in 0..30 { kv::collection("c").set(`${ctx.request.body}-${n}`, value); }"#).await;
        for part in 0..3 {
            app.post("/x/shop/fill").json(&json!(part)).send().await.is(200);
        }
        app.deploy("shop", "all", r#"kv::collection("c").list("", 1000).items.len()"#).await;
        app.deploy("shop", "few", r#"kv::collection("c").list("", 10).items.len()"#).await;
        let error = app.post("/x/shop/all").by_owner().send().await.is(500).json();
        assert_eq!(error["error"]["limit"]["limit"], "list_bytes", "{error}");
        app.post("/x/shop/few").by_owner().send().await.is(200);
    }

    async fn the_log_keeps_the_beginning_of_a_large_value_and_its_size(app) {
        app.deploy("shop", "large", r#"let value = ""; value.pad(1000000, 'x'); value"#).await;
        app.deploy("shop", "ask", r#"scripts::call("large", ()).len()"#).await;
        let answer = app.post("/x/shop/ask").send().await.is(200);
        assert_eq!(answer.json(), 1_000_000);
        let id = answer.header("x-picloud-execution-id").unwrap().to_owned();
        app.flush().await;
        let rows = app.admin().get("/apps/shop/executions").send().await.is(200).json();
        let rows = rows["items"].as_array().unwrap();
        let called = rows.iter().find(|row| row["parent_id"] == id.as_str()).unwrap();
        let called = app.execution(called["id"].as_str().unwrap()).await;
        assert_eq!(called["response"]["body_bytes"], 1_000_002);
    }

    async fn a_limit_above_the_ceiling_is_refused_by_name(app) {
        let id = app.deploy("shop", "hello", "1").await;
        for (field, limit, least, most) in [
            ("fuel_max", "fuel", 1, FUEL_CEILING),
            ("memory_bytes_max", "memory_bytes", MEMORY_LEAST, MEMORY_CEILING),
            ("wall_ms_max", "wall_ms", 1, WALL_CEILING),
        ] {
            for (asked, code) in [
                (most + 1, "limit_above_ceiling"),
                (u64::MAX, "limit_above_ceiling"),
                (least - 1, "limit_below_minimum"),
            ] {
                let limits = json!({field: asked});
                let body = json!({"name": "new", "source": "1", "limits": limits});
                let answers = [
                    app.admin().post("/apps/shop/scripts", body).send().await,
                    app.admin()
                        .put(&format!("/scripts/{id}"), json!({"limits": limits}))
                        .send()
                        .await,
                ];
                for answer in answers {
                    let error = answer.refuses(422, code);
                    assert_eq!((&error["limit"], &error["asked"]), (&json!(limit), &json!(asked)));
                    assert_eq!((&error["least"], &error["most"]), (&json!(least), &json!(most)));
                    assert!(error["message"].as_str().unwrap().contains(limit), "{error}");
                }
            }
            for asked in [least, most] {
                let change = json!({"limits": {field: asked}});
                let changed =
                    app.admin().put(&format!("/scripts/{id}"), change).send().await.is(200);
                assert_eq!(changed.json()["limits"][field], asked);
            }
        }
        for limits in
            [json!({"fuel_max": -1}), json!({"fuel_max": "1"}), json!({"fuel": 1}), json!(1)]
        {
            let refused =
                app.admin().put(&format!("/scripts/{id}"), json!({"limits": limits})).send().await;
            refused.refuses(400, "body_invalid");
        }
    }

    async fn a_log_line_is_cut_where_it_is_too_long(app) {
        let source =
            "let text = \"\"; text.pad(parse_int(ctx.request.query.n), 'ü'); log::info(text)";
        app.deploy("shop", "chatty", source).await;
        let kept = async |chars: usize| {
            let ran = app.get(&format!("/x/shop/chatty?n={chars}")).send().await.is(200);
            let row = app.execution(ran.execution_id()).await;
            row["log"][0]["message"].as_str().unwrap().to_owned()
        };
        let whole = "ü".repeat(LOG_LINE_CHARS_MAX);
        assert_eq!(kept(LOG_LINE_CHARS_MAX).await, whole);
        for more in [1, 2000] {
            assert_eq!(kept(LOG_LINE_CHARS_MAX + more).await, format!("{whole}…"));
        }
    }

    async fn a_change_of_limits_is_in_force_for_the_next_call(app) {
        let body = json!({"name": "hello", "source": "let n = 0; while n < 1000 { n += 1; } n"});
        let id = app.deploy_with("shop", body).await;
        let fuel = app.get("/x/shop/hello").by_owner().send().await.is(200);
        let fuel: u64 = fuel.header("x-picloud-fuel").unwrap().parse().unwrap();
        let set = |fuel_max: u64| {
            app.admin()
                .put(&format!("/scripts/{id}"), json!({"limits": {"fuel_max": fuel_max}}))
                .send()
        };
        set(fuel).await.is(200);
        app.get("/x/shop/hello").by_owner().send().await.is(200);
        // The counter is checked where loops and functions begin, so the last few instructions of a
        // run can exceed the limit.
        let less = fuel - fuel / 100;
        set(less).await.is(200);
        let refused = app.get("/x/shop/hello").by_owner().send().await;
        let error = refused.refuses(500, "execution_budget_exceeded");
        assert_eq!(error["limit"], json!({"limit": "fuel", "used": less, "allowed": less}));
        assert_eq!(error["line"], 1);
    }
}

on_both_databases! {
    /// The environment sets less than the defaults, and less than the limits that a script was
    /// granted before.
    async fn nobody_gets_more_than_the_ceiling_of_the_environment(database) {
        let app = TestApp::start(database).await;
        let greedy = json!({
            "name": "busy", "source": "loop {}", "limits": {"fuel_max": 1_000_000_000},
        });
        app.deploy_with("shop", greedy).await;
        app.deploy("shop", "modest", "let n = 0; loop { n += 1; }").await;
        app.deploy(
            "shop",
            "chatty",
            "let n = parse_int(ctx.request.query.n); for i in 0..n { log::info(i); }",
        )
        .await;
        app.deploy("shop", "asking", "for i in 0..parse_int(ctx.request.query.n) { time::now(); }")
            .await;
        app.deploy(
            "shop",
            "deep",
            "fn f(n) { if n > 1 { f(n - 1) } else { 0 } } f(parse_int(ctx.request.query.n))",
        )
        .await;
        app.deploy("shop", "size", "ctx.request.raw.len()").await;
        app.close().await;

        let app = TestApp::start_with(
            database,
            &[
                ("PICLOUD_MAX_FUEL", "5000000"),
                ("PICLOUD_MAX_LOG_LINES", "3"),
                ("PICLOUD_MAX_HOST_CALLS", "4"),
                ("PICLOUD_MAX_CALL_DEPTH", "5"),
                ("PICLOUD_MAX_REQUEST_BYTES", "2048"),
                ("PICLOUD_MAX_RESPONSE_BYTES", "1024"),
            ],
        )
        .await;
        for script in ["busy", "modest"] {
            let answer = app.get(&format!("/x/shop/{script}")).by_owner().send().await;
            let error = answer.refuses(500, "execution_budget_exceeded");
            assert_eq!(error["limit"]["allowed"], 5_000_000, "{error}");
        }
        for (script, limit, most) in
            [("chatty", "log_lines", 3), ("asking", "host_calls", 4), ("deep", "call_depth", 5)]
        {
            app.get(&format!("/x/shop/{script}?n={most}")).send().await.is(200);
            let answer =
                app.get(&format!("/x/shop/{script}?n={}", most + 1)).by_owner().send().await;
            let error = answer.refuses(500, "execution_limit_exceeded");
            assert_eq!(error["limit"], json!({"limit": limit, "used": most + 1, "allowed": most}));
            assert_eq!(error["line"], 1, "{error}");
        }
        app.post("/x/shop/size").text(&"a".repeat(2048)).send().await.is(200);
        let refused = app.post("/x/shop/size").text(&"a".repeat(2049)).send().await;
        refused.refuses(413, "body_too_large");
        let id = app
            .deploy(
                "shop",
                "large",
                "#{ headers: #{ \"content-type\": \"a\" }, body: blob(1011, 7) }",
            )
            .await;
        app.get("/x/shop/large").send().await.is(200);
        app.update(&id, "#{ headers: #{ \"content-type\": \"a\" }, body: blob(1012, 7) }")
            .await
            .is(200);
        let error = app
            .get("/x/shop/large")
            .by_owner()
            .send()
            .await
            .refuses(500, "execution_limit_exceeded");
        assert_eq!(
            error["limit"],
            json!({"limit": "response_bytes", "used": 1025, "allowed": 1024})
        );
        app.close().await;
    }
}

//! What a script may ask for, and that what it asked for is what it gets.

use serde_json::json;

use crate::app::TestApp;
use crate::{on_both_databases, with_an_app};

const FUEL_CEILING: u64 = 40_000_000_000;
const MEMORY_CEILING: u64 = 256 << 20;
const MEMORY_LEAST: u64 = 8 << 20;
const WALL_CEILING: u64 = 60_000;
const LOG_LINE_CHARS_MAX: usize = 10_000;

with_an_app! {
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
        // The counter is looked at where loops and functions begin, so that the last
        // few instructions of a run may still be over.
        let less = fuel - fuel / 100;
        set(less).await.is(200);
        let refused = app.get("/x/shop/hello").by_owner().send().await;
        let error = refused.refuses(500, "execution_budget_exceeded");
        assert_eq!(error["limit"], json!({"limit": "fuel", "used": less, "allowed": less}));
        assert_eq!(error["line"], 1);
    }
}

on_both_databases! {
    /// The environment says less than the defaults, and less than what a script was
    /// granted when there was more.
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

//! Routes that store a request before they run it.

use std::pin::pin;
use std::time::{Duration, Instant};

use futures::poll;
use serde_json::{Value, json};

use crate::app::{Answer, TestApp};
use crate::with_an_app;

async fn route(app: &TestApp, script_id: &str, delivery: &str) {
    let route =
        json!({"script_id": script_id, "method": "POST", "path": "/in/{id}", "delivery": delivery});
    app.admin().post("/apps/shop/routes", route).send().await.is(201);
}

const COUNT: &str = r#"
    let n = kv::collection("counts").increment("runs");
    #{ status: 201, headers: #{ "x-run": n.to_string() }, body: #{ n: n, id: ctx.request.params.id, sent: ctx.request.body } }
"#;

async fn post(app: &TestApp, key: Option<&str>) -> Answer {
    let call = app.post("/x/shop/in/7?a=b").json(&json!({"x": "ü"}));
    let call = match key {
        Some(key) => call.header("idempotency-key", key),
        None => call,
    };
    call.send().await
}

/// Asks, and leaves as soon as the script has begun.
async fn post_and_leave(app: &TestApp) {
    let has_begun = async || {
        let page = app.admin().get("/apps/shop/outbox").send().await.is(200).json();
        page["items"][0]["state"] == "running"
    };
    let mut answer = pin!(post(app, None));
    let begun = Instant::now();
    loop {
        assert!(poll!(answer.as_mut()).is_pending(), "it was answered too soon");
        if has_begun().await {
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "it never begins");
    }
}

/// A script that takes so long that its caller can leave meanwhile.
async fn long(app: &TestApp, end: &str) -> String {
    let script = json!({
        "name": "long",
        "source": format!("let n = 0; while n < 3_000_000 {{ n += 1; }} {end}"),
        "limits": {"fuel_max": 10_000_000_000_u64, "wall_ms_max": 60_000},
    });
    app.deploy_with("shop", script).await
}

with_an_app! {
    async fn the_answer_to_a_caller_who_has_left_is_kept(app) {
        let script = long(app, "#{ status: 201, body: n }").await;
        route(app, &script, "durable").await;
        post_and_leave(app).await;
        app.settled("shop").await;
        let apps = app.admin().get("/apps/shop").send().await.is(200).json();
        let app_id = apps["id"].as_str().unwrap().parse().unwrap();
        let page = picloud::store::Page { limit: 10, offset: 0 };
        let kept = app.store().list_abandoned_executions(&app_id, page).await.unwrap();
        assert_eq!(kept.len(), 1, "{kept:?}");
        assert!(kept[0].response.as_str().contains("3000000"), "{kept:?}");
    }

    async fn a_failure_that_no_caller_was_told_of_is_tried_again(app) {
        let script = long(app, r#"if ctx.execution.attempt == 1 { throw "no" }"#).await;
        route(app, &script, "durable").await;
        post_and_leave(app).await;
        app.settled("shop").await;
        app.flush().await;
        assert_eq!(app.count_executions(&script).await, 2);
        assert_eq!(app.dead_letters("shop").await, [Value::Null; 0]);
    }

    async fn a_durable_request_is_answered_by_its_script(app) {
        let script = app.deploy("shop", "count", COUNT).await;
        route(app, &script, "durable").await;
        let answer = post(app, None).await.is(201);
        assert_eq!(answer.json(), json!({"n": 1, "id": "7", "sent": {"x": "ü"}}));
        assert_eq!(answer.header("x-run"), Some("1"));
        let execution = app.execution(answer.execution_id()).await;
        assert_eq!(execution["status"], "success");
        assert_eq!(execution["request"]["path"], "/x/shop/in/7", "{execution}");
        app.settled("shop").await;
    }

    async fn a_failed_durable_request_is_told_and_not_tried_again(app) {
        let script = app.deploy("shop", "fail", r#"throw "no""#).await;
        route(app, &script, "durable").await;
        post(app, None).await.is(500);
        app.settled("shop").await;
        app.flush().await;
        assert_eq!(app.count_executions(&script).await, 1);
        assert_eq!(app.dead_letters("shop").await, [Value::Null; 0]);
    }

    async fn an_async_request_is_accepted_and_run_afterwards(app) {
        let script = app.deploy("shop", "count", COUNT).await;
        route(app, &script, "async").await;
        let answer = post(app, None).await.is(202);
        let id = answer.json()["event_id"].as_str().unwrap().to_owned();
        assert_eq!(answer.execution_id(), id);
        app.settled("shop").await;
        assert_eq!(app.value("shop", "counts", "runs").await, 1);
        let execution = app.execution(&id).await;
        assert_eq!(execution["response"]["status"], 201, "{execution}");
    }

    async fn the_same_key_gets_the_first_answer(app) {
        let script = app.deploy("shop", "count", COUNT).await;
        route(app, &script, "durable").await;
        let first = post(app, Some("k-1")).await.is(201);
        assert_eq!(first.header("idempotency-replayed"), None);
        let second = post(app, Some("k-1")).await.is(201);
        assert_eq!(second.header("idempotency-replayed"), Some("true"));
        assert_eq!((second.json(), second.header("x-run")), (first.json(), Some("1")));
        assert_eq!(second.execution_id(), first.execution_id());
        assert_eq!(post(app, Some("k-2")).await.is(201).json()["n"], 2);
        assert_eq!(post(app, None).await.is(201).json()["n"], 3);
        let long = "k".repeat(256);
        post(app, Some(&long)).await.refuses(400, "field_invalid");

        app.pass_days(2);
        app.retention().run_once().await.unwrap();
        let after = post(app, Some("k-1")).await.is(201);
        assert_eq!((&after.json()["n"], after.header("idempotency-replayed")), (&json!(4), None));
    }

    async fn the_same_key_is_told_of_the_same_failure(app) {
        let script = app.deploy("shop", "fail", r#"throw "no""#).await;
        route(app, &script, "durable").await;
        let first = post(app, Some("k")).await.is(500);
        let second = post(app, Some("k")).await.is(500);
        assert_eq!(second.header("idempotency-replayed"), Some("true"));
        assert_eq!(second.json(), first.json());
        app.flush().await;
        assert_eq!(app.count_executions(&script).await, 1);
    }

    async fn the_same_key_is_accepted_once(app) {
        let script = app.deploy("shop", "count", COUNT).await;
        route(app, &script, "async").await;
        let first = post(app, Some("k")).await.is(202);
        let second = post(app, Some("k")).await.is(202);
        assert_eq!(second.header("idempotency-replayed"), Some("true"));
        assert_eq!(second.json(), first.json());
        app.settled("shop").await;
        assert_eq!(app.value("shop", "counts", "runs").await, 1);
    }

    async fn a_dropped_message_is_dropped_for_its_key_too(app) {
        let send = async |key: &str| {
            let message = json!({"queue": "q", "dedupe": "d"});
            let call = app.admin().post("/apps/shop/events", message);
            call.header("idempotency-key", key).send().await.is(202).json()
        };
        app.deploy("shop", "work", "1").await;
        assert_eq!(send("first").await["event_ids"].as_array().unwrap().len(), 1);
        for _ in 0..2 {
            assert_eq!(send("second").await, json!({"event_ids": []}));
        }
    }

    async fn an_event_with_the_same_key_is_sent_once(app) {
        app.deploy("shop", "work", r#"kv::collection("counts").increment("runs")"#).await;
        let send = async |key: &str| {
            let call = app.admin().post("/apps/shop/events", json!({"script": "work"}));
            call.header("idempotency-key", key).send().await.is(202)
        };
        let (first, second) = (send("k").await, send("k").await);
        assert_eq!(first.json(), second.json());
        assert_eq!(second.header("idempotency-replayed"), Some("true"));
        assert_ne!(send("other").await.json(), first.json());
        app.settled("shop").await;
        assert_eq!(app.value("shop", "counts", "runs").await, 2);
    }

    async fn the_answer_of_a_caller_who_has_gone_is_kept(app) {
        let source = r#"let n = 0; while n < 3_000_000 { n += 1; } #{ status: 201, body: "late" }"#;
        let script = json!({"name": "slow", "source": source, "limits": {"fuel_max": 20_000_000_000_i64}});
        let script = app.deploy_with("shop", script).await;
        route(app, &script, "durable").await;
        let mut call = Box::pin(post(app, None));
        loop {
            let running = async {
                let page = app.admin().get("/apps/shop/outbox").send().await.is(200).json();
                page["items"][0]["state"] == "running"
            };
            tokio::select! {
                answer = &mut call => panic!("it was answered before its caller could go: {answer:?}"),
                running = running => if running { break },
            }
        }
        drop(call);
        app.settled("shop").await;
        let page = app.admin().get("/apps/shop/abandoned-executions").send().await.is(200).json();
        let kept = &page["items"][0];
        assert_eq!((&kept["response"]["status"], &kept["script_id"]), (&json!(201), &json!(script)));
        assert_eq!(kept["response"]["body"], "late");
        assert_eq!(app.execution(kept["execution_id"].as_str().unwrap()).await["status"], "success");
    }
}

crate::on_both_databases! {
    async fn who_waits_too_long_is_told_where_to_ask(database) {
        let server = TestApp::start_with(database, &[
            ("PICLOUD_REPLY_WAIT_MS", "0"),
            ("PICLOUD_TRIGGER_RETRY_BASE_MS", "0"),
            ("PICLOUD_TRIGGER_RETRY_ATTEMPTS", "2"),
        ]).await;
        let app = &server;
        let script = app.deploy("shop", "count", r#"
            let n = kv::collection("counts").increment("runs");
            if ctx.execution.attempt == 1 { throw "not yet" }
        "#).await;
        route(app, &script, "durable").await;
        let answer = post(app, None).await.is(202);
        let id = answer.json()["execution_id"].as_str().unwrap().to_owned();
        assert_eq!(answer.execution_id(), id);
        // Nobody was told of the failure, so it was tried again.
        app.settled("shop").await;
        assert_eq!(app.value("shop", "counts", "runs").await, 1);
        assert_eq!(app.execution(&id).await["status"], "error");
        app.flush().await;
        assert_eq!(app.count_executions(&script).await, 2);
        server.close().await;
    }
}

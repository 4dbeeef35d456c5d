//! Routes that store a request before running it.

use picloud::retention::remains::Remains;
use serde_json::{Value, json};

use crate::app::{Answer, TestApp};
use crate::database::Database;
use crate::gate::Gate;
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

with_an_app! {
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
}

/// Starts a server whose script `wait` stops at the gate in each attempt, and then runs `end`.
async fn with_gate(database: &Database, reply_wait_ms: &str, end: &str) -> (TestApp, Gate, String) {
    let gate = Gate::open().await;
    let app = TestApp::start_with(
        database,
        &[
            ("PICLOUD_PRIVATE_HOSTS", "127.0.0.1"),
            ("PICLOUD_REPLY_WAIT_MS", reply_wait_ms),
            ("PICLOUD_TRIGGER_RETRY_BASE_MS", "0"),
            ("PICLOUD_TRIGGER_RETRY_ATTEMPTS", "2"),
        ],
    )
    .await;
    let wait = format!(r#"http::get("{}" + ctx.execution.attempt); {end}"#, gate.url);
    let script = app.deploy("shop", "wait", &wait).await;
    route(&app, &script, "durable").await;
    (app, gate, script)
}

/// Sends a request, and disconnects when the script has begun.
async fn post_and_leave(app: &TestApp, gate: &mut Gate) {
    let arrival = tokio::select! {
        answer = post(app, None) => panic!("the response came too early: {answer:?}"),
        arrival = gate.arrival() => arrival,
    };
    assert_eq!(arrival.attempt, 1);
    arrival.let_go();
}

const FIRST_FAILS: &str = r#"if ctx.execution.attempt == 1 { throw "not yet" }"#;

crate::on_both_databases! {
    async fn the_answer_of_a_caller_who_has_gone_is_kept(database) {
        let end = r#"#{ status: 201, body: "late" }"#;
        let (app, mut gate, script) = with_gate(database, "60000", end).await;
        post_and_leave(&app, &mut gate).await;
        app.settled("shop").await;
        let page = app.admin().get("/apps/shop/abandoned-executions").send().await.is(200).json();
        let kept = &page["items"][0];
        assert_eq!((&kept["response"]["status"], &kept["script_id"]), (&json!(201), &json!(script)));
        assert_eq!(kept["response"]["body"], "late");
        assert_eq!(app.execution(kept["execution_id"].as_str().unwrap()).await["status"], "success");
        app.close().await;
    }

    async fn a_failure_that_no_caller_was_told_of_is_tried_again(database) {
        let (app, mut gate, script) = with_gate(database, "60000", FIRST_FAILS).await;
        post_and_leave(&app, &mut gate).await;
        gate.arrival().await.let_go();
        app.settled("shop").await;
        app.flush().await;
        assert_eq!(app.count_executions(&script).await, 2);
        assert_eq!(app.dead_letters("shop").await, [Value::Null; 0]);
        app.close().await;
    }

    async fn who_waits_too_long_is_told_where_to_ask(database) {
        let (app, mut gate, script) = with_gate(database, "0", FIRST_FAILS).await;
        let answer = post(&app, None).await.is(202);
        let id = answer.json()["execution_id"].as_str().unwrap().to_owned();
        assert_eq!(answer.execution_id(), id);
        // No caller saw the failure, so the event is retried.
        gate.arrival().await.let_go();
        gate.arrival().await.let_go();
        app.settled("shop").await;
        app.flush().await;
        assert_eq!(app.execution(&id).await["status"], "error");
        assert_eq!(app.count_executions(&script).await, 2);
        app.close().await;
    }

    async fn an_app_that_is_deleted_while_its_script_runs_is_not_found(database) {
        let end = r#"kv::collection("ends").increment("n"); "done""#;
        let (app, mut gate, _) = with_gate(database, "60000", end).await;
        let remains = Remains { store: app.store().clone() };
        // Once while its rows still exist, and once after their deletion.
        for (name, is_removed) in [("shop", false), ("blog", true)] {
            if name == "blog" {
                let wait = format!(r#"http::get("{}" + ctx.execution.attempt); {end}"#, gate.url);
                app.deploy(name, "wait", &wait).await;
            }
            let delete = async {
                let arrival = gate.arrival().await;
                app.admin().delete(&format!("/apps/{name}")).send().await.is(204);
                if is_removed {
                    assert!(remains.run_once().await.unwrap());
                }
                arrival.let_go();
            };
            let path = format!("/x/{name}/wait");
            let (answer, ()) = tokio::join!(app.post(&path).send(), delete);
            match is_removed {
                true => drop(answer.refuses(404, "app_not_found")),
                // The run counts as one that ended before the deletion.
                false => drop(answer.is(200)),
            }
            app.post(&path).send().await.is(404);
        }
        app.close().await;
    }

    async fn the_caller_of_an_app_that_is_deleted_meanwhile_is_not_kept_waiting(database) {
        let end = r#"kv::collection("ends").increment("n"); "done""#;
        let (app, mut gate, _) = with_gate(database, "60000", end).await;
        let remains = Remains { store: app.store().clone() };
        let delete = async {
            let arrival = gate.arrival().await;
            app.admin().delete("/apps/shop").send().await.is(204);
            assert!(remains.run_once().await.unwrap());
            arrival.let_go();
        };
        let (answer, ()) = tokio::join!(post(&app, None), delete);
        // The caller asks again, and learns that the response is lost.
        answer.refuses(503, "answer_lost");
        post(&app, None).await.is(404);
        app.close().await;
    }
}

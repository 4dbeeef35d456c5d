//! Cancelling pending events through the API.

use serde_json::{Value, json};

use crate::app::TestApp;
use crate::browser::Browser;
use crate::database::Database;
use crate::gate::Gate;
use crate::with_an_app;

/// Sends a message that stays pending: for an hour, or for ever if its queue has no trigger.
async fn send(app: &TestApp, queue: &str) -> String {
    let message = json!({"queue": queue, "payload": {"n": 1}, "delay_ms": 3_600_000});
    let sent = app.admin().post("/apps/shop/events", message).send().await.is(202).json();
    sent["event_ids"][0].as_str().unwrap().to_owned()
}

async fn outbox(app: &TestApp) -> Vec<Value> {
    let page = app.admin().get("/apps/shop/outbox?limit=200").send().await.is(200).json();
    page["items"].as_array().unwrap().clone()
}

async fn kept_events(app: &TestApp) -> Value {
    let shop = app.admin().get("/apps/shop").send().await.is(200).json();
    shop["storage"]["events"]["used"].clone()
}

async fn audit(app: &TestApp, action: &str) -> Vec<Value> {
    let path = format!("/apps/shop/audit?action={action}");
    let page = app.admin().get(&path).send().await.is(200).json();
    page["items"].as_array().unwrap().clone()
}

with_an_app! {
    async fn an_event_that_waits_is_cancelled_and_noted(app) {
        let count = app.deploy("shop", "count", r#"kv::collection("c").increment("n")"#).await;
        app.trigger("shop", &count, json!({"kind": "queue", "queue": "mails"})).await;
        let id = send(app, "mails").await;
        assert_eq!(kept_events(app).await, 1);
        app.admin().delete(&format!("/events/{id}")).send().await.is(204);
        assert_eq!(outbox(app).await, [Value::Null; 0]);
        assert_eq!(kept_events(app).await, 0);
        assert_eq!(app.value("shop", "c", "n").await, Value::Null);
        let again = app.admin().delete(&format!("/events/{id}")).send().await;
        again.refuses(404, "event_not_found");
        app.admin().delete("/events/none").send().await.refuses(404, "event_not_found");
        let noted = audit(app, "cancel_event").await;
        assert_eq!(noted.len(), 1, "a refused request has no entry: {noted:?}");
        assert_eq!((&noted[0]["resource_id"], &noted[0]["resource_name"]), (&json!(id), &json!("mails")));
    }

    async fn what_waits_is_cancelled_by_a_filter(app) {
        let keep = app.deploy("shop", "keep", "1").await;
        app.trigger("shop", &keep, json!({"kind": "queue", "queue": "mails"})).await;
        for _ in 0..3 {
            send(app, "mails").await;
        }
        send(app, "other").await;
        let script = json!({"script": "keep", "delay_ms": 3_600_000});
        app.admin().post("/apps/shop/events", script).send().await.is(202);

        let purge = async |query: &str| {
            let path = format!("/apps/shop/outbox{query}");
            let purged = app.admin().delete(&path).send().await.is(200).json();
            assert_eq!((&purged["complete"], &purged["next_after"]), (&json!(true), &Value::Null));
            purged["cancelled"].clone()
        };
        assert_eq!(purge("?kind=queue&source=none").await, 0);
        assert_eq!(purge("?kind=queue&source=mails").await, 3);
        assert_eq!(purge(&format!("?script_id={keep}")).await, 1);
        let left = outbox(app).await;
        assert_eq!(left.len(), 1);
        assert_eq!(left[0]["source"], "other");
        assert_eq!(purge("").await, 1);
        assert_eq!(kept_events(app).await, 0);
        let noted = audit(app, "purge_outbox").await;
        assert_eq!(noted.len(), 4, "even a request that cancels nothing");
        assert_eq!(noted[2]["before"]["source"], "mails");

        let refused = app.admin().delete("/apps/shop/outbox?after=none").send().await;
        refused.refuses(400, "field_invalid");
        app.admin().delete("/apps/shop/outbox?queue=mails").send().await.refuses(400, "query_invalid");
    }

    async fn a_purge_goes_on_where_it_stopped(app) {
        app.deploy("shop", "hello", "1").await;
        for _ in 0..2 {
            send(app, "mails").await;
        }
        // The cursor after the newer of the two events.
        let page = app.admin().get("/apps/shop/outbox?limit=1").send().await.is(200).json();
        let after = page["next_after"].as_str().unwrap();
        let path = format!("/apps/shop/outbox?after={after}");
        assert_eq!(app.admin().delete(&path).send().await.is(200).json()["cancelled"], 1);
        assert_eq!(outbox(app).await[0]["id"], page["items"][0]["id"]);
    }

    async fn only_an_admin_of_the_app_cancels(app) {
        app.deploy("shop", "hello", "1").await;
        let id = send(app, "mails").await;
        let editor = Browser::of_member(app, "ed", "shop", "editor").await;
        for path in [format!("/api/v1/events/{id}"), "/api/v1/apps/shop/outbox".to_owned()] {
            let call = app.request("DELETE", &path).header("cookie", &editor.cookie);
            let answer = call.header("x-csrf-token", &editor.csrf_token).send().await;
            answer.refuses(403, "not_allowed");
        }
        assert_eq!(outbox(app).await.len(), 1);
        let admin = Browser::of_member(app, "ada", "shop", "app_admin").await;
        let call = app.request("DELETE", &format!("/api/v1/events/{id}"));
        let call = call.header("cookie", &admin.cookie);
        call.header("x-csrf-token", &admin.csrf_token).send().await.is(204);
    }
}

/// Starts a server that runs one event at a time; its script `wait` stops at the gate.
async fn with_gate(database: &Database) -> (TestApp, Gate) {
    let gate = Gate::open().await;
    let variables =
        [("PICLOUD_PRIVATE_HOSTS", "127.0.0.1"), ("PICLOUD_MAX_EVENT_CONCURRENCY", "1")];
    let app = TestApp::start_with(database, &variables).await;
    let wait = format!(r#"http::get("{}" + ctx.execution.attempt); "ran""#, gate.url);
    app.deploy("shop", "wait", &wait).await;
    (app, gate)
}

crate::on_both_databases! {
    async fn what_runs_is_not_cancelled(database) {
        let (app, mut gate) = with_gate(database).await;
        let message = json!({"script": "wait"});
        let sent = app.admin().post("/apps/shop/events", message).send().await.is(202).json();
        let arrival = gate.arrival().await;
        let path = format!("/events/{}", sent["event_ids"][0].as_str().unwrap());
        app.admin().delete(&path).send().await.refuses(409, "event_running");
        let purged = app.admin().delete("/apps/shop/outbox").send().await.is(200).json();
        assert_eq!(purged["cancelled"], 0);
        arrival.let_go();
        app.settled("shop").await;
        app.admin().delete(&path).send().await.refuses(404, "event_not_found");
        app.close().await;
    }

    async fn a_caller_who_waits_is_told_at_once(database) {
        let (app, mut gate) = with_gate(database).await;
        let quick = app.deploy("shop", "quick", "1").await;
        let route = json!({"script_id": quick, "method": "POST", "path": "/in", "delivery": "durable"});
        app.admin().post("/apps/shop/routes", route).send().await.is(201);
        // Fills the app's share of claimed events on a node; the first of them uses the only slot.
        app.deploy("shop", "flood", r#"for n in 0..128 { scripts::enqueue("wait", n); }"#).await;
        for _ in 0..2 {
            app.post("/x/shop/flood").send().await.is(200);
        }
        let arrival = gate.arrival().await;

        for purge in [false, true] {
            let cancel = async {
                let event = loop {
                    let path = "/apps/shop/outbox?kind=http";
                    let page = app.admin().get(path).send().await.is(200).json();
                    if page["items"][0].is_object() {
                        break page["items"][0].clone();
                    }
                    picloud_testing::pause().await;
                };
                assert_eq!(event["state"], "waiting");
                if purge {
                    let path = "/apps/shop/outbox?kind=http";
                    let purged = app.admin().delete(path).send().await.is(200).json();
                    assert_eq!(purged["cancelled"], 1);
                } else {
                    let path = format!("/events/{}", event["id"].as_str().unwrap());
                    app.admin().delete(&path).send().await.is(204);
                }
                event["id"].clone()
            };
            let (answer, id) = tokio::join!(app.post("/x/shop/in").text("hi").send(), cancel);
            let error = answer.refuses(409, "event_cancelled");
            assert_eq!(error["event_id"], id);
        }
        app.flush().await;
        assert_eq!(app.count_executions(&quick).await, 0);
        arrival.let_go();
        app.close().await;
    }
}

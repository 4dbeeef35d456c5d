//! Events: every kind runs its script with the right event.

use serde_json::{Value, json};

use crate::app::TestApp;
use crate::with_an_app;

/// Stores the event that it was run for, under the event's kind.
const KEEP: &str = r#"
    let seen = kv::collection("seen");
    seen.set(ctx.event.kind, ctx.event);
"#;

async fn send(app: &TestApp, event: Value) -> Value {
    app.admin().post("/apps/shop/events", event).send().await.is(202).json()
}

with_an_app! {
    async fn a_changed_key_fires_its_triggers(app) {
        let keep = app.deploy("shop", "keep", KEEP).await;
        app.trigger("shop", &keep, json!({"kind": "kv", "collection": "orders:*"})).await;
        app.deploy("shop", "order", r#"kv::collection("orders:2026").set("7", #{total: 12}); "ok""#).await;
        app.post("/x/shop/order").send().await.is(200);
        app.settled("shop").await;
        let seen = app.value("shop", "seen", "kv").await;
        assert_eq!(seen["operation"], "insert", "{seen}");
        assert_eq!(seen["kv"], json!({"collection": "orders:2026", "key": "7", "value": {"total": 12}}));
        assert_eq!((&seen["app"], &seen["attempt"], &seen["depth"]), (&json!("shop"), &json!(1), &json!(1)));

        app.post("/x/shop/order").send().await.is(200);
        app.settled("shop").await;
        assert_eq!(app.value("shop", "seen", "kv").await["operation"], "update");
    }

    async fn a_trigger_hears_only_of_the_operations_that_it_listens_to(app) {
        let keep = app.deploy("shop", "keep", r#"kv::collection("heard").increment(ctx.event.operation)"#).await;
        let on = json!({"kind": "kv", "collection": "a", "operations": ["delete"]});
        app.trigger("shop", &keep, on).await;
        app.deploy("shop", "change", r#"
            let a = kv::collection("a");
            if a.has("k") { a.delete("k") } else { a.set("k", 1) }
        "#).await;
        for _ in 0..4 {
            app.post("/x/shop/change").send().await.is(200);
            app.settled("shop").await;
        }
        assert_eq!(app.value("shop", "heard", "delete").await, 2);
        assert_eq!(app.value("shop", "heard", "insert").await, Value::Null);
    }

    async fn a_message_waits_in_its_queue_until_there_is_a_trigger(app) {
        let keep = app.deploy("shop", "keep", KEEP).await;
        app.deploy("shop", "send", r#"queue::send("mail", #{to: "a@example.org"})"#).await;
        let id = app.post("/x/shop/send").send().await.is(200).json();
        app.settled("shop").await;
        let page = app.admin().get("/apps/shop/outbox").send().await.is(200).json();
        assert_eq!(page["items"][0]["id"], id);
        assert_eq!(page["items"][0]["state"], "unassigned");
        assert_eq!(app.value("shop", "seen", "queue").await, Value::Null);

        app.trigger("shop", &keep, json!({"kind": "queue", "queue": "mail"})).await;
        app.settled("shop").await;
        let seen = app.value("shop", "seen", "queue").await;
        assert_eq!(seen["queue"], json!({"queue": "mail", "payload": {"to": "a@example.org"}}));
        assert_eq!(seen["id"], id);
        let execution = app.execution(id.as_str().unwrap()).await;
        assert_eq!(execution["status"], "success", "{execution}");
        let other = json!({"script_id": keep, "on": {"kind": "queue", "queue": "mail"}});
        app.admin().post("/apps/shop/triggers", other).send().await.refuses(409, "queue_taken");
    }

    async fn the_messages_of_a_queue_wait_while_its_trigger_is_disabled(app) {
        let count = app.deploy("shop", "count", r#"kv::collection("counts").increment("done")"#).await;
        let done = async || {
            app.settled("shop").await;
            app.value("shop", "counts", "done").await
        };
        send(app, json!({"queue": "mail"})).await;
        let on = json!({"kind": "queue", "queue": "mail"});
        let disabled = json!({"script_id": count, "on": on, "enabled": false});
        let trigger = app.trigger_with("shop", disabled).await;
        assert_eq!(done().await, Value::Null);
        let change = async |change: Value| {
            app.admin().patch(&format!("/triggers/{trigger}"), change).send().await.is(200);
        };
        change(json!({"retry": {"attempts_max": 2}})).await;
        assert_eq!(done().await, Value::Null);
        change(json!({"enabled": true})).await;
        assert_eq!(done().await, 1);
        // Pending messages stay pending while the trigger is disabled.
        send(app, json!({"queue": "mail", "delay_ms": 3_600_000})).await;
        change(json!({"enabled": false})).await;
        let page = app.admin().get("/apps/shop/outbox").send().await.is(200).json();
        assert_eq!(page["items"][0]["state"], "unassigned", "{page}");
    }

    async fn every_listener_gets_a_published_message(app) {
        let source = r#"kv::collection("heard").set(ctx.execution.id, ctx.event.pubsub)"#;
        let one = app.deploy("shop", "one", source).await;
        let two = app.deploy("shop", "two", source).await;
        for script in [&one, &two] {
            app.trigger("shop", script, json!({"kind": "pubsub", "topic": "orders.*"})).await;
        }
        app.trigger("shop", &one, json!({"kind": "pubsub", "topic": "other"})).await;
        let sent = send(app, json!({"topic": "orders.paid", "payload": [1, 2]})).await;
        assert_eq!(sent["event_ids"].as_array().unwrap().len(), 2);
        app.settled("shop").await;
        for id in sent["event_ids"].as_array().unwrap() {
            let heard = app.value("shop", "heard", id.as_str().unwrap()).await;
            assert_eq!(heard, json!({"topic": "orders.paid", "payload": [1, 2]}));
        }
        let nobody = send(app, json!({"topic": "unheard", "payload": 1})).await;
        assert_eq!(nobody, json!({"event_ids": []}));
    }

    async fn a_changed_file_fires_its_triggers(app) {
        let keep = app.deploy("shop", "keep", KEEP).await;
        let on = json!({"kind": "files", "bucket": "photos", "path": "*.png"});
        app.trigger("shop", &keep, on).await;
        app.deploy("shop", "put", r#"
            let photos = files::bucket("photos");
            photos.put("a.txt", "text");
            photos.put("cat/1.png", blob(3, 7), "image/png");
        "#).await;
        app.post("/x/shop/put").send().await.is(200);
        app.settled("shop").await;
        let seen = app.value("shop", "seen", "files").await;
        assert_eq!(seen["operation"], "insert");
        assert_eq!((&seen["files"]["path"], &seen["files"]["size"]), (&json!("cat/1.png"), &json!(3)));
        assert_eq!(seen["files"]["content_type"], "image/png");
    }

    async fn a_script_runs_another_one_later(app) {
        app.deploy("shop", "work", KEEP).await;
        app.deploy("shop", "ask", r#"scripts::enqueue("work", #{n: 3})"#).await;
        let id = app.post("/x/shop/ask").send().await.is(200).json();
        app.settled("shop").await;
        let seen = app.value("shop", "seen", "script").await;
        assert_eq!(seen["script"], json!({"name": "work", "caller": "ask", "payload": {"n": 3}}));
        assert_eq!(seen["id"], id);
    }

    async fn what_a_failed_run_sent_and_wrote_never_happened(app) {
        app.deploy("shop", "fail", r#"
            kv::collection("a").set("k", 1);
            queue::send("q", 1);
            throw "no";
        "#).await;
        app.post("/x/shop/fail").send().await.is(500);
        let page = app.admin().get("/apps/shop/outbox").send().await.is(200).json();
        assert_eq!(page["items"], json!([]));
        assert_eq!(app.value("shop", "a", "k").await, Value::Null);
    }

    async fn a_disabled_trigger_does_not_fire_and_a_fired_one_does(app) {
        let keep = app.deploy("shop", "keep", KEEP).await;
        let trigger = app.trigger("shop", &keep, json!({"kind": "pubsub", "topic": "*"})).await;
        let path = format!("/triggers/{trigger}");
        let change = json!({"enabled": false});
        let changed = app.admin().patch(&path, change).send().await.is(200).json();
        assert_eq!(changed["enabled"], false);
        assert_eq!(send(app, json!({"topic": "t"})).await["event_ids"], json!([]));
        let fire = json!({"payload": {"payload": "by hand"}});
        app.admin().post(&format!("{path}/fire"), fire).send().await.is(202);
        app.settled("shop").await;
        let seen = app.value("shop", "seen", "pubsub").await;
        assert_eq!(seen["pubsub"], json!({"topic": "*", "payload": "by hand"}));
    }

    async fn a_chain_of_triggers_that_never_ends_stops_at_its_depth(app) {
        let ping = app.deploy("shop", "ping", r#"queue::send("pong", 1)"#).await;
        let pong = app.deploy("shop", "pong", r#"queue::send("ping", 1)"#).await;
        app.trigger("shop", &ping, json!({"kind": "queue", "queue": "ping"})).await;
        app.trigger("shop", &pong, json!({"kind": "queue", "queue": "pong"})).await;
        send(app, json!({"queue": "ping"})).await;
        app.settled("shop").await;
        let letters = app.dead_letters("shop").await;
        assert_eq!(letters.len(), 1, "{letters:?}");
        let error = letters[0]["last_error"].as_str().unwrap();
        assert!(error.contains("17 long, at most 16 are allowed"), "{error}");
        assert!(error.contains("trigger_depth"), "{error}");
    }

    /// With several listeners, dedupe would drop all messages but the first.
    async fn a_delay_and_a_dedupe_key_are_refused_where_they_mean_nothing(app) {
        let keep = app.deploy("shop", "keep", KEEP).await;
        for _ in 0..2 {
            app.trigger("shop", &keep, json!({"kind": "pubsub", "topic": "news"})).await;
        }
        for event in [
            json!({"topic": "news", "dedupe": "k"}),
            json!({"topic": "news", "delay_ms": 1}),
            json!({"script": "keep", "dedupe": "k"}),
        ] {
            let sent = app.admin().post("/apps/shop/events", event.clone()).send().await;
            let field = if event["dedupe"].is_null() { "delay_ms" } else { "dedupe" };
            let refused = sent.refuses(400, "field_invalid");
            assert!(refused["message"].as_str().unwrap().starts_with(field), "{event}: {refused}");
        }
        assert_eq!(send(app, json!({"topic": "news"})).await["event_ids"].as_array().unwrap().len(), 2);
        app.settled("shop").await;
    }
}

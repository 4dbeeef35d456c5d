//! Dead letters: creation, handlers, replay and resolution.

use serde_json::{Value, json};

use crate::app::TestApp;
use crate::with_an_app;

const AT_ONCE: &str = r#"{"attempts_max": 3, "backoff": "constant", "base_ms": 0}"#;

fn retry() -> Value {
    serde_json::from_str(AT_ONCE).unwrap()
}

/// Creates a queue whose script fails until the key `fixed` is set.
async fn failing_queue(app: &TestApp) -> (String, String) {
    let script = app
        .deploy(
            "shop",
            "work",
            r#"
            if !kv::collection("state").has("fixed") { throw "broken" }
            kv::collection("done").set(ctx.event.queue.payload, ctx.event.attempt);
        "#,
        )
        .await;
    app.deploy("shop", "fix", r#"kv::collection("state").set("fixed", true)"#).await;
    let trigger = json!({
        "script_id": script,
        "on": {"kind": "queue", "queue": "work"},
        "retry": retry(),
    });
    let trigger = app.trigger_with("shop", trigger).await;
    (script, trigger)
}

async fn send(app: &TestApp, payload: &str) {
    let event = json!({"queue": "work", "payload": payload});
    app.admin().post("/apps/shop/events", event).send().await.is(202);
    app.settled("shop").await;
}

with_an_app! {
    async fn an_event_that_fails_too_often_is_kept(app) {
        let (script, trigger) = failing_queue(app).await;
        send(app, "a").await;
        let letters = app.dead_letters("shop").await;
        assert_eq!(letters.len(), 1);
        let letter = &letters[0];
        assert_eq!((&letter["attempts"], &letter["resolution"]), (&json!(3), &Value::Null));
        assert_eq!(letter["last_error"], "broken");
        assert_eq!(letter["payload"], json!({"queue": "work", "payload": "a"}));
        assert_eq!((&letter["script_id"], &letter["trigger_id"]), (&json!(script), &json!(trigger)));
        let count = app.admin().get("/apps/shop/dead-letters/count").send().await.is(200).json();
        assert_eq!(count["count"], 1);
        app.flush().await;
        assert_eq!(app.count_executions(&script).await, 3);
        let event = letter["event_id"].as_str().unwrap();
        let path = format!("/apps/shop/executions?event_id={event}");
        let attempts = app.admin().get(&path).send().await.is(200).json();
        let attempts: Vec<_> =
            attempts["items"].as_array().unwrap().iter().map(|row| &row["attempt"]).cloned().collect();
        assert_eq!(attempts, [3, 2, 1]);
    }

    async fn a_dead_letter_can_be_replayed_once(app) {
        failing_queue(app).await;
        send(app, "a").await;
        app.post("/x/shop/fix").send().await.is(200);
        let letter = app.dead_letters("shop").await.remove(0);
        let path = format!("/dead-letters/{}/replay", letter["id"].as_str().unwrap());
        app.admin().post(&path, json!({})).send().await.is(202);
        app.settled("shop").await;
        assert_eq!(app.value("shop", "done", "a").await, 1);
        assert_eq!(app.dead_letters("shop").await[0]["resolution"], "replayed");
        app.admin().post(&path, json!({})).send().await.refuses(409, "dead_letter_replayed");
    }

    async fn a_dead_letter_whose_script_is_gone_stays_open(app) {
        let (script, _) = failing_queue(app).await;
        send(app, "a").await;
        app.admin().delete(&format!("/scripts/{script}")).send().await.is(204);
        let letter = app.dead_letters("shop").await.remove(0);
        let path = format!("/dead-letters/{}/replay", letter["id"].as_str().unwrap());
        app.admin().post(&path, json!({})).send().await.refuses(409, "script_deleted");
        let same = json!({"same_version": true});
        app.admin().post(&path, same).send().await.refuses(409, "script_deleted");
        let all = app.admin().post("/apps/shop/dead-letters/replay", json!({})).send().await;
        assert_eq!(all.is(200).json(), json!({"done": 0, "left": 1}));
        let letters = app.dead_letters("shop").await;
        assert_eq!((letters.len(), &letters[0]), (1, &letter));
    }

    /// Each failure creates a dead letter, whose handler causes the failure again.
    async fn a_handler_that_causes_what_it_handles_comes_to_an_end(app) {
        let fail = app.deploy("shop", "fail", r#"throw "no""#).await;
        app.trigger_with("shop", json!({
            "script_id": fail, "on": {"kind": "queue", "queue": "q"}, "retry": {"attempts_max": 1},
        })).await;
        let handler = app.deploy("shop", "handler", r#"
            kv::collection("handled").increment("n");
            queue::send("q", 1)"#).await;
        app.trigger("shop", &handler, json!({"kind": "dead_letter"})).await;
        let message = json!({"queue": "q", "payload": 1});
        app.admin().post("/apps/shop/events", message).send().await.is(202);
        app.settled("shop").await;
        let letters = app.dead_letters("shop").await;
        // Depths 1, 3, 5 … 15 fail; 17 is too deep and is handled; 19 is too deep and is not.
        assert_eq!(app.value("shop", "handled", "n").await, 9);
        assert_eq!(letters.len(), 10);
        assert!(letters[0]["last_error"].as_str().unwrap().contains("trigger_depth"), "{letters:?}");
        assert_eq!(letters[0]["resolution"], json!(null));
        let path = format!("/dead-letters/{}/replay", letters[0]["id"].as_str().unwrap());
        app.admin().post(&path, json!({})).send().await.refuses(409, "event_too_deep");
        assert_eq!(app.dead_letters("shop").await[0]["resolution"], json!(null));
    }

    async fn fewer_attempts_do_not_hide_why_the_last_one_failed(app) {
        let fail = app.deploy("shop", "fail", r#"throw "the real reason""#).await;
        let retry = |attempts| json!({
            "attempts_max": attempts, "backoff": "constant", "base_ms": 3_600_000, "cap_ms": 3_600_000,
        });
        let on = json!({"kind": "queue", "queue": "q"});
        let trigger = json!({"script_id": fail, "on": on, "retry": retry(5)});
        let trigger = app.trigger_with("shop", trigger).await;
        let message = json!({"queue": "q", "payload": 1});
        app.admin().post("/apps/shop/events", message).send().await.is(202);
        let begun = std::time::Instant::now();
        loop {
            let page = app.admin().get("/apps/shop/outbox").send().await.is(200).json();
            if page["items"][0]["last_error"].is_string() {
                break;
            }
            assert!(begun.elapsed() < std::time::Duration::from_secs(60), "{page}");
            picloud_testing::pause().await;
        }
        let path = format!("/triggers/{trigger}");
        app.admin().patch(&path, json!({"retry": retry(1)})).send().await.is(200);
        app.store().advance_events(7_200_000_000).await.unwrap();
        app.settled("shop").await;
        let letter = app.dead_letters("shop").await.remove(0);
        assert_eq!(letter["last_error"], "the real reason");
        assert_eq!(letter["attempts"], 1);
    }

    async fn a_replay_can_have_another_payload_and_the_version_that_failed(app) {
        let (script, _) = failing_queue(app).await;
        send(app, "a").await;
        send(app, "b").await;
        app.post("/x/shop/fix").send().await.is(200);
        app.update(&script, r#"kv::collection("done").set("new", ctx.event.queue.payload)"#).await.is(200);
        let letters = app.dead_letters("shop").await;
        let replay = async |index: usize, body: Value| {
            let path = format!("/dead-letters/{}/replay", letters[index]["id"].as_str().unwrap());
            app.admin().post(&path, body).send().await.is(202);
            app.settled("shop").await;
        };
        replay(0, json!({"same_version": true, "payload": {"queue": "work", "payload": "edited"}})).await;
        assert_eq!(app.value("shop", "done", "edited").await, 1);
        replay(1, json!({})).await;
        assert_eq!(app.value("shop", "done", "new").await, "a");
    }

    async fn many_can_be_replayed_or_resolved_at_once(app) {
        let (script, _) = failing_queue(app).await;
        for payload in ["a", "b", "c"] {
            send(app, payload).await;
        }
        let wrong = json!({"filter": {"kind": "kv"}});
        let done = app.admin().post("/apps/shop/dead-letters/resolve", wrong).send().await;
        assert_eq!(done.is(200).json(), json!({"done": 0, "left": 0}));
        let two = json!({"filter": {"script_id": script, "limit": 2}});
        let done = app.admin().post("/apps/shop/dead-letters/resolve", two).send().await;
        assert_eq!(done.is(200).json(), json!({"done": 2, "left": 1}));
        app.post("/x/shop/fix").send().await.is(200);
        let done = app.admin().post("/apps/shop/dead-letters/replay", json!({})).send().await;
        assert_eq!(done.is(200).json(), json!({"done": 1, "left": 0}));
        app.settled("shop").await;
        assert_eq!(app.value("shop", "done", "a").await, 1);
        let resolutions: Vec<_> =
            app.dead_letters("shop").await.iter().map(|letter| letter["resolution"].clone()).collect();
        assert_eq!(resolutions, ["ignored", "ignored", "replayed"]);
    }

    async fn a_part_that_is_not_valid_is_refused_for_many_as_for_a_list(app) {
        failing_queue(app).await;
        for wrong in [
            json!({"limit": 0}), json!({"limit": 201}), json!({"offset": -1}),
            json!({"offset": 10_001}), json!({"after": "x"}),
        ] {
            for action in ["replay", "resolve"] {
                let path = format!("/apps/shop/dead-letters/{action}");
                let body = json!({"filter": wrong});
                app.admin().post(&path, body).send().await.refuses(400, "field_invalid");
            }
        }
        for query in ["limit=0", "limit=201", "offset=-1", "offset=10001", "after=x"] {
            let path = format!("/apps/shop/dead-letters/count?{query}");
            app.admin().get(&path).send().await.refuses(400, "field_invalid");
        }
    }

    async fn a_handler_is_told_of_the_whole_event(app) {
        let (script, trigger) = failing_queue(app).await;
        let handler = app.deploy("shop", "handler", r#"kv::collection("told").set("event", ctx.event)"#).await;
        app.trigger("shop", &handler, json!({"kind": "dead_letter"})).await;
        send(app, "a").await;
        let told = app.value("shop", "told", "event").await;
        let letter = &app.dead_letters("shop").await[0];
        assert_eq!(letter["resolution"], "handled_by_script", "{letter}");
        assert_eq!(told["kind"], "dead_letter");
        let told = &told["dead_letter"];
        assert_eq!(told["id"], letter["id"]);
        assert_eq!((&told["attempts"], &told["last_error"]), (&json!(3), &json!("broken")));
        assert_eq!((&told["trigger_id"], &told["script"]), (&json!(trigger), &json!("work")));
        assert_eq!(told["script_id"], script);
        assert_eq!(told["event"]["kind"], "queue");
        assert_eq!(told["event"]["queue"], json!({"queue": "work", "payload": "a"}));
        assert_eq!(told["event"]["id"], letter["event_id"]);
    }

    async fn a_handler_hears_only_of_what_its_filters_let_through(app) {
        let (script, trigger) = failing_queue(app).await;
        let other = app.deploy("shop", "other", "1").await;
        let nobody = app.trigger("shop", &other, json!({"kind": "pubsub", "topic": "t"})).await;
        let source = r#"kv::collection("told").increment(ctx.script)"#;
        for (name, on) in [
            ("yes-kind", json!({"kind": "dead_letter", "source_kind": "queue"})),
            ("no-kind", json!({"kind": "dead_letter", "source_kind": "kv"})),
            ("yes-trigger", json!({"kind": "dead_letter", "source_trigger_id": trigger})),
            ("no-trigger", json!({"kind": "dead_letter", "source_trigger_id": nobody})),
            ("yes-script", json!({"kind": "dead_letter", "source_script_id": script})),
            ("no-script", json!({"kind": "dead_letter", "source_script_id": other})),
        ] {
            let handler = app.deploy("shop", name, source).await;
            app.trigger("shop", &handler, on).await;
        }
        send(app, "a").await;
        for filter in ["kind", "trigger", "script"] {
            assert_eq!(app.value("shop", "told", &format!("yes-{filter}")).await, 1, "{filter}");
            assert_eq!(app.value("shop", "told", &format!("no-{filter}")).await, Value::Null, "{filter}");
        }
    }

    async fn a_failing_handler_is_noted_and_told_of_to_nobody(app) {
        failing_queue(app).await;
        let handler = app.deploy("shop", "handler", r#"throw "handler failed too""#).await;
        let trigger = json!({
            "script_id": handler,
            "on": {"kind": "dead_letter"},
            "retry": {"attempts_max": 2, "base_ms": 0},
        });
        app.trigger_with("shop", trigger).await;
        send(app, "a").await;
        let letters = app.dead_letters("shop").await;
        assert_eq!(letters.len(), 1, "{letters:?}");
        assert_eq!(letters[0]["resolution"], "handler_failed");
        app.flush().await;
        assert_eq!(app.count_executions(&handler).await, 2);
    }

    async fn the_event_of_a_deleted_script_is_a_dead_letter(app) {
        let (script, _) = failing_queue(app).await;
        let keep = json!({"script": "work", "delay_ms": 3_600_000});
        app.admin().post("/apps/shop/events", keep).send().await.is(202);
        app.admin().delete(&format!("/scripts/{script}")).send().await.is(204);
        let page = app.admin().get("/apps/shop/outbox").send().await.is(200).json();
        assert_eq!(page["items"].as_array().unwrap().len(), 1);
    }
}

//! Lists answer without large payloads and values; each has them by its own id or name.

use serde_json::{Value, json};

use crate::app::TestApp;
use crate::with_an_app;

/// A text that is `bytes` long as JSON.
fn text(bytes: usize) -> Value {
    json!("x".repeat(bytes - 2))
}

async fn items(app: &TestApp, path: &str) -> Vec<Value> {
    let page = app.admin().get(path).send().await.is(200).json();
    page["items"].as_array().unwrap().clone()
}

with_an_app! {
    async fn a_value_of_4_kib_is_listed_and_a_larger_one_is_not(app) {
        app.deploy("shop", "any", "1").await;
        for (key, bytes) in [("a", 4096), ("b", 4097)] {
            let set = json!({"value": text(bytes)});
            app.admin().put(&format!("/apps/shop/kv/c/{key}"), set).send().await.is(200);
        }
        let entries = items(app, "/apps/shop/kv/c").await;
        let shown = |entry: &Value| {
            (entry["value"].clone(), entry["value_bytes"].clone(), entry["value_is_left_out"].clone())
        };
        assert_eq!(shown(&entries[0]), (text(4096), json!(4096), json!(false)));
        assert_eq!(shown(&entries[1]), (Value::Null, json!(4097), json!(true)));
        let whole = app.admin().get("/apps/shop/kv/c/b").send().await.is(200).json();
        assert_eq!(whole["value"], text(4097));
    }

    async fn a_large_payload_is_left_out_of_the_outbox_and_of_dead_letters(app) {
        let fail = app.deploy("shop", "fail", r#"throw "no""#).await;
        let send = async |queue: &str, bytes| {
            let message = json!({"queue": queue, "payload": text(bytes)});
            app.admin().post("/apps/shop/events", message).send().await.is(202);
        };
        send("nobody", 10).await;
        send("nobody", 5000).await;
        let events = items(app, "/apps/shop/outbox").await;
        assert_eq!(events[0]["payload_is_left_out"], true);
        assert_eq!(events[0]["payload"], Value::Null);
        assert!(events[0]["payload_bytes"].as_i64().unwrap() > 5000);
        assert_eq!((&events[1]["payload_is_left_out"], &events[1]["payload"]["payload"]), (&json!(false), &text(10)));
        let path = format!("/events/{}", events[0]["id"].as_str().unwrap());
        let event = app.admin().get(&path).send().await.is(200).json();
        assert_eq!((&event["payload"]["payload"], &event["payload_is_left_out"]), (&text(5000), &json!(false)));
        assert_eq!(event["payload_bytes"], events[0]["payload_bytes"]);

        let once = json!({"script_id": fail, "on": {"kind": "queue", "queue": "q"},
            "retry": {"attempts_max": 1}});
        app.trigger_with("shop", once).await;
        send("q", 5000).await;
        app.settled("shop").await;
        let letters = app.dead_letters("shop").await;
        assert_eq!((&letters[0]["payload"], &letters[0]["payload_is_left_out"]), (&Value::Null, &json!(true)));
        let path = format!("/dead-letters/{}", letters[0]["id"].as_str().unwrap());
        let letter = app.admin().get(&path).send().await.is(200).json();
        assert_eq!((&letter["payload"]["payload"], &letter["payload_is_left_out"]), (&text(5000), &json!(false)));

        // Replayed in bulk, it has all of its payload.
        let keep = r#"kv::collection("c").set("len", ctx.event.queue.payload.len())"#;
        app.update(&fail, keep).await.is(200);
        let done = app.admin().post("/apps/shop/dead-letters/replay", json!({})).send().await.is(200);
        assert_eq!(done.json()["done"], 1);
        app.settled("shop").await;
        assert_eq!(app.value("shop", "c", "len").await, 4998);
    }
}

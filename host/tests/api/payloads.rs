//! Payloads and values at, below and above their limits.

use picloud::json::Verbatim;
use serde_json::{Value, json};

use crate::app::TestApp;
use crate::with_an_app;

/// The limit `value_bytes`.
const MOST: usize = 256 << 10;

with_an_app! {
    async fn a_value_has_its_limit(app) {
        app.deploy("shop", "keep", r#"kv::collection("a").set("k", ctx.request.body); queue::send("q", ctx.request.body); 1"#).await;
        // As JSON, a text has two more bytes.
        for size in [0, 1, MOST - 3, MOST - 2] {
            let body = json!("x".repeat(size));
            app.post("/x/shop/keep").json(&body).send().await.is(200);
            assert_eq!(app.value("shop", "a", "k").await, body);
        }
        let over = json!("x".repeat(MOST - 1));
        let refused = app.post("/x/shop/keep").json(&over).by_owner().send().await.is(500);
        assert!(refused.text().contains("262145 bytes as JSON, at most 262144 are allowed"), "{refused:?}");
        let page = app.admin().get("/apps/shop/outbox").send().await.is(200).json();
        assert_eq!(page["items"].as_array().unwrap().len(), 4);
    }

    async fn a_payload_from_outside_has_the_same_limit(app) {
        let keep = app.deploy("shop", "keep", r#"kv::collection("a").set("k", ctx.event.queue.payload.len)"#).await;
        app.trigger("shop", &keep, json!({"kind": "queue", "queue": "q"})).await;
        let send = async |size: usize| {
            let event = json!({"queue": "q", "payload": "x".repeat(size)});
            app.admin().post("/apps/shop/events", event).send().await
        };
        send(MOST - 2).await.is(202);
        app.settled("shop").await;
        assert_eq!(app.value("shop", "a", "k").await, json!(MOST - 2));
        let error = send(MOST - 1).await.refuses(413, "payload_too_large");
        assert_eq!(error["limit"], "value_bytes");
    }

    async fn naughty_texts_come_through_as_they_are(app) {
        let keep = app.deploy("shop", "keep", r#"
            let queue = ctx.event.queue;
            kv::collection(queue.queue).set(queue.payload.key, queue.payload.value)
        "#).await;
        let texts = ["'; DROP TABLE outbox; --", "\u{feff}bom", "\u{202e}rtl", "𝒳😀", "%s%n${x}", "\\u0000", "\"\\", "\u{1}\u{7f}", "a/b?c#d", " "];
        for (number, text) in texts.into_iter().enumerate() {
            let queue = format!("{text}{number}");
            app.trigger("shop", &keep, json!({"kind": "queue", "queue": queue})).await;
            let payload = json!({"key": text, "value": format!("{text}\u{0}")});
            let event = json!({"queue": queue, "payload": payload});
            app.admin().post("/apps/shop/events", event).send().await.is(202);
            app.settled("shop").await;
            let encoded: String = queue.bytes().map(|byte| format!("%{byte:02X}")).collect();
            let path = format!("/apps/shop/kv/{encoded}");
            let part = app.admin().get(&path).send().await.is(200).json();
            assert_eq!(part["items"][0]["name"], text, "{part}");
            assert_eq!(part["items"][0]["value"], format!("{text}\u{0}"));
        }
        for event in [json!({"queue": "a\u{0}"}), json!({"topic": ""}), json!({"queue": "q".repeat(257)}), json!({"queue": "q", "dedupe": "\u{0}"})] {
            app.admin().post("/apps/shop/events", event).send().await.refuses(400, "field_invalid");
        }
        assert_eq!(app.dead_letters("shop").await, [Value::Null; 0]);
    }
}

/// A value that is plain JSON, but has a special meaning for the JSON library.
fn disguised() -> Value {
    let inner = json!({"$serde_json::private::RawValue": "{\"admin\":true}"});
    json!({"$serde_json::private::RawValue": inner.to_string()})
}

with_an_app! {
    async fn a_value_with_a_name_of_the_json_library_stays_as_it_is(app) {
        let keep = app.deploy("shop", "keep", r#"
            let event = ctx.event;
            let payload = if event.kind == "queue" { event.queue.payload }
                else if event.kind == "pubsub" { event.pubsub.payload }
                else { event.script.payload };
            kv::collection("kept").set(event.kind + "-" + event.operation, payload)"#).await;
        app.trigger("shop", &keep, json!({"kind": "queue", "queue": "q"})).await;
        app.trigger("shop", &keep, json!({"kind": "pubsub", "topic": "t"})).await;
        app.deploy("shop", "send", r#"
            let body = ctx.request.body;
            kv::collection("kept").set("body", body);
            queue::send("q", body);
            pubsub::publish("t", body);
            scripts::call("keep", body);
            scripts::enqueue("keep", body);
            body"#).await;
        let answer = app.post("/x/shop/send").json(&disguised()).by_owner().send().await;
        let answer = answer.is(200).text().to_owned();
        assert_eq!(Verbatim::read(&answer).unwrap(), disguised());
        app.settled("shop").await;
        for key in ["body", "queue-send", "pubsub-publish", "script-call", "script-enqueue"] {
            let path = format!("/apps/shop/kv/kept/{key}");
            let shown = app.admin().get(&path).send().await.is(200).text().to_owned();
            assert!(shown.contains("RawValue") && !shown.contains(r#""admin":true"#), "{key} {shown}");
        }
        let path = "/apps/shop/kv/kept/by-hand";
        app.admin().put(path, json!({"value": disguised()})).send().await.is(200);
        let shown = app.admin().get(path).send().await.is(200).text().to_owned();
        assert!(shown.contains("RawValue"), "{shown}");
        for event in [json!({"queue": "q", "payload": disguised()}), json!({"topic": "t", "payload": disguised()})] {
            app.admin().post("/apps/shop/events", event).send().await.is(202);
        }
        app.settled("shop").await;
        let shown = app.admin().get("/apps/shop/kv/kept/queue-send").send().await.is(200).text().to_owned();
        assert!(shown.contains("RawValue"), "{shown}");
    }
}

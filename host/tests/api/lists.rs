//! Lists omit large payloads and values; reading one resource returns them.

use serde_json::{Value, json};

use crate::app::TestApp;
use crate::with_an_app;

/// Returns a text that is `bytes` long as JSON.
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

        // A bulk replay uses the whole payload.
        let keep = r#"kv::collection("c").set("len", ctx.event.queue.payload.len())"#;
        app.update(&fail, keep).await.is(200);
        let done = app.admin().post("/apps/shop/dead-letters/replay", json!({})).send().await.is(200);
        assert_eq!(done.json()["done"], 1);
        app.settled("shop").await;
        assert_eq!(app.value("shop", "c", "len").await, 4998);
    }

    async fn every_list_that_grows_is_read_to_its_end_by_after(app) {
        let fail = app.deploy("shop", "fail", r#"throw "no""#).await;
        let once = json!({"script_id": fail, "on": {"kind": "queue", "queue": "q"},
            "retry": {"attempts_max": 1}});
        app.trigger_with("shop", once).await;
        for n in 0..5 {
            for queue in ["q", "nobody"] {
                let message = json!({"queue": queue, "payload": n});
                app.admin().post("/apps/shop/events", message).send().await.is(202);
            }
        }
        app.settled("shop").await;
        for list in ["/apps/shop/outbox", "/apps/shop/dead-letters", "/apps/shop/audit", "/audit"] {
            let whole = ids(&items(app, &format!("{list}?limit=200")).await);
            assert!(whole.len() >= 5, "{list}: {whole:?}");
            for limit in [1, 2, whole.len() - 1, whole.len()] {
                assert_eq!(by_after(app, list, "after", limit).await, whole, "{list} by {limit}");
            }
            let part = format!("{list}?after=");
            for (more, field) in [("x", "after"), ("v1.AAAA", "after"), ("", "after")] {
                let refused = app.admin().get(&format!("{part}{more}")).send().await;
                assert_eq!(refused.refuses(400, "field_invalid")["field"], field, "{list} {more}");
            }
            let first = app.admin().get(&format!("{list}?limit=1")).send().await.is(200).json();
            let both = format!("{part}{}&offset=1", first["next_after"].as_str().unwrap());
            let refused = app.admin().get(&both).send().await;
            assert_eq!(refused.refuses(400, "field_invalid")["field"], "offset", "{list}");
            let deep = app.admin().get(&format!("{list}?offset=10001")).send().await;
            let deep = deep.refuses(400, "field_invalid");
            assert!(deep["message"].as_str().unwrap().contains("`after`"), "{deep}");
        }
        // `after` follows executions from old to new; `before` continues to older ones.
        for list in ["/apps/shop/executions".to_owned(), format!("/scripts/{fail}/logs")] {
            let whole = ids(&items(app, &format!("{list}?limit=200")).await);
            assert_eq!(whole.len(), 5, "{list}");
            assert_eq!(by_after(app, &list, "before", 2).await, whole, "{list}");
        }
    }
}

fn ids(items: &[Value]) -> Vec<String> {
    items.iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect()
}

/// Returns the ids of a whole list, read page by page with the cursor `field`.
async fn by_after(app: &TestApp, list: &str, field: &str, limit: usize) -> Vec<String> {
    let (mut found, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = app.admin().get(&format!("{list}?limit={limit}{cursor}")).send().await;
        let page = page.is(200).json();
        found.extend(ids(page["items"].as_array().unwrap()));
        match page[format!("next_{field}")].as_str() {
            Some(next) => cursor = format!("&{field}={next}"),
            None => return found,
        }
    }
}

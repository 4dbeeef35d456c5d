//! The nesting depth of payloads, and invalid JSON: one limit and one code everywhere.

use serde_json::{Value, json};

use crate::app::{Answer, TestApp};
use crate::with_an_app;

/// The limit `value_depth`.
const MOST: usize = 64;
/// The depth limit for JSON that a script parses.
const BODY_MOST: usize = 127;

fn nested(depth: usize) -> Value {
    (0..depth).fold(json!(1), |value, _| json!([value]))
}

/// Creates an app whose script `keep` counts the events it reads, and fails on demand.
async fn prepare(app: &TestApp) -> String {
    let source = r#"
        let state = kv::collection("state");
        if state.get("broken") == true { throw "broken" }
        state.set("last", ctx.event.kind);
        state.increment("read")"#;
    let keep = app.deploy("shop", "keep", source).await;
    let retry = json!({"attempts_max": 1});
    for on in [json!({"kind": "queue", "queue": "q"}), json!({"kind": "pubsub", "topic": "t"})] {
        app.trigger_with("shop", json!({"script_id": keep, "on": on, "retry": retry})).await;
    }
    keep
}

/// Waits, and returns the number of events that the script has read. Asserts that none failed.
async fn read(app: &TestApp) -> i64 {
    app.settled("shop").await;
    assert_eq!(app.dead_letters("shop").await, [Value::Null; 0]);
    app.value("shop", "state", "read").await.as_i64().unwrap_or(0)
}

fn refuses_depth(answer: &Answer) {
    let error = answer.refuses(400, "payload_too_deep");
    let limit = (&error["limit"], &error["used"], &error["most"]);
    assert_eq!(limit, (&json!("value_depth"), &json!(MOST + 1), &json!(MOST)));
}

with_an_app! {
    async fn messages_from_outside_nest_so_deep_and_no_deeper(app) {
        prepare(app).await;
        for (sent, target) in [("queue", "q"), ("topic", "t"), ("script", "keep")].iter().enumerate() {
            let send = async |depth: usize| {
                let mut event = json!({"payload": nested(depth)});
                event[target.0] = json!(target.1);
                app.admin().post("/apps/shop/events", event).send().await
            };
            send(MOST).await.is(202);
            refuses_depth(&send(MOST + 1).await);
            assert_eq!(read(app).await, i64::try_from(sent).unwrap() + 1);
        }
    }

    async fn a_trigger_that_is_fired_by_hand_has_the_same_limit(app) {
        let keep = prepare(app).await;
        let kv = app.trigger("shop", &keep, json!({"kind": "kv", "collection": "c"})).await;
        let letters = app.trigger("shop", &keep, json!({"kind": "dead_letter"})).await;
        let of_letter = |value| json!({"event": {"kind": "queue", "queue": {"payload": value}}});
        let of_key = |value| json!({"value": value});
        for (n, (trigger, payload)) in
            [(&kv, &of_key as &(dyn Fn(Value) -> Value + Sync)), (&letters, &of_letter)].into_iter().enumerate()
        {
            let fire = async |depth: usize| {
                let body = json!({"payload": payload(nested(depth))});
                app.admin().post(&format!("/triggers/{trigger}/fire"), body).send().await
            };
            fire(MOST).await.is(202);
            refuses_depth(&fire(MOST + 1).await);
            assert_eq!(read(app).await, i64::try_from(n).unwrap() + 1);
        }
    }

    async fn a_payload_that_is_edited_for_a_replay_has_the_same_limits(app) {
        prepare(app).await;
        let state = "/apps/shop/kv/state/broken";
        app.admin().put(state, json!({"value": true})).send().await.is(200);
        app.admin().post("/apps/shop/events", json!({"queue": "q", "payload": nested(MOST)})).send().await.is(202);
        app.settled("shop").await;
        let id = app.dead_letters("shop").await[0]["id"].as_str().unwrap().to_owned();
        let replay = async |payload: Value| {
            let edited = json!({"payload": {"queue": "q", "payload": payload}});
            app.admin().post(&format!("/dead-letters/{id}/replay"), edited).send().await
        };
        refuses_depth(&replay(nested(MOST + 1)).await);
        let bytes = 256 << 10;
        let error = replay(json!("x".repeat(bytes - 1))).await.refuses(413, "payload_too_large");
        assert_eq!(error["limit"], "value_bytes");
        app.admin().put(state, json!({"value": false})).send().await.is(200);
        replay(nested(MOST)).await.is(202);
        app.settled("shop").await;
        assert_eq!(app.value("shop", "state", "read").await, 1);
    }

    async fn what_a_script_sends_and_keeps_has_the_same_limit(app) {
        prepare(app).await;
        let ways = [
            r#"queue::send("q", ctx.request.body)"#,
            r#"pubsub::publish("t", ctx.request.body)"#,
            r#"scripts::enqueue("keep", ctx.request.body)"#,
            r#"scripts::call("echo", ctx.request.body)"#,
            r#"kv::collection("c").set("k", ctx.request.body)"#,
        ];
        app.deploy("shop", "echo", "1").await;
        for (n, way) in ways.iter().enumerate() {
            let script = format!("way-{n}");
            app.deploy("shop", &script, &format!("{way}; 1")).await;
            let call = async |depth| {
                app.post(&format!("/x/shop/{script}")).json(&nested(depth)).by_owner().send().await
            };
            call(MOST).await.is(200);
            let refused = call(MOST + 1).await.is(500);
            assert!(refused.text().contains("nests 65 levels deep, at most 64 are allowed"), "{way} {refused:?}");
        }
        assert_eq!(read(app).await, 3);
    }

    async fn an_event_that_is_tried_by_hand_has_the_same_limit(app) {
        let keep = prepare(app).await;
        let plain = |value: Value| json!({"kind": "queue", "queue": {"queue": "q", "payload": value}});
        let of_letter = |value| json!({"kind": "dead_letter", "dead_letter": {"event": plain(value)}});
        for event in [&plain as &(dyn Fn(Value) -> Value + Sync), &of_letter] {
            let run = async |depth: usize| {
                let body = json!({"event": event(nested(depth))});
                app.admin().post(&format!("/scripts/{keep}/test"), body).send().await
            };
            assert_eq!(run(MOST).await.is(200).json()["status"], "success");
            refuses_depth(&run(MOST + 1).await);
        }
    }

    async fn a_body_nests_as_deep_as_a_script_reads_however_it_is_delivered(app) {
        let id = app.deploy("shop", "count", r#"kv::collection("state").increment("read"); ctx.request.body; 1"#).await;
        for (n, delivery) in ["sync", "durable", "async"].into_iter().enumerate() {
            let route = json!({"script_id": id, "method": "POST", "path": format!("/{delivery}"), "delivery": delivery});
            app.admin().post("/apps/shop/routes", route).send().await.is(201);
            let call = async |depth: usize| {
                let body = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
                let call = app.post(&format!("/x/shop/{delivery}")).body("application/json", body);
                call.send().await
            };
            let answer = call(BODY_MOST).await;
            assert!([200, 202].contains(&answer.status), "{delivery} {answer:?}");
            call(BODY_MOST + 1).await.refuses(400, "body_invalid");
            assert_eq!(read(app).await, i64::try_from(n).unwrap() + 1, "{delivery}");
        }
    }

    async fn a_request_that_is_edited_for_a_replay_has_a_body_that_can_be_read(app) {
        let id = app.deploy("shop", "fail", "throw \"no\"").await;
        let route = json!({"script_id": id, "method": "POST", "path": "/fail", "delivery": "async"});
        app.admin().post("/apps/shop/routes", route).send().await.is(201);
        app.post("/x/shop/fail").json(&json!(1)).send().await.is(202);
        app.settled("shop").await;
        let letter = app.dead_letters("shop").await.remove(0);
        let replay = async |body: &str| {
            let mut edited = letter["payload"].clone();
            edited["body"] = json!(body);
            let path = format!("/dead-letters/{}/replay", letter["id"].as_str().unwrap());
            app.admin().post(&path, json!({"payload": edited})).send().await
        };
        // `{`, and a text that is not base64.
        replay("ew==").await.refuses(400, "body_invalid");
        replay("%").await.refuses(400, "body_invalid");
        replay("Mg==").await.is(202);
    }

    async fn bad_json_has_one_code(app) {
        let keep = prepare(app).await;
        let trigger = app.trigger("shop", &keep, json!({"kind": "kv", "collection": "c"})).await;
        let paths = [
            ("POST", "/api/v1/apps".to_owned()),
            ("POST", "/api/v1/apps/shop/events".to_owned()),
            ("POST", format!("/api/v1/triggers/{trigger}/fire")),
            ("POST", format!("/api/v1/scripts/{keep}/test")),
            ("POST", format!("/api/v1/execute/{keep}")),
            ("PUT", "/api/v1/apps/shop/kv/c/k".to_owned()),
            ("PUT", format!("/api/v1/scripts/{keep}")),
            ("POST", "/x/shop/keep".to_owned()),
        ];
        for (method, path) in &paths {
            for body in ["{", "nul", "{\"a\":}", "\"\\ud800\"", "[1,]", "\u{feff}\u{feff}{}"] {
                let call = app.request(method, path).by_owner().body("application/json", body);
                call.send().await.refuses(400, "body_invalid");
            }
            let deep = format!("{}1{}", "{\"a\":".repeat(200), "}".repeat(200));
            let call = app.request(method, path).by_owner().body("application/json", deep);
            call.send().await.refuses(400, "body_invalid");
            let call = app.request(method, path).by_owner();
            call.body("application/json", b"{\"\xff\":1}".as_slice()).send().await.refuses(400, "body_invalid");
        }
    }
}

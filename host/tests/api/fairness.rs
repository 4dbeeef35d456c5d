//! Apps share the server's slots fairly.

use futures::future::join_all;
use serde_json::json;
use tokio::task::JoinSet;

use crate::app::{SLOTS, TestApp};
use crate::gate::{Arrival, Gate};
use crate::on_both_databases;

/// Starts a server, and returns the source of a script that waits at a gate.
async fn with_gate(database: &crate::database::Database) -> (TestApp, Gate, String) {
    let gate = Gate::open().await;
    let settings = [
        ("PICLOUD_PRIVATE_HOSTS", "127.0.0.1"),
        ("PICLOUD_QUEUE_TIMEOUT_MS", "0"),
        ("PICLOUD_MAX_EVENT_CONCURRENCY", "4"),
    ];
    let app = TestApp::start_with(database, &settings).await;
    let source = format!(r#"http::get("{}1").status"#, gate.url);
    (app, gate, source)
}

on_both_databases! {
    async fn an_app_that_takes_all_slots_leaves_some_for_the_others(database) {
        let (app, mut gate, source) = with_gate(database).await;
        app.deploy("greedy", "wait", &source).await;
        app.deploy("modest", "echo", "1").await;
        // Each caller has its own task, as a connection does.
        let mut greedy = JoinSet::new();
        for _ in 0..2 * SLOTS {
            greedy.spawn(app.get("/x/greedy/wait").send());
        }
        let held_max = SLOTS - SLOTS.div_ceil(4);
        for _ in 0..2 * SLOTS - held_max {
            greedy.join_next().await.unwrap().unwrap().refuses(503, "saturated");
        }
        let mut held = Vec::new();
        for _ in 0..held_max {
            held.push(gate.arrival().await);
        }
        for _ in 0..20 {
            app.get("/x/modest/echo").send().await.is(200);
        }
        held.into_iter().for_each(Arrival::let_go);
        while let Some(answer) = greedy.join_next().await {
            answer.unwrap().is(200);
        }
        app.close().await;
    }

    async fn an_app_with_many_slow_events_does_not_hold_up_the_others(database) {
        let (app, mut gate, source) = with_gate(database).await;
        let slow = app.deploy("greedy", "wait", &source).await;
        app.trigger("greedy", &slow, json!({"kind": "queue", "queue": "q"})).await;
        let quick = app.deploy("modest", "work", r#"kv::collection("done").increment("n")"#).await;
        app.trigger("modest", &quick, json!({"kind": "queue", "queue": "q"})).await;
        // Many more than a node claims at once.
        app.deploy("greedy", "flood", r#"for n in 0..200 { queue::send("q", n); }"#).await;
        for _ in 0..6 {
            app.post("/x/greedy/flood").send().await.is(200);
        }
        let mut held = Vec::new();
        for _ in 0..3 {
            held.push(gate.arrival().await);
        }
        for n in 1..=20 {
            let message = json!({"queue": "q", "payload": n});
            app.admin().post("/apps/modest/events", message).send().await.is(202);
            app.settled("modest").await;
            assert_eq!(app.value("modest", "done", "n").await, n);
        }
        // The other events were not started; they are released, not lost.
        held.into_iter().for_each(Arrival::let_go);
        app.admin().delete("/apps/greedy").send().await.is(204);
        app.close().await;
    }

    /// Nested calls find slots at every depth, even if callers hold all slots.
    async fn scripts_call_each_other_while_all_slots_are_taken(database) {
        let app = TestApp::start(database).await;
        app.deploy("shop", "third", r#"ctx.event.script.payload + 1"#).await;
        app.deploy("shop", "second", r#"scripts::call("third", ctx.event.script.payload + 1)"#).await;
        app.deploy("shop", "first", r#"scripts::call("second", 1)"#).await;
        let calls = join_all((0..8 * SLOTS).map(|_| app.get("/x/shop/first").by_owner().send())).await;
        for call in calls {
            assert_eq!(call.is(200).json(), 3);
        }
        app.close().await;
    }
}

//! The API of triggers.

use serde_json::{Value, json};

use crate::app::TestApp;
use crate::with_an_app;

const COUNT: &str = r#"kv::collection("fired").increment(ctx.script)"#;

with_an_app! {
    async fn a_trigger_of_every_kind_is_made_found_changed_and_deleted(app) {
        let script = app.deploy("shop", "work", "1").await;
        let other = app.deploy("shop", "other", "1").await;
        for on in [
            json!({"kind": "kv", "collection": "a:*", "operations": ["insert"]}),
            json!({"kind": "cron", "schedule": "30 7 * * MON-FRI", "zone": "Europe/Berlin", "dst": "skip", "misfire": "all", "overlap": "forbid"}),
            json!({"kind": "queue", "queue": "q"}),
            json!({"kind": "pubsub", "topic": "t.*"}),
            json!({"kind": "files", "bucket": "b", "path": "*.png", "operations": ["delete"]}),
            json!({"kind": "dead_letter", "source_kind": "queue", "source_trigger_id": null, "source_script_id": script}),
        ] {
            let id = app.trigger("shop", &script, on.clone()).await;
            let path = format!("/triggers/{id}");
            let found = app.admin().get(&path).send().await.is(200).json();
            assert_eq!(found["on"], on);
            assert_eq!((&found["enabled"], &found["script_id"]), (&json!(true), &json!(script)));
            let runs = found["next_runs"].as_array().map_or(0, Vec::len);
            assert_eq!(runs, if on["kind"] == "cron" { 5 } else { 0 });
            let change = json!({"script_id": other, "enabled": false, "retry": {"attempts_max": 2, "jitter": 0.5}});
            let changed = app.admin().patch(&path, change).send().await.is(200).json();
            assert_eq!((&changed["enabled"], &changed["script_id"]), (&json!(false), &json!(other)));
            assert_eq!(changed["retry"]["attempts_max"], 2);
            let kind = on["kind"].as_str().unwrap();
            let listed = app.admin().get(&format!("/apps/shop/triggers?kind={kind}")).send().await;
            assert_eq!(listed.is(200).json()["items"], json!([changed]));
            app.admin().delete(&path).send().await.is(204);
            app.admin().get(&path).send().await.refuses(404, "trigger_not_found");
        }
    }

    async fn a_trigger_that_cannot_be_is_refused(app) {
        let script = app.deploy("shop", "work", "1").await;
        let elsewhere = app.deploy("other", "work", "1").await;
        let make = async |trigger: Value| app.admin().post("/apps/shop/triggers", trigger).send().await;
        let on = json!({"kind": "queue", "queue": "q"});
        make(json!({"script_id": elsewhere, "on": on})).await.refuses(404, "script_not_found");
        for (on, status, code) in [
            (json!({"kind": "cron", "schedule": "61 * * * *"}), 422, "schedule_invalid"),
            (json!({"kind": "cron", "schedule": "* * * * *", "zone": "Mars/Olympus"}), 422, "schedule_invalid"),
            (json!({"kind": "kv", "collection": "a", "operations": []}), 400, "body_invalid"),
            (json!({"kind": "kv", "collection": ""}), 400, "field_invalid"),
            (json!({"kind": "queue", "queue": "a\u{0}"}), 400, "field_invalid"),
            (json!({"kind": "queue", "queue": "q".repeat(257)}), 400, "field_invalid"),
            (json!({"kind": "email", "address": "a@example.org"}), 422, "email_unavailable"),
            (json!({"kind": "moon"}), 400, "body_invalid"),
        ] {
            make(json!({"script_id": script, "on": on})).await.refuses(status, code);
        }
        for retry in [json!({"attempts_max": 0}), json!({"jitter": 2}), json!({"base_ms": -1})] {
            let trigger = json!({"script_id": script, "on": on, "retry": retry});
            make(trigger).await.refuses(400, "field_invalid");
        }
    }

    /// The clock moves with each reading, so the schedule is late in the day.
    async fn what_a_schedule_missed_is_dealt_with_as_its_trigger_says(app) {
        for (misfire, fired) in [("skip", Value::Null), ("once", json!(1)), ("all", json!(3))] {
            let name = format!("on-{misfire}");
            let script = app.deploy("shop", &name, COUNT).await;
            let on = json!({"kind": "cron", "schedule": "0 23 * * *", "misfire": misfire});
            app.trigger("shop", &script, on).await;
            // Nothing is due yet.
            app.scheduler().run_once().await.unwrap();
            app.settled("shop").await;
            assert_eq!(app.value("shop", "fired", &name).await, Value::Null);
            app.pass_days(3);
            app.scheduler().run_once().await.unwrap();
            app.scheduler().run_once().await.unwrap();
            app.settled("shop").await;
            assert_eq!(app.value("shop", "fired", &name).await, fired, "{misfire}");
        }
    }

    async fn a_schedule_that_must_not_overlap_waits_for_its_last_firing(app) {
        let script = app.deploy("shop", "slow", &format!("{COUNT}; throw \"again\"")).await;
        for (overlap, waiting) in [("forbid", 1), ("allow", 2)] {
            let trigger = json!({
                "script_id": script,
                "on": {"kind": "cron", "schedule": "0 23 * * *", "overlap": overlap},
                // Long enough that the first firing is still pending at the second.
                "retry": {"attempts_max": 2, "base_ms": 3_600_000, "cap_ms": 3_600_000},
            });
            let trigger = app.trigger_with("shop", trigger).await;
            for _ in 0..2 {
                app.pass_days(1);
                app.scheduler().run_once().await.unwrap();
            }
            let path = format!("/apps/shop/outbox?trigger_id={trigger}");
            let page = app.admin().get(&path).send().await.is(200).json();
            assert_eq!(page["items"].as_array().unwrap().len(), waiting, "{overlap}: {page}");
            app.admin().delete(&format!("/triggers/{trigger}")).send().await.is(204);
        }
    }

    async fn a_schedule_that_is_enabled_again_does_not_make_up_for_anything(app) {
        let script = app.deploy("shop", "count", COUNT).await;
        let on = json!({"kind": "cron", "schedule": "0 23 * * *", "misfire": "all"});
        let trigger = app.trigger("shop", &script, on).await;
        let path = format!("/triggers/{trigger}");
        app.admin().patch(&path, json!({"enabled": false})).send().await.is(200);
        app.pass_days(5);
        app.scheduler().run_once().await.unwrap();
        app.admin().patch(&path, json!({"enabled": true})).send().await.is(200);
        app.scheduler().run_once().await.unwrap();
        app.settled("shop").await;
        assert_eq!(app.value("shop", "fired", "count").await, Value::Null);
    }
}

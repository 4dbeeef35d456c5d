//! The data of the dashboard's charts: statistics over time, recent events, and the causes and
//! effects of an execution.

use serde_json::{Value, json};

use crate::app::TestApp;
use crate::with_an_app;

async fn get(app: &TestApp, path: &str) -> Value {
    app.admin().get(path).send().await.is(200).json()
}

fn sum(stats: &Value, figure: &str) -> i64 {
    stats["buckets"].as_array().unwrap().iter().map(|each| each[figure].as_i64().unwrap()).sum()
}

fn ids(list: &Value) -> Vec<&str> {
    list["items"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap()).collect()
}

with_an_app! {
    async fn executions_are_counted_over_time_and_by_script(app) {
        let good = app.deploy("shop", "good", "1").await;
        app.deploy("shop", "bad", "throw 1").await;
        app.deploy("other", "good", "1").await;
        for path in ["/x/shop/good", "/x/shop/good", "/x/shop/bad", "/x/other/good"] {
            app.get(path).send().await;
        }
        let stats = get(app, "/apps/shop/stats?from=0&buckets=4").await;
        assert_eq!(stats["buckets"].as_array().unwrap().len(), 4);
        assert_eq!((sum(&stats, "runs"), sum(&stats, "errors")), (3, 1));
        for times in ["from=9223372036854775806&to=9223372036854775807", "from=0&to=9223372036854775807"] {
            for buckets in [1, 200] {
                let path = format!("/apps/shop/stats?{times}&buckets={buckets}");
                let stats = get(app, &path).await;
                assert_eq!(stats["buckets"].as_array().map(Vec::len), Some(buckets), "{path}");
            }
        }
        let last = &stats["buckets"][3];
        assert!(last["duration_p95_us"].as_i64() >= last["duration_p50_us"].as_i64(), "{last}");
        assert!(last["fuel_max"].as_i64() >= last["fuel_p50"].as_i64(), "{last}");
        let names: Vec<_> = stats["scripts"].as_array().unwrap().iter()
            .map(|script| (script["name"].clone(), script["runs"].clone(), script["errors"].clone()))
            .collect();
        assert_eq!(names, [
            (json!("good"), json!(2), json!(0)),
            (json!("bad"), json!(1), json!(1)),
        ]);
        assert_eq!(stats["truncated"], false);
        let of_one = get(app, &format!("/apps/shop/stats?from=0&script_id={good}")).await;
        assert_eq!((of_one["buckets"].as_array().unwrap().len(), sum(&of_one, "runs")), (60, 2));
        let before = get(app, "/apps/shop/stats?from=0&to=1000").await;
        assert_eq!(sum(&before, "runs"), 0);
        let stranger = app.admin().get(&format!("/apps/other/stats?script_id={good}")).send().await;
        stranger.refuses(404, "script_not_found");
        for wrong in ["buckets=0", "buckets=241", "from=5&to=5", "from=-1"] {
            let refused = app.admin().get(&format!("/apps/shop/stats?{wrong}")).send().await;
            refused.refuses(400, "field_invalid");
        }
    }

    async fn what_started_scripts_is_found_again_and_can_be_tried(app) {
        let keep = app.deploy("shop", "keep", r#"kv::collection("kept").set("last", ctx.event)"#).await;
        app.trigger("shop", &keep, json!({"kind": "queue", "queue": "mails"})).await;
        let message = json!({"queue": "mails", "payload": {"to": "ada"}});
        app.admin().post("/apps/shop/events", message).send().await.is(202);
        app.settled("shop").await;
        app.deploy("shop", "hello", "1").await;
        app.get("/x/shop/hello?a=1").send().await.is(200);

        let all = get(app, "/apps/shop/captured-events").await;
        let kinds: Vec<_> = all["items"].as_array().unwrap().iter().map(|item| &item["kind"]).collect();
        assert_eq!(kinds, ["http", "queue"]);
        assert_eq!(all["items"][0]["event"]["query"], json!([["a", "1"]]));
        let queued = get(app, &format!("/apps/shop/captured-events?kind=queue&script_id={keep}")).await;
        let captured = &queued["items"][0];
        assert_eq!((&captured["source"], &captured["operation"]), (&json!("mails"), &json!("send")));

        let mut event = captured["event"].clone();
        event["queue"]["payload"] = json!({"to": "bob"});
        let ran = app.admin().post(&format!("/scripts/{keep}/test"), json!({"event": event}));
        let ran = ran.send().await.is(200).json();
        assert_eq!(ran["status"], "success", "{ran}");
        assert_eq!(app.value("shop", "kept", "last").await["queue"]["payload"]["to"], "bob");
        let row = app.execution(ran["execution_id"].as_str().unwrap()).await;
        assert_eq!((&row["trigger"], &row["event_id"]), (&json!("execute"), &Value::Null));
        for (wrong, code) in [(json!({}), "body_invalid"), (json!({"event": {}}), "request_invalid")] {
            let refused = app.admin().post(&format!("/scripts/{keep}/test"), wrong).send().await;
            refused.refuses(400, code);
        }
    }

    async fn a_trigger_tells_how_it_went_last(app) {
        let work = app.deploy("shop", "work", "if ctx.event.queue.payload { throw \"no\" }").await;
        let retry = json!({"attempts_max": 1});
        let trigger = json!({"script_id": work, "on": {"kind": "queue", "queue": "q"}, "retry": retry});
        let id = app.trigger_with("shop", trigger).await;
        assert_eq!(get(app, &format!("/triggers/{id}")).await["last_execution"], Value::Null);
        for (payload, status, message) in
            [(true, json!("error"), json!("no")), (false, json!("success"), Value::Null)]
        {
            let message_sent = json!({"queue": "q", "payload": payload});
            app.admin().post("/apps/shop/events", message_sent).send().await.is(202);
            app.settled("shop").await;
            app.flush().await;
            let last = get(app, &format!("/triggers/{id}")).await["last_execution"].clone();
            assert_eq!((&last["status"], &last["error_message"]), (&status, &message));
            assert_eq!(get(app, "/apps/shop/triggers").await["items"][0]["last_execution"], last);
        }
    }

    async fn what_an_execution_has_led_to_can_be_followed(app) {
        let work = app.deploy("shop", "work", "1").await;
        app.trigger("shop", &work, json!({"kind": "queue", "queue": "q"})).await;
        app.deploy("shop", "send", r#"queue::send("q", 1); queue::send("later", 2); 1"#).await;
        let sent = app.post("/x/shop/send").send().await.is(200);
        let sent = sent.execution_id();
        app.settled("shop").await;
        let led_to = get(app, &format!("/apps/shop/executions?caused_by={sent}")).await;
        assert_eq!(led_to["items"].as_array().unwrap().len(), 1, "{led_to}");
        let row = app.execution(ids(&led_to)[0]).await;
        assert_eq!((&row["script"], &row["caused_by"]), (&json!("work"), &json!(sent)));
        assert_eq!(app.execution(sent).await["caused_by"], Value::Null);
        // The execution also caused the pending events.
        let waiting = get(app, &format!("/apps/shop/outbox?caused_by={sent}")).await;
        assert_eq!(waiting["items"][0]["source"], "later");
        let other = row["id"].as_str().unwrap();
        let none = get(app, &format!("/apps/shop/outbox?caused_by={other}")).await;
        assert_eq!(none["items"], json!([]));
    }

    async fn executions_are_found_by_what_they_are(app) {
        let hello = app.deploy("shop", "hello", "log::info(`50% of ${ctx.request.path}`)").await;
        app.deploy("shop", "bad", "throw \"Kaputt\"").await;
        let first = app.get("/x/shop/hello?x=needle").send().await.is(200);
        let bad = app.get("/x/shop/bad").send().await.is(500);
        let tried = app.admin().post(&format!("/execute/{hello}"), json!({})).send().await.is(200);
        let tried = tried.json()["execution_id"].as_str().unwrap().to_owned();
        let (first, bad) = (first.execution_id(), bad.execution_id());
        let at = app.execution(bad).await["finished_at"].as_i64().unwrap();
        let (after, bad_only) = (at + 1, format!("from={at}&to={}", at + 1));
        for (query, expected) in [
            ("trigger=execute", vec![tried.as_str()]),
            ("trigger=http", vec![bad, first]),
            ("trigger=cron", vec![]),
            ("status=error&trigger=http", vec![bad]),
            ("q=kaputt", vec![bad]),
            ("q=NEEDLE", vec![first]),
            ("q=50%25%20of", vec![&tried, first]),
            ("q=50_%20of", vec![]),
            ("q=", vec![&tried, bad, first]),
            ("q=needle&status=error", vec![]),
            (&format!("from={after}"), vec![&tried]),
            (&format!("to={at}"), vec![first]),
            (&bad_only, vec![bad]),
            ("q=/x/shop&limit=1&offset=1", vec![bad]),
        ] {
            let list = get(app, &format!("/apps/shop/executions?{query}")).await;
            assert_eq!(ids(&list), expected, "{query}");
        }
        let long = "x".repeat(201);
        for (wrong, code) in [
            (format!("q={long}"), "field_invalid"),
            (format!("q=a&after={first}"), "field_invalid"),
            ("caused_by=x".to_owned(), "field_invalid"),
            ("trigger_id=x".to_owned(), "field_invalid"),
            ("trigger=moon".to_owned(), "query_invalid"),
        ] {
            let refused = app.admin().get(&format!("/apps/shop/executions?{wrong}")).send().await;
            refused.refuses(400, code);
        }
        let exact = "x".repeat(200);
        assert_eq!(ids(&get(app, &format!("/apps/shop/executions?q={exact}")).await), [""; 0]);
    }

    async fn a_script_tells_which_limits_are_in_force(app) {
        let plain = app.deploy("shop", "plain", "1").await;
        let limits = get(app, &format!("/scripts/{plain}")).await["limits_in_force"].clone();
        assert_eq!(limits["memory_bytes_max"], 32 << 20);
        assert_eq!(limits["wall_ms_max"], 10_000);
        let script = json!({"name": "own", "source": "1", "limits": {"wall_ms_max": 70}});
        let own = app.deploy_with("shop", script).await;
        let own = get(app, &format!("/scripts/{own}")).await["limits_in_force"].clone();
        assert_eq!((&own["wall_ms_max"], &own["fuel_max"]), (&json!(70), &limits["fuel_max"]));
    }

    async fn a_schedule_shows_its_next_firings_before_it_is_one(app) {
        let preview = async |body: Value| app.admin().post("/schedules/preview", body).send().await;
        let berlin = json!({"schedule": "0 3 * * *", "zone": "Europe/Berlin", "dst": "skip"});
        let runs = preview(berlin).await.is(200).json()["next_runs"].clone();
        assert_eq!(runs.as_array().unwrap().len(), 5);
        let us = |at: usize| runs[at].as_i64().unwrap();
        assert_eq!((us(0) / 1_000_000 % 86_400, us(1) - us(0)), (2 * 3600, 86_400_000_000));
        let utc = preview(json!({"schedule": "@hourly"})).await.is(200).json();
        assert_eq!(utc["next_runs"][0].as_i64().unwrap() / 1_000_000 % 3600, 0);
        preview(json!({"schedule": "61 * * * *"})).await.refuses(422, "schedule_invalid");
        preview(json!({"schedule": "@daily", "zone": "Mars"})).await.refuses(422, "schedule_invalid");
    }
}

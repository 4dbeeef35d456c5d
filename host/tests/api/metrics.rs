//! `/metrics`: pending, late and dead-lettered work.

use serde_json::json;

use crate::app::TestApp;
use crate::gate::Gate;
use crate::{on_both_databases, plain, with_an_app};

/// The most events of an app that a node claims at once.
const IN_HAND_MAX: u32 = 256;

/// Returns the value of a series; `None` if it does not exist.
async fn value(app: &TestApp, series: &str) -> Option<f64> {
    let metrics = app.get("/metrics").by_owner().send().await.is(200);
    let line = metrics.text().lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.map(|value| value.parse().unwrap())
}

#[track_caller]
fn is(told: Option<f64>, expected: f64) {
    assert_eq!(told.map(f64::to_bits), Some(expected.to_bits()), "{told:?}, not {expected}");
}

with_an_app! {
    async fn a_dead_letter_is_counted_and_until_somebody_deals_with_it_open(app) {
        let series = r#"picloud_dead_letters_total{kind="queue"}"#;
        let by_app = |name: &str| format!("picloud_app_dead_letters_unresolved{{app=\"{name}\"}}");
        is(value(app, "picloud_dead_letters_unresolved").await, 0.0);
        for name in ["shop", "blog"] {
            let fail = app.deploy(name, "fail", "throw \"no\"").await;
            let on = json!({"kind": "queue", "queue": "q"});
            app.trigger_with(name, json!({"script_id": fail, "on": on, "retry": {"attempts_max": 1}})).await;
        }
        app.deploy("quiet", "any", "1").await;
        for name in ["shop", "shop", "blog"] {
            let path = format!("/apps/{name}/events");
            app.admin().post(&path, json!({"queue": "q", "payload": 1})).send().await.is(202);
            app.settled(name).await;
        }
        is(value(app, series).await, 3.0);
        is(value(app, "picloud_dead_letters_unresolved").await, 3.0);
        is(value(app, &by_app("shop")).await, 2.0);
        is(value(app, &by_app("blog")).await, 1.0);
        assert_eq!(value(app, &by_app("quiet")).await, None);
        let id = app.dead_letters("blog").await[0]["id"].as_str().unwrap().to_owned();
        app.admin().post(&format!("/dead-letters/{id}/resolve"), json!({})).send().await.is(200);
        is(value(app, series).await, 3.0);
        is(value(app, "picloud_dead_letters_unresolved").await, 2.0);
        assert_eq!(value(app, &by_app("blog")).await, None);
    }

    async fn only_some_apps_have_a_series_of_their_own(app) {
        for n in 10..32 {
            let name = format!("app-{n}");
            let fail = app.deploy(&name, "fail", "throw \"no\"").await;
            let on = json!({"kind": "queue", "queue": "q"});
            app.trigger_with(&name, json!({"script_id": fail, "on": on, "retry": {"attempts_max": 1}})).await;
            let path = format!("/apps/{name}/events");
            app.admin().post(&path, json!({"queue": "q", "payload": 1})).send().await.is(202);
            app.settled(&name).await;
        }
        let metrics = app.get("/metrics").by_owner().send().await.is(200);
        let own = metrics.text().lines().filter(|line| line.starts_with("picloud_app_dead_letters_unresolved{"));
        assert_eq!(own.count(), 20, "{metrics:?}");
        is(value(app, "picloud_dead_letters_unresolved").await, 22.0);
    }

    async fn firings_that_come_late_or_not_at_all_are_counted(app) {
        let script = app.deploy("shop", "any", "1").await;
        let series = |outcome: &str| format!("picloud_schedule_firings_total{{outcome=\"{outcome}\"}}");
        is(value(app, &series("late")).await, 0.0);
        for misfire in ["skip", "once", "all"] {
            let on = json!({"kind": "cron", "schedule": "0 3 * * *", "misfire": misfire});
            app.trigger("shop", &script, on).await;
        }
        app.pass_days(3);
        app.scheduler().run_once().await.unwrap();
        app.settled("shop").await;
        // Nine firings were missed: one run stands for three, three run late, and three are skipped.
        is(value(app, &series("late")).await, 4.0);
        is(value(app, &series("left_out")).await, 5.0);
        is(value(app, &series("on_time")).await, 0.0);
    }

    async fn how_old_the_definitions_are_is_told(app) {
        let age = value(app, "picloud_definitions_age_seconds").await.unwrap();
        // An alert fires above 30 seconds; with one process the age never reaches that.
        assert!((0.0..30.0).contains(&age), "{age}");
        assert!(app.store().is_shared() || age == 0.0, "{age}");
    }
}

on_both_databases! {
    async fn an_event_that_is_overdue_has_an_age(database) {
        let mut gate = Gate::open().await;
        let settings = [("PICLOUD_PRIVATE_HOSTS", "127.0.0.1"), ("PICLOUD_MAX_EVENT_CONCURRENCY", "1")];
        let server = TestApp::start_with(database, &settings).await;
        let app = &server;
        is(value(app, "picloud_oldest_due_event_age_seconds").await, 0.0);
        let source = format!(r#"http::get("{}1").status"#, gate.url);
        app.deploy("shop", "wait", &source).await;
        app.deploy("shop", "quick", "1").await;
        app.admin().post("/apps/shop/events", json!({"script": "wait"})).send().await.is(202);
        let first = gate.arrival().await;
        is(value(app, "picloud_events_running").await, 1.0);
        is(value(app, "picloud_events_waiting").await, 0.0);
        // A node claims at most 256 events of an app, including those that wait for a slot.
        for _ in 0..IN_HAND_MAX {
            app.admin().post("/apps/shop/events", json!({"script": "quick"})).send().await.is(202);
        }
        is(value(app, "picloud_events_running").await, f64::from(IN_HAND_MAX));
        let overdue = "UPDATE outbox SET available_at = available_at - 120000000 WHERE lease_token IS NULL";
        plain::execute(database, overdue).await;
        is(value(app, "picloud_events_waiting").await, 1.0);
        let age = value(app, "picloud_oldest_due_event_age_seconds").await.unwrap();
        assert!(age >= 120.0, "{age}");
        first.let_go();
        app.settled("shop").await;
        is(value(app, "picloud_oldest_due_event_age_seconds").await, 0.0);
        is(value(app, "picloud_events_waiting").await, 0.0);
        server.close().await;
    }

    async fn a_schedule_that_cannot_be_read_is_counted(database) {
        let server = TestApp::start(database).await;
        let script = server.deploy("shop", "any", "1").await;
        let id = server.trigger("shop", &script, json!({"kind": "cron", "schedule": "0 3 * * *"})).await;
        server.close().await;
        let set = format!("UPDATE triggers_cron SET expression = '61 * * * *' WHERE trigger_id = '{id}'");
        plain::execute(database, &set).await;
        let server = TestApp::start(database).await;
        is(value(&server, "picloud_schedules_unreadable").await, 0.0);
        server.scheduler().run_once().await.unwrap();
        is(value(&server, "picloud_schedules_unreadable").await, 1.0);
        let path = format!("/triggers/{id}");
        server.admin().patch(&path, json!({"on": {"kind": "cron", "schedule": "@daily"}})).send().await.is(200);
        server.scheduler().run_once().await.unwrap();
        is(value(&server, "picloud_schedules_unreadable").await, 0.0);
        server.close().await;
    }
}

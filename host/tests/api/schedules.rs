//! Invalid schedules, and schedules that only an older release accepted.

use serde_json::{Value, json};

use crate::app::TestApp;
use crate::{on_both_databases, plain, with_an_app};

with_an_app! {
    async fn a_refused_schedule_says_which_field_what_was_given_and_what_is_allowed(app) {
        let script = app.deploy("shop", "work", "1").await;
        for (schedule, field, given) in [
            ("* * * MON *", "month", "MON"),
            ("1,,2 * * * *", "minute", "1,,2"),
            ("* * LW,L * *", "day of month", "LW,L"),
            ("@noon", "macro", "@noon"),
            ("* * *", "schedule", "* * *"),
        ] {
            let on = json!({"kind": "cron", "schedule": schedule});
            let made = json!({"script_id": script, "on": on});
            let made = app.admin().post("/apps/shop/triggers", made).send().await;
            let seen = app.admin().post("/schedules/preview", json!({"schedule": schedule}));
            for answer in [made, seen.send().await] {
                let error = answer.refuses(422, "schedule_invalid");
                assert_eq!((&error["field"], &error["given"]), (&json!(field), &json!(given)));
                assert!(error["allowed"].as_str().is_some_and(|allowed| !allowed.is_empty()));
            }
        }
        for schedule in ["@midnight", "0 9 * january monday", "0 9 * * Monday-friday"] {
            let seen = app.admin().post("/schedules/preview", json!({"schedule": schedule}));
            seen.send().await.is(200);
        }
    }
}

on_both_databases! {
    async fn a_stored_schedule_that_is_refused_today_fires_as_before_and_is_shown(database) {
        let server = TestApp::start(database).await;
        let count = r#"kv::collection("fired").increment("n")"#;
        let script = server.deploy("shop", "work", count).await;
        let on = json!({"kind": "cron", "schedule": "0 3 1 1 *"});
        let trigger = server.trigger("shop", &script, on).await;
        let broken = server.trigger("shop", &script, json!({"kind": "cron", "schedule": "0 3 * * *"})).await;
        server.close().await;
        // One schedule from an older release, and one that no release accepted.
        for (id, schedule) in [(&trigger, "0 3 1 MON *"), (&broken, "61 * * * *")] {
            let set = format!("UPDATE triggers_cron SET expression = '{schedule}' WHERE trigger_id = '{id}'");
            plain::execute(database, &set).await;
        }

        let server = TestApp::start(database).await;
        let app = &server;
        let path = format!("/triggers/{trigger}");
        let shown = app.admin().get(&path).send().await.is(200).json();
        let warning = shown["schedule_warning"].as_str().unwrap();
        assert!(warning.starts_with("the month \"MON\" is not valid"), "{warning}");
        assert_eq!(shown["next_runs"].as_array().unwrap().len(), 5);
        let other = app.admin().get(&format!("/triggers/{broken}")).send().await.is(200).json();
        let warning = other["schedule_warning"].as_str().unwrap();
        assert!(warning.starts_with("it does not fire: "), "{warning}");
        assert_eq!(other["next_runs"], json!([]));

        // It fires in January as before. The invalid schedule does not stop other triggers.
        app.pass_days(366);
        server.scheduler().run_once().await.unwrap();
        app.settled("shop").await;
        assert_eq!(app.value("shop", "fired", "n").await, 1);

        // It can be disabled; to enable it again, the schedule must be corrected.
        app.admin().patch(&path, json!({"enabled": false})).send().await.is(200);
        let on = app.admin().patch(&path, json!({"enabled": true})).send().await;
        assert_eq!(on.refuses(422, "schedule_invalid")["field"], "month");
        let on = json!({"enabled": true, "on": {"kind": "cron", "schedule": "0 3 1 * MON"}});
        let saved = app.admin().patch(&path, on).send().await.is(200).json();
        assert_eq!(saved["schedule_warning"], Value::Null);
        server.close().await;
    }
}

//! A trigger runs as the user who registered it, and stops if that user loses the right.

use serde_json::{Value, json};

use crate::app::TestApp;
use crate::browser::Browser;
use crate::with_an_app;

/// Creates a script that counts its runs, and a queue trigger that ada registers for it.
async fn with_a_trigger_of(app: &TestApp, ada: &Browser) -> String {
    let source = r#"kv::collection("seen").increment("count", 1)"#;
    let script = app.deploy("shop", "count", source).await;
    app.set_role("shop", "ada", "app_admin").await;
    let body = json!({"script_id": script, "on": {"kind": "queue", "queue": "work"}});
    let made = ada.change(app, "POST", "/apps/shop/triggers").json(&body).send().await.is(201);
    made.json()["id"].as_str().unwrap().to_owned()
}

async fn send(app: &TestApp) {
    let message = json!({"queue": "work", "payload": 1});
    app.admin().post("/apps/shop/events", message).send().await.is(202);
    app.settled("shop").await;
}

async fn count(app: &TestApp) -> Value {
    app.value("shop", "seen", "count").await
}

async fn trigger(app: &TestApp, id: &str) -> Value {
    app.admin().get(&format!("/triggers/{id}")).send().await.is(200).json()
}

with_an_app! {
    async fn a_trigger_stops_while_its_registrant_may_not_have_it_and_loses_nothing(app) {
        let ada = Browser::of_user(app, "ada", "member").await;
        let id = with_a_trigger_of(app, &ada).await;
        let user = ada.user_id(app).await;
        send(app).await;
        let shown = trigger(app, &id).await;
        assert_eq!((&shown["registered_by"], &shown["registered_by_name"]), (&json!(format!("user:{user}")), &json!("ada")));
        assert_eq!((count(app).await, &shown["stopped"]), (json!(1), &Value::Null));

        let resume = async || app.set_role("shop", "ada", "app_admin").await;
        let (mut sent, path) = (1, format!("/users/{user}"));
        for reason in ["registrant_not_allowed", "registrant_not_allowed", "registrant_disabled"] {
            match (reason, sent) {
                ("registrant_disabled", _) => {
                    app.admin().patch(&path, json!({"enabled": false})).send().await.is(200);
                }
                (_, 1) => app.set_role("shop", "ada", "viewer").await,
                _ => {
                    app.admin().delete("/apps/shop/members/ada").send().await.is(204);
                }
            }
            send(app).await;
            assert_eq!(count(app).await, json!(sent), "{reason}");
            let shown = trigger(app, &id).await;
            assert_eq!((&shown["stopped"]["reason"], &shown["enabled"]), (&json!(reason), &json!(true)));
            app.admin().patch(&path, json!({"enabled": true})).send().await.is(200);
            resume().await;
            app.settled("shop").await;
            sent += 1;
            assert_eq!(count(app).await, json!(sent), "pending events run");
        }
    }

    async fn a_trigger_of_a_user_who_is_gone_goes_on_when_somebody_else_saves_it(app) {
        let ada = Browser::of_user(app, "ada", "member").await;
        let id = with_a_trigger_of(app, &ada).await;
        let user = ada.user_id(app).await;
        app.admin().delete(&format!("/users/{user}")).send().await.is(204);
        send(app).await;
        assert_eq!(trigger(app, &id).await["stopped"]["reason"], "registrant_gone");
        assert_eq!(count(app).await, Value::Null);
        app.admin().patch(&format!("/triggers/{id}"), json!({})).send().await.is(200);
        app.settled("shop").await;
        let shown = trigger(app, &id).await;
        assert_eq!((&shown["registered_by"], &shown["stopped"]), (&json!("owner"), &Value::Null));
        assert_eq!(count(app).await, json!(1));
    }

    /// An event that was accepted while the trigger could run, and is due when it cannot.
    async fn an_event_of_a_trigger_that_has_stopped_becomes_a_dead_letter_that_says_why(app) {
        let ada = Browser::of_user(app, "ada", "member").await;
        let source = r#"kv::collection("seen").increment("count", 1)"#;
        let script = app.deploy("shop", "count", source).await;
        app.set_role("shop", "ada", "app_admin").await;
        let on = json!({"kind": "kv", "collection": "orders", "operations": ["insert"]});
        let body = json!({"script_id": script, "on": on, "enabled": true});
        let made = ada.change(app, "POST", "/apps/shop/triggers").json(&body).send().await.is(201);
        let id = made.json()["id"].as_str().unwrap().to_owned();
        app.admin().delete("/apps/shop/members/ada").send().await.is(204);
        // Firing by hand works for a stopped trigger too.
        app.admin().post(&format!("/triggers/{id}/fire"), json!({})).send().await.is(202);
        app.settled("shop").await;
        let letters = app.dead_letters("shop").await;
        assert_eq!(letters.len(), 1);
        let error = letters[0]["last_error"].as_str().unwrap();
        assert!(error.contains("the trigger has stopped: the user who registered"), "{error}");
        assert_eq!(count(app).await, Value::Null);
        // A replay runs once ada has the right again.
        app.set_role("shop", "ada", "app_admin").await;
        let path = format!("/dead-letters/{}/replay", letters[0]["id"].as_str().unwrap());
        app.admin().post(&path, json!({})).send().await.is(202);
        app.settled("shop").await;
        assert_eq!(count(app).await, json!(1));
    }

    async fn a_change_that_would_fire_a_stopped_trigger_fires_nothing(app) {
        let ada = Browser::of_user(app, "ada", "member").await;
        let source = r#"kv::collection("seen").increment("count", 1)"#;
        let script = app.deploy("shop", "count", source).await;
        app.set_role("shop", "ada", "app_admin").await;
        for on in [
            json!({"kind": "kv", "collection": "orders", "operations": ["insert"]}),
            json!({"kind": "pubsub", "topic": "news"}),
        ] {
            let body = json!({"script_id": script, "on": on});
            ada.change(app, "POST", "/apps/shop/triggers").json(&body).send().await.is(201);
        }
        let happen = async |key: &str| {
            app.admin().put(&format!("/apps/shop/kv/orders/{key}"), json!({"value": 1})).send().await.is(200);
            let message = json!({"topic": "news", "payload": 1});
            app.admin().post("/apps/shop/events", message).send().await.is(202);
            app.settled("shop").await;
        };
        happen("1").await;
        assert_eq!(count(app).await, json!(2));
        app.set_role("shop", "ada", "viewer").await;
        happen("2").await;
        assert_eq!(count(app).await, json!(2));
        app.set_role("shop", "ada", "app_admin").await;
        happen("3").await;
        assert_eq!(count(app).await, json!(4));
    }
}

//! An unknown policy of a newer release closes what it restricts, and nothing else.

use serde_json::{Value, json};

use crate::app::TestApp;
use crate::{on_both_databases, plain};

/// Creates a script with its own route.
async fn with_route(app: &TestApp, name: &str) -> String {
    let id = app.deploy("shop", name, "1").await;
    let route = json!({"script_id": id, "method": "GET", "path": format!("/r/{name}")});
    let made = app.admin().post("/apps/shop/routes", route).send().await.is(201).json();
    made["id"].as_str().unwrap().to_owned()
}

const POLICIES: [&str; 9] = [
    r#"{"later":{"deny":["198.51.100.0/24"]}}"#,
    r#"{"auth":{"mode":"passkey"}}"#,
    r#"{"auth":{"mode":"none","later":true}}"#,
    r#"{"auth":{"mode":"key","secrets":["a"],"later":true}}"#,
    r#"{"auth":{"mode":"unknown"}}"#,
    r#"{"rate_limit":{"requests":1,"per_s":1,"later":1}}"#,
    r#"{"cors":{"origins":["*"],"later":1}}"#,
    "[]",
    "not JSON",
];

on_both_databases! {
    async fn a_policy_that_is_not_understood_closes_that_route_alone(database) {
        let server = TestApp::start(database).await;
        let app = &server;
        let other = app.deploy("blog", "hello", "1").await;
        app.trigger("blog", &other, json!({"kind": "queue", "queue": "work"})).await;
        let on = json!({"kind": "cron", "schedule": "* * * * *"});
        app.trigger("blog", &other, on).await;
        let (closed, _open) = (with_route(app, "closed").await, with_route(app, "open").await);
        for policy in POLICIES {
            let set = format!("UPDATE routes SET policy = '{policy}' WHERE id = '{closed}'");
            plain::execute(database, &set).await;
            // Another change makes the server read the definitions again.
            app.admin().patch("/apps/blog", json!({"description": policy})).send().await.is(200);
            app.update(&other, &format!("{policy:?}")).await.is(200);

            let refused = app.get("/x/shop/r/closed").send().await;
            let error = refused.refuses(503, "policy_not_understood");
            assert_eq!(error["scope"], "route", "{policy}");
            // The script's endpoint would bypass the route.
            app.get("/x/shop/closed").send().await.refuses(404, "endpoint_closed");
            for path in ["/x/shop/r/open", "/x/shop/open", "/x/blog/hello"] {
                app.get(path).send().await.is(200);
            }
            let message = json!({"queue": "work", "payload": 1});
            app.admin().post("/apps/blog/events", message).send().await.is(202);
            app.settled("blog").await;
            server.scheduler().run_once().await.unwrap();
            // The route is listed, and can be saved again or deleted.
            let shown = app.admin().get(&format!("/routes/{closed}")).send().await.is(200).json();
            assert_eq!(shown["auth"], json!({"mode": "unknown"}), "{policy}");
            let page = app.admin().get("/apps/shop/routes").send().await.is(200).json();
            assert_eq!(page["items"].as_array().unwrap().len(), 2);
            let guarded = app.admin().get("/apps/shop/ingress").send().await.is(200).json();
            assert_eq!(guarded["guarded_script_ids"], json!([shown["script_id"]]));
        }
        server.close().await;
    }

    async fn a_route_that_is_saved_again_is_open_again(database) {
        let server = TestApp::start(database).await;
        let app = &server;
        let route = with_route(app, "hello").await;
        let set = format!(r#"UPDATE routes SET policy = '{{"later":1}}' WHERE id = '{route}'"#);
        plain::execute(database, &set).await;
        let path = format!("/routes/{route}");
        let shown = app.admin().get(&path).send().await.is(200).json();
        let save = |auth: Value| {
            app.admin().put(&path, json!({"script_id": shown["script_id"], "auth": auth}))
        };
        // The shown policy cannot be saved: the caller must choose a known one.
        save(json!({"mode": "unknown"})).send().await.is(400);
        save(json!({"mode": "none"})).send().await.is(200);
        app.get("/x/shop/r/hello").send().await.is(200);
        app.get("/x/shop/hello").send().await.is(200);
        server.close().await;
    }

    async fn a_policy_of_an_app_that_is_not_understood_closes_that_app_alone(database) {
        let server = TestApp::start(database).await;
        let app = &server;
        with_route(app, "hello").await;
        app.deploy("blog", "hello", "1").await;
        let set = r#"UPDATE apps SET ingress = '{"later":1}' WHERE name = 'shop'"#;
        plain::execute(database, set).await;
        app.admin().patch("/apps/blog", json!({"description": "read again"})).send().await.is(200);
        let refused = app.get("/x/shop/r/hello").send().await;
        assert_eq!(refused.refuses(503, "policy_not_understood")["scope"], "app");
        app.get("/x/shop/hello").send().await.refuses(404, "endpoint_closed");
        app.get("/x/blog/hello").send().await.is(200);
        let shown = app.admin().get("/apps/shop/ingress").send().await.is(200).json();
        assert_eq!((&shown["unknown"], &shown["endpoints"]), (&json!(true), &json!("closed")));
        let page = app.admin().get("/apps/shop/scripts").send().await.is(200).json();
        assert_eq!(page["items"][0]["endpoint_open"], false);
        app.admin().put("/apps/shop/ingress", json!({})).send().await.is(200);
        app.get("/x/shop/hello").send().await.is(200);
        server.close().await;
    }

    async fn a_key_with_a_scope_that_is_not_known_does_nothing(database) {
        let server = TestApp::start(database).await;
        let app = &server;
        app.deploy("shop", "hello", "1").await;
        let key = app.key(json!({"name": "k", "scopes": ["script:read", "log:read"]})).await;
        let (id, text) = (key["id"].as_str().unwrap(), key["key"].as_str().unwrap());
        app.get("/api/v1/apps/shop").by_key(text).send().await.is(200);
        let set = format!("UPDATE api_keys SET scopes = 'script:read log:read:but' WHERE id = '{id}'");
        plain::execute(database, &set).await;
        app.get("/api/v1/apps/shop").by_key(text).send().await.refuses(403, "scope_missing");
        let page = app.admin().get("/keys").send().await.is(200).json();
        let shown = page["items"].as_array().unwrap().iter().find(|key| key["id"] == id).unwrap();
        assert_eq!(shown["scopes"], json!([]));
        server.close().await;
    }

    async fn a_trigger_that_is_not_understood_alone_does_not_fire(database) {
        let server = TestApp::start(database).await;
        let app = &server;
        let count = |name: &str| format!(r#"kv::collection("seen").increment("{name}", 1)"#);
        let (one, two) = (app.deploy("shop", "one", &count("one")).await, app.deploy("shop", "two", &count("two")).await);
        let on = json!({"kind": "kv", "collection": "orders", "operations": ["insert"]});
        let broken = app.trigger("shop", &one, on.clone()).await;
        app.trigger("shop", &two, on).await;
        let set = format!("UPDATE triggers_kv SET operations = 'later' WHERE trigger_id = '{broken}'");
        plain::execute(database, &set).await;
        app.update(&one, &count("one again")).await.is(200);
        app.admin().put("/apps/shop/kv/orders/1", json!({"value": 1})).send().await.is(200);
        app.settled("shop").await;
        assert_eq!(app.value("shop", "seen", "two").await, json!(1));
        assert_eq!(app.value("shop", "seen", "one").await, Value::Null);
        // The trigger can be deleted.
        app.admin().delete(&format!("/triggers/{broken}")).send().await.is(204);
        app.admin().delete(&format!("/triggers/{broken}")).send().await.refuses(404, "trigger_not_found");
        server.close().await;
    }
}

//! A script's own endpoint and the switch that closes it.

use serde_json::{Value, json};

use crate::app::TestApp;
use crate::with_an_app;

async fn switch(app: &TestApp, id: &str, on: bool) -> Value {
    let body = json!({"endpoint_enabled": on});
    app.admin().put(&format!("/scripts/{id}"), body).send().await.is(200).json()
}

/// Returns whether the switch is on, and whether the endpoint is open, as the API shows it.
async fn shown(app: &TestApp, id: &str) -> (bool, bool) {
    let script = app.admin().get(&format!("/scripts/{id}")).send().await.is(200).json();
    let page = app.admin().get("/apps/shop/scripts").send().await.is(200).json();
    let listed = page["items"].as_array().unwrap().iter().find(|item| item["id"] == *id).unwrap();
    let both = |value: &Value| {
        (value["endpoint_enabled"].as_bool().unwrap(), value["endpoint_open"].as_bool().unwrap())
    };
    assert_eq!(both(&script), both(listed));
    both(&script)
}

async fn policy(app: &TestApp, endpoints: &str) {
    let body = json!({"endpoints": endpoints});
    app.admin().put("/apps/shop/ingress", body).send().await.is(200);
}

with_an_app! {
    async fn an_endpoint_that_is_switched_off_is_closed_and_nothing_else(app) {
        let id = app.deploy("shop", "hello", r#"kv::collection("seen").increment("count", 1); 1"#).await;
        let caller = app.deploy("shop", "caller", r#"scripts::call("hello", ())"#).await;
        app.get("/x/shop/hello").send().await.is(200);
        assert_eq!(shown(app, &id).await, (true, true));
        let off = switch(app, &id, false).await;
        assert_eq!((&off["endpoint_enabled"], &off["endpoint_open"]), (&json!(false), &json!(false)));
        assert_eq!((&off["version"], shown(app, &id).await), (&json!(1), (false, false)));
        for method in ["GET", "POST", "HEAD", "OPTIONS"] {
            for path in ["/x/shop/hello", "/x/shop/hell%6f", "/x/shop/hello?a=1"] {
                app.request(method, path).send().await.is(404);
            }
        }
        app.get("/x/shop/hello").send().await.refuses(404, "endpoint_closed");
        // Its other callers still run it.
        app.get("/x/shop/caller").send().await.is(200);
        let route = json!({"script_id": id, "method": "GET", "path": "/hi"});
        app.admin().post("/apps/shop/routes", route).send().await.is(201);
        app.get("/x/shop/hi").send().await.is(200);
        app.trigger("shop", &id, json!({"kind": "queue", "queue": "work"})).await;
        let message = json!({"queue": "work", "payload": 1});
        app.admin().post("/apps/shop/events", message).send().await.is(202);
        app.settled("shop").await;
        app.admin().post(&format!("/execute/{id}"), json!({})).send().await.is(200);
        assert_eq!(app.value("shop", "seen", "count").await, json!(5));
        assert_eq!(shown(app, &caller).await, (true, true));
        // A new version does not open it.
        app.update(&id, "2").await.is(200);
        app.get("/x/shop/hello").send().await.refuses(404, "endpoint_closed");
        switch(app, &id, true).await;
        assert_eq!(app.get("/x/shop/hello").send().await.is(200).json(), 2);
        let audit = app.admin().get(&format!("/audit?resource_id={id}")).send().await.is(200).json();
        let changed = &audit["items"][0];
        assert_eq!((&changed["before"]["endpoint_enabled"], &changed["after"]["endpoint_enabled"]), (&json!(false), &json!(true)));
    }

    async fn a_script_can_be_made_without_an_endpoint(app) {
        let script = json!({"name": "hello", "source": "1", "endpoint_enabled": false});
        let id = app.deploy_with("shop", script).await;
        app.get("/x/shop/hello").send().await.refuses(404, "endpoint_closed");
        assert_eq!(shown(app, &id).await, (false, false));
    }

    /// Decision 14: a switch cannot open what a route or the app closes.
    async fn a_switch_only_closes(app) {
        let id = app.deploy("shop", "hello", "1").await;
        app.secret("shop", "partner", "a partner's key").await;
        let auth = json!({"mode": "key", "secrets": ["partner"]});
        let route = json!({"script_id": id, "method": "GET", "path": "/in", "auth": auth});
        app.admin().post("/apps/shop/routes", route).send().await.is(201);
        // The switch, the app's policy, and whether the endpoint is open behind a guarded route.
        for (on, endpoints, open) in [
            (true, "unguarded", false),
            (true, "closed", false),
            (true, "open", true),
            (false, "unguarded", false),
            (false, "closed", false),
            (false, "open", false),
        ] {
            switch(app, &id, on).await;
            policy(app, endpoints).await;
            assert_eq!(shown(app, &id).await, (on, open), "{on} {endpoints}");
            let status = if open { 200 } else { 404 };
            assert_eq!(app.get("/x/shop/hello").send().await.status, status, "{on} {endpoints}");
            app.get("/x/shop/in").send().await.refuses(401, "key_missing");
        }
    }
}

//! API keys: creating, using and revoking them.

use serde_json::{Value, json};

use crate::app::TestApp;
use crate::browser::Browser;
use crate::with_an_app;

with_an_app! {
    async fn a_key_is_shown_once_used_and_revoked(app) {
        app.deploy("shop", "hello", "1").await;
        let made = app.key(json!({"name": " from CI ", "scopes": ["script:read", "log:read"]})).await;
        let key = made["key"].as_str().unwrap().to_owned();
        assert_eq!((key.len(), &made["name"]), (89, &json!("from CI")));
        assert!(key.starts_with(made["prefix"].as_str().unwrap()));
        assert_eq!(made["last_used_at"], Value::Null);
        app.get("/api/v1/apps").by_key(&key).send().await.is(200);
        let listed = app.admin().get("/keys").send().await.is(200);
        assert!(!listed.text().contains(&key), "it is shown once");
        let listed = listed.json()["items"][0].clone();
        assert_eq!(listed["scopes"], json!(["script:read", "log:read"]));
        assert!(listed["last_used_at"].as_i64().unwrap() > listed["created_at"].as_i64().unwrap());
        assert_eq!((&listed["owner"], &listed["app"]), (&json!("owner"), &Value::Null));

        let path = format!("/keys/{}", made["id"].as_str().unwrap());
        app.admin().delete(&path).send().await.is(204);
        app.get("/api/v1/apps").by_key(&key).send().await.refuses(401, "unauthorized");
        app.admin().delete(&path).send().await.refuses(404, "api_key_not_found");
    }

    async fn a_key_never_exceeds_its_owner(app) {
        let script = app.deploy("shop", "hello", "1").await;
        let ada = Browser::of_member(app, "ada", "shop", "viewer").await;
        let all = ["script:read", "script:write", "route:write", "domain:manage", "app:admin", "log:read", "instance:admin"];
        let made = ada.change(app, "POST", "/keys").json(&json!({"name": "all", "scopes": all}));
        let key = made.send().await.is(201).json()["key"].as_str().unwrap().to_owned();
        let path = format!("/api/v1/scripts/{script}");
        app.get(&path).by_key(&key).send().await.is(200);
        let update = || app.request("PUT", &path).json(&json!({})).by_key(&key);
        update().send().await.refuses(403, "not_allowed");
        app.get("/api/v1/instance").by_key(&key).send().await.refuses(403, "not_allowed");
        // Its rights change with those of its owner.
        app.set_role("shop", "ada", "editor").await;
        update().send().await.is(200);
        app.admin().delete("/apps/shop/members/ada").send().await.is(204);
        app.get(&path).by_key(&key).send().await.refuses(404, "script_not_found");
    }

    async fn a_key_made_with_a_key_is_no_more_than_that_one(app) {
        app.deploy("shop", "hello", "1").await;
        let scopes = ["script:read", "instance:admin"];
        let first = json!({"name": "first", "scopes": scopes, "expires_in_days": 2});
        let first = app.key(first).await;
        let with = first["key"].as_str().unwrap().to_owned();
        let make = |body: Value| app.post("/api/v1/keys").json(&body).by_key(&with);
        let more = json!({"name": "more", "scopes": ["script:read", "log:read"]});
        make(more).send().await.refuses(403, "scope_missing");
        let made = make(json!({"name": "less", "scopes": ["script:read"], "expires_in_days": 30}));
        let made = made.send().await.is(201).json();
        assert_eq!(made["expires_at"], first["expires_at"]);
    }

    /// A leaked key can be revoked, and cannot create others.
    async fn a_key_for_something_else_makes_no_keys_and_ends_no_sessions(app) {
        let ada = Browser::of_user(app, "ada", "member").await;
        let body = json!({"name": "k", "scopes": ["script:read", "script:write", "app:admin"]});
        let made = ada.change(app, "POST", "/keys").json(&body).send().await.is(201).json();
        let key = made["key"].as_str().unwrap();
        let path = format!("/api/v1/keys/{}", made["id"].as_str().unwrap());
        for (method, path) in [
            ("GET", "/api/v1/keys"),
            ("POST", "/api/v1/keys"),
            ("DELETE", &path),
            ("DELETE", "/api/v1/auth/sessions"),
            ("PUT", "/api/v1/auth/password"),
        ] {
            let call = app.request(method, path).json(&json!({})).by_key(key);
            call.send().await.refuses(403, "scope_missing");
        }
        ada.request(app, "GET", "/auth/me").send().await.is(200);
        app.get("/api/v1/auth/me").by_key(key).send().await.is(200);
    }

    async fn everybody_has_keys_of_their_own(app) {
        let (ada, eve) = (Browser::of_user(app, "ada", "member").await, Browser::of_user(app, "eve", "member").await);
        let body = json!({"name": "k", "scopes": ["script:read"]});
        let made = ada.change(app, "POST", "/keys").json(&body).send().await.is(201).json();
        let path = format!("/keys/{}", made["id"].as_str().unwrap());
        let count = async |browser: &Browser, query: &str| {
            let page = browser.request(app, "GET", &format!("/keys{query}")).send().await;
            page.is(200).json()["items"].as_array().unwrap().len()
        };
        assert_eq!((count(&ada, "").await, count(&eve, "").await), (1, 0));
        eve.change(app, "DELETE", &path).send().await.refuses(404, "api_key_not_found");
        eve.request(app, "GET", "/keys?all=true").send().await.refuses(403, "not_allowed");
        let admin = Browser::sign_in(app).await;
        assert_eq!((count(&admin, "?all=true").await, count(&admin, "").await), (1, 0));
        admin.change(app, "DELETE", &path).send().await.is(204);
        assert_eq!(count(&ada, "").await, 0);
    }

    async fn what_is_no_key_is_refused_when_it_is_made(app) {
        let make = |body: Value| app.admin().post("/keys", body);
        let scopes = json!(["script:read"]);
        for name in ["", "  ", &"n".repeat(101)] {
            make(json!({"name": name, "scopes": scopes})).send().await.refuses(400, "field_invalid");
        }
        make(json!({"name": "n".repeat(100), "scopes": scopes})).send().await.is(201);
        make(json!({"name": "k", "scopes": []})).send().await.refuses(400, "field_invalid");
        make(json!({"name": "k", "scopes": ["everything"]})).send().await.refuses(400, "body_invalid");
        make(json!({"name": "k", "scopes": scopes, "app": "nothing"})).send().await.refuses(404, "app_not_found");
        for days in [0, -1, 3651] {
            let body = json!({"name": "k", "scopes": scopes, "expires_in_days": days});
            make(body).send().await.refuses(400, "field_invalid");
        }
        make(json!({"name": "k", "scopes": scopes, "expires_in_days": 3650})).send().await.is(201);
    }

    async fn one_may_have_two_hundred_keys(app) {
        let make = || app.admin().post("/keys", json!({"name": "k", "scopes": ["script:read"]}));
        for _ in 0..200 {
            make().send().await.is(201);
        }
        make().send().await.refuses(422, "too_many_keys");
    }

    async fn a_key_that_may_see_logs_is_told_the_fuel(app) {
        app.deploy("shop", "hello", "1").await;
        app.deploy("blog", "hello", "1").await;
        let fuel = async |key: Value| {
            let key = app.key(key).await["key"].as_str().unwrap().to_owned();
            let answer = app.get("/x/shop/hello").by_key(&key).send().await.is(200);
            answer.header("x-picloud-fuel").is_some()
        };
        assert!(fuel(json!({"name": "k", "scopes": ["log:read"]})).await);
        assert!(fuel(json!({"name": "k", "scopes": ["log:read"], "app": "shop"})).await);
        assert!(!fuel(json!({"name": "k", "scopes": ["log:read"], "app": "blog"})).await);
        assert!(!fuel(json!({"name": "k", "scopes": ["script:read"]})).await);
    }
}

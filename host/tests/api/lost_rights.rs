//! Lost rights apply at once, even to a request that has already begun.

use axum::body::{Body, Bytes};
use futures::StreamExt;
use picloud::auth::Auth;
use picloud::clock::Clock;
use serde_json::{Value, json};
use tokio::sync::oneshot;

use crate::app::{Answer, TestApp};
use crate::browser::{Browser, accept, token_of};
use crate::with_an_app;

const PASSWORD: &str = "correct horse battery";

/// A body that is sent on demand, long after its head was checked. The receiver hears when the
/// server reads it.
fn late(body: &Value) -> (Body, oneshot::Receiver<()>, oneshot::Sender<()>) {
    let (tell, read) = oneshot::channel();
    let (go, told) = oneshot::channel();
    let rest = body.to_string();
    let first = futures::stream::iter([Ok::<_, std::io::Error>(Bytes::from_static(b" "))]);
    let rest = futures::stream::once(async move {
        let _ = tell.send(());
        let _ = told.await;
        Ok(Bytes::from(rest))
    });
    (Body::from_stream(first.chain(rest)), read, go)
}

/// Creates and signs in a user with this role, and returns the id.
async fn user(app: &TestApp, name: &str, role: &str) -> (String, Browser) {
    let made = json!({"name": name, "role": role});
    let made = app.admin().post("/users", made).send().await.is(201).json();
    let id = made["id"].as_str().unwrap().to_owned();
    let answer = accept(app, &token_of(&made), PASSWORD).send().await.is(200);
    (id, Browser::of(&answer))
}

/// Sends the head, runs `happens`, and then sends the body.
async fn meanwhile(
    app: &TestApp,
    call: crate::app::Call,
    body: Value,
    happens: impl AsyncFnOnce(&TestApp),
) -> Answer {
    let (body, read, go) = late(&body);
    let sent = tokio::spawn(call.body("application/json", body).send());
    read.await.unwrap();
    happens(app).await;
    go.send(()).unwrap();
    sent.await.unwrap()
}

with_an_app! {
    async fn a_change_whose_author_loses_the_right_meanwhile_is_refused(app) {
        app.admin().post("/apps", json!({"name": "shop"})).send().await.is(201);
        let owner = json!({"name": "new", "role": "owner"});
        let all = ["script:read", "script:write", "route:write", "domain:manage", "app:admin",
            "log:read", "instance:admin"];
        let key = app.key(json!({"name": "k", "scopes": all})).await;
        let secret = key["key"].as_str().unwrap().to_owned();
        let path = format!("/keys/{}", key["id"].as_str().unwrap());
        for (method, path_of_change, body) in [
            ("POST", "/users", owner.clone()),
            ("POST", "/apps/shop/scripts", json!({"name": "s", "source": "1"})),
            ("PUT", "/apps/shop/kv/c/k", json!({"value": 1})),
        ] {
            // Each with a key that is valid at first.
            let call = app.request(method, &format!("/api/v1{path_of_change}")).by_key(&secret);
            let revoke = path.clone();
            let is_last = path_of_change.contains("/kv/");
            let answer = meanwhile(app, call, body, async |app| {
                if is_last {
                    app.admin().delete(&revoke).send().await.is(204);
                }
            }).await;
            let expected = if is_last { 401 } else { 201 };
            assert_eq!(answer.status, expected, "{method} {path_of_change}: {answer:?}");
        }
        let (id, browser) = user(app, "ada", "owner").await;
        let call = browser.change(app, "POST", "/users");
        let demoted = meanwhile(app, call, json!({"name": "x", "role": "owner"}), async |app| {
            let member = json!({"role": "member"});
            app.admin().patch(&format!("/users/{id}"), member).send().await.is(200);
        }).await;
        assert_eq!(demoted.status, 403, "{demoted:?}");
        let reset = meanwhile(app, app.admin().request("POST", "/users"), json!({"name": "y", "role": "owner"}), async |app| {
            Auth::reset(app.store(), &Clock::system()).await.unwrap().unwrap();
        }).await;
        assert_eq!(reset.status, 401, "{reset:?}");
    }

    async fn an_invitation_is_worth_what_its_maker_may_still_give(app) {
        let (admin_id, admin) = user(app, "admin-1", "admin").await;
        let invite = async |name: &str, role: &str| {
            let call = admin.change(app, "POST", "/users").json(&json!({"name": name, "role": role}));
            let made = call.send().await.is(201).json();
            (made["id"].as_str().unwrap().to_owned(), token_of(&made))
        };
        let refused = async |token: &str| {
            accept(app, token, PASSWORD).send().await.refuses(404, "invitation_not_found");
        };
        // The invited user gets a role that the inviting user could not have given.
        let (bob, token) = invite("bob", "member").await;
        let path = format!("/users/{bob}");
        app.admin().patch(&path, json!({"role": "owner"})).send().await.is(200);
        refused(&token).await;
        app.admin().patch(&path, json!({"role": "member"})).send().await.is(200);
        accept(app, &token, PASSWORD).send().await.is(200);
        // The inviting user loses the role, is disabled, or is deleted.
        let (_, token) = invite("carol", "admin").await;
        let path = format!("/users/{admin_id}");
        app.admin().patch(&path, json!({"role": "member"})).send().await.is(200);
        refused(&token).await;
        app.admin().patch(&path, json!({"role": "admin", "enabled": false})).send().await.is(200);
        refused(&token).await;
        app.admin().delete(&path).send().await.is(204);
        refused(&token).await;
        // The key is revoked.
        let all = ["script:read", "script:write", "route:write", "domain:manage", "app:admin",
            "log:read", "instance:admin"];
        let key = app.key(json!({"name": "k", "scopes": all})).await;
        let call = app.post("/api/v1/users").by_key(key["key"].as_str().unwrap());
        let made = call.json(&json!({"name": "dan", "role": "owner"})).send().await.is(201).json();
        let path = format!("/keys/{}", key["id"].as_str().unwrap());
        app.admin().delete(&path).send().await.is(204);
        refused(&token_of(&made)).await;
        // The owner key is replaced.
        let made = json!({"name": "eve", "role": "owner"});
        let made = app.admin().post("/users", made).send().await.is(201).json();
        Auth::reset(app.store(), &Clock::system()).await.unwrap().unwrap();
        refused(&token_of(&made)).await;
    }

    async fn what_takes_others_things_with_it_needs_their_rights(app) {
        let (_, editor) = user(app, "ed", "member").await;
        let script = app.deploy("shop", "work", "1").await;
        app.set_role("shop", "ed", "editor").await;
        let trigger = app.trigger("shop", &script, json!({"kind": "queue", "queue": "q"})).await;
        let path = format!("/scripts/{script}");
        editor.change(app, "DELETE", &path).send().await.refuses(403, "not_allowed");
        app.admin().delete(&format!("/triggers/{trigger}")).send().await.is(204);
        editor.change(app, "DELETE", &path).send().await.is(204);

        let guarded = app.deploy("shop", "guarded", "1").await;
        app.domain("shop", "guarded.example").await;
        app.secret("shop", "KEY", "0123456789abcdef").await;
        let route = json!({
            "script_id": guarded, "method": "GET", "host": "guarded.example", "path": "/",
            "auth": {"mode": "key", "secrets": ["KEY"]},
        });
        app.admin().post("/apps/shop/routes", route).send().await.is(201);
        app.get("/x/shop/guarded").send().await.is(404);
        let key = app.key(json!({"name": "d", "scopes": ["domain:manage"]})).await;
        let release = "/api/v1/apps/shop/domains/guarded.example";
        let call = app.request("DELETE", release).by_key(key["key"].as_str().unwrap());
        call.send().await.refuses(403, "scope_missing");
        app.get("/x/shop/guarded").send().await.is(404);
    }
}

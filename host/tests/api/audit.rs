//! The audit log: who did what to what, from where.

use serde_json::{Value, json};

use crate::app::{CALLER, TestApp};
use crate::browser::Browser;
use crate::with_an_app;

async fn entries(app: &TestApp, query: &str) -> Vec<Value> {
    let page = app.admin().get(&format!("/audit?limit=200{query}")).send().await.is(200).json();
    page["items"].as_array().unwrap().clone()
}

async fn actions(app: &TestApp) -> Vec<String> {
    let entries = entries(app, "").await;
    entries.iter().rev().map(|entry| entry["action"].as_str().unwrap().to_owned()).collect()
}

with_an_app! {
    async fn a_change_is_noted_with_who_made_it_and_what_was_there_before(app) {
        app.deploy("shop", "hello", "1").await;
        let ada = Browser::of_member(app, "ada", "shop", "app_admin").await;
        let rename = ada.change(app, "PATCH", "/apps/shop").json(&json!({"description": "new"}));
        rename.send().await.is(200);
        let noted = entries(app, "&action=update_app").await;
        assert_eq!(noted.len(), 1);
        let id = ada.user_id(app).await;
        assert_eq!(noted[0]["principal"], format!("user:{id}"));
        assert_eq!((&noted[0]["principal_name"], &noted[0]["address"]), (&json!("ada"), &json!(CALLER)));
        assert_eq!((&noted[0]["resource"], &noted[0]["resource_name"]), (&json!("app"), &json!("shop")));
        assert_eq!(noted[0]["before"], json!({"name": "shop", "description": ""}));
        assert_eq!(noted[0]["after"], json!({"name": null, "description": "new"}));
        assert_eq!(noted[0]["key_prefix"], Value::Null);

        let key = app.key(json!({"name": "k", "scopes": ["app:admin"]})).await;
        let call = app.request("DELETE", "/api/v1/apps/shop").by_key(key["key"].as_str().unwrap());
        call.send().await.is(204);
        let noted = entries(app, "&action=delete_app").await;
        assert_eq!(noted[0]["key_prefix"], key["prefix"]);
        // It outlives the app.
        assert!(noted[0]["app_id"].is_string());
    }

    async fn what_was_refused_is_not_noted_as_done(app) {
        app.deploy("shop", "hello", "1").await;
        let before = actions(app).await;
        app.admin().post("/apps", json!({"name": "shop"})).send().await.is(409);
        app.admin().delete("/apps/nothing").send().await.is(404);
        app.admin().post("/users", json!({"name": "A"})).send().await.is(400);
        assert_eq!(actions(app).await, before);
    }

    async fn every_kind_of_change_is_noted(app) {
        let script = app.deploy("shop", "hello", "1").await;
        let admin = app.admin();
        app.update(&script, "2").await.is(200);
        admin.post(&format!("/scripts/{script}/rollback"), json!({"version": 1})).send().await.is(200);
        let route = json!({"script_id": script, "method": "GET", "path": "/items"});
        let route = admin.post("/apps/shop/routes", route).send().await.is(201).json();
        admin.delete(&format!("/routes/{}", route["id"].as_str().unwrap())).send().await.is(204);
        admin.post("/apps/shop/domains", json!({"host": "a.example"})).send().await.is(201);
        admin.delete("/apps/shop/domains/a.example").send().await.is(204);
        let trigger = app.trigger("shop", &script, json!({"kind": "queue", "queue": "q"})).await;
        admin.patch(&format!("/triggers/{trigger}"), json!({"enabled": false})).send().await.is(200);
        admin.post(&format!("/triggers/{trigger}/fire"), json!({})).send().await.is(202);
        admin.delete(&format!("/triggers/{trigger}")).send().await.is(204);
        admin.put("/apps/shop/kv/a/b", json!({"value": 1})).send().await.is(200);
        admin.delete("/apps/shop/kv/a/b").send().await.is(204);
        admin.request("PUT", "/apps/shop/files/a/b").text("t").send().await.is(200);
        admin.delete("/apps/shop/files/a/b").send().await.is(204);
        Browser::of_member(app, "ada", "shop", "viewer").await;
        admin.delete("/apps/shop/members/ada").send().await.is(204);
        admin.put("/apps/shop/secrets/TOKEN", json!({"value": "hidden"})).send().await.is(201);
        admin.delete("/apps/shop/secrets/TOKEN").send().await.is(204);
        admin.put("/apps/shop/outbound", json!({"private_hosts": ["a:1"]})).send().await.is(200);
        admin.delete(&format!("/scripts/{script}")).send().await.is(204);
        let expected = [
            "create_app", "create_script", "update_script", "rollback_script", "create_route",
            "delete_route", "claim_domain", "release_domain", "create_trigger", "update_trigger",
            "fire_trigger", "delete_trigger", "set_key", "delete_key", "put_file", "delete_file",
            "create_user", "accept_invitation", "set_member", "delete_member", "put_secret", "delete_secret",
            "put_outbound", "delete_script",
        ];
        assert_eq!(actions(app).await, expected);
        let of_app = admin.get("/apps/shop/audit?limit=200").send().await.is(200).json();
        let of_app = of_app["items"].as_array().unwrap();
        assert_eq!(of_app.len(), expected.len() - 2, "all but those about the user");
    }

    async fn entries_are_found_by_who_and_by_what_and_go_when_they_are_old(app) {
        let script = app.deploy("shop", "hello", "1").await;
        let ada = Browser::of_member(app, "ada", "shop", "editor").await;
        let id = ada.user_id(app).await;
        let update = ada.change(app, "PUT", &format!("/scripts/{script}")).json(&json!({"source": "2"}));
        update.send().await.is(200);
        assert_eq!(entries(app, &format!("&principal=user:{id}&action=update_script")).await.len(), 1);
        assert_eq!(entries(app, &format!("&resource_id={script}")).await.len(), 2);
        assert_eq!(entries(app, "&resource_id=nothing").await.len(), 0);
        app.admin().get("/audit?action=%00").send().await.refuses(400, "query_invalid");
        ada.request(app, "GET", "/apps/shop/audit").send().await.refuses(403, "not_allowed");
        app.pass_days(364);
        assert_eq!(app.retention().run_once().await.unwrap().audit, 0);
        app.pass_days(1);
        assert!(app.retention().run_once().await.unwrap().audit >= 5);
        assert_eq!(entries(app, "").await.len(), 0);
    }
}

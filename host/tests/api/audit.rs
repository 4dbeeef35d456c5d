//! The audit log records every change, its principal and its address.

use serde_json::{Value, json};

use crate::app::{CALLER, TestApp};
use crate::browser::Browser;
use crate::{on_both_databases, plain, with_an_app};

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
        // The entry outlives the app.
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
        let message = json!({"queue": "other", "payload": "hidden"});
        admin.post("/apps/shop/events", message).send().await.is(202);
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
            "fire_trigger", "send_event", "delete_trigger", "set_key", "delete_key", "put_file", "delete_file",
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

    async fn a_message_is_noted_once_by_where_it_went_and_not_by_what_it_holds(app) {
        app.deploy("shop", "hello", "1").await;
        let send = async |body: Value, key: &str| {
            let call = app.admin().post("/apps/shop/events", body).header("idempotency-key", key);
            call.send().await.is(202).json()
        };
        let message = json!({"queue": "work", "payload": "hidden", "dedupe": "d"});
        let sent = send(message.clone(), "one").await;
        // A repeated message and a dropped one are not changes.
        send(message.clone(), "one").await;
        send(message, "two").await;
        send(json!({"script": "hello", "payload": "hidden"}), "three").await;
        send(json!({"topic": "news", "payload": "hidden"}), "four").await;
        let noted = entries(app, "&action=send_event").await;
        let to: Vec<_> = noted.iter().map(|e| (&e["resource_id"], &e["resource_name"])).collect();
        assert_eq!(to, [
            (&json!("topic"), &json!("news")), (&json!("script"), &json!("hello")),
            (&json!("queue"), &json!("work")),
        ]);
        assert_eq!(noted[2]["after"], sent);
        assert!(!json!(noted).to_string().contains("hidden"));
    }

    async fn a_run_by_hand_is_noted_also_if_it_writes_nothing(app) {
        let id = app.deploy("shop", "hello", "1").await;
        let run = async || app.admin().post(&format!("/execute/{id}"), json!({})).send().await.is(200);
        run().await;
        assert_eq!(entries(app, "&action=execute_script").await.len(), 1);
        app.update(&id, "throw 1").await.is(200);
        run().await;
        app.update(&id, r#"kv::collection("a").set("b", 1)"#).await.is(200);
        run().await;
        let event = json!({"event": {"kind": "cron"}});
        app.admin().post(&format!("/scripts/{id}/test"), event).send().await.is(200);
        app.get("/x/shop/hello").send().await.is(200);
        assert_eq!(entries(app, "&action=execute_script").await.len(), 3);
        let noted = entries(app, "&action=test_script").await;
        assert_eq!((noted.len(), &noted[0]["resource_name"]), (1, &json!("hello")));
    }
}

on_both_databases! {
    /// A change and its entry are written together or not at all.
    async fn a_change_whose_entry_cannot_be_written_is_not_made(database) {
        let server = TestApp::start(database).await;
        let app = &server;
        let id = app.deploy("shop", "hello", r#"kv::collection("kept").set("run", 1)"#).await;
        let trigger = app.trigger("shop", &id, json!({"kind": "pubsub", "topic": "news"})).await;
        let admin = app.admin();
        admin.put("/apps/shop/kv/kept/here", json!({"value": 1})).send().await.is(200);
        admin.request("PUT", "/apps/shop/files/kept/here").text("here").send().await.is(200);
        plain::execute(database, "ALTER TABLE audit RENAME TO elsewhere").await;
        for call in [
            admin.put("/apps/shop/kv/kept/new", json!({"value": 1})),
            admin.delete("/apps/shop/kv/kept/here"),
            admin.request("PUT", "/apps/shop/files/kept/new").text("new"),
            admin.delete("/apps/shop/files/kept/here"),
            admin.post(&format!("/triggers/{trigger}/fire"), json!({})),
            admin.post("/apps/shop/events", json!({"queue": "work", "payload": 1})),
            admin.post("/apps/shop/events", json!({"queue": "work", "payload": 1, "dedupe": "d"})),
            admin.post("/apps/shop/events", json!({"queue": "work", "payload": 1}))
                .header("idempotency-key", "key"),
            admin.post(&format!("/execute/{id}"), json!({})),
            admin.post(&format!("/scripts/{id}/test"), json!({"event": {"kind": "cron"}})),
            admin.put(&format!("/scripts/{id}"), json!({"description": "new"})),
        ] {
            let answer = call.send().await;
            assert!([500, 503].contains(&answer.status), "{answer:?}");
        }
        plain::execute(database, "ALTER TABLE elsewhere RENAME TO audit").await;
        for (key, value) in [("new", Value::Null), ("here", json!(1)), ("run", Value::Null)] {
            assert_eq!(app.value("shop", "kept", key).await, value, "{key}");
        }
        let files = admin.get("/apps/shop/files/kept").send().await.is(200).json();
        let files: Vec<_> = files["items"].as_array().unwrap().iter().map(|f| &f["name"]).collect();
        assert_eq!(files, ["here"]);
        let outbox = admin.get("/apps/shop/outbox").send().await.is(200).json();
        assert_eq!(outbox["items"], json!([]));
        assert_eq!(app.count_executions(&id).await, 0);
        // The idempotency key has not been used up.
        let again = admin.post("/apps/shop/events", json!({"queue": "work", "payload": 1}));
        again.header("idempotency-key", "key").send().await.is(202);
        server.close().await;
    }
}

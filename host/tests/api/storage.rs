//! The storage limits of an app.

use serde_json::{Value, json};

use crate::app::TestApp;
use crate::on_both_databases;

async fn kept(app: &TestApp, what: &str) -> (Value, Value) {
    let shop = app.admin().get("/apps/shop").send().await.is(200).json();
    (shop["storage"][what]["used"].clone(), shop["storage"][what]["most"].clone())
}

on_both_databases! {
    async fn a_script_is_told_by_name_that_its_app_is_full(database) {
        let app = TestApp::start_with(database, &[("PICLOUD_APP_MAX_ENTRIES", "10")]).await;
        app.deploy("shop", "set", r#"
            for n in ctx.request.body.from..ctx.request.body.to { kv::collection("c").set(`k${n}`, n); }
            1"#).await;
        app.deploy("shop", "careful", r#"
            let said = "set";
            try { kv::collection("c").set("one too many", 1); } catch (error) { said = `${error}`; }
            said"#).await;
        app.deploy("shop", "free", r#"kv::collection("c").delete("k0")"#).await;
        let set = |from: i64, to: i64| {
            app.post("/x/shop/set").json(&json!({"from": from, "to": to})).by_owner().send()
        };
        // No estimate shows that the app is near its limit, so the commit detects it.
        let error = set(0, 11).await.is(500).json()["error"].clone();
        assert_eq!(error["code"], "execution_limit_exceeded", "{error}");
        assert_eq!(error["limit"], json!({"limit": "app_entries", "used": 11, "allowed": 10}));
        assert_eq!(kept(&app, "entries").await, (json!(0), json!(10)));
        set(0, 10).await.is(200);
        assert_eq!(kept(&app, "entries").await, (json!(10), json!(10)));
        // An existing key can be overwritten.
        set(0, 10).await.is(200);
        let caught = app.post("/x/shop/careful").send().await.is(200);
        assert!(caught.text().contains("limit app_entries, 11 used, 10 allowed"), "{caught:?}");
        let by_hand = app.admin().put("/apps/shop/kv/c/other", json!({"value": 1})).send().await;
        let error = by_hand.refuses(507, "storage_full");
        assert_eq!((&error["limit"], &error["most"]), (&json!("app_entries"), &json!(10)), "{error}");
        app.post("/x/shop/free").send().await.is(200);
        assert_eq!(app.post("/x/shop/careful").send().await.is(200).json(), "set");
        let instance = app.admin().get("/instance").send().await.is(200).json();
        assert_eq!(instance["storage"]["entries"], 10);
        let metrics = app.request("GET", "/metrics").by_owner().send().await.is(200);
        for line in [
            r#"picloud_storage{limit="app_entries"} 10"#,
            r#"picloud_storage_refused_total{limit="app_entries"} 2"#,
        ] {
            assert!(metrics.text().lines().any(|told| told == line), "{line}: {}", metrics.text());
        }
        app.close().await;
    }

    async fn a_file_that_does_not_fit_leaves_nothing_behind(database) {
        let app = TestApp::start_with(database, &[("PICLOUD_APP_MAX_FILE_BYTES", "1000")]).await;
        app.deploy("shop", "put", r#"files::bucket("b").put("f", blob(ctx.request.body)); 1"#).await;
        let put = |bytes: i64| app.post("/x/shop/put").json(&json!(bytes)).by_owner().send();
        put(1000).await.is(200);
        let error = put(1001).await.is(500).json()["error"].clone();
        assert!(error.to_string().contains("app_file_bytes"), "{error}");
        let large = app.admin().request("PUT", "/apps/shop/files/b/g").text("x").send().await;
        large.refuses(507, "storage_full");
        // An overwritten content counts until it is removed from the disk.
        put(10).await.is(500);
        app.admin().delete("/apps/shop/files/b/f").send().await.is(204);
        let instance = app.admin().get("/instance").send().await.is(200).json();
        let storage = &instance["storage"];
        assert_eq!((&storage["file_bytes"], &storage["freed_file_bytes"]), (&json!(1000), &json!(1000)));
        let metrics = app.request("GET", "/metrics").by_owner().send().await.is(200);
        assert!(metrics.text().contains("picloud_freed_file_bytes 1000"), "{}", metrics.text());
        let mut sweep = app.retention().sweep.clone().unwrap();
        sweep.freed_us = 0;
        assert_eq!(sweep.freed().await.unwrap(), None);
        put(10).await.is(200);
        assert_eq!(kept(&app, "file_bytes").await, (json!(10), json!(1000)));
        app.close().await;
    }

    async fn requests_and_messages_that_do_not_fit_are_a_507(database) {
        let app = TestApp::start_with(database, &[("PICLOUD_APP_MAX_EVENTS", "1")]).await;
        let id = app.deploy("shop", "echo", "1").await;
        for delivery in ["async", "durable"] {
            let route = json!({
                "script_id": id, "method": "POST", "path": format!("/{delivery}"), "delivery": delivery,
            });
            app.admin().post("/apps/shop/routes", route).send().await.is(201);
        }
        // The message stays pending, because its queue has no trigger.
        let message = json!({"queue": "nobody", "payload": 1});
        app.admin().post("/apps/shop/events", message.clone()).send().await.is(202);
        let again = app.admin().post("/apps/shop/events", message).send().await;
        assert_eq!(again.refuses(507, "storage_full")["limit"], "app_events");
        for delivery in ["async", "durable"] {
            let refused = app.post(&format!("/x/shop/{delivery}")).text("x").send().await;
            assert_eq!(refused.refuses(507, "storage_full")["limit"], "app_events");
        }
        app.get("/x/shop/echo").send().await.is(200);
        app.close().await;
    }

    async fn an_app_that_is_full_can_be_changed_and_tidied_up(database) {
        let limits = [("PICLOUD_APP_MAX_ENTRIES", "10"), ("PICLOUD_APP_MAX_EVENTS", "1")];
        let app = TestApp::start_with(database, &limits).await;
        let set = |code: &str| format!("let c = kv::collection(\"c\"); {code}");
        app.deploy("shop", "fill", &set("for n in 0..10 { c.set(`k${n}`, n) }")).await;
        app.deploy("shop", "swap", &set(r#"c.delete("k1"); c.set("new", 1); c.delete("new"); c.set("k1", 2)"#)).await;
        app.deploy("shop", "one", &set(r#"c.set("more", 1)"#)).await;
        app.deploy("shop", "brief", r#"let c = kv::collection("brief"); for n in 0..10 { c.set(`k${n}`, n, #{ ttl: 1000 }) }"#).await;
        app.post("/x/shop/fill").send().await.is(200);
        app.post("/x/shop/one").send().await.is(500);
        // Deletions in the same run make space for new entries.
        app.post("/x/shop/swap").send().await.is(200);
        assert_eq!(app.value("shop", "c", "k1").await, json!(2));
        // The events of a deletion can exceed their limit a little.
        let id = app.deploy("shop", "told", "1").await;
        let message = json!({"queue": "nobody", "payload": 1});
        app.admin().post("/apps/shop/events", message).send().await.is(202);
        app.trigger("shop", &id, json!({"kind": "kv", "collection": "c"})).await;
        for n in 0..10 {
            app.admin().delete(&format!("/apps/shop/kv/c/k{n}")).send().await.is(204);
        }
        // Expired entries make space.
        app.post("/x/shop/brief").send().await.is(200);
        app.pass_days(1);
        app.admin().put("/apps/shop/kv/d/1", json!({"value": 1})).send().await.is(200);
        app.post("/x/shop/brief").send().await.is(500);
        app.close().await;
    }
}

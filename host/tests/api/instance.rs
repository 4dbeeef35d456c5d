//! The data of the instance's page.

use serde_json::{Value, json};

use crate::app::{OWNER_KEY, TestApp};
use crate::with_an_app;

async fn instance(app: &TestApp) -> Value {
    app.admin().get("/instance").send().await.is(200).json()
}

fn table<'a>(instance: &'a Value, name: &str) -> &'a Value {
    let tables = instance["tables"].as_array().unwrap();
    tables.iter().find(|table| table["name"] == name).unwrap()
}

with_an_app! {
    async fn the_instance_tells_what_it_is_and_what_it_keeps(app) {
        let before = instance(app).await;
        assert_eq!(before["version"], env!("CARGO_PKG_VERSION"));
        assert!(before["database"]["size_bytes"].as_i64().unwrap() > 0);
        assert!(!before["database"]["version"].as_str().unwrap().is_empty());
        let nodes = before["nodes"].as_array().unwrap();
        assert_eq!(nodes.len(), 1, "{nodes:?}");
        assert_eq!((&nodes[0]["id"], &nodes[0]["version"]), (&before["node"], &before["version"]));
        assert!(nodes[0]["connected_at"].as_i64().unwrap() > 0);
        assert_eq!(before["guest"]["sha256"].as_str().unwrap().len(), 64);
        assert_eq!(table(&before, "executions")["rows"], 0);
        assert_eq!(table(&before, "executions")["retention_ms"], 14 * 86_400_000_i64);
        assert_eq!(table(&before, "outbox")["retention_ms"], Value::Null);
        assert_eq!(table(&before, "sessions")["retention_ms"], 30 * 86_400_000_i64);

        let fail = json!({"name": "fail", "source": r#"throw "no""#});
        let fail = app.deploy_with("shop", fail).await;
        let once = json!({"script_id": fail, "on": {"kind": "queue", "queue": "q"},
            "retry": {"attempts_max": 1}});
        app.trigger_with("shop", once).await;
        app.admin().post("/apps/shop/events", json!({"queue": "q"})).send().await.is(202);
        app.settled("shop").await;
        let nobody = json!({"queue": "nobody"});
        app.admin().post("/apps/shop/events", nobody).send().await.is(202);
        app.flush().await;
        let after = instance(app).await;
        assert_eq!(after["dead_letters_unresolved"], 1);
        assert_eq!(table(&after, "executions")["rows"], 1);
        let sizes: Vec<_> = after["tables"].as_array().unwrap().iter()
            .map(|table| table["size_bytes"].as_i64().unwrap_or_else(|| panic!("{table}")))
            .collect();
        let whole = after["database"]["size_bytes"].as_i64().unwrap();
        assert!(sizes.iter().all(|size| *size > 0) && sizes.iter().sum::<i64>() < whole, "{after}");
        // An event without a trigger is never due.
        let outbox = json!({"waiting": 1, "running": 0, "oldest_due_at": null});
        assert_eq!(after["outbox"], outbox);
    }

    async fn the_settings_in_force_are_shown_without_secrets(app) {
        let instance = instance(app).await;
        let alone = app.admin().get("/instance/settings").send().await.is(200).json();
        assert_eq!(alone, json!({ "settings": instance["settings"] }));
        let settings = instance["settings"].as_array().unwrap();
        assert_eq!(settings.len(), picloud::config::SETTINGS.len());
        let setting = |name: &str| settings.iter().find(|s| s["name"] == name).unwrap();
        let timeout = setting("PICLOUD_QUEUE_TIMEOUT_MS");
        assert_eq!((&timeout["value"], &timeout["is_default"]), (&json!("600000"), &json!(false)));
        assert_eq!(setting("PICLOUD_MAX_WALL_MS")["is_default"], true);
        assert!(!instance.to_string().contains(OWNER_KEY));
    }

    async fn the_instance_is_shown_to_nobody_else(app) {
        app.get("/api/v1/instance").send().await.refuses(401, "unauthorized");
    }
}

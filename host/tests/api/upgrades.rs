//! Opening a database that an earlier release created and filled.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use sqlx::migrate::Migrator;
use sqlx::{AssertSqlSafe, Connection};

use crate::app::{ADMIN_PASSWORD, OWNER_KEY, TestApp};
use crate::browser::try_password;
use crate::database::Database;
use crate::{on_both_databases, plain};

/// The last migration of the release before accounts existed.
const BEFORE_ACCOUNTS: i64 = 4;
/// The rows that the release had written, as statements.
const FILLED: &str = include_str!("upgrade/before_accounts.sql");
/// The last migration of release 0.1.0, and the rows it had written.
const RELEASE_0_1_0: (i64, &str) = (8, include_str!("upgrade/release_0_1_0.sql"));

/// Creates the database of a release: its migrations up to `last`, and these statements.
async fn made_before(database: &Database, last: i64, filled: &str) {
    let mut connection = plain::connect(database).await;
    let migrations = concat!(env!("CARGO_MANIFEST_DIR"), "/../migrations");
    let mut migrator = Migrator::new(std::path::Path::new(migrations)).await.unwrap();
    migrator.migrations.to_mut().retain(|migration| migration.version <= last);
    migrator.run(&mut connection).await.unwrap();
    let key = hex::encode(Sha256::digest(OWNER_KEY));
    let source = hex::encode(Sha256::digest(SOURCE));
    let filled =
        filled.replace("$KEY", &key).replace("$SHA256", &source).replace("$SOURCE", SOURCE);
    for statement in filled.split(";\n").map(str::trim).filter(|statement| !statement.is_empty()) {
        sqlx::query(AssertSqlSafe(statement)).execute(&mut connection).await.unwrap();
    }
    connection.close().await.unwrap();
}

const SOURCE: &str = "#{ version: 2 }";

on_both_databases! {
    async fn what_was_made_before_there_were_accounts_is_all_there(database) {
        made_before(database, BEFORE_ACCOUNTS, FILLED).await;
        let app = TestApp::start(database).await;
        let admin = app.admin();
        let apps = admin.get("/apps").send().await.is(200).json();
        assert_eq!(apps["items"][0]["name"], "shop");
        let script = "01980000-0000-7000-8000-000000000010";
        let shown = admin.get(&format!("/scripts/{script}")).send().await.is(200).json();
        assert_eq!((&shown["version"], &shown["source"]), (&json!(2), &json!(SOURCE)));
        let versions = admin.get(&format!("/scripts/{script}/versions")).send().await.is(200).json();
        assert_eq!(versions["items"].as_array().unwrap().len(), 2);
        let logs = admin.get(&format!("/scripts/{script}/logs")).send().await.is(200).json();
        assert_eq!(logs["items"][0]["id"], "01980000-0000-7000-8000-000000000020");
        assert_eq!(app.get("/x/shop/hello").send().await.is(200).json(), json!({"version": 2}));
        assert_eq!(app.get("/x/shop/hi").send().await.is(200).json(), json!({"version": 2}));
        assert_eq!(app.value("shop", "colours", "red").await, json!(7));

        // A trigger of that release belongs to the owner, and continues.
        let trigger = admin.get("/apps/shop/triggers").send().await.is(200).json()["items"][0].clone();
        assert_eq!((&trigger["registered_by"], &trigger["stopped"]), (&json!("owner"), &Value::Null));
        let message = json!({"queue": "work", "payload": 1});
        admin.post("/apps/shop/events", message).send().await.is(202);
        app.settled("shop").await;
        // This execution, both requests, and the execution from before.
        assert_eq!(app.count_executions(script).await, 4);

        // The first owner is created now, and sees all data.
        let session = try_password(&app, "admin", ADMIN_PASSWORD).send().await.is(200);
        assert_eq!(session.json()["principal"]["role"], "owner");
        app.close().await;
    }
    /// That release required only the role editor for triggers.
    async fn triggers_of_editors_go_on_as_an_admin_s(database) {
        made_before(database, RELEASE_0_1_0.0, RELEASE_0_1_0.1).await;
        let app = TestApp::start(database).await;
        let user = |number: u8| format!("user:01980000-0000-7000-8000-0000000000{number}");
        for (trigger, registrant, reason) in [
            (40, user(33), Value::Null),
            (41, user(32), Value::Null),
            (42, user(34), Value::Null),
            (43, "owner".to_owned(), Value::Null),
            (44, user(32), json!("registrant_not_allowed")),
        ] {
            let path = format!("/triggers/01980000-0000-7000-8000-0000000000{trigger}");
            let shown = app.admin().get(&path).send().await.is(200).json();
            assert_eq!(shown["registered_by"], json!(registrant), "{trigger}");
            assert_eq!(shown["stopped"]["reason"], reason, "{trigger}");
        }
        let message = json!({"queue": "work", "payload": 1});
        app.admin().post("/apps/shop/events", message).send().await.is(202);
        app.settled("shop").await;
        assert_eq!(app.count_executions("01980000-0000-7000-8000-000000000010").await, 1);

        let audit = app.admin().get("/audit?principal=upgrade").send().await.is(200).json();
        let entries = audit["items"].as_array().unwrap();
        assert_eq!(entries.len(), 2, "{audit}");
        for entry in entries {
            assert_eq!((&entry["action"], &entry["principal_name"]), (&json!("update_trigger"), &json!("upgrade")));
            let before = json!({"registered_by": user(30)});
            assert_eq!(entry["before"], before);
            // The current time of the database.
            assert!(entry["created_at"].as_i64().unwrap() > 1_760_000_000_000_000, "{entry}");
        }
        app.close().await;
    }

    /// In that release domains had no state.
    async fn domains_of_before_are_served_unless_they_are_the_platform_s(database) {
        made_before(database, RELEASE_0_1_0.0, RELEASE_0_1_0.1).await;
        let app = TestApp::start_with(database, &[("PICLOUD_DASHBOARD_HOST", "dash.example")]).await;
        let get = async |host: &str, path: &str| app.get(path).header("host", host).send().await;
        assert_eq!(get("shop.example", "/health/live").await.is(200).json(), json!({"version": 2}));
        for host in ["localhost", "LOCALHOST.:8080", "dash.example", "Dash.Example."] {
            assert_eq!(get(host, "/health/live").await.is(200).json()["status"], "live", "{host}");
        }
        for (name, expected) in [
            ("shop", [("localhost", json!("host_reserved")), ("shop.example", Value::Null)].as_slice()),
            ("blog", &[("dash.example", json!("host_reserved"))]),
        ] {
            let page = app.admin().get(&format!("/apps/{name}/domains")).send().await.is(200).json();
            let items = page["items"].as_array().unwrap();
            assert_eq!(items.len(), expected.len());
            for (domain, (host, closed)) in items.iter().zip(expected) {
                assert_eq!((&domain["host"], &domain["closed"]), (&json!(host), closed));
                assert_eq!((&domain["state"], &domain["verified_by"]), (&json!("verified"), &json!("upgrade")));
            }
        }
        app.admin().delete("/apps/shop/domains/localhost").send().await.is(204);
        app.close().await;
    }
}

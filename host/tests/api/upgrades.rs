//! A database that an earlier release has made and filled, and this one opens.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use sqlx::any::{AnyConnectOptions, install_default_drivers};
use sqlx::migrate::Migrator;
use sqlx::{AnyConnection, AssertSqlSafe, ConnectOptions, Connection};

use crate::app::{ADMIN_PASSWORD, OWNER_KEY, TestApp};
use crate::browser::try_password;
use crate::database::Database;
use crate::on_both_databases;

/// The last migration of the release before there were accounts.
const BEFORE_ACCOUNTS: i64 = 4;
/// What that release had written, as statements.
const FILLED: &str = include_str!("upgrade/before_accounts.sql");

/// Makes the database as that release did.
async fn made_before_accounts(database: &Database) {
    install_default_drivers();
    let url = if database.plain_url.starts_with("sqlite") {
        format!("{}?mode=rwc", database.plain_url)
    } else {
        database.plain_url.clone()
    };
    let options: AnyConnectOptions = url.parse().unwrap();
    let mut connection: AnyConnection = options.connect().await.unwrap();
    let migrations = concat!(env!("CARGO_MANIFEST_DIR"), "/../migrations");
    let mut migrator = Migrator::new(std::path::Path::new(migrations)).await.unwrap();
    migrator.migrations.to_mut().retain(|migration| migration.version <= BEFORE_ACCOUNTS);
    migrator.run(&mut connection).await.unwrap();
    let key = hex::encode(Sha256::digest(OWNER_KEY));
    let source = hex::encode(Sha256::digest(SOURCE));
    let filled =
        FILLED.replace("$KEY", &key).replace("$SHA256", &source).replace("$SOURCE", SOURCE);
    for statement in filled.split(";\n").map(str::trim).filter(|statement| !statement.is_empty()) {
        sqlx::query(AssertSqlSafe(statement)).execute(&mut connection).await.unwrap();
    }
    connection.close().await.unwrap();
}

const SOURCE: &str = "#{ version: 2 }";

on_both_databases! {
    async fn what_was_made_before_there_were_accounts_is_all_there(database) {
        made_before_accounts(database).await;
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

        // A trigger of that time was the owner's, and goes on.
        let trigger = admin.get("/apps/shop/triggers").send().await.is(200).json()["items"][0].clone();
        assert_eq!((&trigger["registered_by"], &trigger["stopped"]), (&json!("owner"), &Value::Null));
        let message = json!({"queue": "work", "payload": 1});
        admin.post("/apps/shop/events", message).send().await.is(202);
        app.settled("shop").await;
        // That, both requests, and the one from before.
        assert_eq!(app.count_executions(script).await, 4);

        // The first owner is made now, and sees it all.
        let session = try_password(&app, "admin", ADMIN_PASSWORD).send().await.is(200);
        assert_eq!(session.json()["principal"]["role"], "owner");
        app.close().await;
    }
}

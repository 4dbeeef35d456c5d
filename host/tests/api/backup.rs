//! Backups while files are written and deleted, and restores that are refused. `process/backup.rs`
//! tests backups under load.

use std::path::{Path, PathBuf};

use picloud::backup::{Backup, MasterKeyOf, back_up, restore};
use picloud::clock::Clock;
use picloud::config::Config;
use picloud::instance;
use picloud::secrets::{KEY_FILE, NEXT_KEY_FILE, Secrets};
use picloud::store::Store;
use serde_json::json;
use tempfile::TempDir;

use crate::app::TestApp;
use crate::database::{Database, Kind, with_fresh_database};
use crate::{on_both_databases, with_an_app};

/// Writes files: `path` and `content` from the query.
const PUT: &str = r#"files::bucket("b").put(ctx.request.query.path, ctx.request.query.content)"#;

async fn put(app: &TestApp, path: &str, content: &str) {
    app.get(&format!("/x/shop/put?path={path}&content={content}")).send().await.is(200);
}

fn folder() -> TempDir {
    TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

/// Returns the blobs below a folder.
fn blobs(folder: &Path) -> Vec<PathBuf> {
    let apps = std::fs::read_dir(folder.join("files")).unwrap();
    let blobs = apps.flat_map(|app| std::fs::read_dir(app.unwrap().path()).unwrap());
    blobs.map(|blob| blob.unwrap().path()).collect()
}

/// Returns settings for another data folder, with this database or with SQLite in that folder.
fn elsewhere(data: &Path, database: Option<&Database>) -> Config {
    let url = database.map(|database| database.plain_url.clone()).unwrap_or_default();
    let variables = [("PICLOUD_DATA", data.to_str().unwrap()), ("PICLOUD_DATABASE_URL", &url)];
    let variables = variables.map(|(name, value)| (name.to_owned(), value.into()));
    Config::read(variables).unwrap().config
}

with_an_app! {
    async fn a_file_that_is_replaced_and_swept_meanwhile_is_copied_by_the_next_round(app) {
        app.deploy("shop", "put", PUT).await;
        put(app, "old", "1").await;
        let parent = folder();
        let mut backup = Backup::begin(app.config(), &parent.path().join("backup")).unwrap();
        assert!(backup.copy_files_of_now().await.unwrap().is_empty());
        put(app, "new", "2").await;
        let moment = backup.copy_database().await.unwrap();
        // Both files are replaced after the snapshot, and their old contents are deleted. One of
        // these was copied before; the other is lost.
        put(app, "old", "3").await;
        put(app, "new", "4").await;
        let mut sweep = app.retention().sweep.clone().unwrap();
        sweep.freed_us = 0;
        sweep.freed().await.unwrap();
        let gone = backup.copy_files_of(moment).await.unwrap();
        let gone: Vec<_> = gone.iter().map(|lost| &*lost.path).collect();
        assert_eq!(gone, ["new"]);

        assert!(backup.copy_files_of_now().await.unwrap().is_empty());
        let moment = backup.copy_database().await.unwrap();
        assert!(backup.copy_files_of(moment).await.unwrap().is_empty());
    }

    async fn a_file_that_has_lost_its_content_is_named_and_all_else_is_kept(app) {
        app.deploy("shop", "put", PUT).await;
        put(app, "lost", "1").await;
        let lost = blobs(&app.config().data);
        put(app, "damaged", "2").await;
        let damaged = blobs(&app.config().data).into_iter().find(|blob| !lost.contains(blob));
        put(app, "whole", "3").await;
        std::fs::remove_file(&lost[0]).unwrap();
        std::fs::write(damaged.unwrap(), "something else").unwrap();

        let parent = folder();
        let dest = parent.path().join("backup");
        let made = back_up(app.config(), &Clock::system(), &dest).await.unwrap();
        let told: Vec<_> = made.lost.iter().map(|lost| (&*lost.path, &*lost.reason)).collect();
        assert_eq!(told, [("damaged", "it is damaged"), ("lost", "it is missing")]);
        assert_eq!((made.files, made.files_bytes, blobs(&dest).len()), (1, 1, 1));
    }

    async fn a_backup_is_made_under_a_name_that_is_free_and_is_the_owners_alone(app) {
        use std::os::unix::fs::PermissionsExt;
        let parent = folder();
        let refused = back_up(app.config(), &Clock::system(), parent.path()).await.unwrap_err();
        assert!(refused.to_string().contains("already exists"), "{refused}");
        let nowhere = elsewhere(&parent.path().join("nowhere"), None);
        let dest = parent.path().join("backup");
        let refused = back_up(&nowhere, &Clock::system(), &dest).await.unwrap_err();
        assert!(refused.to_string().contains("the data folder"), "{refused}");
        let empty = elsewhere(parent.path(), None);
        let refused = back_up(&empty, &Clock::system(), &dest).await.unwrap_err();
        assert!(refused.to_string().contains("picloud.db"), "{refused}");
        // No part of it is left.
        assert_eq!(std::fs::read_dir(parent.path()).unwrap().count(), 0);

        back_up(app.config(), &Clock::system(), &dest).await.unwrap();
        assert_eq!(dest.metadata().unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(std::fs::read_dir(parent.path()).unwrap().count(), 1);
    }

    async fn a_backup_that_was_interrupted_is_made_again(app) {
        app.deploy("shop", "put", PUT).await;
        put(app, "a", "1").await;
        let parent = folder();
        let dest = parent.path().join("backup");
        let mut interrupted = Backup::begin(app.config(), &dest).unwrap();
        interrupted.copy_files_of_now().await.unwrap();
        interrupted.copy_database().await.unwrap();
        let refusal = async || {
            back_up(app.config(), &Clock::system(), &dest).await.unwrap_err().to_string()
        };
        let refused = refusal().await;
        assert!(refused.contains("another backup or restore is using"), "{refused}");
        // As if its process were killed.
        drop(interrupted);
        let foreign = parent.path().join("backup.unfinished/letters");
        std::fs::write(&foreign, "").unwrap();
        let refused = refusal().await;
        assert!(refused.contains("it contains letters"), "{refused}");
        std::fs::remove_file(&foreign).unwrap();
        let made = back_up(app.config(), &Clock::system(), &dest).await.unwrap();
        assert_eq!((made.files, made.lost.len()), (1, 0));
        assert_eq!(std::fs::read_dir(parent.path()).unwrap().count(), 1);
    }
}

on_both_databases! {
    async fn what_is_there_is_not_restored_over(database) {
        let app = TestApp::start(database).await;
        app.deploy("shop", "put", PUT).await;
        put(&app, "a", "1").await;
        let parent = folder();
        let backup = parent.path().join("backup");
        back_up(app.config(), &Clock::system(), &backup).await.unwrap();

        let refusal = async |config: &Config, source: &Path| {
            restore(config, source).await.unwrap_err().to_string()
        };
        let no_backup = refusal(app.config(), parent.path()).await;
        assert!(no_backup.contains("not a backup"), "{no_backup}");
        let full = refusal(app.config(), &backup).await;
        assert!(full.contains("is not empty"), "{full}");
        let full = refusal(&elsewhere(&parent.path().join("new"), Some(database)), &backup).await;
        assert!(full.contains("not empty") || full.contains("a database already exists"), "{full}");
        let mut manifest: serde_json::Value =
            serde_json::from_slice(&std::fs::read(backup.join("backup.json")).unwrap()).unwrap();
        manifest["database"] = json!("another");
        std::fs::write(backup.join("backup.json"), manifest.to_string()).unwrap();
        let other = refusal(&elsewhere(&parent.path().join("other"), None), &backup).await;
        assert!(other.contains("another database"), "{other}");
        app.close().await;
    }

    async fn a_database_that_was_damaged_in_the_backup_is_not_restored(database) {
        let app = TestApp::start(database).await;
        let parent = folder();
        let backup = parent.path().join("backup");
        back_up(app.config(), &Clock::system(), &backup).await.unwrap();
        let copy = ["picloud.db", "picloud.dump"].map(|name| backup.join(name));
        let copy = copy.iter().find(|copy| copy.exists()).unwrap();
        let mut content = std::fs::read(copy).unwrap();
        let middle = content.len() / 2;
        content[middle] ^= 1;
        std::fs::write(copy, content).unwrap();
        let new = parent.path().join("new");
        with_fresh_database(database.kind, async |fresh: &Database| {
            let config = elsewhere(&new, Some(fresh));
            let refused = restore(&config, &backup).await.unwrap_err().to_string();
            assert!(refused.contains("is damaged"), "{refused}");
        })
        .await;
        assert!(!new.exists());
        app.close().await;
    }

    async fn a_restore_that_was_interrupted_is_repeated_before_a_server_starts(database) {
        let app = TestApp::start(database).await;
        app.deploy("shop", "put", PUT).await;
        for name in ["a", "b"] {
            put(&app, name, name).await;
        }
        let parent = folder();
        let (backup, other) = (parent.path().join("backup"), parent.path().join("other"));
        back_up(app.config(), &Clock::system(), &backup).await.unwrap();
        back_up(app.config(), &Clock::system(), &other).await.unwrap();
        // An unreadable blob interrupts the restore in the middle.
        let blob = blobs(&backup).remove(0);
        let content = std::fs::read(&blob).unwrap();
        std::fs::remove_file(&blob).unwrap();
        std::fs::create_dir(&blob).unwrap();
        with_fresh_database(database.kind, async |fresh: &Database| {
            let config = elsewhere(&parent.path().join("new"), Some(fresh));
            let url = config.database_url().unwrap();
            restore(&config, &backup).await.unwrap_err();
            let refused = instance::check(&url, &config.data, false).await.unwrap_err().to_string();
            assert!(refused.contains("was interrupted"), "{refused}");
            let refused = restore(&config, &other).await.unwrap_err().to_string();
            assert!(refused.contains("another restore"), "{refused}");
            std::fs::remove_dir(&blob).unwrap();
            std::fs::write(&blob, &content).unwrap();
            let restored = restore(&config, &backup).await.unwrap();
            assert_eq!((restored.files, restored.lost.len()), (2, 0));
            assert_eq!(blobs(&config.data).len(), 2);
            instance::check(&url, &config.data, false).await.unwrap();
            let refused = restore(&config, &backup).await.unwrap_err().to_string();
            assert!(refused.contains("is not empty"), "{refused}");
        })
        .await;
        app.close().await;
    }

    async fn secrets_are_opened_after_a_restore(database) {
        use std::os::unix::fs::PermissionsExt;
        let app = TestApp::start(database).await;
        app.deploy("shop", "read", r#"secrets::get("A")"#).await;
        app.admin().put("/apps/shop/secrets/A", json!({"value": "kept"})).send().await.is(201);
        let parent = folder();
        let backup = parent.path().join("backup");
        let made = back_up(app.config(), &Clock::system(), &backup).await.unwrap();
        assert_eq!(made.master_key, MasterKeyOf::Backup);
        let mode = backup.join(KEY_FILE).metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);

        // While a rotation replaces the master key, no key is copied.
        let next = app.config().data.join(NEXT_KEY_FILE);
        std::fs::write(&next, "").unwrap();
        let refused = back_up(app.config(), &Clock::system(), &parent.path().join("b")).await;
        assert!(refused.unwrap_err().to_string().contains("master-key rotate"));
        std::fs::remove_file(&next).unwrap();

        if database.kind == Kind::Sqlite {
            let config = elsewhere(&parent.path().join("new"), None);
            restore(&config, &backup).await.unwrap();
            let store = Store::open(&config.database_url().unwrap()).await.unwrap();
            let secrets = Secrets::start(&store, &Clock::system(), &config.key_settings()).await;
            let id = store.find_app_by_name("shop").await.unwrap().id;
            let value = secrets.unwrap().reveal(&id, "A").await.unwrap().unwrap();
            assert_eq!(value.reveal(), "kept");
            let mode = config.data.join(KEY_FILE).metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
            store.close().await.unwrap();
        }
        app.close().await;
    }

    async fn a_key_of_the_environment_is_not_in_a_backup(database) {
        let key = "1111111111111111111111111111111111111111111111111111111111111111";
        let app = TestApp::start_with(database, &[("PICLOUD_MASTER_KEY", key)]).await;
        let parent = folder();
        let backup = parent.path().join("backup");
        let made = back_up(app.config(), &Clock::system(), &backup).await.unwrap();
        assert_eq!(made.master_key, MasterKeyOf::Environment);
        assert!(!backup.join(KEY_FILE).exists());
        app.close().await;
    }
}

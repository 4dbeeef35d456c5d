//! A database and a data folder of different instances are never used together.

use std::path::{Path, PathBuf};

use serde_json::json;

use crate::server::{OWNER_KEY, Server, picloud};
use crate::start::data;

/// Starts a server with one stored file in the folder and ends it.
async fn fill(folder: &Path) {
    let server = Server::start(folder, &[("PICLOUD_OWNER_KEY", OWNER_KEY)]);
    server.create("/apps", json!({"name": "shop"})).await.unwrap();
    let source = r#"files::bucket("b").put("a.txt", "kept"); 1"#;
    server.create("/apps/shop/scripts", json!({"name": "put", "source": source})).await.unwrap();
    assert_eq!(server.call("/x/shop/put").await.unwrap().0, 200);
    assert_eq!(server.stop(), Some(0));
    assert_eq!(contents(folder).len(), 1);
}

fn contents(folder: &Path) -> Vec<PathBuf> {
    let apps = std::fs::read_dir(folder.join("files")).unwrap();
    let files = apps.flat_map(|app| std::fs::read_dir(app.unwrap().path()).unwrap());
    files.map(|file| file.unwrap().path()).collect()
}

/// Asserts that the server refuses to start, explains how to continue, and changes nothing.
fn refuses(folder: &Path, database: Option<&Path>) {
    let before = (contents(folder), std::fs::read(folder.join("instance")).ok());
    let mut command = picloud(folder);
    command.arg("serve").env("PICLOUD_OWNER_KEY", OWNER_KEY);
    if let Some(database) = database {
        command.env("PICLOUD_DATABASE_URL", format!("sqlite:{}", database.display()));
    }
    let ended = command.output().unwrap();
    let said = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(1), "{said}");
    for way_out in ["PICLOUD_DATABASE_URL", "restore the database", "--adopt-data-folder"] {
        assert!(said.contains(way_out), "{said}");
    }
    assert_eq!((contents(folder), std::fs::read(folder.join("instance")).ok()), before);
}

#[tokio::test]
async fn a_new_database_beside_old_files_is_refused_until_somebody_says_so() {
    let data = data();
    let folder = data.path();
    fill(folder).await;

    // A typo in the database's name.
    let typo = folder.join("picluod.db");
    refuses(folder, Some(&typo));
    assert!(!typo.exists(), "no database is created");
    // A missing database.
    let (database, away) = (folder.join("picloud.db"), folder.join("away.db"));
    std::fs::rename(&database, &away).unwrap();
    refuses(folder, None);
    // An empty database.
    std::fs::write(&database, "").unwrap();
    refuses(folder, None);
    // Without the instance id, as an older release leaves it, the folder still has files.
    std::fs::remove_file(folder.join("instance")).unwrap();
    refuses(folder, None);
    // With a master key, without files.
    let files = folder.join("files");
    std::fs::rename(&files, folder.join("elsewhere")).unwrap();
    std::fs::create_dir(&files).unwrap();
    refuses(folder, None);
    std::fs::remove_dir(&files).unwrap();
    std::fs::rename(folder.join("elsewhere"), &files).unwrap();

    // The right database again.
    std::fs::rename(&away, &database).unwrap();
    assert_eq!(Server::start(folder, &[("PICLOUD_OWNER_KEY", OWNER_KEY)]).stop(), Some(0));
    assert_eq!(contents(folder).len(), 1);

    // The operator wants a new instance here.
    for file in ["picloud.db", "picloud.db-wal", "picloud.db-shm"] {
        let _ = std::fs::remove_file(folder.join(file));
    }
    refuses(folder, None);
    let mut command = picloud(folder);
    command.env("PICLOUD_OWNER_KEY", OWNER_KEY);
    let adopted = Server::spawn_with(command, &["--adopt-data-folder"]);
    assert_eq!(adopted.stop(), Some(0));
    assert_eq!(contents(folder).len(), 1, "nothing is removed at once");
    assert_eq!(Server::start(folder, &[("PICLOUD_OWNER_KEY", OWNER_KEY)]).stop(), Some(0));
}

/// A new master key that is stored beside the wrong database would lose every secret.
#[tokio::test]
async fn commands_that_change_keys_refuse_a_wrong_database() {
    let (ours, theirs) = (data(), data());
    fill(ours.path()).await;
    fill(theirs.path()).await;
    let key = std::fs::read(ours.path().join("master.key")).unwrap();
    let missing = ours.path().join("missing.db");
    let new = ours.path().join("new.db");
    std::fs::write(&new, "").unwrap();
    for database in [&missing, &new, &theirs.path().join("picloud.db")] {
        for arguments in [["master-key", "rotate"], ["owner-key", "reset"]] {
            let url = format!("sqlite:{}", database.display());
            let mut command = picloud(ours.path());
            command.args(arguments).env("PICLOUD_DATABASE_URL", url);
            let ended = command.output().unwrap();
            let said = String::from_utf8_lossy(&ended.stderr);
            assert_eq!(ended.status.code(), Some(1), "{arguments:?} {database:?}: {said}");
        }
    }
    assert_eq!(std::fs::read(ours.path().join("master.key")).unwrap(), key);
    assert!(!missing.exists());
    let rotated = picloud(ours.path()).args(["master-key", "rotate"]).output().unwrap();
    assert_eq!(rotated.status.code(), Some(0), "{rotated:?}");
    let server = Server::start(ours.path(), &[("PICLOUD_OWNER_KEY", OWNER_KEY)]);
    assert_eq!(server.stop(), Some(0));
}

#[tokio::test]
async fn the_database_of_another_instance_is_refused() {
    let (ours, theirs) = (data(), data());
    fill(ours.path()).await;
    fill(theirs.path()).await;
    refuses(ours.path(), Some(&theirs.path().join("picloud.db")));
    // Also refused if the folder has no id yet: its files belong to unknown apps.
    std::fs::remove_file(ours.path().join("instance")).unwrap();
    refuses(ours.path(), Some(&theirs.path().join("picloud.db")));
    // With its own database, the folder gets an id.
    let server = Server::start(ours.path(), &[("PICLOUD_OWNER_KEY", OWNER_KEY)]);
    assert_eq!(server.stop(), Some(0));
    assert!(ours.path().join("instance").exists());
}

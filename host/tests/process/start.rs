//! Starting and stopping.

use serde_json::json;
use tempfile::TempDir;

use crate::cluster::Cluster;
use crate::compiled_guest;
use crate::server::{OWNER_KEY, Server, picloud};

pub(crate) fn data() -> TempDir {
    let data = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    compiled_guest::place(data.path());
    data
}

fn printed_key(server: &Server) -> Option<String> {
    let line = server.greeting.iter().find_map(|line| line.split_once("Owner key: "));
    line.map(|(_, key)| key.to_owned())
}

#[tokio::test]
async fn the_owner_key_is_printed_at_the_first_start_only() {
    let data = data();
    let first = Server::start(data.path(), &[]);
    let key = printed_key(&first).expect("a key");
    let called = reqwest::Client::new().get(format!("{}/api/v1/apps", first.url));
    assert_eq!(called.bearer_auth(&key).send().await.unwrap().status(), 200);
    assert_eq!(first.stop(), Some(0));
    assert_eq!(printed_key(&Server::start(data.path(), &[])), None);
}

#[test]
fn the_data_folder_is_the_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let parent = data();
    let data = parent.path().join("new");
    drop(Server::start(&data, &[]));
    assert_eq!(std::fs::metadata(&data).unwrap().permissions().mode() & 0o777, 0o700);
}

#[test]
fn every_wrong_setting_is_named_and_stops_the_start() {
    let data = data();
    let wrong = [("PICLOUD_MAX_WALL_MS", "soon"), ("PICLOUD_MAX_CONCURRENCY", "0")];
    let ended = picloud(data.path()).arg("serve").envs(wrong).output().unwrap();
    let said = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(2), "{said}");
    for (name, value) in wrong {
        assert!(said.contains(name) && said.contains(value), "{said}");
    }
}

#[test]
fn an_address_that_is_taken_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let data = data();
    let ended = picloud(data.path()).arg("serve").env("PICLOUD_LISTEN", &address).output().unwrap();
    assert_eq!(ended.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&ended.stderr).contains(&address));
}

#[tokio::test]
async fn a_server_that_is_told_to_stop_loses_no_row() {
    let data = data();
    let variables = [("PICLOUD_OWNER_KEY", OWNER_KEY)];
    let server = Server::start(data.path(), &variables);
    server.create("/apps", json!({"name": "app"})).await.unwrap();
    server.create("/apps/app/scripts", json!({"name": "one", "source": "1"})).await.unwrap();
    let mut ids = Vec::new();
    for _ in 0..50 {
        let (status, id) = server.call("/x/app/one").await.unwrap();
        assert_eq!(status, 200);
        ids.push(id.unwrap());
    }
    assert_eq!(server.stop(), Some(0));
    let server = Server::start(data.path(), &variables);
    for id in ids {
        assert_eq!(server.find(&format!("/executions/{id}")).await["status"], "success");
    }
}

#[test]
fn a_supervisor_is_told_whether_the_server_is_ready() {
    let data = data();
    let server = Server::start(data.path(), &[]);
    let listen = server.url.strip_prefix("http://").unwrap().to_owned();
    let ask =
        || picloud(data.path()).arg("health").env("PICLOUD_LISTEN", &listen).output().unwrap();
    let ready = ask();
    assert_eq!((ready.status.code(), &*ready.stdout), (Some(0), &b"ready\n"[..]), "{ready:?}");
    let other = picloud(data.path()).args(["health", "--url", &server.url]).output().unwrap();
    assert_eq!(other.status.code(), Some(0), "{other:?}");
    assert_eq!(server.stop(), Some(0));
    let gone = ask();
    assert_eq!(gone.status.code(), Some(1), "{gone:?}");
    assert!(String::from_utf8_lossy(&gone.stderr).contains(&listen), "{gone:?}");
}

/// As on a machine whose kernel gives a process 512 GiB of addresses, or less.
#[tokio::test]
async fn with_little_address_space_fewer_run_at_once() {
    for (gib, is_enough) in [(200_u64, true), (20, false)] {
        let data = data();
        let mut command = std::process::Command::new("sh");
        let limit = format!("ulimit -v {}; exec \"$@\"", gib << 20);
        command.args(["-c", &limit, "sh", env!("CARGO_BIN_EXE_picloud")]);
        command.env_clear().env("PICLOUD_DATA", data.path()).env("PICLOUD_LISTEN", "127.0.0.1:0");
        command.env("PICLOUD_OWNER_KEY", OWNER_KEY);
        if is_enough {
            let server = Server::spawn(command);
            server.create("/apps", json!({"name": "app"})).await.unwrap();
            let script = json!({"name": "one", "source": "1"});
            server.create("/apps/app/scripts", script).await.unwrap();
            assert_eq!(server.call("/x/app/one").await.unwrap().0, 200);
            assert_eq!(server.stop(), Some(0));
        } else {
            let ended = command.arg("serve").output().unwrap();
            let said = String::from_utf8_lossy(&ended.stderr);
            assert_eq!(ended.status.code(), Some(1), "{said}");
            assert!(said.contains("PICLOUD_MAX_CONCURRENCY"), "{said}");
        }
    }
}

/// Under systemd, both can start at the same time.
#[tokio::test]
async fn a_server_waits_for_its_database_server() {
    let cluster = Cluster::start();
    cluster.crash();
    let database = cluster.database();
    let data = data();
    let path = data.path().to_owned();
    // A silent listener stands in for the database server, and shows that the server has tried.
    let address = database.plain_url.split_once('@').unwrap().1;
    let address = address.split_once('/').unwrap().0;
    let nobody = tokio::net::TcpListener::bind(address).await.unwrap();
    let server = tokio::task::spawn_blocking(move || Server::start_on(&path, &database, &[]));
    drop(nobody.accept().await.unwrap());
    drop(nobody);
    cluster.resume();
    let server = server.await.unwrap();
    server.create("/apps", json!({"name": "app"})).await.unwrap();
    assert_eq!(server.stop(), Some(0));
}

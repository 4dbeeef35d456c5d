//! Clocks that are wrong by an hour and are then corrected: pending work is done at its intended
//! time, and data expires at its intended time.
//!
//! `libfaketime` gives a server another wall clock than the machine's; it does not change the
//! monotonic clock.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::database::{Database, Kind, with_fresh_database};
use crate::server::{OWNER_KEY, Server, picloud};
use crate::start::data;

/// More time than anything here should take, and much less than an hour.
const SOON: Duration = Duration::from_secs(60);

/// Starts a server with a wrong clock.
fn start(data: &Path, database: &Database, off: &str) -> Server {
    let mut command = picloud(data);
    let url = match database.kind {
        Kind::Sqlite => database.url.to_string(),
        Kind::Postgres => database.plain_url.clone(),
    };
    command.env("PICLOUD_OWNER_KEY", OWNER_KEY).env("PICLOUD_DATABASE_URL", url);
    if off != "0" {
        command.env("LD_PRELOAD", library()).env("FAKETIME", off);
        command.env("FAKETIME_DONT_FAKE_MONOTONIC", "1").env("DONT_FAKE_MONOTONIC", "1");
    }
    Server::spawn(command)
}

/// Debian stores it in a folder for the machine's architecture.
fn library() -> PathBuf {
    let kinds = std::fs::read_dir("/usr/lib").expect("libraries").flatten();
    let mut found = kinds.map(|kind| kind.path().join("faketime/libfaketime.so.1"));
    found.find(|path| path.exists()).expect("libfaketime is missing: apt-get install faketime")
}

/// Creates an app that counts its firings and has a key with a TTL of ten minutes. Returns when it
/// was created, by the server's clock, µs.
async fn set_up(server: &Server) -> i64 {
    let app = server.create("/apps", json!({"name": "shop"})).await.unwrap();
    for (name, source) in [
        ("tick", r#"kv::collection("fired").increment("" + ctx.event.cron.due_at)"#),
        ("work", r#"kv::collection("done").increment(ctx.event.queue.payload)"#),
        ("send", r#"queue::send("q", ctx.request.query.name, #{ delay: 3000 })"#),
        ("keep", r#"kv::collection("kept").set(ctx.request.query.name, 1, #{ ttl: 600000 })"#),
    ] {
        let script = json!({"name": name, "source": source});
        let script = server.create("/apps/shop/scripts", script).await.unwrap();
        let on = match name {
            "tick" => json!({"kind": "cron", "schedule": "* * * * * *"}),
            "work" => json!({"kind": "queue", "queue": "q"}),
            _ => continue,
        };
        let trigger = json!({"script_id": script["id"], "on": on});
        server.create("/apps/shop/triggers", trigger).await.unwrap();
    }
    app["created_at"].as_i64().unwrap()
}

async fn call(server: &Server, path: &str) {
    let (status, _) = server.call(&format!("/x/shop/{path}")).await.unwrap();
    assert_eq!(status, 200, "{path}");
}

/// Returns the names and values of a collection.
async fn entries(server: &Server, collection: &str) -> Vec<(String, Value)> {
    let page = server.find(&format!("/apps/shop/kv/{collection}?limit=200")).await;
    let items = page["items"].as_array().cloned().unwrap_or_default();
    let entry = |item: &Value| (item["name"].as_str().unwrap().to_owned(), item["value"].clone());
    items.iter().map(entry).collect()
}

/// Waits until a collection has that many entries, all of them 1.
async fn counted(server: &Server, collection: &str, least: usize) {
    let begun = Instant::now();
    loop {
        let found = entries(server, collection).await;
        assert!(found.iter().all(|(_, count)| *count == 1), "{found:?}");
        if found.len() >= least {
            return;
        }
        assert!(begun.elapsed() < SOON, "{collection}: {found:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn goes_on_when_it_is_set_right(off: &str) {
    with_fresh_database(Kind::Sqlite, async |database: &Database| {
        let data = data();
        let server = start(data.path(), database, off);
        let now = i64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_micros()).unwrap();
        let off_us = set_up(&server).await - now;
        assert!(off_us.abs() > 3_500_000_000, "the clock is right");
        counted(&server, "fired", 2).await;
        call(&server, "keep?name=a").await;
        call(&server, "send?name=a").await;
        assert_eq!(server.stop(), Some(0));

        let server = start(data.path(), database, "0");
        let before = entries(&server, "fired").await.len();
        call(&server, "send?name=b").await;
        counted(&server, "done", 2).await;
        counted(&server, "fired", before + 2).await;
        if off.starts_with('+') {
            // By a clock that was behind, the key would have expired.
            counted(&server, "kept", 1).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_was_an_hour_ahead_and_is_set_right_holds_nothing_up() {
    goes_on_when_it_is_set_right("+1h").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_was_an_hour_behind_and_is_set_right_holds_nothing_up() {
    goes_on_when_it_is_set_right("-1h").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_with_wrong_clocks_go_by_the_database_s() {
    with_fresh_database(Kind::Postgres, async |database: &Database| {
        let data = data();
        let right = start(data.path(), database, "0");
        let ahead = start(data.path(), database, "+1h");
        let behind = start(data.path(), database, "-1h");
        set_up(&right).await;
        for (server, name) in [(&right, "right"), (&ahead, "ahead"), (&behind, "behind")] {
            call(server, &format!("keep?name={name}")).await;
            call(server, &format!("send?name={name}")).await;
        }
        counted(&right, "done", 3).await;
        counted(&right, "fired", 3).await;
        let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_millis();
        let fired = entries(&right, "fired").await;
        let last = fired.iter().map(|(due_at, _)| due_at.parse::<u128>().unwrap()).max().unwrap();
        assert!(last <= now && now - last < SOON.as_millis(), "{last} at {now}");
        for server in [&right, &ahead, &behind] {
            counted(server, "kept", 3).await;
        }
        // No server deletes the entries that another one keeps.
        for server in [right, ahead, behind] {
            assert_eq!(server.stop(), Some(0));
        }
        let right = start(data.path(), database, "0");
        counted(&right, "kept", 3).await;
    })
    .await;
}

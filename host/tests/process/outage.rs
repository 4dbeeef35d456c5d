//! The database fails under load and recovers: PostgreSQL crashes and restarts, or SQLite's disk is
//! full and gets space again. Meanwhile every write is refused clearly; afterwards everything
//! continues without a restart.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::cluster::Cluster;
use crate::compiled_guest;
use crate::disk::Disk;
use crate::ledger::Ledger;
use crate::load::{APP, Load, Random, SORTS, set_up};
use crate::server::Server;

/// The number of concurrent senders.
const LANES: u64 = 4;
/// The number of events accepted between two outages.
const ACCEPTED: usize = 60;
/// The number of requests to a full disk after which one must have been refused.
const REFUSED_AFTER_MAX: usize = 2000;

const SETTINGS: [(&str, &str); 3] = [
    ("PICLOUD_EVENT_LEASE_MS", "500"),
    ("PICLOUD_REPLY_WAIT_MS", "2000"),
    ("PICLOUD_TRIGGER_RETRY_ATTEMPTS", "1000"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgresql_crashes_under_load() {
    let data = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    compiled_guest::place(data.path());
    let cluster = Cluster::start();
    let database = cluster.database();
    let server = Server::start_on(data.path(), &database, &SETTINGS);
    set_up(&server).await;
    let load = Load::default();
    let over = AtomicBool::new(false);
    let lanes: FuturesUnordered<_> =
        (0..LANES).map(|lane| load.send_until(&server, Random(lane), &over)).collect();
    let outage = async {
        accepted_more(&load, ACCEPTED).await;
        tokio::task::block_in_place(|| cluster.crash());
        let sent = SORTS.map(|sort| load.send(&server, sort));
        let accepted = futures::future::join_all(sent).await;
        assert_eq!(accepted, [Some(false); SORTS.len()]);
        lives_but_is_not_ready(&server).await;
        tokio::task::block_in_place(|| cluster.resume());
        accepted_more(&load, ACCEPTED).await;
        over.store(true, Ordering::Relaxed);
    };
    futures::future::join(lanes.collect::<Vec<()>>(), outage).await;
    let mut ledger = Ledger::open(&database).await;
    ledger.settled(APP).await;
    assert_eq!(server.stop(), Some(0));
    load.check(&mut ledger).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_disk_is_full_and_has_room_again() {
    let data = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    compiled_guest::place(data.path());
    let (server, mut disk) = Disk::start(data.path(), &SETTINGS);
    set_up(&server).await;
    let load = Load::default();
    for _ in 0..2 {
        send(&load, &server, ACCEPTED).await;
        disk.fill();
        let mut sent = 0;
        for sort in SORTS {
            while load.send(&server, sort).await == Some(true) {
                sent += 1;
                assert!(sent < REFUSED_AFTER_MAX, "{sort:?} is never refused");
            }
        }
        // Reads still work.
        let apps = server.ask("GET", "/api/v1/apps", &Value::Null).await.unwrap();
        assert_eq!(apps.status, 200, "{apps:?}");
        disk.make_room();
        for sort in SORTS {
            accepted_again(&load, &server, sort).await;
        }
    }
    nothing_is_open(&server).await;
    let copy = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    load.check(&mut Ledger::open(&disk.copy_database(copy.path())).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_cured_by_deleting_executions_also_after_a_kill() {
    let data = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    compiled_guest::place(data.path());
    let (mut server, mut disk) = Disk::start(data.path(), &SETTINGS);
    set_up(&server).await;
    server.create("/apps", json!({"name": "noise"})).await.unwrap();
    server.create("/apps/noise/scripts", json!({"name": "hum", "source": "1"})).await.unwrap();
    for _ in 0..ACCEPTED {
        assert_eq!(server.call("/x/noise/hum").await.unwrap().0, 200);
    }
    // A kill loses executions that are not written yet.
    let logged = async || {
        let page = server.find("/apps/noise/executions?limit=200").await;
        page["items"].as_array().map_or(0, Vec::len)
    };
    while logged().await < ACCEPTED {
        picloud_testing::pause().await;
    }
    let key = json!({"value": 1});
    assert_eq!(server.admin("PUT", "/apps/noise/kv/c/k", &key).await.unwrap().0, 200);
    let load = Load::default();
    send(&load, &server, ACCEPTED).await;
    disk.fill();
    for sort in SORTS {
        let mut sent = 0;
        while load.send(&server, sort).await == Some(true) {
            sent += 1;
            assert!(sent < REFUSED_AFTER_MAX, "{sort:?} is never refused");
        }
    }
    is_full(&server).await;
    // One for the outage, not one for each write.
    assert_eq!(disk.warnings().len(), 1, "{:?}", disk.warnings());
    server.kill();
    let Some(server) = disk.start_again(data.path(), &SETTINGS) else { return };
    is_full(&server).await;
    // The reserved space is enough for deletions.
    let purged =
        server.admin("DELETE", "/apps/noise/executions?older_than_s=0", &Value::Null).await;
    assert_eq!(purged.unwrap(), (200, json!({"deleted": ACCEPTED, "complete": true})));
    let deleted = server.admin("DELETE", "/apps/noise/kv/c/k", &Value::Null).await.unwrap();
    assert_eq!(deleted.0, 204, "{deleted:?}");
    // Writes that add data are refused, even by a person: they would use up the reserve.
    let app = json!({"name": "small"});
    let refused = server.admin("POST", "/apps", &app).await.unwrap();
    assert_eq!((refused.0, &refused.1["error"]["code"]), (503, &json!("disk_full")));
    disk.make_room();
    for sort in SORTS {
        accepted_again(&load, &server, sort).await;
    }
    let ready = server.ask("GET", "/health/ready", &Value::Null).await.unwrap();
    assert_eq!(ready.status, 200, "{ready:?}");
    nothing_is_open(&server).await;
    let copy = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    load.check(&mut Ledger::open(&disk.copy_database(copy.path())).await).await;
}

/// Asserts that it is live but not ready, says why, and claims no events.
async fn is_full(server: &Server) {
    lives_but_is_not_ready(server).await;
    let ready = server.ask("GET", "/health/ready", &Value::Null).await.unwrap();
    assert!(ready.body.contains("disk_full"), "{ready:?}");
    let metrics = server.ask("GET", "/metrics", &Value::Null).await.unwrap();
    assert!(metrics.body.contains("picloud_store_up 0"), "{}", metrics.body);
}

async fn send(load: &Load, server: &Server, count: usize) {
    for sort in SORTS.into_iter().cycle().take(count) {
        assert_eq!(load.send(server, sort).await, Some(true), "{sort:?}");
    }
}

/// Sends until a request is accepted, at most a minute.
async fn accepted_again(load: &Load, server: &Server, sort: crate::load::Sort) {
    let begun = Instant::now();
    while load.send(server, sort).await != Some(true) {
        assert!(begun.elapsed() < Duration::from_secs(60), "{sort:?} is refused for ever");
    }
}

/// Waits, at most a minute, until every event is done.
async fn nothing_is_open(server: &Server) {
    let begun = Instant::now();
    while server.find(&format!("/apps/{APP}/outbox")).await["items"] != json!([]) {
        assert!(begun.elapsed() < Duration::from_secs(60), "an event is never done");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Waits, at most a minute, until this many more events were accepted.
async fn accepted_more(load: &Load, more: usize) {
    let (begun, enough) = (Instant::now(), load.accepted() + more);
    while load.accepted() < enough {
        assert!(begun.elapsed() < Duration::from_secs(60), "the load does not continue");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn lives_but_is_not_ready(server: &Server) {
    let live = server.ask("GET", "/health/live", &Value::Null).await.unwrap();
    let ready = server.ask("GET", "/health/ready", &Value::Null).await.unwrap();
    assert_eq!((live.status, ready.status), (200, 503), "{live:?} {ready:?}");
}

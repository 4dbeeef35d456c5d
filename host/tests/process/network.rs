//! A network that fails between a node and PostgreSQL: no accepted event is lost or done twice, and
//! the node catches up on changes that it has missed.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::database::{Database, Kind, with_fresh_database};
use crate::ledger::Ledger;
use crate::load::{APP, Load, Random, set_up};
use crate::proxy::{Fault, Proxy};
use crate::server::{Server, signal};
use crate::start::data;

/// The number of concurrent senders.
const LANES: u64 = 4;
/// The number of events accepted during a fault, and between faults.
const ACCEPTED: usize = 60;
/// One in this number of COMMITs loses its response.
const LOST_EVERY: usize = 5;
/// Longer than the timeouts of a commit and a connection, and than a lease.
const FAILOVER: Duration = Duration::from_secs(33);
/// A domain of the app.
const DOMAIN: &str = "shop.example";

const SETTINGS: [(&str, &str); 4] = [
    ("PICLOUD_EVENT_LEASE_MS", "1000"),
    ("PICLOUD_REPLY_WAIT_MS", "1000"),
    ("PICLOUD_TRIGGER_RETRY_ATTEMPTS", "1000"),
    ("PICLOUD_TRIGGER_RETRY_BASE_MS", "1"),
];

/// Creates a schedule that counts each of its firings.
async fn every_second(server: &Server) {
    let source = r#"kv::collection("fired").increment("" + ctx.event.cron.due_at)"#;
    let script = json!({"name": "tick", "source": source});
    let script = server.create(&format!("/apps/{APP}/scripts"), script).await.unwrap();
    let on = json!({"kind": "cron", "schedule": "* * * * * *"});
    let trigger = json!({"script_id": script["id"], "on": on});
    server.create(&format!("/apps/{APP}/triggers"), trigger).await.unwrap();
}

/// Asserts that each firing was counted once, and that there are more than `before`.
async fn goes_on_firing(ledger: &mut Ledger, before: usize) {
    let begun = Instant::now();
    loop {
        let fired = ledger.counters(APP, "fired").await;
        assert!(fired.values().all(|count| *count == 1), "{fired:?}");
        if fired.len() > before {
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "the schedule has stopped");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn under_load(server: &Server, load: &Load, meanwhile: impl Future<Output = ()>) {
    let over = AtomicBool::new(false);
    let lanes: futures::stream::FuturesUnordered<_> =
        (0..LANES).map(|lane| load.send_until(server, Random(lane), &over)).collect();
    let meanwhile = async {
        meanwhile.await;
        over.store(true, Ordering::Relaxed);
    };
    let lanes = futures::StreamExt::collect::<Vec<()>>(lanes);
    futures::future::join(lanes, meanwhile).await;
}

async fn accepted(load: &Load, more: usize) {
    let (begun, enough) = (Instant::now(), load.accepted() + more);
    while load.accepted() < enough {
        assert!(begun.elapsed() < Duration::from_secs(60), "the load does not continue");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_whose_answers_are_lost_are_neither_lost_nor_made_twice() {
    with_fresh_database(Kind::Postgres, async |database: &Database| {
        let data = data();
        let proxy = Proxy::start(database).await;
        let server = Server::start_on(data.path(), &proxy.database, &SETTINGS);
        set_up(&server).await;
        every_second(&server).await;
        let (load, mut ledger) = (Load::default(), Ledger::open(database).await);
        let lossy = async {
            accepted(&load, ACCEPTED).await;
            proxy.set(Fault::LosesCommits(LOST_EVERY));
            accepted(&load, 2 * ACCEPTED).await;
            let before = ledger.counters(APP, "fired").await.len();
            goes_on_firing(&mut ledger, before + 2).await;
            proxy.set(Fault::None);
            accepted(&load, ACCEPTED).await;
        };
        under_load(&server, &load, lossy).await;
        assert!(proxy.lost() >= 5, "{} responses were lost", proxy.lost());
        let before = ledger.counters(APP, "fired").await.len();
        goes_on_firing(&mut ledger, before).await;
        stopped(server, &load, ledger).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn executions_are_logged_once_when_answers_to_commits_are_lost() {
    with_fresh_database(Kind::Postgres, async |database: &Database| {
        let data = data();
        let proxy = Proxy::start(database).await;
        let flush = [("PICLOUD_EXECUTION_LOG_FLUSH_MS", "0")];
        let server = Server::start_on(data.path(), &proxy.database, &flush);
        server.create("/apps", json!({"name": APP})).await.unwrap();
        let script = json!({"name": "one", "source": "1"});
        server.create(&format!("/apps/{APP}/scripts"), script).await.unwrap();
        proxy.set(Fault::LosesCommits(LOST_EVERY));
        let mut called = BTreeSet::new();
        while proxy.lost() < 5 {
            // Not while the definitions are unavailable.
            let (status, id) = server.call(&format!("/x/{APP}/one")).await.unwrap();
            if status == 200 {
                called.insert(id.unwrap());
            }
            picloud_testing::pause().await;
        }
        proxy.set(Fault::None);
        for id in &called {
            while server.find(&format!("/executions/{id}")).await["id"] != json!(id) {
                picloud_testing::pause().await;
            }
        }
        let (mut logged, mut before) = (Vec::new(), String::new());
        loop {
            let page = server.find(&format!("/apps/{APP}/executions?limit=50{before}")).await;
            logged.extend(page["items"].as_array().unwrap().iter().map(|row| row["id"].clone()));
            let Some(next) = page["next_before"].as_str() else { break };
            before = format!("&before={next}");
        }
        assert_eq!(logged.len(), called.len());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_that_takes_longer_than_any_timeout_is_survived() {
    with_fresh_database(Kind::Postgres, async |database: &Database| {
        let data = data();
        let proxy = Proxy::start(database).await;
        let server = Server::start_on(data.path(), &proxy.database, &SETTINGS);
        set_up(&server).await;
        every_second(&server).await;
        let claim = json!({"host": DOMAIN});
        server.create(&format!("/apps/{APP}/domains"), claim).await.unwrap();
        let approval = format!("/apps/{APP}/domains/{DOMAIN}/approve");
        assert_eq!(server.admin("POST", &approval, &json!({})).await.unwrap().0, 200);
        assert_eq!(server.call_on(DOMAIN, "/hook").await.unwrap(), 404);
        let (load, mut ledger) = (Load::default(), Ledger::open(database).await);
        let failover = async {
            accepted(&load, ACCEPTED).await;
            proxy.set(Fault::Silent);
            // The test is about the duration of the fault.
            tokio::time::sleep(FAILOVER).await;
            // Not the dashboard, and not 404, because the server knows the app of the domain.
            for path in ["/", "/hook", "/api/v1/apps"] {
                assert_eq!(server.call_on(DOMAIN, path).await.unwrap(), 503, "{path}");
            }
            assert_eq!(server.call("/health/live").await.unwrap().0, 200);
            proxy.set(Fault::None);
            proxy.cut();
            accepted(&load, ACCEPTED).await;
        };
        under_load(&server, &load, failover).await;
        let before = ledger.counters(APP, "fired").await.len();
        goes_on_firing(&mut ledger, before).await;
        stopped(server, &load, ledger).await;
    })
    .await;
}

/// Checks that the events accepted before the server stops are done once.
async fn stopped(server: Server, load: &Load, mut ledger: Ledger) {
    ledger.settled_but(APP, "tick").await;
    assert_eq!(server.stop(), Some(0));
    load.check(&mut ledger).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_hears_nothing_still_learns_what_others_have_changed() {
    with_fresh_database(Kind::Postgres, async |database: &Database| {
        let data = data();
        let proxy = Proxy::start(database).await;
        let deaf = Server::start_on(data.path(), &proxy.database, &[]);
        let other = Server::start_on(data.path(), database, &[]);
        let route = open_route(&other).await;
        answers(&deaf, 200).await;
        proxy.set(Fault::Deaf);
        guard(&other, &route).await;
        answers(&other, 401).await;
        answers(&deaf, 401).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_stood_still_while_definitions_changed_uses_the_new_ones() {
    with_fresh_database(Kind::Postgres, async |database: &Database| {
        let data = data();
        let still = Server::start_on(data.path(), database, &SETTINGS);
        set_up(&still).await;
        let other = Server::start_on(data.path(), database, &SETTINGS);
        let route = open_route(&other).await;
        answers(&still, 200).await;
        let (load, mut ledger) = (Load::default(), Ledger::open(database).await);
        let pid = still.pid();
        let pause = async {
            accepted(&load, ACCEPTED).await;
            assert!(signal(pid, "-STOP").await);
            guard(&other, &route).await;
            ledger.leases_have_run_out().await;
            assert!(signal(pid, "-CONT").await);
            accepted(&load, ACCEPTED).await;
        };
        // Sends to the working node: the other one cannot respond.
        under_load(&other, &load, pause).await;
        answers(&still, 401).await;
        ledger.settled(APP).await;
        assert_eq!((still.stop(), other.stop()), (Some(0), Some(0)));
        load.check(&mut ledger).await;
    })
    .await;
}

/// Creates an app with a route that is open to everyone.
async fn open_route(server: &Server) -> Value {
    server.create("/apps", json!({"name": "door"})).await.unwrap();
    let script = json!({"name": "open", "source": "1"});
    let script = server.create("/apps/door/scripts", script).await.unwrap();
    server.admin("PUT", "/apps/door/secrets/KEY", &json!({"value": "s3cret"})).await.unwrap();
    let route = json!({"script_id": script["id"], "method": "GET", "path": "/open"});
    server.create("/apps/door/routes", route).await.unwrap()
}

/// Protects the route with a key.
async fn guard(server: &Server, route: &Value) {
    let auth = json!({"mode": "key", "secrets": ["KEY"]});
    let change = json!({"script_id": route["script_id"], "auth": auth});
    let path = format!("/routes/{}", route["id"].as_str().unwrap());
    let changed = server.admin("PUT", &path, &change).await.unwrap();
    assert_eq!(changed.0, 200, "{changed:?}");
}

/// Polls, at most a minute, until the route responds with this status.
async fn answers(server: &Server, status: u16) {
    let begun = Instant::now();
    loop {
        let answer = server.call("/x/door/open").await.unwrap().0;
        if answer == status {
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "{answer} and not {status}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

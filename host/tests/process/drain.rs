//! A server that is told to stop: events that have not begun are unchanged.

use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use picloud::faults::{CrashAt, Point};
use serde_json::json;

use crate::ledger::Ledger;
use crate::load::{APP, Load, Random, set_up};
use crate::on_both_databases;
use crate::server::Server;
use crate::start::data;

/// The number of pending events when the server is told to stop: many more than run at once.
const EVENTS: usize = 100;

on_both_databases! {
    async fn an_event_that_has_not_begun_costs_no_attempt(database) {
        let data = data();
        let few = [("PICLOUD_MAX_EVENT_CONCURRENCY", "2"), ("PICLOUD_EVENT_LEASE_MS", "5000")];
        let server = Server::start_on(data.path(), database, &few);
        server.create("/apps", json!({"name": "shop"})).await.unwrap();
        let source = r#"
            let i = 0;
            while i < 300000 { i += 1; }
            kv::collection("done").set(ctx.event.id, ctx.event.attempt)"#;
        let script = json!({"name": "work", "source": source});
        let script = server.create("/apps/shop/scripts", script).await.unwrap();
        let trigger = json!({
            "script_id": script["id"],
            "on": {"kind": "queue", "queue": "q"},
            "retry": {"attempts_max": 1},
        });
        server.create("/apps/shop/triggers", trigger).await.unwrap();
        for _ in 0..EVENTS {
            let message = json!({"queue": "q", "payload": 1});
            let sent = server.admin("POST", "/apps/shop/events", &message).await.unwrap();
            assert_eq!(sent.0, 202);
        }
        assert_eq!(server.stop(), Some(0));

        let server = Server::start_on(data.path(), database, &[]);
        let left = async || {
            let backlog = server.find("/apps/shop/backlog").await;
            backlog["items"].as_array().is_none_or(|items| !items.is_empty())
        };
        let begun = std::time::Instant::now();
        while left().await {
            assert!(begun.elapsed() < std::time::Duration::from_secs(60), "events are left");
            picloud_testing::pause().await;
        }
        let letters = server.find("/apps/shop/dead-letters/count").await;
        assert_eq!(letters["count"], 0);
        let done = server.find("/apps/shop/kv/done?limit=200").await;
        assert_eq!(done["items"].as_array().map(Vec::len), Some(EVENTS));
    }

    async fn told_to_stop_at_any_moment_of_an_event_it_loses_and_charges_nothing(database) {
        let data = data();
        let settings = |at: &str| {
            // Only one attempt: an event that is wrongly charged an attempt becomes a dead letter.
            let attempts = ("PICLOUD_TRIGGER_RETRY_ATTEMPTS", "1".to_owned());
            [attempts, ("PICLOUD_CRASH_AT", at.to_owned())]
        };
        let start = |at: &str| {
            let settings = settings(at);
            let settings: Vec<_> = settings.iter().map(|(name, value)| (*name, &**value)).collect();
            Server::start_on(data.path(), database, &settings)
        };
        let server = start("");
        set_up(&server).await;
        assert_eq!(server.stop(), Some(0));
        let (load, never) = (Load::default(), AtomicBool::new(false));
        for (round, point) in Point::ALL.into_iter().enumerate() {
            for count in [1, 7] {
                let mut server = start(&CrashAt { point, count, stops: true }.to_string());
                // Until the server refuses new requests.
                load.send_until(&server, Random(round as u64 * 10 + count), &never).await;
                let begun = Instant::now();
                let code = loop {
                    if let Some(ended) = server.ended() {
                        break ended.code();
                    }
                    assert!(begun.elapsed() < Duration::from_secs(60), "the server does not stop");
                    tokio::time::sleep(Duration::from_millis(5)).await;
                };
                assert_eq!(code, Some(0), "{point:?} {count}");
            }
        }
        let server = start("");
        let mut ledger = Ledger::open(database).await;
        ledger.settled(APP).await;
        assert_eq!(server.stop(), Some(0));
        load.check(&mut ledger).await;
    }
}

//! Two nodes on one database: an event that one accepts is never lost because the other has just
//! made a change. On SQLite, one node stands for both.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures::future::join_all;
use serde_json::json;

use crate::app::TestApp;
use crate::database::{Database, Kind};
use crate::gate::Gate;
use crate::on_both_databases;

/// The number of repetitions of each race.
const RACES: usize = 60;

/// The nodes; on SQLite the same one twice.
struct Nodes {
    one: TestApp,
    other: Option<TestApp>,
}

impl Nodes {
    async fn start(database: &Database) -> Self {
        let one = TestApp::start(database).await;
        let other = match database.kind {
            Kind::Sqlite => None,
            Kind::Postgres => {
                let key = std::fs::read_to_string(one.config().data.join("master.key")).unwrap();
                let key = [("PICLOUD_MASTER_KEY", key.trim())];
                Some(TestApp::start_with(database, &key).await)
            }
        };
        Self { one, other }
    }

    fn two(&self) -> &TestApp {
        self.other.as_ref().unwrap_or(&self.one)
    }

    async fn close(self) {
        self.one.close().await;
        if let Some(other) = self.other {
            other.close().await;
        }
    }
}

/// Waits until the node serves the path.
async fn served(app: &TestApp, path: &str) {
    let begun = Instant::now();
    while app.post(path).json(&json!({})).send().await.status == 404 {
        assert!(begun.elapsed() < Duration::from_secs(30), "{path} is not served");
        picloud_testing::pause().await;
    }
}

on_both_databases! {
    async fn a_trigger_hears_of_what_any_node_commits_after_it(database) {
        let nodes = Nodes::start(database).await;
        let (one, two) = (&nodes.one, nodes.two());
        let hear = one.deploy("shop", "hear", r#"
            let from = if ctx.event.kind == "kv" {
                ctx.event.kv.collection
            } else {
                ctx.event.pubsub.topic
            };
            kv::collection("heard").increment(`${ctx.event.kind}-${from}`)"#).await;
        one.deploy("shop", "say", r#"
            let name = ctx.request.body.name ?? "none";
            pubsub::publish(name, 1);
            kv::collection(name).set("k", 1)"#).await;
        served(two, "/x/shop/say").await;
        for race in 0..RACES {
            let name = format!("race-{race}");
            one.trigger("shop", &hear, json!({"kind": "pubsub", "topic": name})).await;
            let kv = json!({"kind": "kv", "collection": name, "operations": ["insert"]});
            one.trigger("shop", &hear, kv).await;
            two.post("/x/shop/say").json(&json!({"name": name})).send().await.is(200);
            // By hand too.
            let sent = json!({"topic": name, "payload": 1});
            two.admin().post("/apps/shop/events", sent).send().await.is(202);
        }
        one.settled("shop").await;
        for race in 0..RACES {
            let (topic, key) = (format!("pubsub-race-{race}"), format!("kv-race-{race}"));
            assert_eq!(one.value("shop", "heard", &topic).await, 2, "{topic}");
            assert_eq!(one.value("shop", "heard", &key).await, 1, "{key}");
        }
        nodes.close().await;
    }

    async fn an_enqueued_script_runs_whatever_its_app_is_called_by_then(database) {
        let nodes = Nodes::start(database).await;
        let (one, two) = (&nodes.one, nodes.two());
        one.deploy("shop", "ask", r#"
            let name = ctx.request.body.name;
            if name == () { return 0; }
            scripts::enqueue(name, #{});
            kv::collection("asked").increment("n")"#).await;
        served(two, "/x/shop/ask").await;
        let mut accepted = 0;
        for race in 0..RACES {
            let (now, then) = if race % 2 == 0 { ("shop", "store") } else { ("store", "shop") };
            let name = format!("work-{race}");
            // The other node may not have seen the script yet.
            one.deploy(now, &name, r#"kv::collection("done").increment("n")"#).await;
            let asked = two.post(&format!("/x/{now}/ask")).json(&json!({"name": name})).send();
            let renamed = one.admin().patch(&format!("/apps/{now}"), json!({"name": then})).send();
            let (asked, renamed) = tokio::join!(asked, renamed);
            renamed.is(200);
            accepted += usize::from(asked.status == 200);
        }
        one.settled("shop").await;
        assert!(accepted > 0);
        assert_eq!(one.value("shop", "asked", "n").await, accepted);
        assert_eq!(one.value("shop", "done", "n").await, accepted);
        nodes.close().await;
    }

    async fn an_event_of_a_script_that_was_made_anew_is_not_the_new_one_s(database) {
        let nodes = Nodes::start(database).await;
        let one = &nodes.one;
        let work = one.deploy("shop", "work", r#"kv::collection("done").increment("old")"#).await;
        one.deploy("shop", "ask", r#"scripts::enqueue("work", #{}, #{delay: 1})"#).await;
        one.deploy("shop", "later", r#"scripts::enqueue("work", #{}, #{delay: 3600000})"#).await;
        one.post("/x/shop/later").send().await.is(200);
        one.admin().delete(&format!("/scripts/{work}")).send().await.is(204);
        one.deploy("shop", "work", r#"kv::collection("done").increment("new")"#).await;
        // The event becomes due.
        one.store().advance_events(7_200_000_000).await.unwrap();
        one.post("/x/shop/ask").send().await.is(200);
        one.settled("shop").await;
        assert_eq!(one.value("shop", "done", "new").await, 1);
        assert_eq!(one.value("shop", "done", "old").await, json!(null));
        let letters = one.dead_letters("shop").await;
        assert_eq!(letters.len(), 1, "{letters:?}");
        assert_eq!(letters[0]["script"], "work");
        assert_eq!(letters[0]["last_error"], "the script was deleted");
        nodes.close().await;
    }

    /// A pending message can start to run before the sender of the next one commits.
    async fn a_message_that_begins_before_the_commit_is_no_reason_to_drop_the_next(database) {
        let mut gate = Gate::open().await;
        let private = [("PICLOUD_PRIVATE_HOSTS", "127.0.0.1")];
        let app = TestApp::start_with(database, &private).await;
        let look = app.deploy("shop", "look", r#"
            let seen = kv::collection("state").get("n") ?? 0;
            kv::collection("seen").set("n", seen)"#).await;
        app.trigger("shop", &look, json!({"kind": "queue", "queue": "wake"})).await;
        app.deploy("shop", "first", r#"
            queue::send("wake", 1, #{dedupe: "k", delay: 3600000})"#).await;
        let change = format!(r#"
            kv::collection("state").set("n", 1);
            let id = queue::send("wake", 1, #{{dedupe: "k"}});
            http::get("{}1");
            id"#, gate.url);
        app.deploy("shop", "change", &change).await;
        let first = app.post("/x/shop/first").send().await.is(200).json();
        let changing = app.post("/x/shop/change").send();
        let meanwhile = async {
            let arrival = gate.arrival().await;
            app.store().advance_events(7_200_000_000).await.unwrap();
            app.settled("shop").await;
            assert_eq!(app.value("shop", "seen", "n").await, 0);
            arrival.let_go();
        };
        let (changed, ()) = tokio::join!(changing, meanwhile);
        assert_eq!(changed.is(200).json(), first, "the message that was pending then");
        app.settled("shop").await;
        assert_eq!(app.value("shop", "seen", "n").await, 1, "the change is seen");
        app.close().await;
    }

    /// Many senders on two nodes each find a pending message or add one, so the last change is
    /// always processed.
    async fn every_wake_up_is_seen(database) {
        let nodes = Nodes::start(database).await;
        let (one, two) = (&nodes.one, nodes.two());
        let look = one.deploy("shop", "look", r#"
            let n = kv::collection("state").get("n") ?? 0;
            kv::collection("seen").set("n", n)"#).await;
        one.trigger("shop", &look, json!({"kind": "queue", "queue": "wake"})).await;
        one.deploy("shop", "change", r#"
            if ctx.request.body.n == () { return 0; }
            kv::collection("state").set("n", ctx.request.body.n);
            queue::send("wake", 1, #{dedupe: "k"})"#).await;
        served(two, "/x/shop/change").await;
        for n in 1..=4 * RACES {
            let node = if n % 2 == 0 { one } else { two };
            node.post("/x/shop/change").json(&json!({"n": n})).send().await.is(200);
            if n % 4 == 0 {
                one.settled("shop").await;
                assert_eq!(one.value("shop", "seen", "n").await, n);
            }
        }
        nodes.close().await;
    }

    async fn a_run_that_is_always_in_conflict_is_refused_and_an_event_tried_again(database) {
        let app = TestApp::start(database).await;
        let slow = app.deploy("shop", "slow", r#"
            let n = kv::collection("hot").get("n");
            for i in 0..400000 { n += i % 2; }
            kv::collection("done").increment("n");
            n"#).await;
        let retry = json!({"attempts_max": 1});
        let on = json!({"kind": "queue", "queue": "q"});
        app.trigger_with("shop", json!({"script_id": slow, "on": on, "retry": retry})).await;
        let key = "/apps/shop/kv/hot/n";
        app.admin().put(key, json!({"value": 0})).send().await.is(200);
        let message = json!({"queue": "q", "payload": 1});
        app.admin().post("/apps/shop/events", message).send().await.is(202);
        let over = AtomicBool::new(false);
        let refused = async {
            let answer = app.post("/x/shop/slow").send().await;
            over.store(true, Ordering::Relaxed);
            let retry_after = answer.header("retry-after").map(str::to_owned);
            answer.refuses(503, "execution_conflict");
            assert!(retry_after.is_some());
        };
        let hot = (0..4).map(async |writer| {
            let mut n = writer;
            while !over.load(Ordering::Relaxed) {
                n += 4;
                app.admin().put(key, json!({"value": n})).send().await.is(200);
            }
        });
        tokio::join!(refused, join_all(hot));
        app.settled("shop").await;
        assert_eq!(app.value("shop", "done", "n").await, 1);
        assert_eq!(app.dead_letters("shop").await.len(), 0);
        app.close().await;
    }
}

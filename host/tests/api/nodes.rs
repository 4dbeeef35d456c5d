//! Two nodes on one database: what one of them accepts is not lost because the other has
//! changed something a moment ago. SQLite has one node, which stands for both.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::app::TestApp;
use crate::database::{Database, Kind};
use crate::on_both_databases;

/// How often each race is run.
const RACES: usize = 60;

/// The nodes; one of them twice on SQLite.
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
        tokio::task::yield_now().await;
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
            // By hand as well.
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
            // The other node may not have heard of it yet.
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
        // Its time comes.
        one.store().advance_events(7_200_000_000).await.unwrap();
        one.post("/x/shop/ask").send().await.is(200);
        one.settled("shop").await;
        assert_eq!(one.value("shop", "done", "new").await, 1);
        assert_eq!(one.value("shop", "done", "old").await, json!(null));
        let letters = one.dead_letters("shop").await;
        assert_eq!(letters.len(), 1, "{letters:?}");
        assert_eq!(letters[0]["script"], "work");
        assert_eq!(letters[0]["last_error"], "the script is gone");
        nodes.close().await;
    }
}

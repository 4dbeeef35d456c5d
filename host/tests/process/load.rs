//! Events of every kind, each with its own name under which its handler counts, and the invariants
//! that must hold afterwards. An accepted event is done once, or is one dead letter whose handler
//! was told. An event with an unknown outcome is done once or not at all.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use serde_json::{Value, json};

use crate::ledger::Ledger;
use crate::server::{Answer, Server};

/// The app of all events.
pub(crate) const APP: &str = "load";

/// The kinds of events. Each event has its own name, under which its handler counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Sort {
    Queue,
    Topic,
    Script,
    Durable,
    Async,
    Key,
    File,
    /// Fails until it is a dead letter, which a handler then gets.
    Failing,
    /// Announces new work. While one wake-up is pending, others are dropped.
    Wake,
}

/// All of them.
pub(crate) const SORTS: [Sort; 9] = [
    Sort::Queue,
    Sort::Topic,
    Sort::Script,
    Sort::Durable,
    Sort::Async,
    Sort::Key,
    Sort::File,
    Sort::Failing,
    Sort::Wake,
];

/// SplitMix64 (Steele, Lea, Flood 2014): the same seed yields the same numbers.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

/// The events that were sent.
#[derive(Default)]
pub(crate) struct Load {
    accepted: Mutex<BTreeSet<(Sort, String)>>,
    accepted_count: AtomicUsize,
    /// The number of events that were refused, or got no response.
    unsure: AtomicUsize,
    next: AtomicU64,
}

/// Creates the handlers, and what leads to them.
pub(crate) async fn set_up(server: &Server) {
    let made = async |path: &str, body: Value| {
        let made = server.create(path, body).await.unwrap_or_else(|| panic!("{path}"));
        made["id"].as_str().unwrap().to_owned()
    };
    made("/apps", json!({"name": APP})).await;
    let (scripts, triggers) = (format!("/apps/{APP}/scripts"), format!("/apps/{APP}/triggers"));
    let deploy = async |name: &str, source: &str| {
        made(&scripts, json!({"name": name, "source": source})).await
    };
    let count = |name: &str| format!(r#"kv::collection("effects").increment({name});"#);
    for (name, on, by) in [
        ("queue", json!({"kind": "queue", "queue": "q"}), "ctx.event.queue.payload"),
        ("topic", json!({"kind": "pubsub", "topic": "t"}), "ctx.event.pubsub.payload"),
        ("key", json!({"kind": "kv", "collection": "keys"}), "ctx.event.kv.key"),
        ("file", json!({"kind": "files", "bucket": "b", "path": "*"}), "ctx.event.files.path"),
    ] {
        let handler = deploy(name, &count(by)).await;
        made(&triggers, json!({"script_id": handler, "on": on})).await;
    }
    let wake = r#"
        let n = kv::collection("wakes").increment("posted");
        queue::send("wakes", n, #{ dedupe: "all" })"#;
    deploy("wake", wake).await;
    let woken = r#"let w = kv::collection("wakes"); w.set("seen", w.get("posted"))"#;
    let woken = deploy("woken", woken).await;
    made(&triggers, json!({"script_id": woken, "on": {"kind": "queue", "queue": "wakes"}})).await;
    deploy("work", &count("ctx.event.script.payload")).await;
    deploy("set", r#"kv::collection("keys").set(ctx.request.query.id, 1)"#).await;
    deploy("put", r#"files::bucket("b").put(ctx.request.query.id, "x")"#).await;
    deploy("enqueue", r#"scripts::enqueue("work", ctx.request.query.id)"#).await;
    let fail = deploy(
        "fail",
        r#"kv::collection("effects").increment(ctx.event.queue.payload); throw "no""#,
    )
    .await;
    let on = json!({"kind": "queue", "queue": "broken"});
    let retry = json!({"attempts_max": 2, "base_ms": 0});
    made(&triggers, json!({"script_id": fail, "on": on, "retry": retry})).await;
    let told = r#"kv::collection("told").increment(ctx.event.dead_letter.event.queue.payload)"#;
    let told = deploy("told", told).await;
    made(&triggers, json!({"script_id": told, "on": {"kind": "dead_letter"}})).await;
    for delivery in ["durable", "async"] {
        let mut source = count("ctx.request.query.id");
        if delivery == "async" {
            // All runs change the same key, so conflicting runs are repeated.
            source += r#"kv::collection("shared").increment("n");"#;
        }
        let script = deploy(delivery, &source).await;
        let route = json!({
            "script_id": script, "method": "POST", "path": format!("/in/{delivery}"),
            "delivery": delivery,
        });
        made(&format!("/apps/{APP}/routes"), route).await;
    }
}

impl Load {
    /// Returns the number of events accepted so far.
    pub(crate) fn accepted(&self) -> usize {
        self.accepted_count.load(Ordering::Relaxed)
    }

    /// Sends events one by one until the server dies or the test is over.
    pub(crate) async fn send_until(&self, server: &Server, mut random: Random, over: &AtomicBool) {
        while !over.load(Ordering::Relaxed) {
            let sort = SORTS[random.below(SORTS.len() as u64) as usize];
            if self.send(server, sort).await.is_none() {
                return;
            }
        }
    }

    /// Sends one event. Returns whether it was accepted; `None` without a response. A refusal must
    /// be clear.
    pub(crate) async fn send(&self, server: &Server, sort: Sort) -> Option<bool> {
        let name = format!("{sort:?}-{}", self.next.fetch_add(1, Ordering::Relaxed));
        let answer = send(server, sort, &name).await;
        let is_accepted = answer.as_ref().is_ok_and(|answer| answer.status / 100 == 2);
        if is_accepted {
            self.accepted.lock().unwrap().insert((sort, name));
            self.accepted_count.fetch_add(1, Ordering::Relaxed);
        } else {
            self.unsure.fetch_add(1, Ordering::Relaxed);
            if let Ok(answer) = &answer {
                answer.is_clear_refusal();
            }
        }
        answer.ok().map(|_| is_accepted)
    }

    /// Returns the events accepted so far.
    pub(crate) fn names(&self) -> BTreeSet<(Sort, String)> {
        self.accepted.lock().unwrap().clone()
    }

    /// Returns the load of a server that knows these events, and perhaps any of the others.
    pub(crate) fn with_only(&self, accepted: BTreeSet<(Sort, String)>) -> Self {
        let sent = usize::try_from(self.next.load(Ordering::Relaxed)).unwrap();
        Self {
            accepted_count: accepted.len().into(),
            unsure: (sent - accepted.len()).into(),
            accepted: Mutex::new(accepted),
            next: sent.try_into().map(AtomicU64::new).unwrap(),
        }
    }

    /// Checks all invariants. Call it when no event is open.
    pub(crate) async fn check(&self, ledger: &mut Ledger) {
        let accepted = self.names();
        let effects = ledger.counters(APP, "effects").await;
        let told = ledger.counters(APP, "told").await;
        assert!(effects.values().chain(told.values()).all(|count| *count == 1), "more than once");
        let (wakes, accepted): (BTreeSet<_>, BTreeSet<_>) =
            accepted.into_iter().partition(|(sort, _)| *sort == Sort::Wake);
        for (sort, name) in &accepted {
            let found = (effects.contains_key(name), told.contains_key(name));
            let expected = (*sort != Sort::Failing, *sort == Sort::Failing);
            assert_eq!(found, expected, "{sort:?} {name} was accepted");
        }
        let unsure = effects.len() + told.len() - accepted.len();
        let unsure_max = self.unsure.load(Ordering::Relaxed);
        assert!(unsure <= unsure_max, "{unsure} effects, only {unsure_max} had no answer");
        let seen = ledger.counters(APP, "wakes").await;
        let seen = ["posted", "seen"].map(|name| seen.get(name).copied().unwrap_or(0));
        assert_eq!(seen[0], seen[1], "a wake-up was lost");
        assert!(seen[0] >= wakes.len() as i64, "{seen:?} of {}", wakes.len());
        let letters = ledger.dead_letters(APP).await;
        let handled = [("handled_by_script".to_owned(), told.len() as i64)];
        assert_eq!(letters, handled.into_iter().filter(|(_, n)| *n > 0).collect(), "dead letters");
        let successes = ledger.successes(APP).await;
        assert!(successes.values().all(|count| *count == 1), "two runs were acknowledged");
        assert_eq!(successes.len(), effects.len() + told.len(), "a run without its effect");
        let shared = ledger.counters(APP, "shared").await;
        let asyncs = effects.keys().filter(|name| name.starts_with("Async")).count();
        assert_eq!(shared.get("n").copied().unwrap_or(0), asyncs as i64, "an update was lost");
        let of_sort = |sort| accepted.iter().chain(&wakes).filter(|(of, _)| *of == sort).count();
        println!(
            "accepted and settled: {:?}; of {unsure_max} that had no answer {unsure} were, too",
            SORTS.map(|sort| (sort, of_sort(sort)))
        );
    }
}

async fn send(server: &Server, sort: Sort, name: &str) -> reqwest::Result<Answer> {
    let message = match sort {
        Sort::Queue => json!({"queue": "q", "payload": name}),
        Sort::Topic => json!({"topic": "t", "payload": name}),
        Sort::Failing => json!({"queue": "broken", "payload": name}),
        Sort::Script => return call(server, "enqueue", name).await,
        Sort::Durable => return call(server, "in/durable", name).await,
        Sort::Async => return call(server, "in/async", name).await,
        Sort::Key => return call(server, "set", name).await,
        Sort::File => return call(server, "put", name).await,
        Sort::Wake => return call(server, "wake", name).await,
    };
    server.ask("POST", &format!("/api/v1/apps/{APP}/events"), &message).await
}

async fn call(server: &Server, path: &str, name: &str) -> reqwest::Result<Answer> {
    server.ask("POST", &format!("/x/{APP}/{path}?id={name}"), &Value::Null).await
}

//! Compares the services with plain maps. Random runs follow each other in an app, and the
//! model predicts what each run sees, stores and sends, and which events follow.

mod pure;
mod steps;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{
    Config, RngAlgorithm, TestCaseError, TestCaseResult, TestRng, TestRunner,
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use self::pure::{Model, Seen};
use self::steps::{BUCKET, COLLECTIONS, SCRIPT, Step, WATCHED};
use crate::app::TestApp;
use crate::with_an_app;

/// The number of sequences, each in its own app.
const SEQUENCES: u64 = 300;

/// Stores each event under the id of its execution: a second delivery is a second entry.
const SINK: &str = r#"
    let change = ctx.event.kv;
    kv::collection("events").set(ctx.execution.id, #{
        operation: ctx.event.operation, key: change.key, value: change.value,
    });
"#;

/// Creates the generator for this seed. It shrinks a sequence that fails.
fn runner(seed: u64) -> TestRunner {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let config =
        Config { cases: 1, max_shrink_iters: 500, failure_persistence: None, ..Config::default() };
    TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes))
}

/// Fails when the two differ.
fn same(what: &str, expected: &Value, found: &Value) -> TestCaseResult {
    if expected == found {
        return Ok(());
    }
    Err(TestCaseError::fail(format!("{what}: expected {expected}, found {found}")))
}

/// An app of one sequence, and the model of it.
struct Sequence<'a> {
    app: &'a TestApp,
    name: String,
    model: Model,
    /// The ids that the server gave to the model's messages.
    ids: BTreeMap<usize, String>,
}

impl<'a> Sequence<'a> {
    async fn begin(app: &'a TestApp) -> Self {
        static BEGUN: AtomicU32 = AtomicU32::new(0);
        let name = format!("model-{}", BEGUN.fetch_add(1, Ordering::Relaxed));
        app.deploy(&name, SCRIPT, include_str!("model/steps.rhai")).await;
        let sink = app.deploy(&name, "sink", SINK).await;
        app.trigger(&name, &sink, json!({"kind": "kv", "collection": WATCHED})).await;
        Self { app, name, model: Model::default(), ids: BTreeMap::new() }
    }

    async fn get(&self, path: &str) -> Value {
        let path = format!("/apps/{}/{path}", self.name);
        self.app.admin().get(&path).send().await.is(200).json()
    }

    async fn run(&mut self, steps: &[Step]) -> TestCaseResult {
        let call = self.app.post(&format!("/x/{}/{SCRIPT}", self.name)).by_owner();
        let answer = call.json(&json!(steps)).send().await;
        match self.model.run(steps) {
            Ok(expected) => {
                let seen = answer.is(200).json();
                if !self.agrees(&expected, &seen) {
                    let why = format!("a run: expected {expected:?}, found {seen}");
                    return Err(TestCaseError::fail(why));
                }
            }
            Err(why) => {
                let error = answer.is(500).json()["error"]["message"].clone();
                if !error.as_str().is_some_and(|message| message.contains(&why)) {
                    let why = format!("a failure: expected {why:?}, found {error}");
                    return Err(TestCaseError::fail(why));
                }
            }
        }
        self.app.settled(&self.name).await;
        self.compare().await
    }

    /// Whether a run saw what the model says.
    fn agrees(&mut self, expected: &Seen, seen: &Value) -> bool {
        match (expected, seen) {
            (Seen::Value(expected), seen) => expected == seen,
            (Seen::Message(number), Value::String(id)) => {
                self.ids.entry(*number).or_insert_with(|| id.clone()) == id
            }
            (Seen::Caught(part), Value::String(error)) => error.contains(part),
            (Seen::All(expected), Value::Array(seen)) => {
                expected.len() == seen.len()
                    && expected.iter().zip(seen).all(|(expected, seen)| self.agrees(expected, seen))
            }
            (Seen::Message(_) | Seen::Caught(_) | Seen::All(_), _) => false,
        }
    }

    /// Compares everything that is stored and sent, as the API shows it.
    async fn compare(&self) -> TestCaseResult {
        for collection in COLLECTIONS {
            let page = self.get(&format!("kv/{collection}?limit=200")).await;
            let found: Vec<_> = items(&page).map(|item| (&item["name"], &item["value"])).collect();
            let expected: Vec<_> = self.model.entries(collection).collect();
            same(collection, &json!(expected), &json!(found))?;
        }
        let page = self.get(&format!("files/{BUCKET}?limit=200")).await;
        let found: Vec<_> =
            items(&page).map(|item| (&item["name"], &item["value"]["sha256"])).collect();
        let hashed = |content: &str| hex::encode(Sha256::digest(content));
        let expected: Vec<_> =
            self.model.files().map(|(path, content)| (path, hashed(content))).collect();
        same("files", &json!(expected), &json!(found))?;

        let page = self.get("outbox?limit=200").await;
        let found: BTreeMap<_, _> =
            items(&page).map(|event| (event["id"].to_string(), &event["payload"])).collect();
        let message = |(number, queue, payload)| {
            let id = json!(self.ids.get(&number)).to_string();
            (id, json!({"queue": queue, "payload": payload}))
        };
        let expected: BTreeMap<_, _> = self.model.messages().map(message).collect();
        // Two messages with one id would be one here.
        same("messages", &json!(self.model.messages().count()), &json!(items(&page).count()))?;
        same("messages", &json!(expected), &json!(found))?;

        let page = self.get("kv/events?limit=200").await;
        let sorted = |mut events: Vec<Value>| {
            events.sort_by_key(Value::to_string);
            Value::Array(events)
        };
        let found = sorted(items(&page).map(|item| item["value"].clone()).collect());
        same("events", &sorted(self.model.events().to_vec()), &found)
    }

    /// Compares what is too slow to compare after each run.
    async fn end(&self) -> TestCaseResult {
        for (path, content) in self.model.files() {
            let path = format!("/apps/{}/files/{BUCKET}/{}", self.name, path.replace('/', "%2F"));
            let found = self.app.admin().get(&path).send().await.is(200);
            same(&path, &json!(content), &json!(found.text()))?;
        }
        same("dead letters", &json!([]), &json!(self.app.dead_letters(&self.name).await))
    }
}

/// The items of a page, which must be the only one.
fn items(page: &Value) -> impl Iterator<Item = &Value> {
    let items = page["items"].as_array().unwrap();
    assert!(items.len() < 200, "there may be more on the next page");
    items.iter()
}

async fn check(app: &TestApp, runs: &[Vec<Step>]) -> TestCaseResult {
    let mut sequence = Sequence::begin(app).await;
    for steps in runs {
        sequence.run(steps).await?;
    }
    sequence.end().await
}

with_an_app! {
    async fn the_services_do_what_plain_maps_do(app) {
        let runtime = tokio::runtime::Handle::current();
        tokio::task::block_in_place(|| {
            for seed in 0..SEQUENCES {
                let outcome = runner(seed)
                    .run(&steps::sequence(), |runs| runtime.block_on(check(app, &runs)));
                assert!(outcome.is_ok(), "seed {seed}: {}", outcome.unwrap_err());
            }
        });
    }
}

/// Without these, the comparison with the model would prove little.
#[test]
fn the_sequences_have_failures_undone_calls_and_events() {
    let mut failed = 0;
    let mut seen = BTreeMap::new();
    for seed in 0..SEQUENCES {
        let runs = steps::sequence().new_tree(&mut runner(seed)).unwrap().current();
        let mut model = Model::default();
        for steps in runs {
            match model.run(&steps) {
                Ok(answer) => count(&answer, &mut seen),
                Err(_) => failed += 1,
            }
        }
        for event in model.events() {
            *seen.entry(event["operation"].as_str().unwrap().to_owned()).or_default() += 1;
        }
        *seen.entry("message".to_owned()).or_default() += model.messages().count();
    }
    assert!(failed > 100, "{failed} runs fail");
    for what in ["undone call", "caught", "insert", "update", "delete", "message"] {
        let times = seen.get(what).copied().unwrap_or(0);
        assert!(times > 50, "{what}: {times} times of {seen:?}");
    }
}

fn count(seen: &Seen, times: &mut BTreeMap<String, usize>) {
    match seen {
        Seen::Caught(error) if error.contains(SCRIPT) => {
            *times.entry("undone call".to_owned()).or_default() += 1;
        }
        Seen::Caught(_) => *times.entry("caught".to_owned()).or_default() += 1,
        Seen::All(all) => all.iter().for_each(|one| count(one, times)),
        Seen::Value(_) | Seen::Message(_) => {}
    }
}

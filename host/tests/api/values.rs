//! Floats keep their bits, and runs can read lists larger than their memory.

use proptest::prelude::{Strategy, any};
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};
use serde_json::json;

use picloud::store::{CollectionKey, Commit, Committed, Json, Space, Write};

use crate::app::{Answer, Call, TestApp};
use crate::with_an_app;

/// Values that random bits hardly ever produce.
const SPECIAL: [f64; 8] = [0.0, -0.0, 1.0, 0.1, 5e-324, f64::MIN_POSITIVE, f64::MAX, f64::MIN];

/// More in total than the memory of a run, 32 MiB.
const ENTRIES: usize = 10_000;
const ENTRY_BYTES: usize = 4 << 10;
const FILES: usize = 150;
const FILE_BYTES: usize = 256 << 10;

/// A hundred random finite numbers.
fn numbers() -> impl Strategy<Value = Vec<f64>> {
    let number = any::<u64>().prop_map(f64::from_bits);
    proptest::collection::vec(number.prop_filter("JSON has no such number", |n| n.is_finite()), 100)
}

/// Returns the numbers as JSON, formatted by the standard library, not by the library under test.
fn text_of(numbers: &[f64]) -> String {
    format!("{numbers:?}")
}

/// Returns the bits of the numbers in the only array of a response, like [`text_of`].
fn bits_in(answer: &Answer) -> Vec<u64> {
    let (_, numbers) = answer.text().split_once('[').unwrap();
    let (numbers, _) = numbers.split_once(']').unwrap();
    numbers.split(',').map(|number| number.trim().parse::<f64>().unwrap().to_bits()).collect()
}

/// Sends the numbers in every way. Returns the name of each way, and the bits that came back.
async fn all_ways(app: &TestApp, numbers: &[f64]) -> Vec<(&'static str, Vec<u64>)> {
    let text = text_of(numbers);
    let send = async |call: Call, body: &str| {
        let answer = call.body("application/json", body.to_owned()).send().await;
        assert!(answer.status < 300, "{answer:?}");
        answer
    };
    let run = async |way: &str| send(app.post(&format!("/x/shop/numbers?way={way}")), &text).await;
    let path = |key: &str| format!("/apps/shop/kv/numbers/{key}");
    let mut came = Vec::new();
    for way in ["body", "json", "call", "set", "get"] {
        came.push((way, bits_in(&run(way).await)));
    }
    let put = app.admin().request("PUT", &path("by_hand"));
    came.push(("put", bits_in(&send(put, &format!(r#"{{"value": {text}}}"#)).await)));
    came.push(("get_by_hand", bits_in(&run("get_by_hand").await)));
    run("send").await;
    let event = format!(r#"{{"queue": "sent_by_hand", "payload": {text}}}"#);
    send(app.admin().request("POST", "/apps/shop/events"), &event).await;
    app.settled("shop").await;
    for key in ["by_script", "by_hand", "sent", "sent_by_hand"] {
        came.push((key, bits_in(&app.admin().get(&path(key)).send().await.is(200))));
    }
    came
}

async fn are_kept(app: &TestApp, numbers: &[f64]) -> Result<(), TestCaseError> {
    let bits: Vec<_> = numbers.iter().map(|number| number.to_bits()).collect();
    let came = all_ways(app, numbers).await;
    let wrong: Vec<_> = came.iter().filter(|(_, came)| *came != bits).map(|(way, _)| way).collect();
    if wrong.is_empty() {
        return Ok(());
    }
    Err(TestCaseError::fail(format!("not the same bits by: {wrong:?}")))
}

async fn deploy_numbers(app: &TestApp) {
    app.deploy("shop", "echo", "ctx.event.script.payload").await;
    app.deploy(
        "shop",
        "numbers",
        r#"
            let numbers = ctx.request.body;
            let kept = kv::collection("numbers");
            switch ctx.request.query.way {
                "body" => numbers,
                "json" => json::parse(json::stringify(numbers)),
                "call" => scripts::call("echo", numbers),
                "set" => { kept.set("by_script", numbers); kept.get("by_script") }
                "get" => kept.get("by_script"),
                "get_by_hand" => kept.get("by_hand"),
                "send" => queue::send("sent", numbers),
            }
        "#,
    )
    .await;
    let source = r#"kv::collection("numbers").set(ctx.event.queue.queue, ctx.event.queue.payload)"#;
    let keep = app.deploy("shop", "keep", source).await;
    for queue in ["sent", "sent_by_hand"] {
        app.trigger("shop", &keep, json!({"kind": "queue", "queue": queue})).await;
    }
}

/// Runs a script with the default limits, except for a longer timeout for slow machines.
async fn run_with_default_memory(app: &TestApp, name: &str, source: &str) -> Answer {
    let limits = json!({"wall_ms_max": 60_000});
    app.deploy_with("shop", json!({"name": name, "source": source, "limits": limits})).await;
    app.get(&format!("/x/shop/{name}")).by_owner().send().await
}

/// Asserts that the run needed more than the default memory.
#[track_caller]
fn ran_out_of_memory(answer: &Answer) {
    let error = answer.refuses(500, "execution_memory_exceeded");
    assert_eq!(error["limit"]["allowed"], 32 << 20, "{error}");
}

with_an_app! {
    async fn a_thousand_floats_come_back_bit_for_bit(app) {
        deploy_numbers(app).await;
        are_kept(app, &SPECIAL).await.unwrap();
        let config = Config { cases: 10, failure_persistence: None, ..Config::default() };
        let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
        let runtime = tokio::runtime::Handle::current();
        tokio::task::block_in_place(|| {
            let mut runner = TestRunner::new_with_rng(config, rng);
            runner.run(&numbers(), |numbers| runtime.block_on(are_kept(app, &numbers)))
        })
        .unwrap();
    }

    async fn a_collection_larger_than_the_memory_is_read_in_pages(app) {
        app.admin().post("/apps", json!({"name": "shop"})).send().await.is(201);
        let shop = app.store().find_app_by_name("shop").await.unwrap();
        let collection = CollectionKey { app_id: shop.id, space: Space::Kv, name: "orders".to_owned() };
        let write = |number: usize| Write {
            collection: collection.clone(),
            name: format!("2026-03:{number:05}"),
            value: Some(Json::of(&"x".repeat(ENTRY_BYTES)).unwrap()),
            expires_at: None,
        };
        for first in (0..ENTRIES).step_by(1000) {
            let writes = (first..first + 1000).map(write).collect();
            let commit = Commit { writes, at: 1, ..Commit::default() };
            assert_eq!(app.store().commit(commit).await.unwrap(), Committed::Done);
        }
        // The loop from docs/scripting.md.
        let looped = |each: &str, limit: usize| format!(r#"
            let orders = kv::collection("orders");
            let sum = 0;
            let kept = [];
            let cursor = ();
            loop {{
                let page = orders.list("2026-03:", {limit}, cursor);
                for item in page.items {{
                    {each}
                }}
                cursor = page.cursor;
                if cursor == () {{ break; }}
            }}
            sum
        "#);
        for limit in [100, 1000] {
            let source = looped("sum += item.value.len;", limit);
            let answer = run_with_default_memory(app, &format!("sum-{limit}"), &source).await;
            assert_eq!(answer.is(200).json(), ENTRIES * ENTRY_BYTES, "{limit} in a page");
        }
        let source = looped("kept.push(item.value);", 100);
        ran_out_of_memory(&run_with_default_memory(app, "keep", &source).await);
    }

    async fn files_larger_than_the_memory_are_read_one_by_one(app) {
        app.admin().post("/apps", json!({"name": "shop"})).send().await.is(201);
        for number in 0..FILES {
            let path = format!("/apps/shop/files/photos/{number:03}.jpg");
            let content = vec![u8::try_from(number).unwrap(); FILE_BYTES];
            app.admin().request("PUT", &path).body("image/jpeg", content).send().await.is(200);
        }
        let looped = |each: &str| format!(r#"
            let photos = files::bucket("photos");
            let sum = 0;
            let kept = [];
            let cursor = ();
            loop {{
                let page = photos.list("", 20, cursor);
                for file in page.items {{
                    {each}
                }}
                cursor = page.cursor;
                if cursor == () {{ break; }}
            }}
            sum
        "#);
        let source = looped("sum += photos.get(file.path).len;");
        let answer = run_with_default_memory(app, "sum", &source).await;
        assert_eq!(answer.is(200).json(), FILES * FILE_BYTES);
        let source = looped("kept.push(photos.get(file.path));");
        ran_out_of_memory(&run_with_default_memory(app, "keep", &source).await);
    }
}

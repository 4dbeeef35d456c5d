//! Checks the guides. Runs every example of `docs/scripting.md` and `docs/events.md`; compares
//! every event they show with a real one; checks the defaults of every trigger they show. Creates
//! every route and policy of `docs/ingress.md`.
//!
//! A Rhai block can end with `// → JSON`, its result. A block of `docs/events.md` that reads
//! `ctx.event.<kind>` is run for the event of that kind in the guide.

use std::time::{Duration, Instant};

use picloud::config::{Config, SETTINGS};
use serde_json::{Map, Value, json};

use crate::app::TestApp;
use crate::database::Database;
use crate::on_both_databases;
use crate::stand_in::{Asked, StandIn};

const SCRIPTING: &str = include_str!("../../../docs/scripting.md");
const EVENTS: &str = include_str!("../../../docs/events.md");
const INGRESS: &str = include_str!("../../../docs/ingress.md");

/// The host that stands for outside services in the guides.
const OUTSIDE: &str = "https://api.example.com";

/// Stores the event that it was run for.
const KEEP: &str = r#"kv::collection("seen").set(ctx.event.kind, ctx.event)"#;

/// A fenced code block.
struct Block {
    /// The line of its fence, from 1.
    line: usize,
    text: String,
}

/// Returns all blocks of a language, in order.
fn blocks(document: &str, language: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut open: Option<Block> = None;
    for (number, line) in document.lines().enumerate() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(found)) => {
                // Blocks of other languages are read too, to find their ends.
                let line = if found == language { number + 1 } else { 0 };
                open = Some(Block { line, text: String::new() });
            }
            (Some(_), Some(_)) => blocks.extend(open.take().filter(|block| block.line > 0)),
            (Some(block), None) => block.text += &format!("{line}\n"),
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a block does not end");
    assert!(!blocks.is_empty(), "there is no {language}");
    blocks
}

impl Block {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text)
            .unwrap_or_else(|error| panic!("the block at line {}: {error}", self.line))
    }

    /// Returns the result that its last line states.
    fn result(&self) -> Option<Value> {
        let stated = self.text.lines().last()?.strip_prefix("// → ")?;
        let result = serde_json::from_str(stated);
        Some(result.unwrap_or_else(|error| panic!("line {}: {stated}: {error}", self.line)))
    }

    /// Returns the kind of event whose details it reads.
    fn kind(&self) -> Option<&str> {
        let (_, rest) = self.text.split_once("ctx.event.")?;
        let name = rest.split(|c: char| !c.is_ascii_lowercase() && c != '_').next()?;
        (!["kind", "operation", "id"].contains(&name)).then_some(name)
    }
}

async fn server(database: &Database) -> TestApp {
    let variables =
        [("PICLOUD_PRIVATE_HOSTS", StandIn::HOST), ("PICLOUD_TRIGGER_RETRY_ATTEMPTS", "1")];
    TestApp::start_with(database, &variables).await
}

/// Runs a block for a request and checks its result.
async fn run_by_request(app: &TestApp, script_id: &str, block: &Block) {
    let answer = app.admin().post(&format!("/execute/{script_id}"), json!({})).send().await;
    let answer = answer.is(200).json();
    assert_eq!(answer["status"], "success", "line {}: {answer:#}", block.line);
    if let Some(result) = block.result() {
        check_result(block, &answer["response"], &result);
    }
}

fn check_result(block: &Block, response: &Value, result: &Value) {
    let body = response["body"].as_str().unwrap_or_default();
    let body: Value = serde_json::from_str(body).unwrap_or_else(|_| body.into());
    assert_eq!(&body, result, "line {}", block.line);
}

/// Waits for the end of an event's execution, and returns it.
async fn ended(app: &TestApp, event_id: &str) -> Value {
    let begun = Instant::now();
    loop {
        app.flush().await;
        let found = app.admin().get(&format!("/executions/{event_id}")).send().await;
        if found.status == 200 {
            return found.json();
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "the event {event_id} is never done");
        picloud_testing::pause().await;
    }
}

/// Runs a block for an event with these details and checks its result.
async fn run_by_event(app: &TestApp, block: &Block, at: &str, details: &Value, kind: &str) {
    let name = "example";
    let sent = if kind == "script" {
        let event = json!({"script": name, "payload": details["payload"]});
        app.admin().post(&format!("/apps/{at}/events"), event).send().await
    } else {
        let scripts = app.admin().get(&format!("/apps/{at}/scripts?name={name}")).send().await;
        let script_id = scripts.is(200).json()["items"][0]["id"].clone();
        let trigger = json!({"script_id": script_id, "on": minimal(kind, details)});
        let trigger = app.trigger_with(at, trigger).await;
        let fire = json!({"payload": details});
        app.admin().post(&format!("/triggers/{trigger}/fire"), fire).send().await
    };
    let id = sent.is(202).json()["event_ids"][0].as_str().unwrap().to_owned();
    let execution = ended(app, &id).await;
    assert_eq!(execution["status"], "success", "line {}: {execution:#}", block.line);
    if let Some(result) = block.result() {
        check_result(block, &execution["response"], &result);
    }
}

/// Returns the smallest trigger of a kind, so that everything else is a default.
fn minimal(kind: &str, from: &Value) -> Value {
    let required: &[&str] = match kind {
        "kv" => &["collection"],
        "cron" => &["schedule"],
        "queue" => &["queue"],
        "pubsub" => &["topic"],
        "files" => &["bucket"],
        "dead_letter" => &[],
        other => panic!("there is no trigger of kind {other}"),
    };
    let mut on = Map::from_iter([("kind".to_owned(), json!(kind))]);
    on.extend(required.iter().map(|&field| (field.to_owned(), from[field].clone())));
    Value::Object(on)
}

/// Returns the events in the guide, by kind.
fn documented_events() -> Map<String, Value> {
    let events = blocks(EVENTS, "json").into_iter().map(|block| block.json());
    let events = events.filter(|event| event["created_at"].is_number());
    events.map(|event| (event["kind"].as_str().unwrap().to_owned(), event)).collect()
}

/// Fails where two values have different members, or members of different types.
fn same_form(at: &str, documented: &Value, real: &Value) {
    match (documented, real) {
        (Value::Object(documented), Value::Object(real)) => {
            let names = |object: &Map<String, Value>| object.keys().cloned().collect::<Vec<_>>();
            assert_eq!(names(documented), names(real), "{at}: documented, and real");
            for (name, value) in documented {
                same_form(&format!("{at}.{name}"), value, &real[name]);
            }
        }
        _ => assert_eq!(
            std::mem::discriminant(documented),
            std::mem::discriminant(real),
            "{at}: {documented} is documented, {real} is real"
        ),
    }
}

/// Fails where `real` lacks a member of `shown`, or has another value.
fn includes(at: &str, real: &Value, shown: &Value) {
    match (real, shown) {
        (Value::Object(real), Value::Object(shown)) => {
            for (name, value) in shown {
                includes(&format!("{at}: {name}"), real.get(name).unwrap_or(&Value::Null), value);
            }
        }
        _ => assert_eq!(real, shown, "{at}"),
    }
}

/// Every operation that the guides name exists in the API.
#[test]
fn every_operation_that_the_guide_names_is_there() {
    let api: Value = serde_json::from_str(include_str!("../../../docs/openapi.json")).unwrap();
    let mut named = 0;
    let quoted = |guide: &'static str| guide.split('`').skip(1).step_by(2);
    for quoted in quoted(EVENTS).chain(quoted(INGRESS)) {
        let Some((method, path)) = quoted.split_once(" /api/v1/") else { continue };
        let path = format!("/api/v1/{path}");
        let operation = &api["paths"][&path][method.to_ascii_lowercase()];
        assert!(operation.is_object(), "{method} {path} is not in the API");
        named += 1;
    }
    assert!(named > 15, "{named}");
}

/// The limits that the guide to routes states are the defaults.
#[test]
fn every_setting_that_the_guide_to_routes_names_is_there() {
    for name in INGRESS.split('`').filter(|quoted| quoted.starts_with("PICLOUD_")) {
        assert!(SETTINGS.iter().any(|setting| setting.name == name), "{name}");
    }
    let config = Config::default();
    let limits = &config.connections;
    assert_eq!(
        (limits.connections_max, limits.header_timeout_ms, limits.body_timeout_ms),
        (10_000, 30_000, 60_000)
    );
    assert_eq!((limits.idle_timeout_ms, limits.header_bytes_max), (150_000, 64 << 10));
    assert_eq!((limits.headers_max, limits.uri_bytes_max), (100, 16 << 10));
    assert_eq!(config.request_bytes_max, 4 << 20);
    assert!(config.ingress.rate_limit.is_none() && config.ingress.concurrency_max.is_none());
}

/// The settings that the guide to events names exist with these defaults. This test fails if a
/// default changes and the guide does not.
#[test]
fn every_setting_that_the_guide_names_is_there() {
    for name in EVENTS.split('`').filter(|quoted| quoted.starts_with("PICLOUD_")) {
        assert!(SETTINGS.iter().any(|setting| setting.name == name), "{name}");
    }
    let config = Config::default();
    let events = &config.events;
    assert_eq!(
        (events.depth_max, events.concurrency, events.lease_ms, events.reply_wait_ms),
        (16, 32, 15_000, 25_000)
    );
    let retry = &events.retry;
    assert_eq!(
        (retry.attempts_max, retry.backoff.as_str(), retry.base_ms, retry.cap_ms, retry.jitter),
        (5, "exponential", 1_000, 300_000, 0.2)
    );
    let days = (config.dead_letter_retention_days, config.abandoned_executions_retention_days);
    assert_eq!(days, (90, 14));
    assert_eq!((config.ceiling.value_bytes_max, config.ceiling.effects_max), (256 << 10, 200));
}

/// Causes an event of this kind with such details in a new app, and returns the app.
async fn provoke(app: &TestApp, kind: &str, details: &Value) -> String {
    let at = kind.replace('_', "-");
    let keep = app.deploy(&at, "keep", KEEP).await;
    if kind != "script" {
        let trigger = json!({"script_id": keep, "on": minimal(kind, details)});
        app.trigger_with(&at, trigger).await;
    }
    let send = async |event: Value| {
        app.admin().post(&format!("/apps/{at}/events"), event).send().await.is(202);
    };
    let cause = match kind {
        "kv" => r"let kv = ctx.request.body; kv::collection(kv.collection).set(kv.key, kv.value);",
        "files" => {
            r#"let file = ctx.request.body; files::bucket(file.bucket).put(file.path, "a", file.content_type);"#
        }
        "script" => r#"scripts::enqueue("keep", ctx.request.body.payload);"#,
        "pubsub" => r"pubsub::publish(ctx.request.body.topic, ctx.request.body.payload);",
        "queue" => r"queue::send(ctx.request.body.queue, ctx.request.body.payload);",
        "dead_letter" => r#"throw "the mail server is away""#,
        _ => "()",
    };
    let cause = app.deploy(&at, "cause", cause).await;
    match kind {
        "cron" => {
            app.pass_days(8);
            app.scheduler().run_once().await.unwrap();
        }
        "dead_letter" => {
            let details = &details["event"]["queue"];
            app.trigger(&at, &cause, minimal("queue", details)).await;
            send(json!({"queue": details["queue"], "payload": details["payload"]})).await;
        }
        _ => {
            app.post(&format!("/x/{at}/cause")).json(details).send().await.is(200);
        }
    }
    at
}

/// Checks the requests of the scripting guide's examples.
fn check_requests(asked: &[Asked]) {
    for (method, path, content_type, body) in [
        ("GET", "/users/7", "", ""),
        ("POST", "/users", "application/json", r#"{"name":"Ada"}"#),
        ("PUT", "/notes/1", "text/plain; charset=utf-8", "plain text"),
        ("PATCH", "/notes/1", "application/merge-patch+json", r#"{"done":true}"#),
        ("HEAD", "/notes/1", "", ""),
        ("DELETE", "/notes/1", "", ""),
        ("PROPFIND", "/notes/", "text/plain; charset=utf-8", ""),
    ] {
        let wanted = Asked {
            idempotency_key: String::new(),
            method: method.to_owned(),
            path: path.to_owned(),
            content_type: content_type.to_owned(),
            body: body.to_owned(),
        };
        assert!(asked.contains(&wanted), "{wanted:?} is not in {asked:#?}");
    }
}

on_both_databases! {
    async fn every_example_of_the_scripting_guide_runs(database) {
        let (app, outside) = (server(database).await, StandIn::start().await);
        for mut block in blocks(SCRIPTING, "rhai") {
            block.text = block.text.replace(OUTSIDE, &outside.url);
            let at = format!("line-{}", block.line);
            let script = app.deploy(&at, "example", &block.text).await;
            let secret = format!("/apps/{at}/secrets/PAYMENTS_KEY");
            app.admin().put(&secret, json!({"value": "key-of-payments"})).send().await.is(201);
            run_by_request(&app, &script, &block).await;
            // An example that is both an endpoint and an event handler.
            if block.text.contains("if ctx.event != ()") {
                let without_result = Block { text: String::new(), ..block };
                let details = json!({"payload": {"n": 21, "order": 7}});
                run_by_event(&app, &without_result, &at, &details, "script").await;
            }
            assert_eq!(app.dead_letters(&at).await, [Value::Null; 0]);
        }
        check_requests(&outside.asked());
        app.close().await;
    }

    async fn every_example_of_the_guide_to_events_runs(database) {
        let (app, outside) = (server(database).await, StandIn::start().await);
        let events = documented_events();
        let mut kinds = Vec::new();
        for mut block in blocks(EVENTS, "rhai") {
            block.text = block.text.replace(OUTSIDE, &outside.url);
            let at = format!("line-{}", block.line);
            let script = app.deploy(&at, "example", &block.text).await;
            match block.kind() {
                Some(kind) => {
                    let event = events.get(kind).unwrap_or_else(|| panic!("no event of kind {kind}"));
                    run_by_event(&app, &block, &at, &event[kind], kind).await;
                    kinds.push(kind.to_owned());
                }
                None => run_by_request(&app, &script, &block).await,
            }
            assert_eq!(app.dead_letters(&at).await, [Value::Null; 0]);
        }
        for kind in events.keys() {
            assert!(kinds.contains(kind), "the guide has no handler for {kind}");
        }
        app.close().await;
    }

    async fn every_event_of_the_guide_has_the_form_of_a_real_one(database) {
        let app = server(database).await;
        let documented = documented_events();
        for (kind, event) in &documented {
            let at = provoke(&app, kind, &event[kind]).await;
            app.settled(&at).await;
            same_form(kind, event, &app.value(&at, "seen", kind).await);
        }
        let kinds: Vec<_> = documented.keys().map(String::as_str).collect();
        assert_eq!(kinds, ["cron", "dead_letter", "files", "kv", "pubsub", "queue", "script"]);
        app.close().await;
    }

    async fn a_stored_request_has_the_form_that_the_guide_shows(database) {
        let app = server(database).await;
        let script = app.deploy("shop", "fail", r#"throw "no""#).await;
        let route = json!({"script_id": script, "method": "POST", "path": "/in/{id}", "delivery": "async"});
        app.admin().post("/apps/shop/routes", route).send().await.is(201);
        app.post("/x/shop/in/7?page=2").json(&json!({"total": 12})).send().await.is(202);
        app.settled("shop").await;
        let letter = app.dead_letters("shop").await.remove(0);
        let documented = blocks(EVENTS, "json").into_iter().map(|block| block.json());
        let mut documented = documented.filter(|block| block["body_kind"].is_string());
        same_form("http", &documented.next().unwrap(), &letter["payload"]);
        app.close().await;
    }

    async fn every_route_of_the_guide_to_routes_is_taken_as_it_is_shown(database) {
        let app = server(database).await;
        let script = app.deploy("shop", "work", "1").await;
        let names = blocks(INGRESS, "json");
        let names = names.iter().filter_map(|block| block.json()["auth"]["secrets"].as_array().cloned());
        for name in names.flatten() {
            app.secret("shop", name.as_str().unwrap(), "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").await;
        }
        let mut modes = Vec::new();
        for block in blocks(INGRESS, "json") {
            let mut wanted = block.json();
            let made = if wanted["script_id"].is_string() {
                wanted["script_id"] = json!(script);
                let made = app.admin().post("/apps/shop/routes", wanted.clone()).send().await;
                let made = made.is(201).json();
                modes.push(made["auth"]["mode"].as_str().unwrap().to_owned());
                let path = format!("/routes/{}", made["id"].as_str().unwrap());
                let mut change = wanted.clone();
                for fixed in ["method", "path"] {
                    change.as_object_mut().unwrap().remove(fixed).unwrap();
                }
                let changed = app.admin().put(&path, change).send().await.is(200).json();
                assert_eq!(changed, made, "line {}", block.line);
                made
            } else {
                app.admin().put("/apps/shop/ingress", wanted.clone()).send().await.is(200).json()
            };
            includes(&format!("line {}", block.line), &made, &wanted);
        }
        for mode in ["key", "basic", "hmac", "none"] {
            assert!(modes.iter().any(|shown| shown == mode), "the guide has no {mode}");
        }
        app.close().await;
    }

    async fn the_retry_policy_of_the_guide_is_one(database) {
        let app = server(database).await;
        let script = app.deploy("shop", "work", "1").await;
        let trigger = app.trigger("shop", &script, json!({"kind": "queue", "queue": "q"})).await;
        let mut documented = blocks(EVENTS, "json").into_iter().map(|block| block.json());
        let change = documented.find(|block| block["retry"].is_object()).unwrap();
        let path = format!("/triggers/{trigger}");
        let changed = app.admin().patch(&path, change.clone()).send().await.is(200).json();
        assert_eq!(changed["retry"], change["retry"]);
        app.close().await;
    }

    async fn every_trigger_of_the_guide_has_the_defaults_that_it_says(database) {
        let app = server(database).await;
        let script = app.deploy("shop", "work", "1").await;
        let mut kinds = Vec::new();
        for block in blocks(EVENTS, "json") {
            let documented = block.json();
            let Some(kind) = documented["on"]["kind"].as_str() else { continue };
            let wanted = json!({"script_id": script, "on": minimal(kind, &documented["on"])});
            let made = app.admin().post("/apps/shop/triggers", wanted).send().await.is(201).json();
            for (field, value) in documented.as_object().unwrap() {
                if field == "script_id" {
                    continue;
                }
                assert_eq!(&made[field], value, "line {}: {field} of {made:#}", block.line);
            }
            kinds.push(kind.to_owned());
        }
        kinds.sort();
        assert_eq!(kinds, ["cron", "dead_letter", "files", "kv", "pubsub", "queue"]);
        app.close().await;
    }
}

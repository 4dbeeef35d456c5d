//! Tests every folder of `examples/`: deploys it as its `app.json` says, and uses it as its
//! `README.md` says.

use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::app::TestApp;
use crate::database::Database;
use crate::on_both_databases;
use crate::stand_in::StandIn;

/// Returns the folders, sorted by name.
fn folders() -> Vec<PathBuf> {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let mut folders: Vec<PathBuf> =
        fs::read_dir(examples).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.sort();
    assert!(!folders.is_empty());
    folders
}

fn name_of(path: &Path) -> &str {
    path.file_name().unwrap().to_str().unwrap()
}

/// Starts a server that dead-letters an event at once, and whose scripts can call this machine.
async fn server(database: &Database) -> TestApp {
    let variables =
        [("PICLOUD_TRIGGER_RETRY_BASE_MS", "0"), ("PICLOUD_PRIVATE_HOSTS", StandIn::HOST)];
    TestApp::start_with(database, &variables).await
}

/// Deploys the app of an `app.json`. Returns the triggers' ids, in its order.
async fn deploy(app: &TestApp, folder: &Path) -> Vec<String> {
    let text = fs::read_to_string(folder.join("app.json")).unwrap();
    let wanted: Value = serde_json::from_str(&text).unwrap();
    let name = wanted["app"].as_str().unwrap();
    assert_eq!(name, name_of(folder));
    app.admin().post("/apps", json!({"name": name})).send().await.is(201);
    for (secret, value) in wanted["secrets"].as_object().into_iter().flatten() {
        app.secret(name, secret, value.as_str().unwrap()).await;
    }
    let mut ids = serde_json::Map::new();
    for script in wanted["scripts"].as_array().unwrap() {
        let source = fs::read_to_string(folder.join(script["file"].as_str().unwrap())).unwrap();
        let script = script["name"].as_str().unwrap();
        ids.insert(script.to_owned(), app.deploy(name, script, &source).await.into());
    }
    // The API's JSON, except that it names the script instead of giving its id.
    let with_id = |definition: &Value| {
        let mut definition = definition.clone();
        let script = definition.as_object_mut().unwrap().remove("script").unwrap();
        definition["script_id"] = ids[script.as_str().unwrap()].clone();
        definition
    };
    for route in wanted["routes"].as_array().unwrap() {
        let path = format!("/apps/{name}/routes");
        app.admin().post(&path, with_id(route)).send().await.is(201);
    }
    let mut triggers = Vec::new();
    for trigger in wanted["triggers"].as_array().unwrap() {
        triggers.push(app.trigger_with(name, with_id(trigger)).await);
    }
    triggers
}

/// Checks that `app.json` and the README's commands name every file in the folder.
fn check_files(folder: &Path) {
    let text = fs::read_to_string(folder.join("app.json")).unwrap();
    let wanted: Value = serde_json::from_str(&text).unwrap();
    let readme = fs::read_to_string(folder.join("README.md")).unwrap();
    let scripts = wanted["scripts"].as_array().unwrap();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let file = name_of(&path);
        let is_script = scripts.iter().any(|script| script["file"] == file);
        assert!(is_script || ["app.json", "README.md"].contains(&file), "{}", path.display());
    }
    for script in scripts {
        let name = script["name"].as_str().unwrap();
        assert!(readme.contains(name), "{name} is not in the README of {}", folder.display());
    }
    for route in wanted["routes"].as_array().unwrap() {
        let (script, method) = (route["script"].as_str().unwrap(), &route["method"]);
        let method = method.as_str().unwrap();
        // With a shell function in the README that calls the API, or with the command line.
        let commands =
            [format!("route {script} {method} "), format!("routes create $app/{script} {method} ")];
        let has_one = commands.iter().any(|command| readme.contains(command));
        assert!(has_one, "none of {commands:?} is in the README");
        assert!(readme.contains(route["path"].as_str().unwrap()), "{route}");
    }
}

on_both_databases! {
    async fn every_example_does_what_its_readme_says(database) {
        let app = server(database).await;
        for folder in folders() {
            check_files(&folder);
            let triggers = deploy(&app, &folder).await;
            match name_of(&folder) {
                "url-shortener" => url_shortener(&app).await,
                "webhook-receiver" => webhook_receiver(&app).await,
                "signed-webhooks" => signed_webhooks(&app).await,
                "order-pipeline" => order_pipeline(&app).await,
                "nightly-digest" => nightly_digest(&app, &triggers[0]).await,
                "dead-letter-notifier" => dead_letter_notifier(&app).await,
                other => panic!("no test for the example {other}"),
            }
        }
        app.close().await;
    }
}

async fn url_shortener(app: &TestApp) {
    let create = async |body: Value| app.post("/x/url-shortener/").json(&body).send().await;
    let made = create(json!({"url": "https://rhai.rs/book/"})).await.is(201);
    let code = made.json()["code"].as_str().unwrap().to_owned();
    let path = format!("/x/url-shortener/{code}");
    assert_eq!(made.header("location"), Some(&*path));
    assert_eq!(made.json()["path"], path);
    let other = create(json!({"url": "https://rhai.rs/book/"})).await.is(201);
    assert_ne!(other.json()["code"], code);

    for _ in 0..3 {
        let sent_on = app.get(&path).send().await.is(302);
        assert_eq!(sent_on.header("location"), Some("https://rhai.rs/book/"));
    }
    let visits = app.get(&format!("{path}/visits")).send().await.is(200).json();
    assert_eq!(visits, json!({"code": code, "visits": 3}));
    app.get("/x/url-shortener/nowhere1").send().await.is(404);
    app.get("/x/url-shortener/nowhere1/visits").send().await.is(404);
    app.get("/x/url-shortener/redirect").send().await.is(404);
    for wrong in [json!({"url": "javascript:alert(1)"}), json!({"url": 7}), json!("https://a.b")] {
        create(wrong).await.is(400);
    }
    let none = app.value("url-shortener", "visits", other.json()["code"].as_str().unwrap()).await;
    assert_eq!(none, Value::Null);
}

async fn webhook_receiver(app: &TestApp) {
    let deliver = async |key: &str| {
        let call = app.post("/x/webhook-receiver/hooks/shop").json(&json!({"order": 7}));
        call.header("idempotency-key", key).header("user-agent", "shop/1").send().await.is(201)
    };
    let first = deliver("delivery-4711").await;
    let again = deliver("delivery-4711").await;
    assert_eq!(first.header("idempotency-replayed"), None);
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    assert_eq!((again.json(), &again.json()["number"]), (first.json(), &json!(1)));
    assert_eq!(deliver("delivery-4712").await.json()["number"], 2);

    let id = first.json()["id"].as_str().unwrap().to_owned();
    let kept = app.value("webhook-receiver", "hooks:shop", &id).await;
    assert_eq!((&kept["body"], &kept["sender"]), (&json!({"order": 7}), &json!("shop/1")));
    app.settled("webhook-receiver").await;
    let page = app.admin().get("/apps/webhook-receiver/kv/hooks:shop").send().await.is(200);
    assert_eq!(page.json()["items"].as_array().unwrap().len(), 2);
}

async fn signed_webhooks(app: &TestApp) {
    let sign = |key: &[u8], signed: &str| {
        let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
        mac.update(signed.as_bytes());
        mac.finalize().into_bytes()
    };
    let body = r#"{"action": "opened"}"#;
    let github = |body: &'static str, signature: &str| {
        let call = app.post("/x/signed-webhooks/hooks/github").body("application/json", body);
        call.header("x-github-delivery", "72d3162e").header("x-hub-signature-256", signature).send()
    };
    let signature = hex::encode(sign(b"It's a Secret to Everybody", body));
    let signature = format!("sha256={signature}");
    github(body, &signature).await.is(202);
    github(r#"{"action": "closed"}"#, &signature).await.refuses(401, "signature_invalid");
    app.settled("signed-webhooks").await;
    let kept = app.value("signed-webhooks", "messages", "72d3162e").await;
    assert_eq!(kept["body"], json!({"action": "opened"}));
    let unsigned = app.post("/x/signed-webhooks/hooks/github").json(&json!({})).send().await;
    unsigned.refuses(401, "signature_missing");
    let around = app.post("/x/signed-webhooks/receive").json(&json!({})).send().await;
    around.refuses(404, "endpoint_closed");

    // The signature is a few minutes old, because each read advances the test clock by a minute.
    let at_s = app.now_s();
    let key = STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
    let signature = STANDARD.encode(sign(&key, &format!("msg_1.{at_s}.{body}")));
    let deliver = || {
        let call = app.post("/x/signed-webhooks/hooks/standard").body("application/json", body);
        let call =
            call.header("webhook-id", "msg_1").header("webhook-timestamp", &at_s.to_string());
        call.header("webhook-signature", &format!("v1,{signature}")).send()
    };
    assert_eq!(deliver().await.is(201).json(), json!({"id": "msg_1"}));
    let kept = app.value("signed-webhooks", "messages", "msg_1").await;
    assert_eq!(kept["from"], "/x/signed-webhooks/hooks/standard");
}

async fn order_pipeline(app: &TestApp) {
    let take = async |body: Value| app.post("/x/order-pipeline/orders").json(&body).send().await;
    let order = json!({"item": "tea", "count": 2, "email": "ada@example.com"});
    let taken = take(order.clone()).await.is(202);
    let id = taken.json()["id"].as_str().unwrap().to_owned();
    take(order).await.is(202);
    app.settled("order-pipeline").await;

    let shown = app.get(taken.header("location").unwrap()).send().await.is(200).json();
    let mail = json!({
        "to": "ada@example.com",
        "subject": "Your order is accepted",
        "text": "2 × tea are on their way.",
    });
    assert_eq!(shown, json!({"id": id, "state": "accepted", "mail": mail}));
    assert_eq!(app.value("order-pipeline", "stock", "tea").await, -4);
    let mails = app.admin().get("/apps/order-pipeline/kv/mail-out").send().await.is(200).json();
    assert_eq!(mails["items"].as_array().unwrap().len(), 2);
    assert_eq!(app.dead_letters("order-pipeline").await, [Value::Null; 0]);
    take(json!({"item": "tea", "count": 0, "email": "a"})).await.is(400);
    app.get("/x/order-pipeline/orders/nothing").send().await.is(404);
}

async fn nightly_digest(app: &TestApp, trigger: &str) {
    // More notes than one run can move, so that a second run continues.
    let note = async |text: String| app.post("/x/nightly-digest/notes").text(&text).send().await;
    for number in 0..105 {
        note(format!("note {number}")).await.is(201);
    }
    note("a".repeat(501)).await.is(400);
    let path = format!("/triggers/{trigger}");
    let found = app.admin().get(&path).send().await.is(200).json();
    assert_eq!(found["on"]["zone"], "Europe/Berlin");
    // 3 o'clock in Berlin, where it is winter at the start of the test clock.
    assert_eq!(found["next_runs"][0].as_i64().unwrap() / 3_600_000_000 % 24, 2);

    app.pass_days(1);
    app.scheduler().run_once().await.unwrap();
    app.settled("nightly-digest").await;
    let digests = async || {
        let page = app.admin().get("/apps/nightly-digest/kv/digests").send().await.is(200).json();
        page["items"].as_array().unwrap().clone()
    };
    let first = digests().await;
    assert_eq!(first.len(), 1, "{first:?}");
    let notes: Vec<Value> = (0..105).map(|number| json!(format!("note {number}"))).collect();
    assert_eq!(first[0]["value"]["notes"], json!(notes));
    let left = app.admin().get("/apps/nightly-digest/kv/notes").send().await.is(200).json();
    assert_eq!(left["items"], json!([]));

    note("another day".to_owned()).await.is(201);
    app.admin().post(&format!("{path}/fire"), json!({})).send().await.is(202);
    app.settled("nightly-digest").await;
    let added: usize =
        digests().await.iter().map(|day| day["value"]["notes"].as_array().unwrap().len()).sum();
    assert_eq!(added, 106);
    assert_eq!(app.dead_letters("nightly-digest").await, [Value::Null; 0]);
}

async fn dead_letter_notifier(app: &TestApp) {
    let send = async |event: Value| {
        app.admin().post("/apps/dead-letter-notifier/events", event).send().await.is(202);
        app.settled("dead-letter-notifier").await;
    };
    let text = "dead-letter-notifier/fragile failed 5 times: the printer is on fire";
    send(json!({"queue": "work", "payload": {"job": 1}})).await;
    let letters = app.dead_letters("dead-letter-notifier").await;
    assert_eq!((letters.len(), &letters[0]["resolution"]), (1, &json!("handled_by_script")));
    let id = letters[0]["id"].as_str().unwrap();
    let notice = app.value("dead-letter-notifier", "notices", id).await;
    assert_eq!(
        (&notice["text"], &notice["event"]["queue"]["payload"]),
        (&json!(text), &json!({"job": 1}))
    );

    let chat = StandIn::start().await;
    // Only an event runs it.
    app.post("/x/dead-letter-notifier/configure").json(&json!({})).send().await.is(404);
    let webhook = format!("{}/hooks/1", chat.url);
    send(json!({"script": "configure", "payload": {"webhook": webhook}})).await;
    send(json!({"queue": "work", "payload": {"job": 2}})).await;
    let asked = chat.asked();
    assert_eq!(asked.len(), 1, "{asked:?}");
    assert_eq!((&*asked[0].method, &*asked[0].path), ("POST", "/hooks/1"));
    assert_eq!(serde_json::from_str::<Value>(&asked[0].body).unwrap(), json!({"text": text}));

    // Without the chat server the handler fails.
    drop(chat);
    send(json!({"queue": "work", "payload": {"job": 3}})).await;
    let letters = app.dead_letters("dead-letter-notifier").await;
    assert_eq!((letters.len(), &letters[0]["resolution"]), (3, &json!("handler_failed")));
    send(json!({"script": "configure", "payload": {}})).await;
    assert_eq!(app.value("dead-letter-notifier", "settings", "webhook").await, Value::Null);
}

//! Credentials of callers are never stored or shown in clear text.

use picloud::store::{DeadLetterFilter, EventFilter, Json, NewEvent, Page, TriggerKind};
use serde_json::{Value, json};

use crate::app::{Call, TestApp};
use crate::database::Database;
use crate::with_an_app;

/// The credential that is searched for.
const TOKEN: &str = "tok-5e55-credential";
const ALL: Page = Page { limit: 200, offset: 0 };

/// Returns the request to its caller, who can see it.
const SEEN: &str = r#"
    let seen = #{
        headers: ctx.request.headers, query: ctx.request.query, body: ctx.request.body,
        token: ctx.request.params.token,
    };
    if ctx.request.headers["x-fail"] != () {
        log::info("seen", ctx.request);
        log::warn(`${ctx.request.headers.authorization} ${ctx.request.headers.cookie}`);
        throw "as asked: " + ctx.request;
    }
    #{ headers: #{ "set-cookie": `s=${ctx.request.headers.authorization}`, "x-note": "kept" }, body: seen }
"#;

/// Adds a credential in every place.
fn full(call: Call) -> Call {
    let call = call.header("authorization", &format!("Bearer {TOKEN}"));
    let call = call.header("x-api-key", TOKEN).header("cookie", &format!("s={TOKEN}"));
    let call = call
        .header("X_Session_Token", TOKEN)
        .header("referer", &format!("https://a/?token={TOKEN}"));
    call.body("application/x-www-form-urlencoded", format!("user=ada&newPassword={TOKEN}&x=1"))
}

fn path(delivery: &str) -> String {
    format!("/x/shop/{delivery}/{TOKEN}?q=1&client_secret={TOKEN}&accessToken={TOKEN}")
}

async fn with_routes(app: &TestApp) -> String {
    let script = app.deploy("shop", "seen", SEEN).await;
    for delivery in ["sync", "durable", "async"] {
        let route = json!({
            "script_id": script, "method": "POST", "path": format!("/{delivery}/{{token}}"), "delivery": delivery,
        });
        app.admin().post("/apps/shop/routes", route).send().await.is(201);
    }
    script
}

/// Returns everything that the API shows of an app's requests.
async fn shown(app: &TestApp, script: &str) -> String {
    app.flush().await;
    let mut all = String::new();
    for path in [
        "/apps/shop/outbox",
        "/apps/shop/dead-letters?unresolved=false",
        "/apps/shop/captured-events",
        "/apps/shop/abandoned-executions",
    ] {
        all += app.admin().get(path).send().await.is(200).text();
    }
    let logs =
        app.admin().get(&format!("/scripts/{script}/logs?limit=200")).send().await.is(200).json();
    for execution in logs["items"].as_array().unwrap() {
        all += &app.execution(execution["id"].as_str().unwrap()).await.to_string();
    }
    all
}

with_an_app! {
    async fn a_script_sees_them_and_its_log_does_not(app) {
        let script = with_routes(app).await;
        for delivery in ["sync", "durable"] {
            let answer = full(app.post(&path(delivery))).send().await.is(200);
            let seen = answer.json();
            assert_eq!(seen["headers"]["authorization"], format!("Bearer {TOKEN}"));
            assert_eq!(seen["headers"]["cookie"], format!("s={TOKEN}"));
            assert_eq!(seen["query"]["client_secret"], TOKEN);
            assert_eq!(seen["body"], format!("user=ada&newPassword={TOKEN}&x=1"));
            assert_eq!(seen["token"], TOKEN);
        }
        let accepted = full(app.post(&path("async"))).send().await.is(202).json();
        app.settled("shop").await;
        let execution = app.execution(accepted["execution_id"].as_str().unwrap()).await;
        let request = &execution["request"];
        assert_eq!(request["path"], "/x/shop/async/***");
        assert_eq!(request["params"], json!([["token", "***"]]));
        assert_eq!(request["query"], json!([["q", "1"], ["client_secret", "***"], ["accessToken", "***"]]));
        assert_eq!(request["body"], "user=ada&newPassword=***&x=1");
        let response = &execution["response"];
        assert!(response["headers"].as_array().unwrap().contains(&json!(["set-cookie", "***"])), "{response}");
        // The body of a response is the script's own responsibility, as docs/security.md says.
        for kept in [request.to_string(), response["headers"].to_string()] {
            assert!(!kept.contains(TOKEN), "{kept}");
        }
        let _ = script;
    }

    async fn a_stored_answer_gives_its_cookie_again_and_keeps_it_sealed(app) {
        with_routes(app).await;
        let post = || full(app.post(&path("durable"))).header("idempotency-key", "k").send();
        let first = post().await.is(200);
        let again = post().await.is(200);
        assert_eq!(again.header("idempotency-replayed"), Some("true"));
        let cookie = format!("s=Bearer {TOKEN}");
        assert_eq!(again.header("set-cookie"), Some(&*cookie));
        assert_eq!((again.body.clone(), again.header("x-note")), (first.body.clone(), Some("kept")));
        let stored = app.store().find_first_answer(&first.execution_id().parse().unwrap()).await.unwrap();
        let stored: Value = stored.unwrap().to().unwrap();
        assert!(!stored["headers"].to_string().contains(TOKEN), "{stored}");
    }

    /// Without the master key, an event does not run, and its dead letter reports the reason.
    async fn a_request_whose_credentials_are_lost_becomes_a_dead_letter_that_says_so(app) {
        let script = with_routes(app).await;
        let shop = app.store().find_app_by_name("shop").await.unwrap().id;
        let payload = json!({
            "method": "POST", "path": "/x/shop/async/***", "params": [["token", "***"]], "query": [],
            "headers": [["authorization", "***"]], "remote_address": "", "body": "",
            "body_kind": "Empty", "sealed": "0198-gone.AAAA",
        });
        let now = app.now_s() * 1_000_000;
        let event = NewEvent {
            id: uuid::Uuid::from_u128(7).into(),
            app_id: shop,
            trigger_id: None,
            script_id: Some(script.parse().unwrap()),
            script_version: None,
            kind: TriggerKind::Http,
            operation: "POST".to_owned(),
            source: String::new(),
            payload: Json::of(&payload).unwrap(),
            principal: "owner".to_owned(),
            depth: 0,
            delay_us: 0,
            reply_to: None,
            dedupe_key: None,
            dead_letter_id: None,
            caused_by: None,
            created_at: now,
        };
        app.store().append_events(vec![event], None).await.unwrap();
        app.settled("shop").await;
        let letter = app.dead_letters("shop").await.remove(0);
        let said = letter["last_error"].as_str().unwrap();
        assert!(said.contains("sealed with a master key"), "{said}");
        assert_eq!(app.count_executions(&script).await, 0);
        let replay = format!("/dead-letters/{}/replay", letter["id"].as_str().unwrap());
        app.admin().post(&replay, json!({})).send().await.refuses(409, "credentials_lost");
        let many = app.admin().post("/apps/shop/dead-letters/replay", json!({})).send().await.is(200).json();
        assert_eq!((&many["done"], &many["left"]), (&json!(0), &json!(1)));
        // A caller that sends the credentials again can replay it.
        let mut payload = letter["payload"].clone();
        payload["path"] = json!("/x/shop/async/new");
        payload["params"] = json!([["token", "new"]]);
        payload["headers"] = json!([["authorization", "Bearer new"]]);
        app.admin().post(&replay, json!({ "payload": payload })).send().await.is(202);
        app.settled("shop").await;
        app.flush().await;
        assert_eq!(app.count_executions(&script).await, 1);
    }

}

/// Starts a server that dead-letters an event after its first failure.
async fn once(database: &Database) -> TestApp {
    TestApp::start_with(database, &[("PICLOUD_TRIGGER_RETRY_ATTEMPTS", "1")]).await
}

crate::on_both_databases! {
    async fn a_dead_letter_keeps_them_sealed_and_a_replay_has_them(database) {
        let server = once(database).await;
        let app = &server;
        let script = with_routes(app).await;
        full(app.post(&path("async"))).header("x-fail", "1").send().await.is(202);
        app.settled("shop").await;
        let letters = app.dead_letters("shop").await;
        assert_eq!(letters.len(), 1, "{letters:?}");
        let all = shown(app, &script).await;
        assert!(!all.contains(TOKEN) && !all.contains("sealed"), "{all}");
        assert!(all.contains("ada") || all.contains("dXNlcj1hZGE"), "{all}");
        // Checks the database too, including stored bodies.
        let app_id = app.store().find_app_by_name("shop").await.unwrap().id;
        let filter = DeadLetterFilter::default();
        let stored = app.store().list_dead_letters(&app_id, &filter, ALL).await.unwrap().rows.remove(0);
        let payload: Value = stored.payload.to().unwrap();
        let body = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, payload["body"].as_str().unwrap());
        let body = String::from_utf8(body.unwrap()).unwrap();
        assert!(!payload.to_string().contains(TOKEN) && !body.contains(TOKEN), "{payload} {body}");

        // With the corrected script, replays the same request and an edited one.
        app.update(&script, &SEEN.replace("throw \"as asked: \" + ctx.request;", "")).await.is(200);
        let id = letters[0]["id"].as_str().unwrap();
        let mut edited = letters[0]["payload"].clone();
        for header in edited["headers"].as_array_mut().unwrap() {
            if header[0] == "x-api-key" {
                header[1] = json!("new-5e55-credential");
            }
        }
        let replay = app.admin().post(&format!("/dead-letters/{id}/replay"), json!({"payload": edited}));
        let event = replay.send().await.is(202).json();
        app.settled("shop").await;
        let execution = app.execution(event["event_id"].as_str().unwrap()).await;
        assert_eq!(execution["status"], "success", "{execution}");
        let body: Value = serde_json::from_str(execution["response"]["body"].as_str().unwrap()).unwrap();
        assert_eq!(body["headers"]["x-api-key"], "new-5e55-credential");
        assert_eq!(body["headers"]["authorization"], format!("Bearer {TOKEN}"));
        assert_eq!(body["query"]["accessToken"], TOKEN);
        server.close().await;
    }

    async fn what_waits_in_the_outbox_is_sealed(database) {
        let server = once(database).await;
        let app = &server;
        let script = with_routes(app).await;
        let app_id = app.store().find_app_by_name("shop").await.unwrap().id;
        app.update(&script, "throw \"later\"").await.is(200);
        full(app.post(&path("async"))).send().await.is(202);
        app.settled("shop").await;
        let events = app.store().list_events(&app_id, &EventFilter::default(), ALL).await.unwrap().rows;
        let letters = app.store().list_dead_letters(&app_id, &DeadLetterFilter::default(), ALL).await.unwrap().rows;
        let payloads = events.iter().map(|event| &event.payload).chain(letters.iter().map(|letter| &letter.payload));
        for payload in payloads {
            assert!(!payload.as_str().contains(TOKEN), "{payload:?}");
        }
        server.close().await;
    }
}

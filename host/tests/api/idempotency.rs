//! Idempotency keys: their scope, and what other callers get.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::future::join_all;
use hmac::digest::KeyInit;
use hmac::{Hmac, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::app::{Call, TestApp};
use crate::browser::Browser;
use crate::with_an_app;

/// Counts its runs, and returns the caller's credentials.
const COUNT: &str = r#"
    let n = kv::collection("counts").increment("runs");
    #{ n: n, who: ctx.request.headers.authorization, query: ctx.request.query, cookie: ctx.request.headers.cookie }
"#;

async fn with_route(app: &TestApp, more: Value) -> String {
    let script = app.deploy("shop", "count", COUNT).await;
    let mut route =
        json!({"script_id": script, "method": "*", "path": "/in/{id}", "delivery": "durable"});
    route.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    app.admin().post("/apps/shop/routes", route).send().await.is(201);
    script
}

fn keyed(call: Call) -> Call {
    call.header("idempotency-key", "k")
}

with_an_app! {
    async fn the_same_key_with_another_request_is_refused(app) {
        with_route(app, json!({})).await;
        let post = |path: &str, body: &str| keyed(app.post(path).text(body)).send();
        let first = post("/x/shop/in/1?a=b", "body").await.is(200);
        for (path, body) in [
            ("/x/shop/in/1?a=b", "Body"),
            ("/x/shop/in/1?a=b", ""),
            ("/x/shop/in/1?a=c", "body"),
            ("/x/shop/in/1", "a=bbody"),
            ("/x/shop/in/2?a=b", "body"),
        ] {
            let refused = post(path, body).await;
            refused.refuses(422, "idempotency_key_reused");
            assert_eq!(refused.header("idempotency-replayed"), None);
        }
        let again = post("/x/shop/in/1?a=b", "body").await.is(200);
        assert_eq!(again.header("idempotency-replayed"), Some("true"));
        assert_eq!(again.json(), first.json());
        // Another method makes it another request.
        let put = keyed(app.request("PUT", "/x/shop/in/1?a=b").text("body")).send().await.is(200);
        assert_eq!((put.header("idempotency-replayed"), &put.json()["n"]), (None, &json!(2)));
        assert_eq!(app.value("shop", "counts", "runs").await, 2);
        keyed(keyed(app.post("/x/shop/in/1").text("body"))).send().await.refuses(400, "field_invalid");
    }

    /// Behind an open route, the script itself identifies its callers.
    async fn another_callers_answer_is_not_given(app) {
        with_route(app, json!({})).await;
        let as_ = |name: &str, value: &str| keyed(app.post("/x/shop/in/1").header(name, value).text("x")).send();
        let ada = as_("authorization", "Bearer ada").await.is(200);
        assert_eq!(ada.json()["who"], "Bearer ada");
        for (name, value) in [
            ("authorization", "Bearer eve"),
            ("authorization", ""),
            ("cookie", "session=eve"),
            ("x-session-token", "eve"),
            ("accept", "*/*"),
        ] {
            let other = as_(name, value).await.is(200);
            assert_eq!(other.header("idempotency-replayed"), None, "{name}: {value}");
            assert_ne!(other.json()["who"], "Bearer ada");
        }
        let again = as_("authorization", "Bearer ada").await.is(200);
        assert_eq!(again.header("idempotency-replayed"), Some("true"));
        assert_eq!(again.json(), ada.json());
    }

    async fn a_key_is_that_of_the_secret_that_lets_in(app) {
        app.admin().post("/apps", json!({"name": "shop"})).send().await.is(201);
        for (name, value) in [("first", "first-secret"), ("second", "second-secret")] {
            app.secret("shop", name, value).await;
        }
        with_route(app, json!({"auth": {"mode": "key", "secrets": ["first", "second"]}})).await;
        let with = |secret: &str, more: &str| {
            let call = app.post("/x/shop/in/1").header("x-api-key", secret).header("x-trace", more);
            keyed(call.text("x")).send()
        };
        let first = with("first-secret", "1").await.is(200);
        let second = with("second-secret", "1").await.is(200);
        assert_eq!(second.header("idempotency-replayed"), None);
        let again = with("first-secret", "2").await.is(200);
        assert_eq!(again.header("idempotency-replayed"), Some("true"));
        assert_eq!(again.json(), first.json());
        with("other", "1").await.refuses(401, "key_invalid");
    }

    /// The script can use any of them, so a different one means a different caller.
    async fn credentials_of_an_open_route_tell_callers_apart_wherever_they_are(app) {
        with_route(app, json!({})).await;
        let form = "application/x-www-form-urlencoded";
        let post = |path: &str| keyed(app.post(path));
        let calls = || [
            post("/x/shop/in/1").text("x"),
            post("/x/shop/in/1?api_key=a").text("x"),
            post("/x/shop/in/1?api_key=b").text("x"),
            post("/x/shop/in/1").body(form, "password=a&n=1"),
            post("/x/shop/in/1").body(form, "password=b&n=1"),
            post("/x/shop/in/1").header("x-signature", "a").text("x"),
            post("/x/shop/in/1").header("x-signature", "b").text("x"),
        ];
        for call in calls() {
            let answer = call.send().await.is(200);
            assert_eq!(answer.header("idempotency-replayed"), None, "{answer:?}");
        }
        for call in calls() {
            let answer = call.send().await.is(200);
            assert_eq!(answer.header("idempotency-replayed"), Some("true"), "{answer:?}");
        }
    }

    async fn two_routes_share_no_keys(app) {
        let script = with_route(app, json!({})).await;
        let route = json!({"script_id": script, "method": "POST", "path": "/other", "delivery": "durable"});
        app.admin().post("/apps/shop/routes", route).send().await.is(201);
        for path in ["/x/shop/in/1", "/x/shop/other"] {
            let answer = keyed(app.post(path).text("x")).send().await.is(200);
            assert_eq!(answer.header("idempotency-replayed"), None, "{path}");
        }
    }

    /// An attacker can replay a signed message with other unsigned parts.
    async fn a_signed_message_is_run_once_whatever_is_added_to_it(app) {
        app.admin().post("/apps", json!({"name": "shop"})).send().await.is(201);
        let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        app.secret("shop", "whsec", secret).await;
        let auth = json!({
            "mode": "hmac", "preset": "standard_webhooks", "secrets": ["whsec"], "tolerance_s": 86400,
        });
        let script = with_route(app, json!({ "auth": auth })).await;
        let key = STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
        let now_s = app.now_s();
        let signed = |method: &str, path: &str, names: [&str; 3], message: &str| {
            let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(&key).unwrap();
            mac.update(format!("{message}.{now_s}.body").as_bytes());
            let signature = STANDARD.encode(mac.finalize().into_bytes());
            let call = app.request(method, path).text("body").header(names[0], message);
            let call = call.header(names[1], &now_s.to_string());
            call.header(names[2], &format!("v1,{signature}"))
        };
        let ours = ["webhook-id", "webhook-timestamp", "webhook-signature"];
        let svix = ["svix-id", "svix-timestamp", "svix-signature"];
        let path = "/x/shop/in/1";
        let first = signed("POST", path, ours, "msg_1").send().await.is(200);
        assert_eq!(first.header("idempotency-replayed"), None);
        for (added, value) in [
            ("idempotency-key", "another"),
            ("svix-id", "msg_other"),
            ("authorization", "Bearer x"),
            ("cookie", "a=b"),
        ] {
            let again = signed("POST", path, ours, "msg_1").header(added, value).send().await.is(200);
            assert_eq!(again.header("idempotency-replayed"), Some("true"), "{added}");
        }
        // With the older header names, an unsigned id beside the signed one is ignored.
        signed("POST", path, svix, "msg_2").send().await.is(200);
        let again = signed("POST", path, svix, "msg_2").header("webhook-id", "msg_other").send().await;
        assert_eq!(again.is(200).header("idempotency-replayed"), Some("true"));
        // The other unsigned parts do not make it a new request either.
        for (method, path) in [("PUT", path), ("POST", "/x/shop/in/2"), ("POST", "/x/shop/in/1?again=1")] {
            let changed = signed(method, path, ours, "msg_1").send().await;
            changed.refuses(422, "idempotency_key_reused");
        }
        let long = "m".repeat(300);
        signed("POST", path, ours, &long).send().await.is(200);
        let again = signed("POST", path, ours, &long).send().await.is(200);
        assert_eq!(again.header("idempotency-replayed"), Some("true"));
        assert_eq!(app.count_executions(&script).await, 3);
    }

    async fn of_many_at_once_one_runs_and_all_get_its_answer(app) {
        with_route(app, json!({})).await;
        let calls = (0..5).map(|_| keyed(app.post("/x/shop/in/1").text("x")).send());
        let answers = join_all(calls).await;
        for answer in &answers {
            assert_eq!((answer.status, &answer.json()["n"]), (200, &json!(1)), "{answer:?}");
        }
        let first = answers.iter().filter(|answer| answer.header("idempotency-replayed").is_none());
        assert_eq!(first.count(), 1);
    }

    async fn a_key_of_the_api_is_that_of_its_caller_and_body(app) {
        app.deploy("shop", "work", r#"kv::collection("counts").increment("runs")"#).await;
        let send = |call: Call, payload: i64| {
            let message = json!({"script": "work", "payload": payload});
            keyed(call.json(&message)).send()
        };
        let owner = || app.admin().request("POST", "/apps/shop/events");
        let first = send(owner(), 1).await.is(202);
        let again = send(owner(), 1).await.is(202);
        assert_eq!((again.json(), again.header("idempotency-replayed")), (first.json(), Some("true")));
        send(owner(), 2).await.refuses(422, "idempotency_key_reused");
        // Other callers have their own keys.
        let ada = Browser::of_member(app, "ada", "shop", "editor").await;
        let hers = send(ada.change(app, "POST", "/apps/shop/events"), 2).await.is(202);
        assert_eq!(hers.header("idempotency-replayed"), None);
        let key = app.key(json!({"name": "k", "scopes": ["script:write"]})).await;
        let by_key = app.post("/api/v1/apps/shop/events").by_key(key["key"].as_str().unwrap());
        assert_eq!(send(by_key, 1).await.is(202).header("idempotency-replayed"), None);
        app.settled("shop").await;
        assert_eq!(app.value("shop", "counts", "runs").await, 3);
    }
}

crate::on_both_databases! {
    /// Two servers on one database: each finds a response that the other has stored.
    async fn an_answer_is_found_at_another_node(database) {
        if database.kind != crate::database::Kind::Postgres {
            return;
        }
        let one = TestApp::start(database).await;
        let key = one.config().data.join("master.key");
        let master = std::fs::read_to_string(key).unwrap();
        let two = TestApp::start_with(database, &[("PICLOUD_MASTER_KEY", master.trim())]).await;
        with_route(&one, json!({})).await;
        let post = |app: &TestApp| keyed(app.post("/x/shop/in/1").text("x")).send();
        let first = post(&one).await.is(200);
        let begun = std::time::Instant::now();
        let second = loop {
            let answer = post(&two).await;
            // The server learns of the route a moment later.
            if answer.status != 404 {
                break answer.is(200);
            }
            assert!(begun.elapsed() < std::time::Duration::from_secs(30), "{answer:?}");
            picloud_testing::pause().await;
        };
        assert_eq!(second.header("idempotency-replayed"), Some("true"));
        assert_eq!(second.json(), first.json());
        one.close().await;
        two.close().await;
    }
}

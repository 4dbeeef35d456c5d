//! Authentication of routes: others are refused before anything runs or is stored.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::app::{Answer, Call, TestApp};
use crate::with_an_app;

/// Returns which parts of the request the script sees.
const SEEN: &str = "#{ headers: ctx.request.headers.keys(), text: ctx.request.text }";
/// The test clock advances by a minute with each read.
const DAY_S: u32 = 86_400;
/// The start of the test clock, in seconds.
const NOW_S: i64 = 1_767_225_600;

/// Creates a route `POST /in` of the app `shop` to a script, and returns the script's id.
async fn guarded(app: &TestApp, auth: Value, more: Value) -> String {
    let id = app.deploy("shop", "seen", SEEN).await;
    app.secret("shop", "first", "first-secret").await;
    let mut route = json!({"script_id": id, "method": "POST", "path": "/in", "auth": auth});
    route.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    app.admin().post("/apps/shop/routes", route).send().await.is(201);
    id
}

fn post(app: &TestApp, body: &str) -> Call {
    app.post("/x/shop/in").text(body)
}

fn seen(answer: &Answer) -> Vec<String> {
    let seen = answer.json();
    seen["headers"].as_array().unwrap().iter().map(|h| h.as_str().unwrap().to_owned()).collect()
}

fn hmac(secret: &[u8], signed: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).unwrap();
    mac.update(signed.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

with_an_app! {
    async fn a_mode_with_the_fields_of_another_is_refused(app) {
        let script = app.deploy("shop", "hello", "1").await;
        for auth in [
            json!({"mode": "none", "secrets": ["gate"], "header": "x-k"}),
            json!({"mode": "none", "x": 1}),
            json!({"mode": "key", "secrets": ["gate"], "user": "ada"}),
        ] {
            let route = json!({"script_id": script, "method": "GET", "path": "/a", "auth": auth});
            let refused = app.admin().post("/apps/shop/routes", route).send().await;
            assert_eq!(refused.status, 400, "{auth} {refused:?}");
        }
    }

    async fn a_key_lets_in_and_is_not_shown_to_the_script(app) {
        let id = guarded(app, json!({"mode": "key", "secrets": ["first"]}), json!({})).await;
        let none = post(app, "a").send().await;
        none.refuses(401, "key_missing");
        assert_eq!(none.header("www-authenticate"), Some("Bearer realm=\"route\""));
        let wrong = post(app, "a").header("x-api-key", "first").send().await;
        wrong.refuses(401, "key_invalid");
        // The owner key has no special rights here.
        post(app, "a").by_owner().send().await.refuses(401, "key_invalid");
        assert_eq!(app.count_executions(&id).await, 0);

        let bearer = post(app, "a").header("authorization", "Bearer first-secret");
        let answer = bearer.send().await.is(200);
        assert!(!seen(&answer).contains(&"authorization".to_owned()));
        let answer = post(app, "a").header("x-api-key", "first-secret").send().await.is(200);
        assert!(!seen(&answer).contains(&"x-api-key".to_owned()));
        let execution = app.execution(answer.execution_id()).await.to_string();
        assert!(!execution.contains("first-secret"), "{execution}");
        // The script's own endpoint does not bypass the route.
        app.post("/x/shop/seen").send().await.refuses(404, "endpoint_closed");
    }

    async fn one_key_is_exchanged_for_another_while_both_let_in(app) {
        app.admin().post("/apps", json!({"name": "shop"})).send().await.is(201);
        app.secret("shop", "second", "second-secret").await;
        let both = json!({"mode": "key", "secrets": ["first", "second"]});
        let id = guarded(app, both, json!({})).await;
        let with = |key: &str| post(app, "a").header("x-api-key", key).send();
        with("first-secret").await.is(200);
        with("second-secret").await.is(200);
        app.admin().delete("/apps/shop/secrets/first").send().await.is(204);
        with("first-secret").await.refuses(401, "key_invalid");
        with("second-secret").await.is(200);
        app.secret("shop", "second", "newer-secret").await;
        with("second-secret").await.refuses(401, "key_invalid");
        with("newer-secret").await.is(200);
        // Without any secret, every caller is refused, with the same error as for a wrong key.
        app.admin().delete("/apps/shop/secrets/second").send().await.is(204);
        let missing = with("newer-secret").await;
        missing.refuses(503, "route_secret_missing");
        assert_eq!(missing.header("retry-after"), Some("60"));
        with("").await.refuses(503, "route_secret_missing");
        assert_eq!(app.count_executions(&id).await, 4);
    }

    async fn a_secret_of_another_app_is_none(app) {
        let id = app.deploy("shop", "seen", SEEN).await;
        app.deploy("blog", "seen", SEEN).await;
        app.secret("blog", "theirs", "theirs-secret").await;
        let auth = json!({"mode": "key", "secrets": ["theirs"]});
        let route = json!({"script_id": id, "method": "POST", "path": "/in", "auth": auth});
        let refused = app.admin().post("/apps/shop/routes", route).send().await;
        assert_eq!(refused.refuses(404, "secret_not_found")["secret"], "theirs");
    }

    async fn a_user_and_a_password_let_in(app) {
        let auth = json!({"mode": "basic", "user": "ada", "secrets": ["first"]});
        guarded(app, auth, json!({})).await;
        let with = |pair: &str| {
            post(app, "a").header("authorization", &format!("Basic {}", STANDARD.encode(pair)))
        };
        let none = post(app, "a").send().await;
        none.refuses(401, "credentials_missing");
        let challenge = none.header("www-authenticate").unwrap();
        assert_eq!(challenge, "Basic realm=\"route\", charset=\"UTF-8\"");
        with("ada:wrong").send().await.refuses(401, "credentials_invalid");
        with("bob:first-secret").send().await.refuses(401, "credentials_invalid");
        let answer = with("ada:first-secret").send().await.is(200);
        assert!(!seen(&answer).contains(&"authorization".to_owned()));
    }

    async fn a_signature_is_that_of_the_bytes_that_came(app) {
        let auth = json!({"mode": "hmac", "preset": "github", "secrets": ["first"]});
        let id = guarded(app, auth, json!({})).await;
        let signed = |body: &str| format!("sha256={}", hex::encode(hmac(b"first-secret", body)));
        let send = |body: &str, signature: &str| {
            let call = app.post("/x/shop/in").header("x-hub-signature-256", signature);
            call.body("application/json", body.to_owned()).send()
        };
        // A body with another JSON format is not the signed one.
        let body = "{ \"a\":1.0 }";
        send(body, &signed(body)).await.is(200);
        send("{\"a\":1.0}", &signed(body)).await.refuses(401, "signature_invalid");
        send(body, "sha256=00").await.refuses(401, "signature_invalid");
        let missing = post(app, "a").send().await.refuses(401, "signature_missing");
        assert_eq!(missing["header"], "x-hub-signature-256");
        // JSON errors are reported only after the signature is verified.
        send("{", &signed("x")).await.refuses(401, "signature_invalid");
        send("{", &signed("{")).await.refuses(400, "body_invalid");
        assert_eq!(app.count_executions(&id).await, 1);
    }

    async fn a_message_that_is_sent_again_is_run_once(app) {
        app.admin().post("/apps", json!({"name": "shop"})).send().await.is(201);
        app.secret("shop", "whsec", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").await;
        let auth = json!({
            "mode": "hmac", "preset": "standard_webhooks", "secrets": ["whsec"],
            "tolerance_s": DAY_S,
        });
        let id = guarded(app, auth, json!({"delivery": "durable"})).await;
        let key = STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let send = |message: &str, at_s: i64| {
            let signature = STANDARD.encode(hmac(&key, &format!("{message}.{at_s}.body")));
            let call = post(app, "body").header("webhook-id", message);
            let call = call.header("webhook-timestamp", &at_s.to_string());
            call.header("webhook-signature", &format!("v1,{signature}")).send()
        };
        let first = send("msg_1", NOW_S).await.is(200);
        let again = send("msg_1", NOW_S + 60).await.is(200);
        assert_eq!(again.header("idempotency-replayed"), Some("true"));
        assert_eq!(again.execution_id(), first.execution_id());
        let other = send("msg_2", NOW_S).await.is(200);
        assert_eq!(other.header("idempotency-replayed"), None);
        assert_eq!(app.count_executions(&id).await, 2);
        app.pass_days(2);
        send("msg_3", NOW_S).await.refuses(401, "signature_expired");
        send("msg_3", NOW_S + 10 * i64::from(DAY_S)).await.refuses(401, "signature_expired");
    }

    async fn what_is_refused_is_stored_nowhere(app) {
        let auth = json!({"mode": "key", "secrets": ["first"]});
        let id = guarded(app, auth, json!({"delivery": "async"})).await;
        let refused = post(app, "a").header("idempotency-key", "k").send().await;
        refused.refuses(401, "key_missing");
        let outbox = app.admin().get("/apps/shop/outbox").send().await.is(200).json();
        assert_eq!((&outbox["items"], app.count_executions(&id).await), (&json!([]), 0));
        let call = post(app, "a").header("idempotency-key", "k");
        let taken = call.header("x-api-key", "first-secret").send().await.is(202);
        assert_eq!(taken.header("idempotency-replayed"), None);
        app.settled("shop").await;
        let row = app.execution(taken.json()["execution_id"].as_str().unwrap()).await;
        assert!(!row.to_string().contains("first-secret"), "{row}");
    }

    async fn strangers_use_up_nothing_of_what_callers_are_owed(app) {
        let auth = json!({"mode": "key", "secrets": ["first"]});
        let more = json!({"rate_limit": {"requests": 1, "per_s": DAY_S}, "concurrency_max": 1});
        guarded(app, auth, more).await;
        for _ in 0..3 {
            post(app, "a").send().await.refuses(401, "key_missing");
        }
        let with = || post(app, "a").header("x-api-key", "first-secret").send();
        with().await.is(200);
        with().await.refuses(429, "rate_limited");
        post(app, "a").send().await.refuses(401, "key_missing");
    }

    async fn who_tries_keys_is_slowed_by_address(app) {
        let auth = json!({"mode": "key", "secrets": ["first"]});
        let rate = json!({"requests": 2, "per_s": DAY_S, "by": "address"});
        guarded(app, auth, json!({ "rate_limit": rate })).await;
        let with = |key: &str, from: &str| post(app, "a").from(from).header("x-api-key", key).send();
        for _ in 0..2 {
            with("wrong", "192.0.2.1").await.refuses(401, "key_invalid");
        }
        with("first-secret", "192.0.2.1").await.refuses(429, "rate_limited");
        with("first-secret", "192.0.2.2").await.is(200);
    }

    async fn on_a_domain_a_route_asks_the_same(app) {
        let id = guarded(app, json!({"mode": "none"}), json!({})).await;
        app.domain("shop", "shop.example").await;
        let route = json!({
            "script_id": id, "method": "GET", "host": "shop.example", "path": "/",
            "auth": {"mode": "key", "secrets": ["first"], "header": "X-Gitlab-Token"},
        });
        app.admin().post("/apps/shop/routes", route).send().await.is(201);
        let get = || app.get("/").header("host", "shop.example");
        get().send().await.refuses(401, "key_missing");
        get().header("x-gitlab-token", "first-secret").send().await.is(200);
        app.post("/x/shop/seen").send().await.refuses(404, "endpoint_closed");
        post(app, "a").send().await.is(200);
    }
}

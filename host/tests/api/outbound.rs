//! Outbound requests of scripts, and the hosts that an app can call.

use serde_json::{Value, json};

use crate::app::TestApp;
use crate::stand_in::StandIn;
use crate::with_an_app;

const FETCH: &str = r#"http::get(ctx.request.body).status"#;

async fn open(app: &TestApp, name: &str, hosts: Value) -> crate::app::Answer {
    let path = format!("/apps/{name}/outbound");
    app.admin().put(&path, json!({"private_hosts": hosts})).send().await
}

/// Requests an address from a script of the app. Returns the status or the error.
async fn fetch(app: &TestApp, name: &str, url: &str) -> Value {
    let call = app.post(&format!("/x/{name}/fetch")).json(&json!(url)).by_owner();
    let answer = call.send().await.json();
    answer["error"]["message"].as_str().map_or(answer.clone(), Value::from)
}

with_an_app! {
    async fn an_apps_list_opens_what_it_names_to_that_app_at_once(app) {
        let outside = StandIn::start().await;
        app.deploy("shop", "fetch", FETCH).await;
        app.deploy("blog", "fetch", FETCH).await;
        let host = outside.url.strip_prefix("http://").unwrap().to_owned();
        let refused = fetch(app, "shop", &outside.url).await;
        assert_eq!(refused, "127.0.0.1 is not a public address; an admin of the server can open it to this app (PUT \
            /api/v1/apps/{app}/outbound) or to all apps (PICLOUD_PRIVATE_HOSTS)");

        let set = open(app, "shop", json!([host.clone()])).await.is(200).json();
        assert_eq!(set, json!({"private_hosts": [host]}));
        assert_eq!(app.admin().get("/apps/shop/outbound").send().await.is(200).json(), set);
        assert_eq!(fetch(app, "shop", &outside.url).await, 200);
        assert_eq!(fetch(app, "blog", &outside.url).await, refused);
        assert_eq!(fetch(app, "shop", "http://127.0.0.1:1/").await, refused);

        open(app, "shop", json!([])).await.is(200);
        assert_eq!(fetch(app, "shop", &outside.url).await, refused);
        assert_eq!(outside.asked().len(), 1);
        let none = app.admin().get("/apps/blog/outbound").send().await.is(200).json();
        assert_eq!(none, json!({"private_hosts": []}));
        app.admin().get("/apps/none/outbound").send().await.refuses(404, "app_not_found");
    }

    async fn a_called_script_reaches_what_its_app_reaches(app) {
        let outside = StandIn::start().await;
        app.deploy("shop", "inner", r#"http::get(ctx.event.script.payload).status"#).await;
        app.deploy("shop", "fetch", r#"scripts::call("inner", ctx.request.body)"#).await;
        open(app, "shop", json!(["127.0.0.1"])).await.is(200);
        assert_eq!(fetch(app, "shop", &outside.url).await, 200);
    }

    async fn an_apps_list_has_limits(app) {
        app.deploy("shop", "fetch", FETCH).await;
        let many = |count: usize| (0..count).map(|n| format!("host-{n}")).collect::<Vec<_>>();
        open(app, "shop", json!(many(50))).await.is(200);
        let refused = open(app, "shop", json!(many(51))).await.refuses(400, "field_invalid");
        assert_eq!(refused["field"], "private_hosts");
        for wrong in ["*.example", "10.0.0.0/8", "a b", "", "host:0", "http://host", "2130706433"] {
            let refused = open(app, "shop", json!([wrong])).await.refuses(400, "field_invalid");
            assert_eq!(refused["field"], "private_hosts", "{wrong}");
        }
        open(app, "none", json!([])).await.refuses(404, "app_not_found");
    }

    async fn a_request_that_comes_again_has_the_same_key(app) {
        let outside = StandIn::start().await;
        let host = outside.url.strip_prefix("http://").unwrap();
        let source = r#"
            let send = |body| http::post("URL", body, #{ idempotency_key: true });
            send.call(1); http::post("URL", 2); send.call(3);
            if ctx.event.attempt == 1 { throw "not yet" }
        "#;
        let id = app.deploy("shop", "work", &source.replace("URL", &outside.url)).await;
        open(app, "shop", json!([host])).await.is(200);
        let retry = json!({"attempts_max": 2, "base_ms": 0, "jitter": 0.0});
        let on = json!({"kind": "queue", "queue": "q"});
        app.trigger_with("shop", json!({"script_id": id, "on": on, "retry": retry})).await;
        let message = json!({"queue": "q", "payload": 1});
        let sent = app.admin().post("/apps/shop/events", message).send().await.is(202).json();
        app.settled("shop").await;
        let first = sent["event_ids"][0].as_str().unwrap();
        let keys: Vec<_> = outside.asked().into_iter().map(|asked| asked.idempotency_key).collect();
        let (one, three) = (format!("{first}-1"), format!("{first}-3"));
        assert_eq!(keys, [&one, "", &three, &one, "", &three]);
        assert_eq!(app.dead_letters("shop").await, [Value::Null; 0]);
    }

    async fn options_are_of_the_right_kind(app) {
        app.deploy("shop", "fetch", r#"http::get("http://1.1.1.1/", ctx.request.body)"#).await;
        for (options, said) in [
            (json!({"redirects": -1}), "the option redirects of http::get must be at least 0, not -1"),
            (json!({"redirects": 11}), "redirects are 0 to 10, not 11"),
            (json!({"idempotency_key": 1}), "the option idempotency_key of http::get must be true or false, not i64"),
            (json!({"headers": {"host": "a"}}), "only the server can set the header host"),
        ] {
            let answer = app.post("/x/shop/fetch").json(&options).by_owner().send().await.is(500);
            assert_eq!(answer.json()["error"]["message"], said);
        }
    }

    async fn what_would_be_refused_again_is_not_tried_again(app) {
        for (script, source) in [
            ("private", r#"http::get("http://127.0.0.1:1/")"#),
            ("nobody", r#"scripts::call("missing", 1)"#),
            ("nested", r#"scripts::call("private", 1)"#),
            ("caught", r#"try { http::get("http://127.0.0.1:1/") } catch { } throw "another thing""#),
        ] {
            let id = app.deploy("shop", script, source).await;
            let often = json!({"script_id": id, "on": {"kind": "queue", "queue": script},
                "retry": {"attempts_max": 3, "base_ms": 0}});
            app.trigger_with("shop", often).await;
            let message = json!({"queue": script, "payload": 1});
            app.admin().post("/apps/shop/events", message).send().await.is(202);
            app.settled("shop").await;
            let letter = app.dead_letters("shop").await[0].clone();
            let attempts = if script == "caught" { 3 } else { 1 };
            assert_eq!(letter["attempts"], attempts, "{script}: {letter}");
            assert_eq!(app.count_executions(&id).await, attempts, "{script}");
        }
    }
}

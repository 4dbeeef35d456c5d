//! Rate limits, concurrency limits and CORS of routes and apps.

use serde_json::{Value, json};

use crate::app::{Answer, TestApp};
use crate::gate::Gate;
use crate::stand_in::StandIn;
use crate::{on_both_databases, with_an_app};

const DAY_S: u32 = 86_400;

/// Creates a route of the app `shop`, and returns its id.
async fn route(app: &TestApp, route: Value) -> String {
    let made = app.admin().post("/apps/shop/routes", route).send().await.is(201);
    made.json()["id"].as_str().unwrap().to_owned()
}

async fn ingress(app: &TestApp, policy: Value) -> Answer {
    app.admin().put("/apps/shop/ingress", policy).send().await
}

with_an_app! {
    async fn a_route_answers_no_more_often_than_it_says(app) {
        let id = app.deploy("shop", "hello", "1").await;
        let rate = json!({"requests": 2, "per_s": DAY_S});
        let asked = json!({"script_id": id, "method": "GET", "path": "/a", "rate_limit": rate});
        let route = route(app, asked).await;
        let shown = app.admin().get(&format!("/routes/{route}")).send().await.is(200).json();
        assert_eq!(shown["rate_limit"], json!({"requests": 2, "per_s": DAY_S, "by": "all"}));
        for _ in 0..2 {
            app.get("/x/shop/a").send().await.is(200);
        }
        let refused = app.get("/x/shop/a").send().await;
        let error = refused.refuses(429, "rate_limited");
        assert_eq!((&error["scope"], &error["limit"]), (&json!("route"), &json!(2)));
        let wait_s: u32 = refused.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=DAY_S / 2).contains(&wait_s), "{wait_s}");
        app.get("/x/shop/hello").send().await.is(200);
        assert_eq!(app.count_executions(&id).await, 3);
        app.pass_days(1);
        app.get("/x/shop/a").send().await.is(200);
        // Another change of the definitions does not reset the count.
        app.get("/x/shop/a").send().await.is(200);
        app.deploy("shop", "other", "1").await;
        app.get("/x/shop/a").send().await.refuses(429, "rate_limited");
        let change = json!({"script_id": id});
        app.admin().put(&format!("/routes/{route}"), change).send().await.is(200);
        app.get("/x/shop/a").send().await.is(200);
    }

    async fn callers_are_counted_by_their_address(app) {
        let id = app.deploy("shop", "hello", "1").await;
        let rate = json!({"requests": 1, "per_s": DAY_S, "by": "address"});
        route(app, json!({"script_id": id, "method": "GET", "path": "/a", "rate_limit": rate})).await;
        let get = |from: &str| app.get("/x/shop/a").from(from);
        get("192.0.2.1").send().await.is(200);
        get("192.0.2.2").send().await.is(200);
        get("192.0.2.1").send().await.refuses(429, "rate_limited");
        // The address in a caller's own header is ignored; the one from a trusted proxy counts.
        let lying = get("192.0.2.1").header("x-forwarded-for", "192.0.2.9").send().await;
        lying.refuses(429, "rate_limited");
        let told = |by: &str| get("127.0.0.1").header("x-forwarded-for", by).send();
        told("192.0.2.9").await.is(200);
        told("192.0.2.1").await.refuses(429, "rate_limited");
    }

    async fn an_apps_limit_holds_for_its_routes_and_its_endpoints(app) {
        let id = app.deploy("shop", "hello", "1").await;
        let other = app.deploy("blog", "hello", "1").await;
        route(app, json!({"script_id": id, "method": "GET", "path": "/a"})).await;
        let policy = json!({"rate_limit": {"requests": 2, "per_s": DAY_S}});
        let set = ingress(app, policy).await.is(200).json();
        assert_eq!(set["endpoints"], "unguarded");
        assert_eq!(app.admin().get("/apps/shop/ingress").send().await.is(200).json(), set);
        app.get("/x/shop/a").send().await.is(200);
        app.get("/x/shop/hello").send().await.is(200);
        for path in ["/x/shop/a", "/x/shop/hello"] {
            let error = app.get(path).send().await.refuses(429, "rate_limited");
            assert_eq!(error["scope"], "app");
        }
        app.get("/x/blog/hello").send().await.is(200);
        // The owner key still runs scripts.
        app.admin().post(&format!("/execute/{id}"), json!({})).send().await.is(200);
        ingress(app, json!({})).await.is(200);
        app.get("/x/shop/a").send().await.is(200);
        assert_eq!(app.count_executions(&other).await, 1);
    }

    async fn a_policy_that_makes_no_sense_is_refused_with_its_field(app) {
        let id = app.deploy("shop", "hello", "1").await;
        for (policy, field) in [
            (json!({"rate_limit": {"requests": 0}}), "rate_limit.requests"),
            (json!({"concurrency_max": 0}), "concurrency_max"),
            (json!({"cors": {"origins": ["null"]}}), "cors.origins"),
            (json!({"cors": {"origins": ["*"], "credentials": true}}), "cors.credentials"),
            (json!({"auth": {"mode": "hmac", "secrets": ["a"]}}), "auth.preset"),
        ] {
            let mut asked = json!({"script_id": id, "method": "GET", "path": "/a"});
            let policy = policy.as_object().unwrap().clone();
            asked.as_object_mut().unwrap().extend(policy);
            let refused = app.admin().post("/apps/shop/routes", asked).send().await;
            assert_eq!(refused.refuses(400, "field_invalid")["field"], field);
        }
        for unknown in [json!({"auth": {"mode": "magic"}}), json!({"rate": {}})] {
            let mut asked = json!({"script_id": id, "method": "GET", "path": "/a"});
            asked.as_object_mut().unwrap().extend(unknown.as_object().unwrap().clone());
            let refused = app.admin().post("/apps/shop/routes", asked).send().await;
            refused.refuses(400, "body_invalid");
        }
        ingress(app, json!({"concurrency_max": 0})).await.refuses(400, "field_invalid");
        ingress(app, json!({"endpoints": "ajar"})).await.refuses(400, "body_invalid");
        app.admin().get("/apps/none/ingress").send().await.refuses(404, "app_not_found");
    }

    async fn a_route_is_changed_and_keeps_its_place(app) {
        let first = app.deploy("shop", "first", "1").await;
        let second = app.deploy("shop", "second", "2").await;
        let blog = app.deploy("blog", "hello", "3").await;
        let asked = json!({"script_id": first, "method": "GET", "path": "/a", "concurrency_max": 5});
        let id = route(app, asked).await;
        let path = format!("/routes/{id}");
        let put = |change: Value| app.admin().put(&path, change).send();
        let changed = put(json!({"script_id": second, "delivery": "async"})).await.is(200).json();
        assert_eq!((&changed["id"], &changed["path"]), (&json!(id), &json!("/a")));
        assert_eq!((&changed["concurrency_max"], &changed["delivery"]), (&Value::Null, &json!("async")));
        app.get("/x/shop/a").send().await.is(202);
        put(json!({"script_id": second})).await.is(200);
        assert_eq!(app.get("/x/shop/a").send().await.is(200).json(), 2);
        put(json!({"script_id": blog})).await.refuses(404, "script_not_found");
        put(json!({"script_id": "none"})).await.refuses(404, "script_not_found");
        put(json!({"script_id": second, "path": "/b"})).await.refuses(400, "body_invalid");
        let none = app.admin().put("/routes/none", json!({"script_id": second})).send().await;
        none.refuses(404, "route_not_found");
        // A route on the path of a script's endpoint must lead to that script.
        let own = route(app, json!({"script_id": first, "method": "GET", "path": "/first"})).await;
        let change = json!({"script_id": second});
        let hides = app.admin().put(&format!("/routes/{own}"), change).send().await;
        hides.refuses(409, "route_hides_endpoint");
        app.settled("shop").await;
    }

    async fn an_endpoint_is_closed_where_it_would_be_a_way_around(app) {
        let guarded = app.deploy("shop", "guarded", "1").await;
        app.deploy("shop", "free", "2").await;
        app.secret("shop", "shop_key", "0123456789abcdef").await;
        let auth = json!({"mode": "key", "secrets": ["shop_key"]});
        let asked = json!({"script_id": guarded, "method": "POST", "path": "/in", "auth": auth});
        let id = route(app, asked).await;
        let shown = app.admin().get("/apps/shop/ingress").send().await.is(200).json();
        assert_eq!(shown["guarded_script_ids"], json!([guarded]));
        let get = async |name: &str| app.get(&format!("/x/shop/{name}")).send().await;
        get("guarded").await.refuses(404, "endpoint_closed");
        get("free").await.is(200);
        ingress(app, json!({"endpoints": "closed"})).await.is(200);
        get("free").await.refuses(404, "endpoint_closed");
        ingress(app, json!({"endpoints": "open"})).await.is(200);
        get("guarded").await.is(200);
        get("free").await.is(200);
        ingress(app, json!({})).await.is(200);
        get("guarded").await.refuses(404, "endpoint_closed");
        app.admin().delete(&format!("/routes/{id}")).send().await.is(204);
        get("guarded").await.is(200);
    }

    async fn a_preflight_is_answered_for_the_script(app) {
        let id = app.deploy("shop", "hello", "#{ headers: #{ vary: \"accept\" }, body: 1 }").await;
        let cors = json!({
            "origins": ["https://Good.example:443"],
            "headers": ["Content-Type"],
            "exposed_headers": ["X-Total"],
            "credentials": true,
            "max_age_s": 600,
        });
        for method in ["GET", "PUT"] {
            let asked = json!({"script_id": id, "method": method, "path": "/a", "cors": cors});
            route(app, asked).await;
        }
        route(app, json!({"script_id": id, "method": "DELETE", "path": "/a"})).await;
        let preflight = |origin: &str, method: &str| {
            let asked = app.request("OPTIONS", "/x/shop/a").header("origin", origin);
            asked.header("access-control-request-method", method).send()
        };
        let told = preflight("https://good.example", "PUT").await.is(204);
        assert!(told.body.is_empty());
        for (name, value) in [
            ("access-control-allow-origin", "https://good.example"),
            ("access-control-allow-methods", "GET, PUT"),
            ("access-control-allow-headers", "content-type"),
            ("access-control-allow-credentials", "true"),
            ("access-control-max-age", "600"),
            ("vary", "origin, access-control-request-method, access-control-request-headers"),
        ] {
            assert_eq!(told.header(name), Some(value));
        }
        for (origin, method) in [
            ("https://good.example", "DELETE"),
            ("https://good.example.evil.test", "GET"),
            ("http://good.example", "GET"),
            ("https://good.example:444", "GET"),
            ("null", "GET"),
        ] {
            let told = preflight(origin, method).await.is(204);
            assert_eq!(told.header("access-control-allow-origin"), None, "{origin} {method}");
        }
        // An `OPTIONS` request that no page's browser would send is not a preflight.
        app.request("OPTIONS", "/x/shop/a").send().await.refuses(405, "method_not_allowed");
        assert_eq!(app.count_executions(&id).await, 0);

        let get = |origin: &str| app.get("/x/shop/a").header("origin", origin).send();
        let read = get("https://good.example").await.is(200);
        assert_eq!(read.header("access-control-allow-origin"), Some("https://good.example"));
        assert_eq!(read.header("access-control-expose-headers"), Some("x-total"));
        let vary: Vec<_> = read.headers.get_all("vary").iter().collect();
        assert_eq!(vary, ["accept", "origin"]);
        assert_eq!(get("null").await.is(200).header("access-control-allow-origin"), None);
    }

    async fn a_script_that_answers_options_is_asked(app) {
        let id = app.deploy("shop", "hello", "#{ status: 200, body: ctx.request.method }").await;
        let cors = json!({"origins": ["*"]});
        route(app, json!({"script_id": id, "method": "GET", "path": "/a", "cors": cors})).await;
        route(app, json!({"script_id": id, "method": "OPTIONS", "path": "/a"})).await;
        let asked = app.request("OPTIONS", "/x/shop/a").header("origin", "https://a.example");
        let asked = asked.header("access-control-request-method", "GET").send().await.is(200);
        assert_eq!(asked.text(), "OPTIONS");
        let read = app.get("/x/shop/a").header("origin", "null").send().await.is(200);
        assert_eq!(read.header("access-control-allow-origin"), Some("*"));
    }

    async fn a_page_may_read_why_it_was_refused(app) {
        let id = app.deploy("shop", "hello", "1").await;
        route(app, json!({
            "script_id": id, "method": "GET", "path": "/a", "cors": {"origins": ["*"]},
            "rate_limit": {"requests": 1, "per_s": DAY_S},
        })).await;
        let get = || app.get("/x/shop/a").header("origin", "https://a.example").send();
        get().await.is(200);
        let refused = get().await;
        refused.refuses(429, "rate_limited");
        assert_eq!(refused.header("access-control-allow-origin"), Some("*"));
    }

    async fn who_calls_and_how_is_taken_from_trusted_proxies_only(app) {
        app.deploy("shop", "hello", "ctx.request.remote_address").await;
        let get = |from: &str| {
            let call = app.get("/x/shop/hello").from(from);
            call.header("x-forwarded-for", "198.51.100.1").header("x-forwarded-host", "evil.test")
        };
        assert_eq!(get("192.0.2.1").send().await.is(200).json(), "192.0.2.1");
        assert_eq!(get("127.0.0.1").send().await.is(200).json(), "198.51.100.1");
        // `Host` decides which domain the request is for.
        app.domain("shop", "evil.test").await;
        assert_eq!(get("127.0.0.1").send().await.is(200).json(), "198.51.100.1");
    }
}

on_both_databases! {
    async fn so_many_requests_run_at_once_also_when_their_callers_have_gone(database) {
        let server = TestApp::start_with(database, &[("PICLOUD_PRIVATE_HOSTS", StandIn::HOST)]).await;
        let app = &server;
        let mut gate = Gate::open().await;
        let id = app.deploy("shop", "hello", &format!("http::get(`{}1`).status", gate.url)).await;
        let asked = json!({"script_id": id, "method": "GET", "path": "/a", "concurrency_max": 1});
        route(app, asked).await;
        let mut first = Box::pin(app.get("/x/shop/a").send());
        let arrival = tokio::select! {
            arrival = gate.arrival() => arrival,
            answer = &mut first => panic!("{answer:?}"),
        };
        drop(first);
        let refused = app.get("/x/shop/a").send().await;
        let error = refused.refuses(429, "too_many_concurrent_requests");
        assert_eq!((&error["scope"], &error["limit"]), (&json!("route"), &json!(1)));
        assert_eq!(refused.header("retry-after"), Some("1"));
        arrival.let_go();
        let again = async {
            loop {
                let answer = app.get("/x/shop/a").send().await;
                if answer.status != 429 {
                    return answer;
                }
            }
        };
        let (answer, ()) = tokio::join!(again, async { gate.arrival().await.let_go() });
        assert_eq!(answer.is(200).json(), 200);
        assert_eq!(app.count_executions(&id).await, 2);
        server.close().await;
    }

    async fn an_app_without_a_limit_has_that_of_the_settings(database) {
        let variables =
            [("PICLOUD_APP_RATE_LIMIT", "1/86400"), ("PICLOUD_APP_MAX_CONCURRENCY", "1")];
        let app = TestApp::start_with(database, &variables).await;
        app.deploy("shop", "hello", "1").await;
        app.get("/x/shop/hello").send().await.is(200);
        let error = app.get("/x/shop/hello").send().await.refuses(429, "rate_limited");
        assert_eq!((&error["scope"], &error["limit"]), (&json!("app"), &json!(1)));
        ingress(&app, json!({"rate_limit": {"requests": 9, "per_s": 1}})).await.is(200);
        app.get("/x/shop/hello").send().await.is(200);
        app.close().await;
    }
}

//! Domains: host names on which an app can have routes.

use serde_json::json;

use crate::app::{Answer, TestApp};
use crate::with_an_app;

/// Claims a domain, and approves it if the claim is accepted. Returns the response to the claim.
async fn claim(app: &TestApp, name: &str, host: &str) -> Answer {
    let path = format!("/apps/{name}/domains");
    let claimed = app.admin().post(&path, json!({"host": host})).send().await;
    if claimed.status == 201 {
        let host = claimed.json()["host"].as_str().unwrap().to_owned();
        app.admin().post(&format!("{path}/{host}/approve"), json!({})).send().await.is(200);
    }
    claimed
}

async fn route(app: &TestApp, name: &str, script_id: &str, host: &str, path: &str) -> Answer {
    let body = json!({"script_id": script_id, "method": "GET", "host": host, "path": path});
    app.admin().post(&format!("/apps/{name}/routes"), body).send().await
}

async fn get(app: &TestApp, host: &str, path: &str) -> Answer {
    app.get(path).header("host", host).send().await
}

with_an_app! {
    async fn a_claimed_domain_answers_at_its_root(app) {
        let id = app
            .deploy("shop", "show", "#{ at: ctx.request.path, params: ctx.request.params }")
            .await;
        claim(app, "shop", "Shop.Example.").await.is(201);
        route(app, "shop", &id, "shop.example", "/").await.is(201);
        route(app, "shop", &id, "SHOP.example", "/items/{id}").await.is(201);
        for host in ["shop.example", "SHOP.EXAMPLE", "shop.example:8443"] {
            let root = get(app, host, "/").await.is(200).json();
            assert_eq!(root, json!({"at": "/", "params": {}}), "{host}");
            let item = get(app, host, "/items/7").await.is(200).json();
            assert_eq!(item, json!({"at": "/items/7", "params": {"id": "7"}}), "{host}");
        }
    }

    async fn a_claimed_domain_answers_nothing_but_its_routes(app) {
        let id = app.deploy("shop", "show", "1").await;
        claim(app, "shop", "shop.example").await.is(201);
        for path in ["/", "/health/live", "/metrics", "/api/v1/apps", "/x/shop/show"] {
            get(app, "shop.example", path).await.refuses(404, "endpoint_not_found");
        }
        route(app, "shop", &id, "shop.example", "/health/live").await.is(201);
        assert_eq!(get(app, "shop.example", "/health/live").await.is(200).json(), 1);
        assert_eq!(app.get("/health/live").send().await.is(200).json()["status"], "live");
        let refused = app.post("/health/live").header("host", "shop.example").send().await;
        refused.refuses(405, "method_not_allowed");
        assert_eq!(refused.header("allow"), Some("GET, HEAD"));
    }

    async fn a_domain_that_nobody_claimed_answers_as_the_platform(app) {
        let id = app.deploy("shop", "show", "1").await;
        route(app, "shop", &id, "shop.example", "/").await.refuses(404, "domain_not_found");
        claim(app, "shop", "shop.example").await.is(201);
        route(app, "shop", &id, "shop.example", "/items").await.is(201);
        for host in ["example", "www.shop.example", "shop.example.evil", "localhost:8080"] {
            get(app, host, "/items").await.is(404);
            get(app, host, "/health/live").await.is(200);
            get(app, host, "/x/shop/show").await.is(200);
        }
        app.get("/x/shop/items").send().await.refuses(404, "endpoint_not_found");
    }

    async fn a_domain_belongs_to_one_app(app) {
        app.deploy("shop", "show", "1").await;
        let blog = app.deploy("blog", "show", "2").await;
        claim(app, "shop", "shop.example").await.is(201);
        claim(app, "blog", "SHOP.example").await.refuses(409, "domain_taken");
        claim(app, "shop", "shop.example").await.refuses(409, "domain_taken");
        route(app, "blog", &blog, "shop.example", "/").await.refuses(404, "domain_not_found");
        let release = app.admin().delete("/apps/blog/domains/shop.example").send().await;
        release.refuses(404, "domain_not_found");
    }

    async fn a_released_domain_loses_its_routes_and_is_free(app) {
        let shop = app.deploy("shop", "show", "1").await;
        let blog = app.deploy("blog", "show", "2").await;
        claim(app, "shop", "shop.example").await.is(201);
        claim(app, "shop", "two.example").await.is(201);
        route(app, "shop", &shop, "shop.example", "/items").await.is(201);
        let page = app.admin().get("/apps/shop/domains").send().await.is(200).json();
        let hosts: Vec<_> = page["items"].as_array().unwrap().iter().map(|d| &d["host"]).collect();
        assert_eq!(hosts, ["two.example", "shop.example"]);

        app.admin().delete("/apps/shop/domains/SHOP.example").send().await.is(204);
        get(app, "shop.example", "/items").await.is(404);
        let page = app.admin().get("/apps/shop/routes").send().await.is(200).json();
        assert_eq!(page["items"], json!([]));
        claim(app, "blog", "shop.example").await.is(201);
        route(app, "blog", &blog, "shop.example", "/items").await.is(201);
        assert_eq!(get(app, "shop.example", "/items").await.is(200).json(), 2);
    }

    async fn what_is_no_host_name_is_refused(app) {
        app.deploy("shop", "show", "1").await;
        let label = "a".repeat(63);
        let longest = format!("{label}.{label}.{label}.{}", "a".repeat(61));
        claim(app, "shop", &longest).await.is(201);
        for host in [
            "",
            "a b",
            "xn--a.example",
            "shop.example:80",
            "127.0.0.1",
            "[::1]",
            "*.example",
            &format!("{longest}a"),
            &format!("{label}a.example"),
        ] {
            let refused = claim(app, "shop", host).await.refuses(400, "field_invalid");
            assert_eq!(refused["field"], "host", "{host}");
        }
    }
}

//! Compressed responses, and 304 for unchanged ones.

use serde_json::{Value, json};

use crate::app::{Answer, TestApp};
use crate::browser::Browser;
use crate::with_an_app;

/// The `Accept-Encoding` of a browser.
const BROWSER: &str = "gzip, deflate, br, zstd";

async fn with_scripts(app: &TestApp) {
    for number in 0..8 {
        app.deploy("shop", &format!("script-{number}"), "1").await;
    }
}

fn encoding(answer: &Answer) -> Option<&str> {
    answer.header("content-encoding")
}

with_an_app! {
    async fn what_the_api_answers_comes_compressed(app) {
        with_scripts(app).await;
        let list = |accept: &str| app.admin().get("/apps/shop/scripts").header("accept-encoding", accept);
        let plain = list("identity").send().await.is(200);
        assert!(plain.body.len() > 1024, "{}", plain.body.len());
        assert_eq!(encoding(&plain), None);
        for (accept, expected) in [(BROWSER, "br"), ("gzip", "gzip"), ("br;q=0, gzip", "gzip")] {
            let packed = list(accept).send().await.is(200);
            assert_eq!(encoding(&packed), Some(expected), "{accept}");
            assert!(packed.body.len() * 3 < plain.body.len(), "{}", packed.body.len());
            assert!(packed.header("vary").unwrap().contains("accept-encoding"));
        }
        // Compression would not save a packet.
        let small = app.admin().get("/apps/shop/scripts?limit=1").header("accept-encoding", BROWSER);
        assert_eq!(encoding(&small.send().await.is(200)), None);
    }

    async fn what_a_script_answers_is_not_compressed(app) {
        let large = r#"let text = ""; text.pad(5000, "x"); text"#;
        app.deploy("shop", "large", large).await;
        app.domain("shop", "shop.example").await;
        let script = app.admin().get("/apps/shop/scripts").send().await.json()["items"][0]["id"].clone();
        let route = json!({"script_id": script, "method": "GET", "path": "/page", "host": "shop.example"});
        app.admin().post("/apps/shop/routes", route).send().await.is(201);
        let of_app = app.get("/x/shop/large").header("accept-encoding", BROWSER).send().await.is(200);
        assert_eq!((encoding(&of_app), of_app.body.len()), (None, 5002));
        let on_domain = app.get("/page").header("host", "shop.example");
        let on_domain = on_domain.header("accept-encoding", BROWSER).send().await.is(200);
        assert_eq!((encoding(&on_domain), on_domain.body.len()), (None, 5002));
        app.admin().request("PUT", "/apps/shop/files/b/f").text(&"x".repeat(5000)).send().await.is(200);
        let file = app.admin().get("/apps/shop/files/b/f").header("accept-encoding", BROWSER);
        let file = file.send().await.is(200);
        assert_eq!((encoding(&file), file.header("content-length")), (None, Some("5000")));
    }

    /// Otherwise the page could infer the session's secrets from the size of a response.
    async fn a_page_of_another_origin_gets_no_answer_that_is_compressed(app) {
        with_scripts(app).await;
        let browser = Browser::sign_in(app).await;
        let ask = |site: &str| {
            let call = browser.request(app, "GET", "/apps/shop/scripts");
            call.header("accept-encoding", BROWSER).header("sec-fetch-site", site)
        };
        for site in ["same-origin", "none"] {
            assert_eq!(encoding(&ask(site).send().await.is(200)), Some("br"), "{site}");
        }
        for site in ["same-site", "cross-site"] {
            ask(site).send().await.refuses(403, "cross_site_request");
        }
    }

    async fn what_has_not_changed_is_not_sent_again(app) {
        app.deploy("shop", "hello", "1").await;
        app.get("/x/shop/hello").send().await.is(200);
        app.flush().await;
        for path in ["/apps/shop/executions", "/apps/shop/scripts", "/apps/shop/stats?from=0&to=9"] {
            let first = app.admin().get(path).send().await.is(200);
            let etag = first.header("etag").unwrap();
            let again = || app.admin().get(path).header("if-none-match", etag);
            let same = again().send().await.is(304);
            assert!(same.body.is_empty(), "{path}");
            assert_eq!(same.header("etag"), Some(etag));
            // The caller is checked before the ETag is compared.
            app.get(&format!("/api/v1{path}")).header("if-none-match", etag).send().await
                .refuses(401, "unauthorized");
        }
        let list = app.admin().get("/apps/shop/executions").send().await.is(200);
        let etag = list.header("etag").unwrap().to_owned();
        app.get("/x/shop/hello").send().await.is(200);
        let changed = app.admin().get("/apps/shop/executions").header("if-none-match", &etag);
        let changed = changed.send().await.is(200);
        assert_eq!(changed.json()["items"].as_array().unwrap().len(), 2);
        assert_ne!(changed.header("etag"), Some(etag.as_str()));
        let refused = app.admin().get("/apps/nobody/executions").send().await;
        refused.refuses(404, "app_not_found");
        assert_eq!(refused.header("etag"), None);
    }

    async fn the_figures_of_several_apps_come_in_one_answer(app) {
        for (name, source) in [("shop", "1"), ("blog", "throw 1"), ("quiet", "1")] {
            app.deploy(name, "hello", source).await;
        }
        for path in ["/x/shop/hello", "/x/shop/hello", "/x/blog/hello"] {
            app.get(path).send().await;
        }
        let sum = |figures: &Value| -> i64 {
            figures.as_array().unwrap().iter().map(|each| each.as_i64().unwrap()).sum()
        };
        let stats = app.admin().get("/stats?apps=shop,quiet,nobody,blog,shop&from=0&buckets=30");
        let stats = stats.send().await.is(200).json();
        let figures: Vec<_> = stats["items"].as_array().unwrap().iter()
            .map(|each| {
                assert_eq!(each["runs"].as_array().unwrap().len(), 30);
                (each["app"].as_str().unwrap(), sum(&each["runs"]), sum(&each["errors"]))
            })
            .collect();
        assert_eq!(figures, [("blog", 1, 1), ("quiet", 0, 0), ("shop", 2, 0)]);
        assert_eq!(stats["items"][0]["truncated"], false);
        assert_eq!(stats["items"][0]["dead_letters_unresolved"], 0);

        // A member gets the list of their own apps, with any ETag.
        let member = Browser::of_member(app, "ada", "shop", "viewer").await;
        let seen = member.request(app, "GET", "/stats?apps=shop,blog,quiet").send().await.is(200).json();
        let seen: Vec<_> = seen["items"].as_array().unwrap().iter().map(|each| &each["app"]).collect();
        assert_eq!(seen, ["shop"]);
        let key = json!({"name": "of blog", "scopes": ["log:read"], "app": "blog"});
        let key = app.key(key).await["key"].as_str().unwrap().to_owned();
        let of_key = app.get("/api/v1/stats?apps=shop,blog").by_key(&key).send().await.is(200).json();
        assert_eq!(of_key["items"].as_array().unwrap().len(), 1, "{of_key}");
        assert_eq!(of_key["items"][0]["app"], "blog");

        let many = (0..51).map(|n| format!("a{n}")).collect::<Vec<_>>().join(",");
        for wrong in [format!("apps={many}"), "apps=".to_owned(), "buckets=3".to_owned(), "apps=shop&buckets=0".to_owned()] {
            let refused = app.admin().get(&format!("/stats?{wrong}")).send().await;
            refused.refuses(400, "field_invalid");
        }
    }
}

//! `/apps`.

use serde_json::{Value, json};

use crate::app::TestApp;
use crate::with_an_app;

async fn names(app: &TestApp, query: &str) -> Vec<String> {
    let page = app.admin().get(&format!("/apps{query}")).send().await.is(200).json();
    let items = page["items"].as_array().unwrap().iter();
    items.map(|item| item["name"].as_str().unwrap().to_owned()).collect()
}

with_an_app! {
    async fn an_app_is_made_shown_changed_and_deleted(app) {
        let admin = app.admin();
        let body = json!({"name": "shop", "description": "sells"});
        let made = admin.post("/apps", body).send().await.is(201).json();
        assert_eq!((&made["name"], &made["description"]), (&json!("shop"), &json!("sells")));
        assert_eq!(made["created_at"], made["updated_at"]);
        let mut shown = admin.get("/apps/shop").send().await.is(200).json();
        let capabilities = shown.as_object_mut().unwrap().remove("capabilities").unwrap();
        shown.as_object_mut().unwrap().remove("storage").unwrap();
        assert_eq!(shown, made);
        assert!(capabilities.as_array().unwrap().contains(&json!("app_manage")));

        let change = json!({"description": "buys"});
        let changed = admin.patch("/apps/shop", change).send().await.is(200).json();
        assert_eq!((&changed["id"], &changed["description"]), (&made["id"], &json!("buys")));
        assert!(changed["updated_at"].as_i64() > made["updated_at"].as_i64());

        let gone = admin.delete("/apps/shop").send().await.is(204);
        assert!(gone.body.is_empty());
        admin.get("/apps/shop").send().await.refuses(404, "app_not_found");
        admin.delete("/apps/shop").send().await.refuses(404, "app_not_found");
        admin.post("/apps", json!({"name": "shop"})).send().await.is(201);
    }

    async fn a_name_is_taken_once(app) {
        let admin = app.admin();
        admin.post("/apps", json!({"name": "shop"})).send().await.is(201);
        admin.post("/apps", json!({"name": "blog"})).send().await.is(201);
        let taken = "app_name_taken";
        admin.post("/apps", json!({"name": "shop"})).send().await.refuses(409, taken);
        admin.patch("/apps/blog", json!({"name": "shop"})).send().await.refuses(409, taken);
        assert_eq!(names(app, "").await, ["blog", "shop"]);
    }

    async fn names_and_descriptions_are_bounded(app) {
        let admin = app.admin();
        let make = |name: &str, description: &str| {
            admin.post("/apps", json!({"name": name, "description": description})).send()
        };
        make(&"a".repeat(63), &"d".repeat(4096)).await.is(201);
        let refused = make(&"b".repeat(64), "").await.refuses(400, "field_invalid");
        assert_eq!(refused["field"], "name");
        let refused = make("c", &"d".repeat(4097)).await.refuses(400, "field_invalid");
        assert_eq!(refused["field"], "description");
        for name in ["", "Shop", "1shop", "a b", "a/b", "a_b", "ä", "a\u{0}b"] {
            make(name, "").await.refuses(400, "field_invalid");
        }
        assert_eq!(names(app, "").await, ["a".repeat(63)]);
    }

    async fn what_is_no_request_for_an_app_is_refused(app) {
        let admin = app.admin();
        let post = |content_type: &str, body: &str| {
            admin.request("POST", "/apps").body(content_type, body.to_owned()).send()
        };
        post("text/plain", r#"{"name":"a"}"#).await.refuses(400, "body_not_json");
        for body in ["", "{", "[]", "{}", r#"{"name":1}"#, r#"{"name":"a","nmae":"b"}"#] {
            post("application/json", body).await.refuses(400, "body_invalid");
        }
        let large = format!(r#"{{"name":"a","description":"{}"}}"#, "d".repeat(2 << 20));
        post("application/json", &large).await.refuses(413, "body_too_large");
        assert!(names(app, "").await.is_empty());
    }

    async fn a_byte_order_mark_before_a_body_is_ignored(app) {
        let post = |body: &str| {
            let body = format!("\u{feff}{body}");
            app.admin().request("POST", "/apps").body("application/json", body).send()
        };
        assert_eq!(post(r#"{"name":"shop"}"#).await.is(201).json()["name"], "shop");
        post(r#"["shop"]"#).await.refuses(400, "body_invalid");
        post("").await.refuses(400, "body_invalid");
    }

    async fn a_body_in_a_coding_is_refused_with_the_codings_that_are_taken(app) {
        app.admin().post("/apps", json!({"name": "shop"})).send().await.is(201);
        let unsupported = "content_encoding_unsupported";
        for (method, path, content_type) in [
            ("POST", "/apps", "application/json"),
            ("PUT", "/apps/shop/kv/c/k", "application/json"),
            ("POST", "/apps/shop/events", "application/json"),
            ("PUT", "/apps/shop/files/b/f", "application/octet-stream"),
            ("POST", "/auth/login", "application/json"),
        ] {
            for coding in ["gzip", "br", "GZIP", "compress", "gzip, gzip", "identity, deflate"] {
                let call = app.admin().request(method, path).body(content_type, "{}");
                let answer = call.header("content-encoding", coding).send().await;
                assert_eq!(answer.header("accept-encoding"), Some("identity"), "{path} {coding}");
                answer.refuses(415, unsupported);
            }
        }
        app.admin().get("/apps/shop/files/b/f").send().await.refuses(404, "file_not_found");
        // A caller without credentials gets 401 first.
        let nobody = app.post("/api/v1/apps").header("content-encoding", "gzip").send().await;
        nobody.is(401);
        let file = app.admin().request("PUT", "/apps/shop/files/b/f").body("text/plain", "as it is");
        file.header("content-encoding", "identity").send().await.is(200);
    }

    async fn an_app_that_is_not_there_is_not_found(app) {
        let admin = app.admin();
        let change = json!({"description": "x"});
        for name in ["none", "No%20Name", "%00", "%FF"] {
            let path = |rest: &str| format!("/apps/{name}{rest}");
            for answer in [
                admin.get(&path("")).send().await,
                admin.patch(&path(""), change.clone()).send().await,
                admin.delete(&path("")).send().await,
                admin.get(&path("/scripts")).send().await,
                admin.post(&path("/scripts"), json!({"name": "s", "source": "1"})).send().await,
                admin.get(&path("/routes")).send().await,
                admin.get(&path("/domains")).send().await,
                admin.post(&path("/domains"), json!({"host": "a.example"})).send().await,
                admin.get(&path("/executions")).send().await,
            ] {
                answer.refuses(404, "app_not_found");
            }
        }
    }

    async fn apps_are_listed_in_pages_the_newest_first(app) {
        for name in ["one", "two", "three", "four", "five"] {
            let body = json!({"name": name, "description": format!("Number {name}")});
            app.admin().post("/apps", body).send().await.is(201);
        }
        assert_eq!(names(app, "").await, ["five", "four", "three", "two", "one"]);
        let page = app.admin().get("/apps?limit=2").send().await.json();
        assert_eq!(page["next_offset"], 2);
        assert_eq!(names(app, "?limit=2&offset=2").await, ["three", "two"]);
        let page = app.admin().get("/apps?limit=2&offset=4").send().await.json();
        assert_eq!(
            (page["items"].as_array().unwrap().len(), &page["next_offset"]),
            (1, &Value::Null)
        );
        assert_eq!(names(app, "?q=NUMBER%20F").await, ["five", "four"]);
        assert_eq!(names(app, "?q=wo").await, ["two"]);
        assert!(names(app, "?q=%25").await.is_empty());
    }

    async fn a_page_is_bounded_by_name(app) {
        app.admin().get("/apps?limit=200").send().await.is(200);
        for query in ["limit=201", "limit=0", "limit=-1", "offset=-1"] {
            let refused = app.admin().get(&format!("/apps?{query}")).send().await;
            let field = query.split('=').next().unwrap();
            assert_eq!(refused.refuses(400, "field_invalid")["field"], field, "{query}");
        }
        for query in ["limit=all", "offset=x", "page=2", "limit=1&limit=2"] {
            let refused = app.admin().get(&format!("/apps?{query}")).send().await;
            refused.refuses(400, "query_invalid");
        }
    }

    async fn endpoints_move_with_the_name_of_the_app(app) {
        app.deploy("shop", "hello", "ctx.app").await;
        app.get("/x/shop/hello").send().await.is(200);
        app.admin().patch("/apps/shop", json!({"name": "store"})).send().await.is(200);
        app.get("/x/shop/hello").send().await.refuses(404, "endpoint_not_found");
        assert_eq!(app.get("/x/store/hello").send().await.is(200).json(), "store");
    }

    async fn a_deleted_app_takes_its_scripts_routes_and_domains_with_it(app) {
        let admin = app.admin();
        let id = app.deploy("shop", "hello", "1").await;
        app.domain("shop", "shop.example").await;
        let route = json!({"script_id": id, "method": "GET", "path": "/a"});
        let route = admin.post("/apps/shop/routes", route).send().await.is(201).json();
        let ran = app.get("/x/shop/a").send().await.is(200);

        admin.delete("/apps/shop").send().await.is(204);
        app.get("/x/shop/hello").send().await.refuses(404, "endpoint_not_found");
        app.get("/x/shop/a").send().await.refuses(404, "endpoint_not_found");
        admin.get(&format!("/scripts/{id}")).send().await.refuses(404, "script_not_found");
        let route = format!("/routes/{}", route["id"].as_str().unwrap());
        admin.get(&route).send().await.refuses(404, "route_not_found");
        app.deploy("blog", "hello", "1").await;
        app.domain("blog", "shop.example").await;
        // Past executions stay visible.
        assert_eq!(app.execution(ran.execution_id()).await["script"], "hello");
    }
}

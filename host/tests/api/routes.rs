//! Routes: a method and a path that lead to a script.

use serde_json::{Value, json};

use crate::app::{Answer, TestApp};
use crate::with_an_app;

/// Returns the called script and the route parameters.
const WHO: &str = "#{ script: ctx.script, params: ctx.request.params }";

async fn route(app: &TestApp, script_id: &str, method: &str, path: &str) -> Answer {
    let body = json!({"script_id": script_id, "method": method, "path": path});
    app.admin().post("/apps/shop/routes", body).send().await
}

async fn answer(app: &TestApp, method: &str, path: &str) -> (String, Value) {
    let answer = app.request(method, path).send().await.is(200).json();
    (answer["script"].as_str().unwrap().to_owned(), answer["params"].clone())
}

with_an_app! {
    async fn a_route_is_made_shown_listed_and_deleted(app) {
        let id = app.deploy("shop", "show", WHO).await;
        let made = route(app, &id, "get", "/%69tems/{id}").await.is(201).json();
        assert_eq!((&made["method"], &made["path"]), (&json!("GET"), &json!("/items/{id}")));
        assert_eq!((&made["host"], &made["script_id"]), (&Value::Null, &json!(id)));
        let path = format!("/routes/{}", made["id"].as_str().unwrap());
        assert_eq!(app.admin().get(&path).send().await.is(200).json(), made);
        let second = route(app, &id, "POST", "/items").await.is(201).json();
        let page = app.admin().get("/apps/shop/routes").send().await.is(200).json();
        assert_eq!(page["items"], json!([second, made]));

        assert_eq!(answer(app, "GET", "/x/shop/items/7").await.1, json!({"id": "7"}));
        app.admin().delete(&path).send().await.is(204);
        app.get("/x/shop/items/7").send().await.refuses(404, "endpoint_not_found");
        app.admin().get(&path).send().await.refuses(404, "route_not_found");
        app.admin().delete(&path).send().await.refuses(404, "route_not_found");
        app.admin().get("/routes/none").send().await.refuses(404, "route_not_found");
    }

    async fn parameters_are_what_stands_in_the_path(app) {
        let id = app.deploy("shop", "show", WHO).await;
        route(app, &id, "GET", "/users/{user}/posts/{post}").await.is(201);
        route(app, &id, "GET", "/files/{*path}").await.is(201);
        for (path, params) in [
            ("/users/7/posts/9", json!({"user": "7", "post": "9"})),
            ("/users/a%20b/posts/%C3%BC", json!({"user": "a b", "post": "ü"})),
            ("/users/a%2Fb/posts/+", json!({"user": "a/b", "post": "+"})),
            ("/files/a", json!({"path": "a"})),
            ("/files/a/b/c.txt", json!({"path": "a/b/c.txt"})),
        ] {
            assert_eq!(answer(app, "GET", &format!("/x/shop{path}")).await.1, params, "{path}");
        }
        for path in ["/users/7/posts", "/users//posts/9", "/files", "/files/"] {
            let missed = app.get(&format!("/x/shop{path}")).send().await;
            missed.refuses(404, "endpoint_not_found");
        }
    }

    async fn the_more_specific_route_goes_before_the_less_specific(app) {
        let mut made = Vec::new();
        for (name, method, path) in [
            ("rest", "*", "/{*rest}"),
            ("one", "GET", "/items/{id}"),
            ("any", "*", "/items/{other}/x"),
            ("new", "GET", "/items/new"),
            ("tail", "GET", "/items/{*tail}"),
            ("post", "POST", "/items/new"),
        ] {
            let id = app.deploy("shop", name, WHO).await;
            made.push(route(app, &id, method, path).await.is(201));
        }
        for (method, path, script) in [
            ("GET", "/items/new", "new"),
            ("POST", "/items/new", "post"),
            ("GET", "/items/7", "one"),
            ("PATCH", "/items/7/x", "any"),
            ("GET", "/items/7/y", "tail"),
            ("GET", "/other", "rest"),
            ("PUT", "/other/path", "rest"),
            ("GET", "/one", "one"),
        ] {
            let (by, _) = answer(app, method, &format!("/x/shop{path}")).await;
            assert_eq!(by, script, "{method} {path}");
        }
    }

    async fn a_known_path_tells_which_methods_it_answers(app) {
        let id = app.deploy("shop", "show", WHO).await;
        route(app, &id, "GET", "/items").await.is(201);
        route(app, &id, "PUT", "/items").await.is(201);
        let refused = app.request("DELETE", "/x/shop/items").send().await;
        refused.refuses(405, "method_not_allowed");
        let mut allowed: Vec<_> = refused.header("allow").unwrap().split(", ").collect();
        allowed.sort_unstable();
        assert_eq!(allowed, ["GET", "HEAD", "PUT"]);
        assert_eq!(app.count_executions(&id).await, 0);
    }

    async fn a_head_is_answered_as_a_get_without_its_body(app) {
        let id = app.deploy("shop", "show", WHO).await;
        route(app, &id, "GET", "/items").await.is(201);
        let head = app.request("HEAD", "/x/shop/items").send().await.is(200);
        assert!(head.body.is_empty());
        let get = app.get("/x/shop/items").send().await.is(200);
        assert_eq!(head.header("content-length"), Some(&*get.body.len().to_string()));
    }

    async fn a_route_that_answers_what_another_answers_is_refused_with_both_names(app) {
        let first = app.deploy("shop", "first", WHO).await;
        let second = app.deploy("shop", "second", WHO).await;
        let made = route(app, &first, "GET", "/items/{id}").await.is(201).json();
        for (method, path) in
            [("GET", "/items/{name}"), ("*", "/items/{id}"), ("get", "/%69tems/{x}")]
        {
            let refused = route(app, &second, method, path).await.refuses(409, "route_conflict");
            assert_eq!(refused["conflicting_route"], "GET /items/{id}");
            assert_eq!(refused["conflicting_route_id"], made["id"]);
            assert_eq!(refused["conflicting_script_id"], json!(first));
            let words = refused["message"].as_str().unwrap();
            assert!(words.contains("GET /items/{id}"), "{words}");
            let own = refused["route"].as_str().unwrap();
            assert!(words.contains(own) && own.starts_with(&method.to_uppercase()), "{words}");
        }
        route(app, &second, "POST", "/items/{name}").await.is(201);
        // Another app has its own paths.
        let other = app.deploy("blog", "other", WHO).await;
        let body = json!({"script_id": other, "method": "GET", "path": "/items/{id}"});
        app.admin().post("/apps/blog/routes", body).send().await.is(201);
        assert_eq!(answer(app, "GET", "/x/blog/items/7").await.0, "other");
        assert_eq!(answer(app, "GET", "/x/shop/items/7").await.0, "first");
    }

    async fn neither_a_route_nor_a_script_takes_the_place_of_the_other(app) {
        let hello = app.deploy("shop", "hello", WHO).await;
        let other = app.deploy("shop", "other", WHO).await;
        let refused =
            route(app, &other, "GET", "/hello").await.refuses(409, "route_hides_endpoint");
        assert_eq!(refused["conflicting_script_id"], json!(hello));
        route(app, &hello, "GET", "/hello").await.is(201);

        let made = route(app, &other, "GET", "/later").await.is(201).json();
        let body = json!({"name": "later", "source": "1"});
        let refused = app.admin().post("/apps/shop/scripts", body).send().await;
        let error = refused.refuses(409, "endpoint_taken_by_route");
        assert_eq!(error["conflicting_route_id"], made["id"]);
        assert_eq!(answer(app, "GET", "/x/shop/later").await.0, "other");
        assert_eq!(answer(app, "GET", "/x/shop/hello").await.0, "hello");
    }

    async fn what_is_no_route_is_refused(app) {
        let id = app.deploy("shop", "show", WHO).await;
        let foreign = app.deploy("blog", "show", WHO).await;
        for path in [
            "",
            "items",
            "/items/",
            "//",
            "/{id}/{id}",
            "/{*rest}/x",
            "/a{id}",
            "/{",
            "/a?b",
            "/..",
        ] {
            let refused = route(app, &id, "GET", path).await.refuses(400, "field_invalid");
            assert_eq!(refused["field"], "path", "{path}");
        }
        let longest = format!("/{}", "a".repeat(511));
        route(app, &id, "GET", &format!("{longest}a")).await.refuses(400, "field_invalid");
        route(app, &id, "GET", &longest).await.is(201);
        app.get(&format!("/x/shop{longest}")).send().await.is(200);
        for method in ["", "CONNECT", "FETCH"] {
            let refused = route(app, &id, method, "/items").await.refuses(400, "field_invalid");
            assert_eq!(refused["field"], "method");
        }
        for script in [foreign.as_str(), "0197f3a4-5c1e-7b7a-8f6e-3d2c1b0a9f8e", "none"] {
            route(app, script, "GET", "/items").await.refuses(404, "script_not_found");
        }
        let page = app.admin().get("/apps/shop/routes").send().await.is(200).json();
        assert_eq!(page["items"].as_array().unwrap().len(), 1);
        app.admin().get("/apps/shop/routes?limit=201").send().await.refuses(400, "field_invalid");
    }

    async fn a_deleted_script_takes_its_routes_with_it(app) {
        let id = app.deploy("shop", "show", WHO).await;
        route(app, &id, "GET", "/items").await.is(201);
        app.admin().delete(&format!("/scripts/{id}")).send().await.is(204);
        app.get("/x/shop/items").send().await.refuses(404, "endpoint_not_found");
        let id = app.deploy("shop", "items", WHO).await;
        assert_eq!(answer(app, "GET", "/x/shop/items").await.0, "items");
        assert_eq!(app.count_executions(&id).await, 1);
    }
}

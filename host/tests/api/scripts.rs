//! `/apps/{app}/scripts` and `/scripts/{id}`.

use serde_json::{Value, json};

use crate::app::TestApp;
use crate::with_an_app;

/// The largest source that is accepted, in bytes.
const SOURCE_BYTES_MAX: usize = 256 << 10;

async fn scripts(app: &TestApp, query: &str) -> Vec<String> {
    let path = format!("/apps/shop/scripts{query}");
    let page = app.admin().get(&path).send().await.is(200).json();
    let items = page["items"].as_array().unwrap().iter();
    items.map(|item| item["name"].as_str().unwrap().to_owned()).collect()
}

async fn with_source(app: &TestApp, id: &str) -> Value {
    app.admin().get(&format!("/scripts/{id}")).send().await.is(200).json()
}

with_an_app! {
    async fn a_script_is_made_shown_changed_and_deleted(app) {
        let limits =
            json!({"fuel_max": 1_000_000, "memory_bytes_max": 16 << 20, "wall_ms_max": 500});
        let body =
            json!({"name": "hello", "source": "1", "description": "greets", "limits": limits});
        let id = app.deploy_with("shop", body).await;
        let path = format!("/scripts/{id}");
        let script = with_source(app, &id).await;
        assert_eq!(script["endpoint"], "/x/shop/hello");
        assert_eq!((&script["version"], &script["source"]), (&json!(1), &json!("1")));
        assert_eq!((&script["app"], &script["limits"]), (&json!("shop"), &limits));
        let sha256 = "6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b";
        assert_eq!(script["source_sha256"], sha256);
        assert_eq!(app.get("/x/shop/hello").send().await.is(200).json(), 1);

        let change = json!({"description": "waves", "limits": {"wall_ms_max": 900}});
        let changed = app.admin().put(&path, change).send().await.is(200).json();
        assert_eq!((&changed["version"], &changed["description"]), (&json!(1), &json!("waves")));
        let limits = json!({"fuel_max": null, "memory_bytes_max": null, "wall_ms_max": 900});
        assert_eq!(changed["limits"], limits);
        let changed = app.update(&id, "2").await.is(200).json();
        assert_eq!((&changed["version"], &changed["limits"]), (&json!(2), &limits));
        assert_eq!(app.get("/x/shop/hello").send().await.is(200).json(), 2);

        app.admin().delete(&path).send().await.is(204);
        app.admin().delete(&path).send().await.refuses(404, "script_not_found");
        app.get("/x/shop/hello").send().await.refuses(404, "endpoint_not_found");
        assert!(scripts(app, "").await.is_empty());
    }

    async fn a_name_is_taken_once_in_an_app(app) {
        app.deploy("shop", "hello", "1").await;
        app.deploy("blog", "hello", "2").await;
        let body = json!({"name": "hello", "source": "3"});
        let again = app.admin().post("/apps/shop/scripts", body).send().await;
        again.refuses(409, "script_name_taken");
        assert_eq!(app.get("/x/shop/hello").send().await.is(200).json(), 1);
        assert_eq!(app.get("/x/blog/hello").send().await.is(200).json(), 2);
    }

    async fn a_source_that_does_not_parse_is_refused_on_create(app) {
        app.deploy("shop", "good", "1").await;
        let body = json!({"name": "bad", "source": "let a = 1;\nlet b = a +;\n"});
        let refused = app.admin().post("/apps/shop/scripts", body).send().await;
        let error = refused.refuses(422, "source_invalid");
        assert_eq!((&error["line"], &error["column"]), (&json!(2), &json!(12)), "{error}");
        assert_eq!(scripts(app, "").await, ["good"]);
        app.get("/x/shop/bad").send().await.refuses(404, "endpoint_not_found");
        app.deploy("shop", "bad", "2").await;
    }

    async fn a_source_that_does_not_parse_is_refused_on_update(app) {
        let id = app.deploy("shop", "hello", "1").await;
        let change = json!({
            "source": "fn f( { }", "description": "new", "limits": {"fuel_max": 5_000_000},
        });
        let refused = app.admin().put(&format!("/scripts/{id}"), change).send().await;
        let error = refused.refuses(422, "source_invalid");
        assert_eq!((&error["line"], &error["column"]), (&json!(1), &json!(7)), "{error}");
        let script = with_source(app, &id).await;
        assert_eq!((&script["version"], &script["source"]), (&json!(1), &json!("1")));
        assert_eq!(
            (&script["description"], &script["limits"]["fuel_max"]),
            (&json!(""), &Value::Null)
        );
        let versions = app.admin().get(&format!("/scripts/{id}/versions")).send().await.json();
        assert_eq!(versions["items"].as_array().unwrap().len(), 1);
        assert_eq!(app.get("/x/shop/hello").send().await.is(200).json(), 1);
    }

    async fn a_source_is_checked_without_being_stored(app) {
        let check = |source: &str| {
            app.admin().post("/scripts/check", json!({"source": source})).send()
        };
        assert_eq!(check("let a = 1; a").await.is(200).json(), json!({"ok": true}));
        let bad = check("let a = 1;\nlet b = a +;\n").await.is(200).json();
        assert_eq!((&bad["ok"], &bad["line"], &bad["column"]), (&json!(false), &json!(2), &json!(12)));
        assert!(bad["message"].as_str().unwrap().contains("';'"), "{bad}");
        // The check does not run it.
        assert_eq!(check("throw 1").await.is(200).json(), json!({"ok": true}));

        let refused = check(&" ".repeat(SOURCE_BYTES_MAX + 1)).await;
        refused.refuses(413, "source_too_large");
        let body = json!({"source": "1", "name": "hello"});
        app.admin().post("/scripts/check", body).send().await.refuses(400, "body_invalid");
    }

    async fn a_source_is_bounded(app) {
        let largest = format!("1{}", " ".repeat(SOURCE_BYTES_MAX - 1));
        let id = app.deploy("shop", "large", &largest).await;
        assert_eq!(app.get("/x/shop/large").send().await.is(200).json(), 1);
        let larger = format!("{largest} ");
        let body = json!({"name": "larger", "source": larger});
        let answers = [
            app.admin().post("/apps/shop/scripts", body).send().await,
            app.update(&id, &larger).await,
        ];
        for answer in answers {
            let error = answer.refuses(413, "source_too_large");
            assert_eq!(error["limit"], "source_bytes");
            assert_eq!((&error["asked"], &error["most"]), (&json!(262_145), &json!(262_144)));
        }
        assert_eq!(with_source(app, &id).await["version"], 1);
    }

    async fn an_empty_source_is_a_script_that_answers_nothing(app) {
        app.deploy("shop", "empty", "").await;
        assert_eq!(app.get("/x/shop/empty").send().await.is(200).text(), "null");
    }

    async fn names_and_descriptions_are_bounded(app) {
        app.deploy_with("shop", json!({
            "name": format!("a{}", "_".repeat(62)), "source": "1", "description": "d".repeat(4096),
        })).await;
        for (name, description, field) in [
            ("b".repeat(64), String::new(), "name"),
            (String::new(), String::new(), "name"),
            ("_b".to_owned(), String::new(), "name"),
            ("B".to_owned(), String::new(), "name"),
            ("b/c".to_owned(), String::new(), "name"),
            ("b".to_owned(), "d".repeat(4097), "description"),
        ] {
            let body = json!({"name": name, "source": "1", "description": description});
            let refused = app.admin().post("/apps/shop/scripts", body).send().await;
            assert_eq!(refused.refuses(400, "field_invalid")["field"], field, "{name}");
        }
        assert_eq!(scripts(app, "").await.len(), 1);
    }

    async fn scripts_are_listed_in_pages_the_newest_first(app) {
        for name in ["one", "two", "three"] {
            app.deploy("shop", name, "1").await;
        }
        app.deploy("blog", "other", "1").await;
        assert_eq!(scripts(app, "").await, ["three", "two", "one"]);
        assert_eq!(scripts(app, "?limit=1&offset=1").await, ["two"]);
        assert_eq!(scripts(app, "?name=one").await, ["one"]);
        assert!(scripts(app, "?name=other").await.is_empty());
        let refused = app.admin().get("/apps/shop/scripts?limit=201").send().await;
        refused.refuses(400, "field_invalid");
    }

    async fn a_script_that_is_not_there_is_not_found(app) {
        app.deploy("shop", "hello", "1").await;
        let admin = app.admin();
        for id in ["0197f3a4-5c1e-7b7a-8f6e-3d2c1b0a9f8e", "hello", "1", "%00", "%FF"] {
            let path = format!("/scripts/{id}");
            let below = |rest: &str| format!("{path}/{rest}");
            for answer in [
                admin.get(&path).send().await,
                admin.put(&path, json!({"source": "2"})).send().await,
                admin.delete(&path).send().await,
                admin.get(&below("versions")).send().await,
                admin.post(&below("rollback"), json!({"version": 1})).send().await,
                admin.get(&below("logs")).send().await,
                admin.post(&format!("/execute/{id}"), json!({})).send().await,
            ] {
                answer.refuses(404, "script_not_found");
            }
        }
    }

    async fn the_endpoint_of_no_script_is_not_found(app) {
        app.deploy("shop", "hello", "1").await;
        for path in [
            "/x/shop/none",
            "/x/none/hello",
            "/x/shop",
            "/x/shop/",
            "/x/shop/hello/more",
            "/x/shop/hello/",
            "/x/Shop/hello",
            "/x/shop/%FF",
        ] {
            let answer = app.get(path).send().await;
            answer.refuses(404, "endpoint_not_found");
            assert_eq!(answer.header("x-picloud-execution-id"), None, "{path}");
        }
    }

    async fn a_deleted_script_leaves_its_executions(app) {
        let id = app.deploy("shop", "hello", "1").await;
        let ran = app.get("/x/shop/hello").send().await.is(200);
        app.admin().delete(&format!("/scripts/{id}")).send().await.is(204);
        assert_eq!(app.execution(ran.execution_id()).await["script_id"], json!(id));
        let page = app.admin().get("/apps/shop/executions").send().await.is(200).json();
        assert_eq!(page["items"].as_array().unwrap().len(), 1);
    }
}

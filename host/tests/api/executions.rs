//! The execution log: the stored data of a run, and its lists.

use picloud::store::Execution;
use serde_json::{Value, json};

use crate::app::TestApp;
use crate::with_an_app;

/// Returns the ids on a page, and the offset of the next one.
async fn page(app: &TestApp, path: &str) -> (Vec<String>, Value) {
    let page = app.admin().get(path).send().await.is(200).json();
    let items = page["items"].as_array().unwrap().iter();
    let ids = items.map(|item| item["id"].as_str().unwrap().to_owned());
    (ids.collect(), page["next_offset"].clone())
}

async fn run(app: &TestApp, path: &str) -> String {
    app.get(path).send().await.execution_id().to_owned()
}

/// Fails if `value` does not match `schema` in the API's description: it can have no other
/// properties, and must have all required ones.
fn is_described(document: &Value, schema: &str, value: &Value) {
    let schema = &document["components"]["schemas"][schema];
    let properties = schema["properties"].as_object().unwrap();
    for name in value.as_object().unwrap().keys() {
        assert!(properties.contains_key(name), "{name} is not described: {value}");
    }
    for name in schema["required"].as_array().into_iter().flatten() {
        assert!(value.get(name.as_str().unwrap()).is_some(), "{name} is missing: {value}");
    }
}

with_an_app! {
    async fn what_an_execution_keeps_is_described(app) {
        let source = r#"log::info("text", #{ n: 124750 }); log::warn("only text"); ctx.request.body"#;
        let id = app.deploy("shop", "hello", source).await;
        let document = app.get("/api/v1/openapi.json").send().await.is(200).json();
        let asked = app.post("/x/shop/hello?a=b").text("text").send().await.is(200);
        let small = json!({"event": {"kind": "queue", "queue": {"queue": "q", "payload": 1}}});
        let large = json!({"event": {"kind": "queue", "queue": {"queue": "q", "payload": "x".repeat(70_000)}}});
        let mut runs = vec![asked.execution_id().to_owned()];
        for event in [small, large] {
            let ran = app.admin().post(&format!("/scripts/{id}/test"), event).send().await.is(200).json();
            for line in ran["log"].as_array().unwrap() {
                is_described(&document, "LogLine", line);
            }
            runs.push(ran["execution_id"].as_str().unwrap().to_owned());
        }
        for run in runs {
            let row = app.execution(&run).await;
            is_described(&document, "RecordedRequest", &row["request"]);
            if row["response"] != Value::Null {
                is_described(&document, "RecordedResponse", &row["response"]);
            }
            for line in row["log"].as_array().unwrap() {
                is_described(&document, "LogLine", line);
            }
            assert!(!row["log"].as_array().unwrap().is_empty());
        }
        app.admin().request("PUT", "/apps/shop/files/b/f").text("text").send().await.is(200);
        let files = app.admin().get("/apps/shop/files/b").send().await.is(200).json();
        assert_eq!(files["items"][0]["value"]["size_bytes"], 4);
        is_described(&document, "FileFacts", &files["items"][0]["value"]);
    }

    async fn an_execution_keeps_what_was_asked_and_what_was_answered(app) {
        let source = "#{ status: 201, headers: #{ \"x-kind\": \"new\" }, body: \"made\" }";
        let id = app.deploy("shop", "hello", source).await;
        let ran =
            app.post("/x/shop/hello?q=a%20b&q=c").header("x-who", "me").text("grün").send().await;
        let row = app.execution(ran.is(201).execution_id()).await;
        assert_eq!((&row["status"], &row["trigger"]), (&json!("success"), &json!("http")));
        assert_eq!((&row["script"], &row["script_id"]), (&json!("hello"), &json!(id)));
        assert_eq!((&row["version"], &row["attempt"]), (&json!(1), &json!(1)));
        assert_eq!((&row["method"], &row["path"]), (&json!("POST"), &json!("/x/shop/hello")));
        assert_eq!((&row["response_status"], &row["error"]), (&json!(201), &Value::Null));
        assert_eq!(row["request"]["query"], json!([["q", "a b"], ["q", "c"]]));
        assert_eq!(row["request"]["remote_address"], crate::app::CALLER);
        assert_eq!(
            (&row["request"]["body"], &row["request"]["body_bytes"]),
            (&json!("grün"), &json!(5))
        );
        let headers = row["request"]["headers"].as_array().unwrap();
        assert!(headers.contains(&json!(["x-who", "me"])), "{headers:?}");
        assert_eq!(row["response"]["body"], "made");
        assert_eq!(row["response"]["headers"][0], json!(["x-kind", "new"]));
        assert!(row["fuel_used"].as_i64() > Some(1000), "{row}");
        assert!(row["memory_peak_bytes"].as_i64() >= Some(1 << 20), "{row}");
        assert!(row["duration_us"].as_i64() > Some(0), "{row}");
        let took = row["finished_at"].as_i64().unwrap() - row["started_at"].as_i64().unwrap();
        assert_eq!(json!(took), row["duration_us"]);
    }

    async fn executions_can_be_deleted_before_their_time(app) {
        for name in ["one", "two"] {
            app.deploy("shop", name, "1").await;
        }
        app.deploy("blog", "one", "1").await;
        for path in ["/x/shop/one", "/x/shop/two", "/x/shop/one", "/x/blog/one"] {
            run(app, path).await;
        }
        let admin = app.admin();
        let purge = async |path: &str| admin.delete(path).send().await.is(200).json();
        let done = |deleted: u64| json!({"deleted": deleted, "complete": true});
        assert_eq!(purge("/apps/shop/executions?older_than_s=3600").await, done(0));
        assert_eq!(purge("/apps/shop/executions?older_than_s=0&script=one").await, done(2));
        assert_eq!(purge("/apps/shop/executions?older_than_s=0").await, done(1));
        assert_eq!(page(app, "/apps/blog/executions").await.0.len(), 1);
        assert_eq!(purge("/executions?older_than_s=0").await, done(1));
        let audit = admin.get("/audit?action=purge_executions").send().await.is(200).json();
        assert_eq!(audit["items"].as_array().unwrap().len(), 4);
        assert_eq!(audit["items"][1]["after"], json!({"older_than_s": 0, "script": null}));
        for (path, status, code) in [
            ("/apps/shop/executions", 400, "field_invalid"),
            ("/apps/shop/executions?older_than_s=-1", 400, "query_invalid"),
            ("/apps/shop/executions?older_than_s=4294967295", 200, ""),
            ("/executions?older_than_s=0&script=one", 400, "query_invalid"),
            ("/apps/shop/executions?older_than_s=0&script=none", 404, "script_not_found"),
            ("/apps/none/executions?older_than_s=0", 404, "app_not_found"),
        ] {
            let answer = admin.delete(path).send().await;
            match status {
                200 => drop(answer.is(200)),
                _ => drop(answer.refuses(status, code)),
            }
        }
    }

    async fn a_failed_execution_is_in_the_log_with_its_status_line_and_column(app) {
        let source = "let a = 1;\n\nif a > 0 {\n    throw \"no\";\n}\n";
        let id = app.deploy("shop", "bad", source).await;
        let ran = app.get("/x/shop/bad").send().await.is(500);
        let row = app.execution(ran.execution_id()).await;
        assert_eq!((&row["status"], &row["response"]), (&json!("error"), &Value::Null));
        assert_eq!(row["error"], json!({"message": "no", "line": 4, "column": 5}));
        let logs = app.admin().get(&format!("/scripts/{id}/logs")).send().await.is(200).json();
        assert_eq!(logs["items"][0]["error"], row["error"]);
        assert_eq!(logs["items"][0]["status"], "error");
        assert_eq!(logs["items"][0]["response_status"], Value::Null);
    }

    async fn log_lines_are_kept_with_their_data_also_when_the_script_fails(app) {
        let source =
            "log::info(\"start\", #{ items: [1, 2.5, ()], who: \"ü\" });\nprint(`p`);\nthrow 1;";
        app.deploy("shop", "bad", source).await;
        let ran = app.get("/x/shop/bad").send().await.is(500);
        let row = app.execution(ran.execution_id()).await;
        assert_eq!(row["log_lines"], 2);
        let first = &row["log"][0];
        assert_eq!(
            (&first["level"], &first["message"], &first["line"]),
            (&json!("info"), &json!("start"), &json!(1))
        );
        let data: Value = serde_json::from_str(first["data"].as_str().unwrap()).unwrap();
        assert_eq!(data, json!({"items": [1, 2.5, null], "who": "ü"}));
        assert_eq!(
            (&row["log"][1]["message"], &row["log"][1]["level"]),
            (&json!("p"), &json!("info"))
        );
    }

    async fn credentials_are_not_kept(app) {
        app.deploy("shop", "hello", r#"#{ headers: #{ "set-cookie": "id=S3CRET" }, body: "x" }"#)
            .await;
        let call = app.get("/x/shop/hello").header("authorization", "Bearer S3CRET");
        let call = call.header("cookie", "id=S3CRET").header("x-api-key", "S3CRET");
        let ran =
            call.header("proxy-authorization", "S3CRET").header("x-note", "plain").send().await;
        let row = app.execution(ran.is(200).execution_id()).await;
        for name in ["authorization", "cookie", "x-api-key", "proxy-authorization"] {
            let headers = row["request"]["headers"].as_array().unwrap();
            assert!(headers.contains(&json!([name, "***"])), "{name}: {headers:?}");
        }
        assert!(
            row["response"]["headers"].as_array().unwrap().contains(&json!(["set-cookie", "***"]))
        );
        assert!(row.to_string().contains("plain"));
        assert!(
            !row.to_string().contains("S3CRET"),
            "{row}"
        );
        let ran = app.get("/x/shop/hello").by_owner().send().await.is(200);
        let row = app.execution(ran.execution_id()).await.to_string();
        assert!(!row.contains("owner-key") && !row.contains("authorization"), "{row}");
    }

    async fn a_row_keeps_the_beginning_of_a_text_and_nothing_of_a_blob(app) {
        app.deploy("shop", "echo", "#{ body: ctx.request.body }").await;
        let long = "ü".repeat(3000);
        let ran = app.post("/x/shop/echo").text(&long).send().await.is(200);
        let row = app.execution(ran.execution_id()).await;
        assert_eq!(row["request"]["body"], "ü".repeat(1024));
        assert_eq!(
            (&row["request"]["body_bytes"], &row["response"]["body_bytes"]),
            (&json!(6000), &json!(6000))
        );
        let ran =
            app.post("/x/shop/echo").body("image/png", vec![0xff, 0xfe, 0]).send().await.is(200);
        let row = app.execution(ran.execution_id()).await;
        assert_eq!(
            (&row["request"]["body"], &row["request"]["body_bytes"]),
            (&Value::Null, &json!(3))
        );
        // Every database must be able to store NUL.
        let ran = app.post("/x/shop/echo").text("a\u{0}b").send().await.is(200);
        assert_eq!(app.execution(ran.execution_id()).await["response"]["body"], "a\u{0}b");
    }

    async fn executions_are_listed_in_pages_the_last_to_end_first(app) {
        let id = app.deploy("shop", "hello", "1").await;
        let mut ids = Vec::new();
        for _ in 0..5 {
            ids.push(run(app, "/x/shop/hello").await);
        }
        ids.reverse();
        let logs = format!("/scripts/{id}/logs");
        assert_eq!(page(app, &logs).await, (ids.clone(), Value::Null));
        assert_eq!(page(app, &format!("{logs}?limit=2")).await, (ids[..2].to_vec(), json!(2)));
        assert_eq!(
            page(app, &format!("{logs}?limit=2&offset=2")).await,
            (ids[2..4].to_vec(), json!(4))
        );
        assert_eq!(
            page(app, &format!("{logs}?limit=2&offset=4")).await,
            (ids[4..].to_vec(), Value::Null)
        );
        assert_eq!(page(app, &format!("{logs}?offset=5")).await, (Vec::new(), Value::Null));
        assert_eq!(page(app, "/apps/shop/executions").await.0, ids);
    }

    async fn one_purge_deletes_more_executions_than_one_write(app) {
        app.deploy("shop", "one", "1").await;
        let one = app.get("/x/shop/one").send().await.is(200);
        app.flush().await;
        let one = app.store().find_execution(&one.execution_id().parse().unwrap()).await.unwrap();
        let first = uuid::Uuid::parse_str(one.id.as_str()).unwrap().as_u128();
        for n in 1..3_000 {
            let id = uuid::Uuid::from_u128(first + n).into();
            app.store().record(Execution { id, ..one.clone() }).await.unwrap();
        }
        let purged = app.admin().delete("/executions?older_than_s=0").send().await.is(200).json();
        assert_eq!(purged, json!({"deleted": 3_000, "complete": true}));
    }

    async fn a_page_of_the_log_is_capped(app) {
        let id = app.deploy("shop", "hello", "1").await;
        for _ in 0..201 {
            app.get("/x/shop/hello").send().await.is(200);
        }
        let logs = format!("/scripts/{id}/logs");
        let (ids, next) = page(app, &format!("{logs}?limit=200")).await;
        assert_eq!((ids.len(), next), (200, json!(200)));
        assert_eq!(page(app, &format!("{logs}?limit=200&offset=200")).await.0.len(), 1);
        assert_eq!(page(app, &logs).await.0.len(), 50);
        for query in ["limit=201", "limit=0", "offset=-1"] {
            let refused = app.admin().get(&format!("{logs}?{query}")).send().await;
            refused.refuses(400, "field_invalid");
        }
    }

    async fn the_log_can_be_followed(app) {
        let id = app.deploy("shop", "hello", "1").await;
        let mut ids = Vec::new();
        for _ in 0..4 {
            ids.push(run(app, "/x/shop/hello").await);
        }
        let after = |id: &str, more: &str| format!("after={id}{more}");
        for path in [format!("/scripts/{id}/logs"), "/apps/shop/executions".to_owned()] {
            let follow = |query: String| format!("{path}?{query}");
            assert_eq!(page(app, &follow(after(&ids[1], ""))).await.0, ids[2..]);
            assert_eq!(page(app, &follow(after(&ids[0], "&limit=1"))).await.0, ids[1..2]);
            assert!(page(app, &follow(after(&ids[3], ""))).await.0.is_empty());
            let refused = app.admin().get(&follow(after("none", ""))).send().await;
            assert_eq!(refused.refuses(400, "field_invalid")["field"], "after");
            let refused = app.admin().get(&follow(after(&ids[0], "&offset=1"))).send().await;
            assert_eq!(refused.refuses(400, "field_invalid")["field"], "offset");
        }
        let newer = run(app, "/x/shop/hello").await;
        assert_eq!(page(app, &format!("/scripts/{id}/logs?after={}", ids[3])).await.0, [newer]);
    }

    async fn the_log_can_be_followed_with_a_cursor(app) {
        let id = app.deploy("shop", "hello", "1").await;
        let mut ids = Vec::new();
        for _ in 0..3 {
            ids.push(run(app, "/x/shop/hello").await);
        }
        for path in [format!("/scripts/{id}/logs"), "/apps/shop/executions".to_owned()] {
            let get = async |query: &str| app.admin().get(&format!("{path}?{query}")).send().await;
            let start = get("after=start&limit=2").await.is(200).json();
            assert_eq!(start["items"][1]["id"], json!(ids[1]));
            assert_eq!((&start["has_more"], &start["next_offset"]), (&json!(true), &Value::Null));
            let next = start["next_after"].as_str().unwrap();
            let rest = get(&format!("after={next}")).await.is(200).json();
            assert_eq!((&rest["items"][0]["id"], &rest["has_more"]), (&json!(ids[2]), &json!(false)));
            // A list returns the same cursor as the end of the log: following begins there.
            let list = get("limit=1").await.is(200).json();
            assert_eq!(list["next_after"], rest["next_after"]);
            let next = list["next_after"].as_str().unwrap();
            let newer = run(app, "/x/shop/hello").await;
            ids.push(newer.clone());
            let followed = get(&format!("after={next}&status=success")).await.is(200).json();
            assert_eq!((followed["items"].as_array().unwrap().len(), &followed["items"][0]["id"]), (1, &json!(newer)));
            let failed = get(&format!("after={next}&status=error")).await.is(200).json();
            assert_eq!((&failed["items"], &failed["next_after"]), (&json!([]), &followed["next_after"]));
            for wrong in ["after=v1.AAAA", "after=v2.Ow", "after="] {
                assert_eq!(get(wrong).await.refuses(400, "field_invalid")["field"], "after");
            }
            let deep = get("offset=10001").await.refuses(400, "field_invalid");
            assert!(deep["message"].as_str().unwrap().contains("`after`"), "{deep}");
        }
    }

    async fn the_log_can_be_asked_for_one_status(app) {
        let id = app.deploy("shop", "fair", "if \"bad\" in ctx.request.query { throw 1 } 1").await;
        let good = run(app, "/x/shop/fair").await;
        let bad = run(app, "/x/shop/fair?bad").await;
        let logs = format!("/scripts/{id}/logs");
        assert_eq!(page(app, &format!("{logs}?status=error")).await.0, [bad.as_str()]);
        assert_eq!(page(app, &format!("{logs}?status=success")).await.0, [good.as_str()]);
        assert!(page(app, &format!("{logs}?status=crashed")).await.0.is_empty());
        assert_eq!(page(app, &format!("{logs}?status=error&after={good}")).await.0, [bad.as_str()]);
        let refused = app.admin().get(&format!("{logs}?status=fine")).send().await;
        refused.refuses(400, "query_invalid");
    }

    async fn each_script_and_each_app_has_a_log_of_its_own(app) {
        let one = app.deploy("shop", "one", "1").await;
        let two = app.deploy("shop", "two", "2").await;
        app.deploy("blog", "one", "3").await;
        let first = run(app, "/x/shop/one").await;
        let second = run(app, "/x/shop/two").await;
        let third = run(app, "/x/blog/one").await;
        assert_eq!(page(app, &format!("/scripts/{one}/logs")).await.0, [first.as_str()]);
        assert_eq!(page(app, &format!("/scripts/{two}/logs")).await.0, [second.as_str()]);
        assert_eq!(page(app, "/apps/shop/executions").await.0, [second.as_str(), first.as_str()]);
        assert_eq!(page(app, "/apps/blog/executions").await.0, [third.as_str()]);
    }

    async fn an_execution_that_is_not_there_is_not_found(app) {
        for id in ["0197f3a4-5c1e-7b7a-8f6e-3d2c1b0a9f8e", "none", "%00"] {
            let path = format!("/executions/{id}");
            app.admin().get(&path).send().await.refuses(404, "execution_not_found");
        }
    }
}

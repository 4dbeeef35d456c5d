//! Services of scripts, and that each run is one transaction.

use futures::future::join_all;
use picloud::retention::remains::Remains;
use serde_json::{Value, json};

use crate::app::TestApp;
use crate::with_an_app;

with_an_app! {
    /// 64 concurrent runs increment a counter, and no increment is lost.
    async fn increments_at_the_same_time_all_count(app) {
        let source = r#"
            let counters = kv::collection("counters");
            let n = counters.get("hits") ?? 0;
            counters.set("hits", n + 1);
            n
        "#;
        app.deploy("shop", "hit", source).await;
        let hits = join_all((0..64).map(|_| app.post("/x/shop/hit").send())).await;
        let mut seen: Vec<i64> = hits.into_iter().map(|hit| hit.is(200).json().as_i64().unwrap()).collect();
        seen.sort_unstable();
        assert_eq!(seen, (0..64).collect::<Vec<_>>());
        assert_eq!(app.value("shop", "counters", "hits").await, 64);
    }

    async fn a_called_script_is_a_part_of_its_callers_transaction(app) {
        app.deploy("shop", "inner", r#"
            kv::collection("a").set("inner", ctx.event.script.payload);
            if ctx.event.script.payload == "bad" { throw "inner failed" }
            #{ twice: ctx.event.script.payload + ctx.event.script.payload }
        "#).await;
        app.deploy("shop", "outer", r#"
            let answer = scripts::call("inner", ctx.request.body);
            if answer.twice == "xx" { throw "outer failed" }
            answer
        "#).await;
        let call = async |body: &str| app.post("/x/shop/outer").json(&json!(body)).send().await;
        let done = call("ab").await.is(200);
        assert_eq!(done.json(), json!({"twice": "abab"}));
        assert_eq!(app.value("shop", "a", "inner").await, "ab");
        let rows = app.admin().get("/apps/shop/executions").send().await.is(200).json();
        let inner = rows["items"].as_array().unwrap().iter().find(|row| row["script"] == "inner");
        assert!(inner.is_some(), "{rows}");

        call("x").await.is(500);
        assert_eq!(app.value("shop", "a", "inner").await, "ab");
        call("bad").await.is(500);
        assert_eq!(app.value("shop", "a", "inner").await, "ab");
    }

    async fn what_a_called_script_did_is_undone_when_its_failure_is_caught(app) {
        app.deploy("shop", "inner", r#"kv::collection("a").set("k", "inner"); throw "no""#).await;
        app.deploy("shop", "outer", r#"
            kv::collection("a").set("k", "outer");
            let caught = "";
            try { scripts::call("inner", ()); } catch (error) { caught = error.to_string(); }
            [kv::collection("a").get("k"), caught]
        "#).await;
        let answer = app.post("/x/shop/outer").send().await.is(200).json();
        assert_eq!(answer[0], "outer");
        assert!(answer[1].as_str().unwrap().contains("script inner: no"), "{answer}");
        assert_eq!(app.value("shop", "a", "k").await, "outer");
    }

    async fn scripts_that_call_each_other_come_to_an_end(app) {
        app.deploy("shop", "again", r#"scripts::call("again", ())"#).await;
        let answer = app.post("/x/shop/again").by_owner().send().await.is(500).json();
        assert!(answer["error"]["message"].as_str().unwrap().contains("8 deep"), "{answer}");
    }

    async fn an_entry_is_gone_when_its_time_is_up(app) {
        app.deploy("shop", "put", r#"kv::collection("a").set("k", 1, #{ttl: 3600000})"#).await;
        app.deploy("shop", "has", r#"kv::collection("a").has("k")"#).await;
        app.post("/x/shop/put").send().await.is(200);
        assert_eq!(app.post("/x/shop/has").send().await.is(200).json(), true);
        app.pass_days(1);
        assert_eq!(app.post("/x/shop/has").send().await.is(200).json(), false);
        assert_eq!(app.value("shop", "a", "k").await, Value::Null);
        assert_eq!(app.retention().run_once().await.unwrap().entries, 1);
    }

    async fn the_contents_of_a_run_that_is_not_committed_are_removed_at_once(app) {
        app.deploy("shop", "put", r#"
            let files = files::bucket("b");
            files.put("a.txt", "first");
            files.put("a.txt", "second");
            try { scripts::call("fail", ()) } catch { }
            if ctx.request.body == "no" { throw "no" }"#).await;
        app.deploy("shop", "fail", r#"files::bucket("b").put("c.txt", "x"); throw "no""#).await;
        app.deploy("shop", "get", r#"files::bucket("b").get_text("a.txt")"#).await;
        app.post("/x/shop/put").json(&json!("no")).send().await.is(500);
        assert_eq!(blobs(app), 0);
        app.post("/x/shop/put").json(&json!("yes")).send().await.is(200);
        assert_eq!(blobs(app), 1);
        assert_eq!(app.post("/x/shop/get").send().await.is(200).json(), "second");
    }

    async fn contents_that_a_commit_frees_are_removed_a_while_later(app) {
        app.deploy("shop", "put", r#"files::bucket("b").put("a.txt", ctx.request.body)"#).await;
        app.deploy("shop", "delete", r#"files::bucket("b").delete("a.txt")"#).await;
        for body in ["a", "bb", "ccc"] {
            app.post("/x/shop/put").json(&json!(body)).send().await.is(200);
        }
        let mut sweep = app.retention().sweep.clone().unwrap();
        assert!(sweep.freed().await.unwrap().is_some(), "they are deleted later");
        assert_eq!((blobs(app), app.store().freed_bytes().await.unwrap()), (3, 3));
        sweep.freed_us = 0;
        // Another node with the same folder may have deleted it first.
        let first = &app.store().list_freed_blobs(0, 1).await.unwrap()[0];
        let folder = app.config().data.join("files").join(first.app_id.as_str());
        std::fs::remove_file(folder.join(&first.blob)).unwrap();
        assert_eq!(sweep.freed().await.unwrap(), None);
        assert_eq!((blobs(app), app.store().freed_bytes().await.unwrap()), (1, 0));
        app.post("/x/shop/delete").send().await.is(200);
        sweep.freed().await.unwrap();
        assert_eq!(blobs(app), 0);
    }

    async fn contents_that_no_file_describes_go_when_they_are_seen_twice(app) {
        app.deploy("shop", "put", r#"files::bucket("b").put("a.txt", "kept")"#).await;
        app.post("/x/shop/put").send().await.is(200);
        let files = app.config().data.join("files");
        let shop = std::fs::read_dir(&files).unwrap().next().unwrap().unwrap().path();
        let old = "01000000-0000-7000-8000-000000000001";
        std::fs::write(shop.join(old), "of a run that was killed").unwrap();
        std::fs::write(shop.join(format!("new-{old}")), "of another").unwrap();
        std::fs::write(shop.join("notes.txt"), "somebody's").unwrap();
        let unknown = files.join("01000000-0000-7000-8000-0000000000aa");
        std::fs::create_dir(&unknown).unwrap();
        std::fs::write(unknown.join(old), "of an app of another database").unwrap();
        let mut sweep = app.retention().sweep.clone().unwrap();
        assert_eq!(sweep.orphans().await.unwrap(), 0);
        assert_eq!(sweep.orphans().await.unwrap(), 0);
        sweep.orphan_seen_us = 0;
        assert_eq!(sweep.orphans().await.unwrap(), 2);
        assert_eq!(sweep.orphans().await.unwrap(), 0);
        assert!(shop.join("notes.txt").exists() && unknown.join(old).exists());
        assert_eq!(std::fs::read_dir(&shop).unwrap().count(), 2);
    }

    async fn the_contents_of_a_deleted_app_go(app) {
        app.deploy("shop", "put", r#"files::bucket("b").put("a.txt", "kept")"#).await;
        app.post("/x/shop/put").send().await.is(200);
        app.admin().delete("/apps/shop").send().await.is(204);
        assert!(Remains { store: app.store().clone() }.run_once().await.unwrap());
        let mut sweep = app.retention().sweep.clone().unwrap();
        assert!(sweep.freed().await.unwrap().is_some());
        assert_eq!(blobs(app), 1);
        sweep.freed_us = 0;
        assert_eq!(sweep.freed().await.unwrap(), None);
        assert_eq!(blobs(app), 0);
    }

    async fn a_private_address_is_not_reached(app) {
        app.deploy("shop", "fetch", r#"http::get(ctx.request.body).status"#).await;
        for url in ["http://127.0.0.1:1/", "http://localhost:1/", "http://[::1]:1/", "http://169.254.169.254/"] {
            let answer = app.post("/x/shop/fetch").json(&json!(url)).by_owner().send().await.is(500);
            let message = answer.json()["error"]["message"].as_str().unwrap().to_owned();
            assert!(message.contains("public address"), "{url}: {message}");
        }
    }

    async fn every_value_survives_on_both_databases(app) {
        app.deploy("shop", "keep", r#"
            let all = kv::collection("naughty");
            all.set(ctx.request.body.key, ctx.request.body.value);
            queue::send("q", ctx.request.body.value);
            all.get(ctx.request.body.key)
        "#).await;
        for text in ["\u{0}", "a\u{0}b", "'; DROP TABLE apps; --", "\u{feff}", "\u{202e}", "𝒳", "%s%n", "\\u0000", "\"", "\u{1}\u{1f}"] {
            let body = json!({"key": "k", "value": text});
            let answer = app.post("/x/shop/keep").json(&body).send().await.is(200);
            assert_eq!(answer.json(), text);
            assert_eq!(app.value("shop", "naughty", "k").await, text);
        }
        let body = json!({"key": "a\u{0}", "value": 1});
        let refused = app.post("/x/shop/keep").json(&body).by_owner().send().await.is(500);
        assert!(refused.text().contains("must not contain NUL"), "{refused:?}");
    }
}

/// Returns the number of blobs in the data folder.
fn blobs(app: &TestApp) -> usize {
    let apps = std::fs::read_dir(app.config().data.join("files")).unwrap();
    apps.map(|app| std::fs::read_dir(app.unwrap().path()).unwrap().count()).sum()
}

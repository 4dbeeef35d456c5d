//! Versions of a script, and rolling back to one of them.

use futures::future::join_all;
use serde_json::{Value, json};

use crate::app::TestApp;
use crate::with_an_app;

/// Returns the numbers of the versions, newest first, and the current one.
async fn versions(app: &TestApp, id: &str) -> (Vec<i64>, i64) {
    let path = format!("/scripts/{id}/versions?limit=200");
    let page = app.admin().get(&path).send().await.is(200).json();
    let items = page["items"].as_array().unwrap();
    let number = |item: &Value| item["version"].as_i64().unwrap();
    let running: Vec<_> = items.iter().filter(|item| item["running"] == true).map(number).collect();
    assert_eq!(running.len(), 1, "{items:?}");
    (items.iter().map(number).collect(), running[0])
}

with_an_app! {
    async fn an_update_makes_a_version_that_runs_from_then_on(app) {
        let id = app.deploy("shop", "hello", "ctx.execution.version * 10 + 1").await;
        assert_eq!(app.get("/x/shop/hello").send().await.is(200).json(), 11);
        let changed = app.update(&id, "ctx.execution.version * 10 + 2").await.is(200).json();
        assert_eq!(changed["version"], 2);
        let ran = app.get("/x/shop/hello").send().await.is(200);
        assert_eq!(ran.json(), 22);
        assert_eq!(app.execution(ran.execution_id()).await["version"], 2);
        assert_eq!(versions(app, &id).await, (vec![2, 1], 2));

        let old = app.admin().get(&format!("/scripts/{id}/versions/1")).send().await.is(200).json();
        assert_eq!(old["source"], "ctx.execution.version * 10 + 1");
        assert_eq!(old["running"], false);
    }

    async fn a_rollback_runs_the_old_source_and_the_next_update_is_newer_than_all(app) {
        let id = app.deploy("shop", "hello", "1").await;
        app.update(&id, "2").await.is(200);
        app.update(&id, "3").await.is(200);
        let rollback = |version: i64| {
            app.admin().post(&format!("/scripts/{id}/rollback"), json!({"version": version})).send()
        };
        assert_eq!(rollback(1).await.is(200).json()["version"], 1);
        assert_eq!(app.get("/x/shop/hello").send().await.is(200).json(), 1);
        assert_eq!(versions(app, &id).await, (vec![3, 2, 1], 1));

        assert_eq!(app.update(&id, "4").await.is(200).json()["version"], 4);
        assert_eq!(app.get("/x/shop/hello").send().await.is(200).json(), 4);
        assert_eq!(versions(app, &id).await, (vec![4, 3, 2, 1], 4));
        // Rolling forward works the same way.
        rollback(3).await.is(200);
        assert_eq!(app.get("/x/shop/hello").send().await.is(200).json(), 3);
    }

    async fn a_version_that_is_not_there_is_not_found(app) {
        let id = app.deploy("shop", "hello", "1").await;
        for version in [0, 2, -1, i64::MAX] {
            let path = format!("/scripts/{id}/versions/{version}");
            app.admin().get(&path).send().await.refuses(404, "version_not_found");
            let path = format!("/scripts/{id}/rollback");
            let rollback = app.admin().post(&path, json!({"version": version})).send().await;
            rollback.refuses(404, "version_not_found");
        }
        let path = format!("/scripts/{id}/versions/first");
        app.admin().get(&path).send().await.refuses(404, "version_not_found");
        assert_eq!(versions(app, &id).await, (vec![1], 1));
    }

    async fn an_update_of_what_has_changed_since_is_refused(app) {
        let id = app.deploy("shop", "hello", "1").await;
        let update = |source: &str, expected: i64| {
            let body = json!({"source": source, "expected_version": expected});
            app.admin().put(&format!("/scripts/{id}"), body).send()
        };
        assert_eq!(update("2", 1).await.is(200).json()["version"], 2);
        let refused = update("3", 1).await.refuses(409, "version_conflict");
        assert_eq!(refused["version"], 2);
        assert_eq!(app.get("/x/shop/hello").send().await.is(200).json(), 2);
        assert_eq!(versions(app, &id).await, (vec![2, 1], 2));
    }

    async fn versions_are_listed_in_pages(app) {
        let id = app.deploy("shop", "hello", "1").await;
        for source in ["2", "3"] {
            app.update(&id, source).await.is(200);
        }
        let page = app.admin().get(&format!("/scripts/{id}/versions?limit=2")).send().await.json();
        assert_eq!(page["next_offset"], 2);
        let page =
            app.admin().get(&format!("/scripts/{id}/versions?limit=2&offset=2")).send().await;
        assert_eq!(page.json()["items"][0]["version"], 1);
        let path = format!("/scripts/{id}/versions?limit=201");
        app.admin().get(&path).send().await.refuses(400, "field_invalid");
    }

    async fn a_change_is_seen_by_the_very_next_request(app) {
        let id = app.deploy("shop", "hello", "0").await;
        for source in 1..=30 {
            app.update(&id, &source.to_string()).await.is(200);
            assert_eq!(app.get("/x/shop/hello").send().await.is(200).json(), source);
        }
    }

    async fn concurrent_updates_each_make_a_version_of_their_own(app) {
        let id = app.deploy("shop", "hello", "0").await;
        let answers = join_all((1..=16).map(|source| {
            let id = &id;
            async move {
                let changed = app.update(id, &source.to_string()).await.is(200).json();
                (changed["version"].as_i64().unwrap(), source.to_string())
            }
        }))
        .await;
        let mut numbers: Vec<_> = answers.iter().map(|(version, _)| *version).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, (2..=17).collect::<Vec<_>>());
        for (version, source) in answers {
            let path = format!("/scripts/{id}/versions/{version}");
            assert_eq!(app.admin().get(&path).send().await.is(200).json()["source"], source);
        }
        assert_eq!(versions(app, &id).await.1, 17);
    }

    async fn of_concurrent_updates_of_one_version_one_wins(app) {
        let id = app.deploy("shop", "hello", "0").await;
        let answers = join_all((1..=8).map(|source| {
            let body = json!({"source": source.to_string(), "expected_version": 1});
            app.admin().put(&format!("/scripts/{id}"), body).send()
        }))
        .await;
        let won = answers.iter().filter(|answer| answer.status == 200).count();
        assert_eq!(won, 1, "{answers:?}");
        for answer in answers.iter().filter(|answer| answer.status != 200) {
            answer.refuses(409, "version_conflict");
        }
        assert_eq!(versions(app, &id).await, (vec![2, 1], 2));
    }
}

//! Rate limits of each principal for requests that take CPU.

use serde_json::json;

use crate::app::{Answer, TestApp};
use crate::on_both_databases;

/// Three at once, then one in eight hours: the test clock advances by a minute with each read.
const THREE: &str = "3/86400";

async fn check(app: &TestApp) -> Answer {
    app.admin().post("/scripts/check", json!({"source": "1"})).send().await
}

#[track_caller]
fn refused(answer: &Answer, limit: &str) {
    let error = answer.refuses(429, "rate_limited");
    assert_eq!((&error["limit_name"], &error["limit"]), (&json!(limit), &json!(3)), "{error}");
    let wait = answer.header("retry-after").unwrap().parse::<u32>().unwrap();
    assert!((1..=8 * 3600).contains(&wait), "{wait}");
}

on_both_databases! {
    async fn a_principal_has_so_many_sources_checked_and_no_more(database) {
        let app = TestApp::start_with(database, &[("PICLOUD_CHECK_RATE", THREE)]).await;
        for _ in 0..3 {
            check(&app).await.is(200);
        }
        refused(&check(&app).await, "check_rate");
        // Another key of the same principal shares the limit.
        let key = app.key(json!({"name": "k", "scopes": ["script:read"]})).await;
        let by_key = app.post("/api/v1/scripts/check").json(&json!({"source": "1"}));
        let by_key = by_key.by_key(key["key"].as_str().unwrap()).send().await;
        refused(&by_key, "check_rate");
        // Refused requests do not count.
        app.pass_days(1);
        for _ in 0..3 {
            check(&app).await.is(200);
        }
        refused(&check(&app).await, "check_rate");
        app.close().await;
    }

    async fn a_principal_runs_so_many_scripts_by_hand_and_no_more(database) {
        let app = TestApp::start_with(database, &[("PICLOUD_TEST_RATE", THREE)]).await;
        let id = app.deploy("shop", "echo", "1").await;
        let execute = || app.admin().post(&format!("/execute/{id}"), json!({})).send();
        let event = json!({"event": {"kind": "queue"}});
        let test = || app.admin().post(&format!("/scripts/{id}/test"), event.clone()).send();
        execute().await.is(200);
        test().await.is(200);
        execute().await.is(200);
        refused(&test().await, "test_rate");
        refused(&execute().await, "test_rate");
        // The script's endpoint and source checks are not limited by it.
        app.get("/x/shop/echo").send().await.is(200);
        check(&app).await.is(200);
        assert_eq!(app.count_executions(&id).await, 4);
        app.close().await;
    }
}

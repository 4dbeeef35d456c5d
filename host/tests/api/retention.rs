//! Retention deletes old executions, and nothing else.

use picloud::retention::Retention;
use picloud::store::{BY_AGE_SETTING, ExecutionFilter, ExecutionScope, Page};

use crate::app::TestApp;
use crate::with_an_app;

/// Runs retention with a maximum size of the log.
async fn shrink(app: &TestApp, bytes_max: Option<u64>) -> u64 {
    let retention = Retention { execution_log_bytes_max: bytes_max, ..app.retention().clone() };
    retention.run_once().await.unwrap().executions
}

with_an_app! {
    async fn executions_go_when_they_are_too_old_and_no_others(app) {
        let id = app.deploy("shop", "hello", "1").await;
        let mut old = Vec::new();
        for _ in 0..3 {
            old.push(app.get("/x/shop/hello").send().await.is(200).execution_id().to_owned());
        }
        app.flush().await;
        app.pass_days(10);
        let young = app.get("/x/shop/hello").send().await.is(200);
        app.flush().await;
        assert_eq!(app.retention().run_once().await.unwrap().executions, 0);

        app.pass_days(5);
        assert_eq!(app.retention().run_once().await.unwrap().executions, 3);
        for id in old {
            let path = format!("/executions/{id}");
            app.admin().get(&path).send().await.refuses(404, "execution_not_found");
        }
        app.execution(young.execution_id()).await;
        assert_eq!(app.count_executions(&id).await, 1);
        app.get("/x/shop/hello").send().await.is(200);
    }

    async fn a_log_that_is_too_large_loses_its_oldest_successes_first(app) {
        app.deploy("shop", "fine", "encoding::hex_encode(random::bytes(500))").await;
        let failing = app.deploy("shop", "failing", "throw 1").await;
        let mut fine = Vec::new();
        for _ in 0..12 {
            fine.push(app.get("/x/shop/fine").send().await.is(200).execution_id().to_owned());
            app.get("/x/shop/failing").send().await.is(500);
            // Each in a block of its own.
            app.flush().await;
        }
        let size = app.store().log_size().await.unwrap();
        assert!(size.rows == 12 && size.blocks > 0 && size.row_bytes > 600, "{size:?}");

        let bytes = u64::try_from(size.bytes()).unwrap();
        assert_eq!(shrink(app, Some(bytes)).await, 0, "it is exactly as large as it can be");
        let deleted = shrink(app, Some(bytes - 1)).await;
        assert!((1..12).contains(&deleted), "{deleted}");
        let oldest = format!("/executions/{}", fine[0]);
        app.admin().get(&oldest).send().await.refuses(404, "execution_not_found");
        app.execution(&fine[11]).await;
        assert_eq!(app.count_executions(&failing).await, 12);

        // Then the oldest failures.
        let deleted = shrink(app, Some(bytes / 2)).await;
        let left = app.store().log_size().await.unwrap();
        assert!(deleted > 0 && left.rows < 12 && left.blocks > 0, "{left:?}");
        let scope = ExecutionScope::Script(failing.parse().unwrap());
        let page = Page { limit: 20, offset: 0 };
        let listed = app.store().list_executions(&scope, &ExecutionFilter::default(), page).await;
        assert_eq!(listed.unwrap().len(), usize::try_from(left.rows).unwrap());
        assert_eq!(shrink(app, Some(0)).await, 0, "no limit");
    }

    async fn an_older_installation_has_no_limit_until_it_sets_one(app) {
        app.deploy("shop", "fine", "1").await;
        app.get("/x/shop/fine").send().await.is(200);
        app.flush().await;
        let store = app.store();
        assert_eq!(store.find_setting(BY_AGE_SETTING).await.unwrap(), None, "a new one");
        store.put_setting(BY_AGE_SETTING, "untold", 0).await.unwrap();
        assert_eq!(shrink(app, None).await, 0);
        assert_eq!(store.find_setting(BY_AGE_SETTING).await.unwrap().as_deref(), Some("told"));
        assert_eq!(shrink(app, None).await, 0);
        assert_eq!(shrink(app, Some(1)).await, 1);
    }
}

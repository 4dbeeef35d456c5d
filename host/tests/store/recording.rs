//! The buffer between finished runs and the database.

use std::pin::pin;

use futures::future::join_all;
use futures::poll;
use picloud::store::{AppId, Error, Execution, ExecutionFilter, ExecutionScope, Json, ScriptId};

use crate::database::Kind;
use crate::fixtures::{ALL, Plain, execution, failure, id, open};
use crate::on_both_databases;

on_both_databases! {
    async fn recorded_rows_are_committed_without_a_flush(database) {
        let store = open(database).await;
        let row = execution(&id(), &id());
        store.record(row.clone()).await.unwrap();
        while store.find_execution(&row.id).await.is_err() {
            picloud_testing::pause().await;
        }
        store.flush().await.unwrap();
    }

    async fn many_recorders_lose_nothing(database) {
        let store = open(database).await;
        let app_id: AppId = id();
        let recorders = (0..20).map(|_| {
            let (store, app_id) = (store.clone(), app_id.clone());
            tokio::spawn(async move {
                let script_id: ScriptId = id();
                for _ in 0..200 {
                    store.record(execution(&app_id, &script_id)).await.unwrap();
                }
                store.flush().await.unwrap();
                let rows = store
                    .list_executions(&ExecutionScope::Script(script_id), &ExecutionFilter::default(), ALL)
                    .await
                    .unwrap();
                assert_eq!(rows.len(), 200);
            })
        });
        for recorder in join_all(recorders).await {
            recorder.unwrap();
        }
    }

    async fn a_row_that_is_recorded_twice_is_there_once(database) {
        let store = open(database).await;
        let row = failure(&id(), &id());
        let other = Execution {
            version: 99,
            ..row.clone()
        };
        store.record(row.clone()).await.unwrap();
        store.record(other.clone()).await.unwrap();
        store.flush().await.unwrap();
        store.record(other).await.unwrap();
        store.flush().await.unwrap();
        assert_eq!(store.find_execution(&row.id).await.unwrap(), row);
    }

    async fn one_refused_row_takes_no_other_along(database) {
        let store = open(database).await;
        let refuse = match database.kind {
            Kind::Sqlite => {
                "CREATE TRIGGER refuse BEFORE INSERT ON executions \
                WHEN NEW.script_name = 'refused' BEGIN SELECT RAISE(ABORT, 'refused'); END"
            }
            Kind::Postgres => "ALTER TABLE executions ADD CHECK (script_name <> 'refused')",
        };
        Plain::connect(database).await.execute(refuse).await;
        let (app_id, script_id): (AppId, ScriptId) = (id(), id());
        let mut rows: Vec<_> = (0..30).map(|_| failure(&app_id, &script_id)).collect();
        rows[11].script_name = "refused".into();
        for row in &rows {
            store.record(row.clone()).await.unwrap();
        }
        store.flush().await.unwrap();
        rows.remove(11);
        rows.reverse();
        let listed = store
            .list_executions(&ExecutionScope::App(app_id), &ExecutionFilter::default(), ALL)
            .await
            .unwrap();
        assert_eq!(listed, rows);
    }

    async fn a_full_buffer_makes_the_recorder_wait_and_loses_nothing(database) {
        let store = open(database).await;
        let (app_id, script_id): (AppId, ScriptId) = (id(), id());
        let large = Json::of(&"x".repeat(1024 * 1024)).unwrap();
        let row = || Execution {
            log: large.clone(),
            ..execution(&app_id, &script_id)
        };
        let mut plain = Plain::connect(database).await;
        plain.hold("execution_blocks").await;

        // The buffer is limited to 8 MiB: the eighth row and its overhead do not fit.
        for _ in 0..7 {
            let mut record = pin!(store.record(row()));
            assert!(poll!(record.as_mut()).is_ready());
        }
        let mut waiting = pin!(store.record(row()));
        assert!(poll!(waiting.as_mut()).is_pending());

        plain.let_go().await;
        waiting.await.unwrap();
        store.flush().await.unwrap();
        let listed = store
            .list_executions(
                &ExecutionScope::Script(script_id.clone()),
                &ExecutionFilter::default(),
                ALL,
            )
            .await
            .unwrap();
        assert_eq!(listed.len(), 8);
    }

    async fn a_row_larger_than_the_buffer_is_recorded(database) {
        let store = open(database).await;
        let log = Json::of(&"x".repeat(9 * 1024 * 1024)).unwrap();
        let row = Execution {
            log,
            ..execution(&id(), &id())
        };
        store.record(row.clone()).await.unwrap();
        store.record(execution(&id(), &id())).await.unwrap();
        store.flush().await.unwrap();
        assert_eq!(store.find_execution(&row.id).await.unwrap(), row);
    }

    async fn closing_commits_what_was_recorded_and_refuses_more(database) {
        let store = open(database).await;
        let row = execution(&id(), &id());
        store.record(row.clone()).await.unwrap();
        store.close().await.unwrap();
        let late = store.record(row.clone()).await;
        assert!(matches!(late, Err(Error::Unavailable(_))), "{late:?}");
        assert_eq!(
            open(database).await.find_execution(&row.id).await.unwrap(),
            row
        );
    }
}

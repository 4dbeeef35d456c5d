//! The execution log: reading, following, retention.

use picloud::store::{
    AppId, Error, Execution, ExecutionFilter, ExecutionId, ExecutionScope, ExecutionStatus, Json,
    Page, Resource, ScriptId, Store, TriggerKind,
};

use crate::fixtures::{ALL, execution, failure, id, open};
use crate::on_both_databases;

async fn record_all(store: &Store, rows: &[Execution]) {
    for row in rows {
        store.record(row.clone()).await.unwrap();
    }
    store.flush().await.unwrap();
}

fn with_status(status: ExecutionStatus) -> ExecutionFilter {
    ExecutionFilter { status: Some(status), ..ExecutionFilter::default() }
}

fn newest_first(rows: &[Execution]) -> Vec<Execution> {
    rows.iter().rev().cloned().collect()
}

on_both_databases! {
    async fn an_execution_comes_back_as_it_was_recorded(database) {
        let store = open(database).await;
        let full = Execution {
            status: ExecutionStatus::Error,
            trigger_kind: TriggerKind::Execute,
            attempt: 3,
            response: None,
            error: Some(Json::of(&"line 3").unwrap()),
            ..execution(&id(), &id())
        };
        record_all(&store, std::slice::from_ref(&full)).await;
        assert_eq!(store.find_execution(&full.id).await.unwrap(), full);
        let missing = store.find_execution(&id::<ExecutionId>()).await;
        assert!(
            matches!(missing, Err(Error::NotFound(Resource::Execution))),
            "{missing:?}"
        );
    }

    async fn every_status_and_every_trigger_is_stored(database) {
        let store = open(database).await;
        let scope = ExecutionScope::App(id());
        let ExecutionScope::App(app_id) = &scope else {
            unreachable!()
        };
        for &status in ExecutionStatus::ALL {
            for &trigger_kind in TriggerKind::ALL {
                let row = Execution {
                    status,
                    trigger_kind,
                    ..execution(app_id, &id())
                };
                store.record(row).await.unwrap();
            }
        }
        store.flush().await.unwrap();
        for &status in ExecutionStatus::ALL {
            let rows = store
                .list_executions(&scope, &with_status(status), ALL)
                .await
                .unwrap();
            assert_eq!(rows.len(), TriggerKind::ALL.len(), "{status:?}");
            assert!(rows.iter().all(|row| row.status == status));
        }
    }

    async fn executions_are_listed_by_script_and_by_app_in_pages(database) {
        let store = open(database).await;
        let (app_id, one, two): (AppId, ScriptId, ScriptId) = (id(), id(), id());
        let rows: Vec<_> = [&one, &two, &one, &one, &two]
            .map(|script| execution(&app_id, script))
            .into();
        record_all(&store, &rows).await;
        record_all(&store, &[execution(&id(), &id())]).await;

        let app = ExecutionScope::App(app_id);
        assert_eq!(
            store.list_executions(&app, &ExecutionFilter::default(), ALL).await.unwrap(),
            newest_first(&rows)
        );
        let page = Page {
            limit: 2,
            offset: 1,
        };
        assert_eq!(
            store.list_executions(&app, &ExecutionFilter::default(), page).await.unwrap(),
            newest_first(&rows[2..4])
        );
        let script = ExecutionScope::Script(one);
        let of_one = [rows[3].clone(), rows[2].clone(), rows[0].clone()];
        assert_eq!(
            store.list_executions(&script, &ExecutionFilter::default(), ALL).await.unwrap(),
            of_one
        );
        let rare = store
            .list_executions(&script, &with_status(ExecutionStatus::Crashed), ALL)
            .await
            .unwrap();
        assert!(rare.is_empty());
    }

    async fn the_store_caps_no_page(database) {
        let store = open(database).await;
        let (app_id, script_id): (AppId, ScriptId) = (id(), id());
        let rows: Vec<_> = (0..700).map(|_| execution(&app_id, &script_id)).collect();
        record_all(&store, &rows).await;
        let listed = store
            .list_executions(&ExecutionScope::Script(script_id), &ExecutionFilter::default(), ALL)
            .await
            .unwrap();
        assert_eq!(listed, newest_first(&rows));
    }

    async fn a_follower_sees_each_execution_once_also_one_that_took_long(database) {
        let store = open(database).await;
        let (app_id, script_id): (AppId, ScriptId) = (id(), id());
        let scope = ExecutionScope::Script(script_id.clone());
        // This execution starts first and ends last.
        let mut long = execution(&app_id, &script_id);
        let rows: Vec<_> = (0..5).map(|_| execution(&app_id, &script_id)).collect();
        long.finished_at = rows[4].finished_at;
        record_all(&store, &rows).await;

        let mut seen = store
            .list_executions_after(&scope, &ExecutionFilter::default(), None, 3)
            .await
            .unwrap();
        assert_eq!(seen, rows[..3]);
        while let Some(last) = seen.last().map(|row| row.id.clone()) {
            let more = store
                .list_executions_after(&scope, &ExecutionFilter::default(), Some(&last), 3)
                .await
                .unwrap();
            if more.is_empty() {
                break;
            }
            seen.extend(more);
        }
        assert_eq!(seen, rows);

        long.finished_at += 1;
        record_all(&store, std::slice::from_ref(&long)).await;
        let more = store
            .list_executions_after(&scope, &ExecutionFilter::default(), Some(&rows[4].id), 3)
            .await
            .unwrap();
        assert_eq!(more, [long]);
        let none = store
            .list_executions_after(&scope, &with_status(ExecutionStatus::Error), None, 3)
            .await
            .unwrap();
        assert!(none.is_empty());
    }

    async fn a_follower_goes_on_after_retention_took_its_last_row(database) {
        let store = open(database).await;
        let (app_id, script_id): (AppId, ScriptId) = (id(), id());
        let rows: Vec<_> = (0..3).map(|_| execution(&app_id, &script_id)).collect();
        record_all(&store, &rows).await;
        store
            .delete_executions_before(None, rows[1].finished_at, 10)
            .await
            .unwrap();
        let scope = ExecutionScope::App(app_id);
        let more = store
            .list_executions_after(&scope, &ExecutionFilter::default(), Some(&rows[0].id), 10)
            .await
            .unwrap();
        assert_eq!(more, rows[1..]);
    }

    async fn executions_that_finished_at_the_same_time_are_all_seen(database) {
        let store = open(database).await;
        let (app_id, script_id): (AppId, ScriptId) = (id(), id());
        let rows: Vec<_> = (0..6)
            .map(|_| Execution {
                finished_at: 7,
                ..execution(&app_id, &script_id)
            })
            .collect();
        record_all(&store, &rows).await;
        let scope = ExecutionScope::Script(script_id);
        let after = store
            .list_executions_after(&scope, &ExecutionFilter::default(), Some(&rows[2].id), 10)
            .await
            .unwrap();
        assert_eq!(after, rows[3..]);
        assert_eq!(
            store.list_executions(&scope, &ExecutionFilter::default(), ALL).await.unwrap(),
            newest_first(&rows)
        );
    }

    async fn executions_of_one_app_or_script_can_be_deleted(database) {
        let store = open(database).await;
        let (app_id, other): (AppId, AppId) = (id(), id());
        let (script_id, second): (ScriptId, ScriptId) = (id(), id());
        let rows = [
            execution(&app_id, &script_id),
            execution(&app_id, &second),
            execution(&other, &id()),
            execution(&app_id, &script_id),
        ];
        record_all(&store, &rows).await;
        let end = rows[3].finished_at;
        let script = ExecutionScope::Script(script_id);
        assert_eq!(store.delete_executions_before(Some(&script), end, 10).await.unwrap(), 1);
        let app = ExecutionScope::App(app_id);
        assert_eq!(store.delete_executions_before(Some(&app), end + 1, 10).await.unwrap(), 2);
        let left = ExecutionScope::App(other);
        let left = store.list_executions(&left, &ExecutionFilter::default(), ALL).await.unwrap();
        assert_eq!(left, rows[2..3]);
    }

    async fn deleted_rows_give_their_room_back_to_the_disk(database) {
        let store = open(database).await;
        let (app_id, script_id): (AppId, ScriptId) = (id(), id());
        let log = Json::of(&["x".repeat(4000)]).unwrap();
        let rows: Vec<_> = (0..6000)
            .map(|_| Execution { log: log.clone(), ..failure(&app_id, &script_id) })
            .collect();
        record_all(&store, &rows).await;
        let full = store.size_bytes().await.unwrap();
        while store.delete_executions_before(None, i64::MAX, 500).await.unwrap() > 0 {}
        assert!(store.gives_back_room().await.unwrap());
        let mut writes = 0;
        while store.give_back_room().await.unwrap() {
            writes += 1;
        }
        if !store.is_shared() {
            assert!(full > 24 << 20, "{full}");
            assert!(store.size_bytes().await.unwrap() < full / 3);
            // Bounded parts, so that other writes do not wait for all of it.
            assert!(writes >= 1, "{writes}");
        }
        assert!(!store.give_back_room().await.unwrap());
    }

    async fn retention_deletes_the_oldest_in_batches(database) {
        let store = open(database).await;
        let (app_id, script_id): (AppId, ScriptId) = (id(), id());
        let rows: Vec<_> = (0..25).map(|_| failure(&app_id, &script_id)).collect();
        record_all(&store, &rows).await;
        let before = rows[23].finished_at;
        let scope = ExecutionScope::Script(script_id);

        let delete = async || store.delete_executions_before(None, before, 10).await.unwrap();
        assert_eq!(delete().await, 10);
        assert_eq!(
            store.list_executions(&scope, &ExecutionFilter::default(), ALL).await.unwrap(),
            newest_first(&rows[10..])
        );
        assert_eq!((delete().await, delete().await, delete().await), (10, 3, 0));
        assert_eq!(
            store.list_executions(&scope, &ExecutionFilter::default(), ALL).await.unwrap(),
            newest_first(&rows[23..])
        );
    }
}

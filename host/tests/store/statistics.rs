//! Searching and counting executions, and the list of connected nodes.

use picloud::store::{
    AppId, Captured, EventId, Execution, ExecutionFilter, ExecutionScope, ExecutionStatus, Json,
    LastExecution, Page, RunCount, Sample, ScriptId, Store, TriggerId, TriggerKind,
};

use crate::database::Kind;
use crate::fixtures::{ALL, execution, id, now, open};
use crate::on_both_databases;

async fn record_all(store: &Store, rows: &[Execution]) {
    for row in rows {
        store.record(row.clone()).await.unwrap();
    }
    store.flush().await.unwrap();
}

fn sample(row: &Execution) -> Sample {
    Sample {
        script_id: row.script_id.clone(),
        script_name: row.script_name.clone(),
        status: row.status,
        fuel_used: row.fuel_used,
        duration_us: row.duration_us,
        finished_at: row.finished_at,
    }
}

on_both_databases! {
    async fn every_part_of_a_filter_lets_only_its_own_through(database) {
        let store = open(database).await;
        let (app_id, script_id): (AppId, ScriptId) = (id(), id());
        let trigger_id: TriggerId = id();
        let plain = execution(&app_id, &script_id);
        let failed = Execution {
            status: ExecutionStatus::Timeout,
            ..execution(&app_id, &script_id)
        };
        let triggered = Execution {
            trigger_kind: TriggerKind::Cron,
            trigger_id: Some(trigger_id.clone()),
            ..execution(&app_id, &script_id)
        };
        let worded = Execution {
            log: Json::of(&["100 % of Ärger_"]).unwrap(),
            ..execution(&app_id, &script_id)
        };
        let rows = [plain, failed, triggered, worded];
        record_all(&store, &rows).await;
        record_all(&store, &[execution(&id(), &id())]).await;

        let scope = ExecutionScope::Script(script_id);
        let any = ExecutionFilter::default;
        let text = |text: &str| ExecutionFilter { text: Some(text.to_owned()), ..any() };
        let cases = [
            (any(), vec![3, 2, 1, 0]),
            (ExecutionFilter { status: Some(ExecutionStatus::Timeout), ..any() }, vec![1]),
            (ExecutionFilter { trigger_kind: Some(TriggerKind::Cron), ..any() }, vec![2]),
            (ExecutionFilter { trigger_id: Some(trigger_id.clone()), ..any() }, vec![2]),
            (ExecutionFilter { from: Some(rows[2].finished_at), ..any() }, vec![3, 2]),
            (ExecutionFilter { to: Some(rows[2].finished_at), ..any() }, vec![1, 0]),
            (ExecutionFilter { trigger_id: Some(id()), ..any() }, vec![]),
            (text("100 % OF"), vec![3]),
            // `_` and `"` have no special meaning.
            (text("_\"]"), vec![3]),
            (text("h%o"), vec![]),
            (
                ExecutionFilter {
                    trigger_kind: Some(TriggerKind::Cron),
                    status: Some(ExecutionStatus::Timeout),
                    ..any()
                },
                vec![],
            ),
        ];
        for (filter, expected) in cases {
            let listed = store.list_executions(&scope, &filter, ALL).await.unwrap();
            let expected: Vec<_> = expected.iter().map(|index: &usize| rows[*index].clone()).collect();
            assert_eq!(listed, expected, "{filter:?}");
        }
    }

    async fn what_an_execution_has_led_to_is_found_within_its_scope(database) {
        let store = open(database).await;
        let app_id: AppId = id();
        let first = execution(&app_id, &id());
        let caused = || Execution { caused_by: Some(first.id.clone()), ..execution(&app_id, &id()) };
        let rows = [caused(), caused(), caused()];
        let elsewhere = Execution { caused_by: Some(first.id.clone()), ..execution(&id(), &id()) };
        record_all(&store, &[first.clone(), elsewhere]).await;
        record_all(&store, &rows).await;

        let scope = ExecutionScope::App(app_id);
        let led_to = async |page| {
            store.list_executions_caused_by(&scope, &first.id, page).await.unwrap()
        };
        assert_eq!(led_to(ALL).await, [rows[2].clone(), rows[1].clone(), rows[0].clone()]);
        assert_eq!(led_to(Page { limit: 1, offset: 1 }).await, [rows[1].clone()]);
        let one = ExecutionScope::Script(rows[0].script_id.clone());
        let of_one = store.list_executions_caused_by(&one, &first.id, ALL).await.unwrap();
        assert_eq!(of_one, [rows[0].clone()]);
    }

    async fn samples_are_of_a_time_and_bounded(database) {
        let store = open(database).await;
        let (app_id, script_id): (AppId, ScriptId) = (id(), id());
        let rows: Vec<_> = (0..5).map(|_| execution(&app_id, &script_id)).collect();
        record_all(&store, &rows).await;
        record_all(&store, &[execution(&id(), &id())]).await;

        let scope = ExecutionScope::App(app_id);
        let (from, to) = (rows[1].finished_at, rows[4].finished_at);
        let all = store.list_samples(&scope, from, to, 1_000).await.unwrap();
        assert_eq!(all, [sample(&rows[3]), sample(&rows[2]), sample(&rows[1])]);
        let newest = store.list_samples(&scope, 0, now(), 2).await.unwrap();
        assert_eq!(newest, [sample(&rows[4]), sample(&rows[3])]);
    }

    async fn runs_are_counted_in_parts_of_a_time(database) {
        let store = open(database).await;
        let (app_id, script_id): (AppId, ScriptId) = (id(), id());
        let at = |finished_at, status| Execution {
            finished_at,
            status,
            ..execution(&app_id, &script_id)
        };
        let (good, bad) = (ExecutionStatus::Success, ExecutionStatus::Timeout);
        let rows = [at(99, good), at(100, good), at(119, bad), at(120, good), at(139, bad), at(140, bad)];
        record_all(&store, &rows).await;
        record_all(&store, &[Execution { finished_at: 100, ..execution(&id(), &id()) }]).await;

        let counted = async |limit| {
            let mut counts = store.count_runs(&app_id, 100, 140, 20, limit).await.unwrap();
            counts.sort_by_key(|count| count.place);
            counts
        };
        let part = |place, runs, errors| RunCount { place, runs, errors };
        assert_eq!(counted(10).await, [part(0, 2, 1), part(1, 2, 1)]);
        // The newest ones.
        assert_eq!(counted(3).await, [part(0, 1, 1), part(1, 2, 1)]);
        assert_eq!(store.count_runs(&id(), 100, 140, 20, 10).await.unwrap(), []);
    }

    async fn what_was_captured_leaves_out_what_scripts_called(database) {
        let store = open(database).await;
        let (app_id, script_id): (AppId, ScriptId) = (id(), id());
        let by_event = Execution {
            trigger_kind: TriggerKind::Queue,
            event_id: Some(id::<EventId>()),
            request: Json::of(&"a message").unwrap(),
            ..execution(&app_id, &script_id)
        };
        let by_request = execution(&app_id, &script_id);
        let called = Execution {
            parent_id: Some(by_request.id.clone()),
            ..execution(&app_id, &script_id)
        };
        record_all(&store, &[by_event.clone(), by_request.clone(), called]).await;

        let scope = ExecutionScope::Script(script_id);
        let captured = |row: &Execution| Captured {
            id: row.id.clone(),
            event_id: row.event_id.clone(),
            trigger_kind: row.trigger_kind,
            script_id: row.script_id.clone(),
            request: row.request.clone(),
            started_at: row.started_at,
            finished_at: row.finished_at,
        };
        let all = store.list_captured(&scope, None, 10).await.unwrap();
        assert_eq!(all, [captured(&by_request), captured(&by_event)]);
        let messages = store.list_captured(&scope, Some(TriggerKind::Queue), 10).await.unwrap();
        assert_eq!(messages, [captured(&by_event)]);
        assert_eq!(store.list_captured(&scope, None, 1).await.unwrap(), [captured(&by_request)]);
    }

    async fn each_trigger_has_its_last_execution(database) {
        let store = open(database).await;
        let (app_id, script_id): (AppId, ScriptId) = (id(), id());
        let (one, two): (TriggerId, TriggerId) = (id(), id());
        let by = |trigger: &TriggerId| Execution {
            trigger_id: Some(trigger.clone()),
            ..execution(&app_id, &script_id)
        };
        let fail = |row| Execution {
            status: ExecutionStatus::Error,
            error: Some(Json::of(&"line 3").unwrap()),
            ..row
        };
        let rows = [by(&two), by(&one), fail(by(&one)), execution(&app_id, &script_id)];
        record_all(&store, &rows).await;

        let last = |row: &Execution| LastExecution {
            trigger_id: row.trigger_id.clone().unwrap(),
            id: row.id.clone(),
            status: row.status,
            error: row.error.clone(),
            finished_at: row.finished_at,
        };
        let mut all = store.list_last_executions(&[&one, &two, &id()]).await.unwrap();
        all.sort_by_key(|last| last.finished_at);
        assert_eq!(all, [last(&rows[0]), last(&rows[2])]);
        assert_eq!(store.list_last_executions(&[]).await.unwrap(), []);
    }

    async fn the_nodes_that_are_connected_to_a_server_are_listed(database) {
        let node = async |id, version| {
            Store::open(&database.url.clone().of_node(id, version)).await.unwrap()
        };
        let first = node("a", "1.0.0").await;
        let second = node("b", "1.1.0").await;
        let listed = async || {
            let nodes = first.list_nodes().await.unwrap();
            nodes.into_iter().map(|node| (node.id, node.version)).collect::<Vec<_>>()
        };
        let [a, b] = [("a", "1.0.0"), ("b", "1.1.0")].map(|(id, v)| (id.to_owned(), v.to_owned()));
        match database.kind {
            // Only this process.
            Kind::Sqlite => assert_eq!(listed().await, []),
            Kind::Postgres => assert_eq!(listed().await, [a, b]),
        }
        second.close().await.unwrap();
    }
}

//! Following the log while several writers commit: every execution is returned exactly once.

use std::collections::BTreeMap;

use futures::future::join_all;
use picloud::store::{
    AppId, Commit, Error, Execution, ExecutionCursor, ExecutionFilter, ExecutionId, ExecutionScope,
    ExecutionStatus, Page, ScriptId, Store,
};

use crate::database::{Database, Kind};
use crate::fixtures::{ALL, Plain, execution, id, open};
use crate::on_both_databases;

const WRITERS: usize = 8;
const ROWS_OF_WRITER: usize = 250;

/// Selects the writers that are connected to PostgreSQL.
const CLAIMED: &str = "SELECT CAST(classid AS BIGINT), CAST(objid AS BIGINT) FROM pg_locks \
    WHERE locktype = 'advisory' AND classid = 1885563761 \
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";

/// Opens the nodes of a database: two if it can be shared.
async fn nodes(database: &Database) -> Vec<Store> {
    let first = open(database).await;
    match database.kind {
        Kind::Sqlite => vec![first],
        Kind::Postgres => vec![first, open(database).await],
    }
}

async fn commit(store: &Store, row: &Execution) {
    let commit = Commit { executions: vec![row.clone()], ..Commit::default() };
    store.commit(commit).await.unwrap();
}

async fn record(store: &Store, row: &Execution) {
    store.record(row.clone()).await.unwrap();
    store.flush().await.unwrap();
}

/// Returns everything after `cursor`, in pages of `limit`, and the next cursor.
async fn follow(
    store: &Store,
    scope: &ExecutionScope,
    filter: &ExecutionFilter,
    mut cursor: ExecutionCursor,
    limit: usize,
) -> (Vec<Execution>, ExecutionCursor) {
    let mut rows = Vec::new();
    loop {
        let followed = store.follow_executions(scope, filter, &cursor, limit).await.unwrap();
        // A caller stores the cursor as a text.
        cursor = followed.cursor.to_string().parse().unwrap();
        rows.extend(followed.rows);
        if !followed.has_more {
            return (rows, cursor);
        }
    }
}

/// [`follow`] without a filter.
async fn follow_all(
    store: &Store,
    scope: &ExecutionScope,
    cursor: ExecutionCursor,
) -> (Vec<Execution>, ExecutionCursor) {
    follow(store, scope, &ExecutionFilter::default(), cursor, 7).await
}

/// Writes rows in both ways that executions are written, with their ends out of order.
async fn write_many(store: &Store, app_id: &AppId, writer: usize) -> Vec<ExecutionId> {
    let script_id: ScriptId = id();
    let mut written = Vec::new();
    for number in 0..ROWS_OF_WRITER {
        let mut row = execution(app_id, &script_id);
        row.finished_at -= i64::try_from((writer * 31 + number * 17) % 400).unwrap();
        written.push(row.id.clone());
        match number % 3 {
            0 => commit(store, &row).await,
            _ => store.record(row).await.unwrap(),
        }
    }
    store.flush().await.unwrap();
    written
}

fn sorted(mut ids: Vec<ExecutionId>) -> Vec<ExecutionId> {
    ids.sort();
    ids
}

fn ids(rows: &[Execution]) -> Vec<ExecutionId> {
    rows.iter().map(|row| row.id.clone()).collect()
}

on_both_databases! {
    async fn what_ended_earlier_and_is_committed_later_is_followed(database) {
        let nodes = nodes(database).await;
        let (app_id, script_id): (AppId, ScriptId) = (id(), id());
        let scope = ExecutionScope::App(app_id.clone());
        let early = execution(&app_id, &script_id);
        let late = execution(&app_id, &script_id);
        assert!(early.finished_at < late.finished_at);
        commit(&nodes[0], &late).await;
        let (rows, cursor) = follow_all(&nodes[0], &scope, ExecutionCursor::default()).await;
        assert_eq!(rows, [late]);
        record(nodes.last().unwrap(), &early).await;
        let (rows, cursor) = follow_all(&nodes[0], &scope, cursor).await;
        assert_eq!(rows, [early]);
        assert_eq!(follow_all(&nodes[0], &scope, cursor).await.0, []);
    }

    async fn a_follower_of_many_writers_misses_nothing_and_sees_nothing_twice(database) {
        let nodes = nodes(database).await;
        let app_id: AppId = id();
        let scope = ExecutionScope::App(app_id.clone());
        let writers = (0..WRITERS).map(|writer| {
            let (store, app_id) = (nodes[writer % nodes.len()].clone(), app_id.clone());
            tokio::spawn(async move { write_many(&store, &app_id, writer).await })
        });
        let writers = tokio::spawn(join_all(writers.collect::<Vec<_>>()));
        let (mut seen, mut cursor) = (Vec::new(), ExecutionCursor::default());
        while !writers.is_finished() {
            let (rows, next) = follow_all(&nodes[0], &scope, cursor).await;
            (seen, cursor) = ([seen, ids(&rows)].concat(), next);
        }
        let written: Vec<_> = writers.await.unwrap().into_iter().flat_map(Result::unwrap).collect();
        let (rows, _) = follow_all(&nodes[0], &scope, cursor).await;
        seen.extend(ids(&rows));
        assert_eq!((seen.len(), written.len()), (WRITERS * ROWS_OF_WRITER, WRITERS * ROWS_OF_WRITER));
        assert_eq!(sorted(seen), sorted(written));
    }

    async fn a_list_gives_the_cursor_of_what_it_does_not_have(database) {
        let nodes = nodes(database).await;
        let app_id: AppId = id();
        let scope = ExecutionScope::App(app_id.clone());
        let writers = (0..WRITERS).map(|writer| {
            let (store, app_id) = (nodes[writer % nodes.len()].clone(), app_id.clone());
            tokio::spawn(async move { write_many(&store, &app_id, writer).await })
        });
        let writers = tokio::spawn(join_all(writers.collect::<Vec<_>>()));
        let all = Page { limit: i64::MAX - 1, offset: 0 };
        let filter = ExecutionFilter::default();
        let mut lists = Vec::new();
        while !writers.is_finished() {
            lists.push(nodes[0].list_executions_and_cursor(&scope, &filter, all).await.unwrap());
        }
        let written: Vec<_> = writers.await.unwrap().into_iter().flat_map(Result::unwrap).collect();
        let written = sorted(written);
        for (listed, cursor) in lists {
            let (followed, _) = follow(&nodes[0], &scope, &filter, cursor, 500).await;
            assert_eq!(sorted([ids(&listed.rows), ids(&followed)].concat()), written);
        }
    }

    async fn a_filter_passes_over_what_does_not_fit_and_goes_on(database) {
        let store = open(database).await;
        let (app_id, script_id): (AppId, ScriptId) = (id(), id());
        let scope = ExecutionScope::Script(script_id.clone());
        let mut failed = Vec::new();
        for number in 0..2500 {
            let mut row = execution(&app_id, &script_id);
            if number % 1200 == 1199 {
                row.status = ExecutionStatus::Error;
                failed.push(row.clone());
            }
            store.record(row).await.unwrap();
        }
        store.flush().await.unwrap();
        let filter =
            ExecutionFilter { status: Some(ExecutionStatus::Error), ..ExecutionFilter::default() };
        let start = ExecutionCursor::default();
        let first = store.follow_executions(&scope, &filter, &start, 5).await.unwrap();
        assert_eq!((&first.rows[..], first.has_more), (&[][..], true));
        let (rows, cursor) = follow(&store, &scope, &filter, start, 5).await;
        assert_eq!(rows, failed);
        // Rows that do not match are before the cursor, so they are not examined again.
        let (_, newest) = store.list_executions_and_cursor(&scope, &filter, ALL).await.unwrap();
        assert_eq!(cursor, newest);
    }

    async fn executions_from_before_the_numbers_are_followed_too(database) {
        let store = open(database).await;
        let (app_id, script_id): (AppId, ScriptId) = (id(), id());
        let scope = ExecutionScope::Script(script_id.clone());
        let old: Vec<_> = (0..10).map(|_| execution(&app_id, &script_id)).collect();
        for row in &old {
            store.record(row.clone()).await.unwrap();
        }
        store.flush().await.unwrap();
        let mut plain = Plain::connect(database).await;
        // Rows as written by an older release; two ended at the same time.
        plain.execute("UPDATE executions SET writer = 0, sequence = 0").await;
        let same = format!("UPDATE executions SET finished_at = {}", old[4].finished_at);
        plain.execute(&format!("{same} WHERE id = '{}'", old[3].id)).await;
        let newer = execution(&app_id, &script_id);
        commit(&store, &newer).await;

        let (rows, cursor) = follow(
            &store, &scope, &ExecutionFilter::default(), ExecutionCursor::default(), 3,
        ).await;
        assert_eq!(ids(&rows), [ids(&old), ids(&[newer])].concat());
        let filter = ExecutionFilter::default();
        let (listed, newest) = store.list_executions_and_cursor(&scope, &filter, ALL).await.unwrap();
        assert_eq!((listed.rows.len(), newest), (11, cursor.clone()));

        // A node with the older release continues to write.
        let other = execution(&app_id, &script_id);
        commit(&store, &other).await;
        let unnumbered = format!("UPDATE executions SET writer = 0 WHERE id = '{}'", other.id);
        plain.execute(&unnumbered).await;
        assert_eq!(follow_all(&store, &scope, cursor).await.0, [other]);
    }

    async fn retention_does_not_disturb_a_follower(database) {
        let store = open(database).await;
        let (app_id, script_id): (AppId, ScriptId) = (id(), id());
        let scope = ExecutionScope::App(app_id.clone());
        let rows: Vec<_> = (0..6).map(|_| execution(&app_id, &script_id)).collect();
        for row in &rows[..3] {
            commit(&store, row).await;
        }
        let (seen, cursor) = follow_all(&store, &scope, ExecutionCursor::default()).await;
        assert_eq!(seen, rows[..3]);
        store.delete_executions_before(None, i64::MAX, 10).await.unwrap();
        store.close().await.unwrap();
        // The sequence continues, although no execution is left to count from.
        let store = open(database).await;
        for row in &rows[3..] {
            commit(&store, row).await;
        }
        assert_eq!(follow_all(&store, &scope, cursor).await.0, rows[3..]);
    }

    async fn the_number_of_writers_does_not_grow_with_restarts(database) {
        let (app_id, script_id): (AppId, ScriptId) = (id(), id());
        let scope = ExecutionScope::App(app_id.clone());
        open(database).await.close().await.unwrap();
        let mut plain = Plain::connect(database).await;
        for _ in 0..5 {
            // The server ends a session a moment after it was closed.
            while database.kind == Kind::Postgres && !plain.pairs(CLAIMED).await.is_empty() {
                picloud_testing::pause().await;
            }
            let store = open(database).await;
            record(&store, &execution(&app_id, &script_id)).await;
            store.close().await.unwrap();
        }
        let store = open(database).await;
        assert_eq!(follow_all(&store, &scope, ExecutionCursor::default()).await.0.len(), 5);
        assert_eq!(plain.pairs("SELECT id, sequence FROM writers").await, [(1, 5)]);
    }

    async fn a_cursor_from_before_a_restore_is_refused(database) {
        let store = open(database).await;
        let (app_id, script_id): (AppId, ScriptId) = (id(), id());
        let scope = ExecutionScope::App(app_id.clone());
        commit(&store, &execution(&app_id, &script_id)).await;
        let (_, cursor) = follow_all(&store, &scope, ExecutionCursor::default()).await;
        Plain::connect(database).await.execute("UPDATE writers SET sequence = 0").await;
        let filter = ExecutionFilter::default();
        let refused = store.follow_executions(&scope, &filter, &cursor, 10).await;
        assert!(matches!(refused, Err(Error::Invalid { field: "after", .. })), "{refused:?}");
    }

    /// Older clients follow by the id of the last execution that they have seen. Executions that
    /// finished earlier can be written later.
    async fn an_id_is_a_cursor_where_one_writer_has_written_all(database) {
        let store = open(database).await;
        let (app_id, script_id): (AppId, ScriptId) = (id(), id());
        let scope = ExecutionScope::App(app_id.clone());
        let mut rows: Vec<_> = (0..20).map(|_| execution(&app_id, &script_id)).collect();
        rows.reverse();
        for row in &rows {
            commit(&store, row).await;
        }
        let cursor = store.cursor_behind(&scope, &rows[0].id).await.unwrap().unwrap();
        let (followed, _) = follow(&store, &scope, &ExecutionFilter::default(), cursor, 3).await;
        assert_eq!(followed, rows[1..]);
        assert!(store.cursor_behind(&scope, &id()).await.unwrap().is_none());
        if database.kind == Kind::Postgres {
            let other = open(database).await;
            commit(&other, &execution(&app_id, &script_id)).await;
            assert!(store.cursor_behind(&scope, &rows[0].id).await.unwrap().is_none());
        }
    }
}

/// With more connections than writers, connections share a writer, and the order holds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_beyond_the_last_writer_share_it() {
    crate::database::with_fresh_database(Kind::Postgres, async |database| {
        let store = open(database).await;
        let mut plain = Plain::connect(database).await;
        let held = "SELECT pg_advisory_lock(1885563761, n) FROM generate_series(2, 64) n";
        plain.execute(held).await;
        let (one, two) = (open(database).await, open(database).await);
        let app_id: AppId = id();
        let scope = ExecutionScope::App(app_id.clone());
        let written =
            join_all([&one, &two].map(|store| write_many(store, &app_id, 1))).await.concat();
        let (rows, _) = follow_all(&store, &scope, ExecutionCursor::default()).await;
        assert_eq!(sorted(ids(&rows)), sorted(written));
        let numbers: BTreeMap<_, _> =
            plain.pairs("SELECT id, sequence FROM writers").await.into_iter().collect();
        assert_eq!(numbers, BTreeMap::from([(1, 0), (64, 2 * ROWS_OF_WRITER as i64)]));
    })
    .await;
}

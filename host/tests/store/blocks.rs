//! Executions in blocks: whatever the mixture of rows and blocks, every reader returns what a plain
//! list of all executions says.

use std::cmp::Reverse;
use std::slice;

use picloud::store::{
    AppId, Commit, Execution, ExecutionCursor, ExecutionFilter, ExecutionScope, ExecutionStatus,
    Json, Page, Part, Position, ScriptId, Store, TriggerKind,
};

use crate::database::Kind;
use crate::fixtures::{ALL, Plain, execution, id, open};
use crate::on_both_databases;

const ROUNDS: u64 = 40;

/// A generator of numbers, the same in each run.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

/// All executions, oldest first.
struct Model {
    rows: Vec<Execution>,
    apps: Vec<AppId>,
    scripts: Vec<(usize, ScriptId)>,
}

impl Model {
    fn new() -> Self {
        let apps: Vec<AppId> = vec![id(), id()];
        let scripts = vec![(0, id()), (0, id()), (0, id()), (1, id())];
        Self { rows: Vec::new(), apps, scripts }
    }

    /// Returns an execution that can be a row or in a block, with an odd finish time.
    fn execution(&self, random: &mut Random) -> Execution {
        let (app, script_id) = &self.scripts[random.below(4) as usize];
        let mut row = execution(&self.apps[*app], script_id);
        row.finished_at -= i64::try_from(random.below(40)).unwrap();
        row.request = Json::of(&format!("GET /{}", random.below(5))).unwrap();
        match random.below(8) {
            0 => row.status = ExecutionStatus::Error,
            1 => row.event_id = Some(id()),
            2 => row.trigger_kind = TriggerKind::Script,
            3 => row.log = Json::of(&"x".repeat(20_000)).unwrap(),
            _ => {}
        }
        row
    }

    fn scopes(&self) -> Vec<ExecutionScope> {
        let scripts = self.scripts.iter().map(|(_, id)| ExecutionScope::Script(id.clone()));
        self.apps.iter().map(|id| ExecutionScope::App(id.clone())).chain(scripts).collect()
    }

    /// Returns what matches, newest first.
    fn list(&self, scope: &ExecutionScope, filter: &ExecutionFilter) -> Vec<Execution> {
        let mut rows: Vec<_> =
            self.rows.iter().filter(|row| fits(row, scope, filter)).cloned().collect();
        rows.sort_by_key(|row| Reverse((row.finished_at, row.id.clone())));
        rows
    }
}

fn fits(row: &Execution, scope: &ExecutionScope, filter: &ExecutionFilter) -> bool {
    let is_in_scope = match scope {
        ExecutionScope::App(id) => row.app_id == *id,
        ExecutionScope::Script(id) => row.script_id == *id,
    };
    is_in_scope
        && filter.status.is_none_or(|status| row.status == status)
        && filter.trigger_kind.is_none_or(|kind| row.trigger_kind == kind)
        && filter.from.is_none_or(|from| row.finished_at >= from)
        && filter.to.is_none_or(|to| row.finished_at < to)
        && filter.text.as_ref().is_none_or(|text| row.request.as_str().contains(text.as_str()))
}

fn filters(model: &Model, random: &mut Random) -> Vec<ExecutionFilter> {
    let at = |random: &mut Random| {
        let rows = model.rows.len() as u64;
        (rows > 0).then(|| model.rows[random.below(rows) as usize].finished_at)
    };
    let all = ExecutionFilter::default;
    vec![
        all(),
        ExecutionFilter { status: Some(ExecutionStatus::Success), ..all() },
        ExecutionFilter { status: Some(ExecutionStatus::Error), ..all() },
        ExecutionFilter { trigger_kind: Some(TriggerKind::Script), ..all() },
        ExecutionFilter { from: at(random), to: at(random), ..all() },
        ExecutionFilter { text: Some("GET /3".to_owned()), ..all() },
    ]
}

/// Checks that pages of every kind together are the whole list.
async fn check_lists(store: &Store, model: &Model, random: &mut Random) {
    for scope in model.scopes() {
        for filter in filters(model, random) {
            let expected = model.list(&scope, &filter);
            let all = store.list_executions(&scope, &filter, ALL).await.unwrap();
            assert_eq!(all, expected, "{scope:?} {filter:?}");
            let limit = 1 + i64::try_from(random.below(20)).unwrap();
            let offset = i64::try_from(random.below(30)).unwrap();
            let page =
                store.list_executions(&scope, &filter, Page { limit, offset }).await.unwrap();
            let of_page = expected.iter().skip(offset as usize).take(limit as usize);
            assert!(page.iter().eq(of_page), "{scope:?} {filter:?}, {limit} after {offset}");
            let (mut rows, mut after) = (Vec::new(), None);
            loop {
                let part = Part { page: Page { limit, offset: 0 }, after };
                let (listed, _) =
                    store.list_executions_and_cursor(&scope, &filter, part).await.unwrap();
                let last = listed.rows.last();
                let last = last.map(|row| Position { at: row.finished_at, id: row.id.to_string() });
                let Some(last) = last else { break };
                after = Some(last);
                rows.extend(listed.rows);
            }
            assert_eq!(rows, expected, "{scope:?} {filter:?} in pages of {limit}");
        }
    }
}

/// Checks that followers see every execution of their scope exactly once.
async fn check_followers(store: &Store, model: &Model, random: &mut Random) {
    for scope in model.scopes() {
        let filter = ExecutionFilter::default();
        let (mut cursor, mut rows) = (ExecutionCursor::default(), Vec::new());
        loop {
            let limit = 1 + random.below(50) as usize;
            let next = store.follow_executions(&scope, &filter, &cursor, limit).await.unwrap();
            rows.extend(next.rows);
            cursor = next.cursor;
            if !next.has_more {
                break;
            }
        }
        rows.sort_by_key(|row| Reverse((row.finished_at, row.id.clone())));
        assert_eq!(rows, model.list(&scope, &filter), "{scope:?}");

        let mut oldest_first = model.list(&scope, &filter);
        oldest_first.reverse();
        let mut rows: Vec<Execution> = Vec::new();
        loop {
            let last = rows.last().map(|row| row.id.clone());
            let next =
                store.list_executions_after(&scope, &filter, last.as_ref(), 17).await.unwrap();
            if next.is_empty() {
                break;
            }
            rows.extend(next);
        }
        assert_eq!(rows, oldest_first, "{scope:?}");
    }
}

on_both_databases! {
    async fn rows_and_blocks_are_one_log(database) {
        let store = open(database).await;
        let (mut model, mut random) = (Model::new(), Random(1));
        for round in 0..ROUNDS {
            for _ in 0..random.below(12) {
                let row = model.execution(&mut random);
                if row.event_id.is_some() {
                    let commit = Commit { executions: vec![row.clone()], ..Commit::default() };
                    store.commit(commit).await.unwrap();
                } else {
                    store.record(row.clone()).await.unwrap();
                }
                model.rows.push(row);
            }
            store.flush().await.unwrap();
            if round % 8 == 7 {
                check_lists(&store, &model, &mut random).await;
                check_followers(&store, &model, &mut random).await;
            }
            if round % 10 == 9 {
                let scopes = model.scopes();
                let scope = scopes.get(random.below(8) as usize);
                let at = model.rows[model.rows.len() / 4].finished_at;
                while store.delete_executions_before(scope, at, 7).await.unwrap() >= 7 {}
                let all = ExecutionFilter::default();
                model.rows.retain(|row| {
                    row.finished_at >= at || scope.is_some_and(|scope| !fits(row, scope, &all))
                });
            }
        }
        for row in &model.rows {
            assert_eq!(store.find_execution(&row.id).await.unwrap(), *row);
        }
        let blocks = "SELECT COUNT(*), CAST(SUM(executions) AS BIGINT) FROM execution_blocks";
        let (blocks, executions) = Plain::connect(database).await.pairs(blocks).await[0];
        assert!(blocks > 0 && executions > 3 * blocks, "{executions} in {blocks}");
    }

    async fn a_search_stops_after_many_executions_and_says_where(database) {
        const ROWS: usize = 10_600;
        let store = open(database).await;
        let (app_id, script_id): (AppId, ScriptId) = (id(), id());
        let mut rows: Vec<_> = (0..ROWS).map(|_| execution(&app_id, &script_id)).collect();
        rows[3].request = Json::of(&"GET /needle").unwrap();
        for row in &rows {
            store.record(row.clone()).await.unwrap();
        }
        store.flush().await.unwrap();
        let scope = ExecutionScope::App(app_id);
        let filter = ExecutionFilter { text: Some("needle".to_owned()), ..Default::default() };
        let page = Page { limit: 10, offset: 0 };
        let part = Part { page, after: None };
        let (first, _) = store.list_executions_and_cursor(&scope, &filter, part).await.unwrap();
        assert_eq!(first.rows, []);
        let after = first.looked_to;
        let reached = after.as_ref().map(|position| position.at);
        assert!(reached.is_some_and(|at| at > rows[3].finished_at && at < rows[2_000].finished_at));
        let part = Part { page, after };
        let (second, _) = store.list_executions_and_cursor(&scope, &filter, part).await.unwrap();
        assert_eq!((second.rows.as_slice(), second.looked_to), (&rows[3..4], None));
    }

    async fn a_damaged_block_hides_only_itself_and_ages(database) {
        let store = open(database).await;
        let (app_id, script_id): (AppId, ScriptId) = (id(), id());
        let scope = ExecutionScope::App(app_id.clone());
        let (lost, kept) = (execution(&app_id, &script_id), execution(&app_id, &script_id));
        store.record(lost.clone()).await.unwrap();
        store.flush().await.unwrap();
        let mut plain = Plain::connect(database).await;
        let damaged = match database.kind {
            Kind::Sqlite => "x'02'",
            Kind::Postgres => r"'\x02'",
        };
        plain.execute(&format!("UPDATE execution_blocks SET content = {damaged}")).await;
        store.record(kept.clone()).await.unwrap();
        store.flush().await.unwrap();
        let filter = ExecutionFilter::default();
        assert_eq!(store.list_executions(&scope, &filter, ALL).await.unwrap(), slice::from_ref(&kept));
        let start = ExecutionCursor::default();
        let followed = store.follow_executions(&scope, &filter, &start, 10).await.unwrap();
        assert_eq!(followed.rows, slice::from_ref(&kept));
        assert!(store.find_execution(&lost.id).await.is_err());
        store.delete_executions_before(None, kept.finished_at, 10).await.unwrap();
        let blocks = plain.pairs("SELECT COUNT(*), MIN(executions) FROM execution_blocks").await;
        assert_eq!(blocks, [(1, 1)]);
    }
}

//! Numbers about executions, for statistics over time.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use sqlx::{AssertSqlSafe, Connection, FromRow};

use super::executions::blocks::walk::Range;
use super::{
    AppId, EventId, Execution, ExecutionFilter, ExecutionId, ExecutionScope, ExecutionStatus, Json,
    Page, Result, ScriptId, Store, TriggerId, TriggerKind, bulk,
};

/// The figures of one execution.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct Sample {
    /// The script.
    pub script_id: ScriptId,
    /// The script's name at that time.
    pub script_name: String,
    /// How the run ended.
    #[sqlx(try_from = "String")]
    pub status: ExecutionStatus,
    /// The fuel used.
    pub fuel_used: i64,
    /// The duration, µs.
    pub duration_us: i64,
    /// When the run ended, µs.
    pub finished_at: i64,
}

/// The number of executions that ended in one part of a period.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromRow)]
pub struct RunCount {
    /// The index of the part, from 0.
    pub place: i64,
    /// The number of executions that ended in it.
    pub runs: i64,
    /// The number of those that did not succeed.
    pub errors: i64,
}

/// The last execution that a trigger started.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct LastExecution {
    /// The trigger.
    pub trigger_id: TriggerId,
    /// The execution.
    pub id: ExecutionId,
    /// How the run ended.
    #[sqlx(try_from = "String")]
    pub status: ExecutionStatus,
    /// The error, if the run failed.
    pub error: Option<Json>,
    /// When the run ended, µs.
    pub finished_at: i64,
}

/// The request or event that started an execution.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct Captured {
    /// The execution.
    pub id: ExecutionId,
    /// The event, if one started the execution.
    pub event_id: Option<EventId>,
    /// The kind of trigger.
    #[sqlx(try_from = "String")]
    pub trigger_kind: TriggerKind,
    /// The script.
    pub script_id: ScriptId,
    /// The request or the event, as stored with the execution.
    pub request: Json,
    /// When the execution began, µs.
    pub started_at: i64,
    /// When the execution ended, µs.
    pub finished_at: i64,
}

impl From<Execution> for Captured {
    fn from(row: Execution) -> Self {
        let Execution {
            id,
            event_id,
            trigger_kind,
            script_id,
            request,
            started_at,
            finished_at,
            ..
        } = row;
        Self { id, event_id, trigger_kind, script_id, request, started_at, finished_at }
    }
}

impl From<Execution> for Sample {
    fn from(row: Execution) -> Self {
        let Execution {
            script_id, script_name, status, fuel_used, duration_us, finished_at, ..
        } = row;
        Self { script_id, script_name, status, fuel_used, duration_us, finished_at }
    }
}

impl Store {
    /// Lists what started the last `limit` executions, optionally of one kind.
    pub async fn list_captured(
        &self,
        scope: &ExecutionScope,
        kind: Option<TriggerKind>,
        limit: i64,
    ) -> Result<Vec<Captured>> {
        let filter = ExecutionFilter { trigger_kind: kind, ..ExecutionFilter::default() };
        let listing = filter.listing(scope).sifted_where(&["parent_id"], "parent_id IS NULL", None);
        let columns = "id, event_id, trigger_kind, script_id, request, started_at, finished_at";
        let page = Page { limit, offset: 0 };
        let mut connection = self.reads().acquire().await?;
        let begin = self.inner.dialect.begin_snapshot();
        let mut snapshot = Connection::begin_with(&mut *connection, begin).await?;
        let mut rows: Vec<Captured> =
            listing.fetch(&mut snapshot, columns, &page.into()).await?.rows;
        let count = usize::try_from(limit).unwrap_or(0);
        let range = Range { scope, from: i64::MIN, to: i64::MAX, after: None, count };
        let packed = range.newest(&mut snapshot, |row| {
            (row.parent_id.is_none() && filter.fits(&row)).then(|| Captured::from(row))
        });
        rows.extend(packed.await?.rows.into_iter().map(|(_, row)| row));
        snapshot.commit().await?;
        rows.sort_by(|a, b| (b.finished_at, &b.id).cmp(&(a.finished_at, &a.id)));
        rows.truncate(count);
        Ok(rows)
    }

    /// Lists at most `limit` executions that finished from `from` to before `to`, µs, last first.
    pub async fn list_samples(
        &self,
        scope: &ExecutionScope,
        from: i64,
        to: i64,
        limit: i64,
    ) -> Result<Vec<Sample>> {
        let query = format!(
            "SELECT script_id, script_name, status, fuel_used, duration_us, finished_at \
             FROM executions WHERE {} = $1 AND finished_at >= $2 AND finished_at < $3 \
             ORDER BY finished_at DESC, id DESC LIMIT $4",
            scope.column()
        );
        let mut connection = self.reads().acquire().await?;
        let mut rows: Vec<Sample> = sqlx::query_as(AssertSqlSafe(query))
            .bind(scope.id())
            .bind(from)
            .bind(to)
            .bind(limit)
            .fetch_all(&mut *connection)
            .await?;
        let count = usize::try_from(limit).unwrap_or(0);
        let range = Range { scope, from, to, after: None, count };
        let packed = range.newest(&mut connection, |row| Some(Sample::from(row))).await?;
        rows.extend(packed.rows.into_iter().map(|(_, row)| row));
        rows.sort_by_key(|row| Reverse(row.finished_at));
        rows.truncate(count);
        Ok(rows)
    }

    /// Counts the executions that finished from `from` to before `to`, µs, in parts of `part_us`.
    /// Counts at most the last `limit`. Empty parts are omitted.
    pub async fn count_runs(
        &self,
        app_id: &AppId,
        from: i64,
        to: i64,
        part_us: i64,
        limit: i64,
    ) -> Result<Vec<RunCount>> {
        let query = "SELECT finished_at, CASE WHEN status = 'success' THEN 0 ELSE 1 END \
             FROM executions WHERE app_id = $1 AND finished_at >= $2 AND finished_at < $3 \
             ORDER BY finished_at DESC LIMIT $4";
        let mut connection = self.reads().acquire().await?;
        let mut ends: Vec<(i64, i64)> = sqlx::query_as(query)
            .bind(app_id)
            .bind(from)
            .bind(to)
            .bind(limit)
            .fetch_all(&mut *connection)
            .await?;
        let scope = ExecutionScope::App(app_id.clone());
        let count = usize::try_from(limit).unwrap_or(0);
        let range = Range { scope: &scope, from, to, after: None, count };
        let packed = range.newest(&mut connection, |_| Some(())).await?;
        ends.extend(packed.rows.into_iter().map(|(position, ())| (position.at, 0)));
        ends.sort_by_key(|(at, _)| Reverse(*at));
        ends.truncate(count);
        let mut counts = BTreeMap::new();
        for (at, errors) in ends {
            let place = (at - from) / part_us;
            let counted = counts.entry(place).or_insert(RunCount { place, runs: 0, errors: 0 });
            counted.runs += 1;
            counted.errors += errors;
        }
        Ok(counts.into_values().collect())
    }

    /// Returns the last execution of each of these triggers that has one.
    pub async fn list_last_executions(
        &self,
        triggers: &[&TriggerId],
    ) -> Result<Vec<LastExecution>> {
        let rows: Vec<_> = triggers.iter().map(|id| (*id,)).collect();
        let query = format!(
            "SELECT trigger_id, id, status, error, finished_at FROM executions WHERE id IN \
             (SELECT (SELECT e.id FROM executions e WHERE e.trigger_id = r.value->>0 \
             ORDER BY e.finished_at DESC, e.id DESC LIMIT 1) FROM {})",
            self.inner.dialect.rows()
        );
        let query = sqlx::query_as(AssertSqlSafe(query)).bind(bulk::json(&rows)?);
        Ok(query.fetch_all(self.reads()).await?)
    }
}

//! Numbers about executions, for statistics over time.

use sqlx::{AssertSqlSafe, FromRow};

use super::{
    AppId, EventId, ExecutionFilter, ExecutionId, ExecutionScope, ExecutionStatus, Json, Page,
    Result, ScriptId, Store, TriggerId, TriggerKind, bulk,
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
        let columns = "id, event_id, trigger_kind, script_id, request, started_at";
        let page = Page { limit, offset: 0 };
        let mut connection = self.reads().acquire().await?;
        Ok(listing.fetch(&mut connection, columns, &page.into()).await?.rows)
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
        let rows = sqlx::query_as(AssertSqlSafe(query))
            .bind(scope.id())
            .bind(from)
            .bind(to)
            .bind(limit)
            .fetch_all(self.reads())
            .await?;
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
        let query = "SELECT (finished_at - $2) / $5 AS place, COUNT(*) AS runs, \
             CAST(SUM(CASE WHEN status = 'success' THEN 0 ELSE 1 END) AS BIGINT) AS errors \
             FROM (SELECT finished_at, status FROM executions WHERE app_id = $1 \
             AND finished_at >= $2 AND finished_at < $3 \
             ORDER BY finished_at DESC, id DESC LIMIT $4) AS counted GROUP BY 1";
        let rows = sqlx::query_as(query)
            .bind(app_id)
            .bind(from)
            .bind(to)
            .bind(limit)
            .bind(part_us)
            .fetch_all(self.reads())
            .await?;
        Ok(rows)
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

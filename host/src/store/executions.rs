//! The log of executions: read and deleted here, written by [`super::commit`].
//!
//! Invariant: a row is never changed.

mod cursor;
mod filter;
mod follow;
mod search;

use sqlx::{AnyConnection, AssertSqlSafe, FromRow};

use super::bulk::{self, bulk_row};
use super::dialect::Dialect;
use super::listing::{LOOKED_AT_MAX, Listing};
use super::signals::Touches;
use super::writer::WriterId;
use super::{
    AppId, Error, EventId, ExecutionId, ExecutionStatus, Json, Page, Resource, Result, ScriptId,
    Store, TriggerId, TriggerKind,
};

pub use cursor::{CursorError, ExecutionCursor};
pub(super) use filter::EXECUTIONS;
pub use filter::ExecutionFilter;
pub use follow::Followed;

/// A finished run of a script. The caller defines the content of the JSON columns.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct Execution {
    /// The id.
    pub id: ExecutionId,
    /// The script's app.
    pub app_id: AppId,
    /// The script.
    pub script_id: ScriptId,
    /// The script's name at that time.
    pub script_name: String,
    /// The version that ran.
    pub version: i64,
    /// How the run ended.
    #[sqlx(try_from = "String")]
    pub status: ExecutionStatus,
    /// The kind of trigger that started the run.
    #[sqlx(try_from = "String")]
    pub trigger_kind: TriggerKind,
    /// The number of the attempt, from 1.
    pub attempt: i64,
    /// A summary of the request.
    pub request: Json,
    /// A summary of the response, if there was one.
    pub response: Option<Json>,
    /// The script's log lines, an array.
    pub log: Json,
    /// The error, if the run failed.
    pub error: Option<Json>,
    /// The fuel used.
    pub fuel_used: i64,
    /// The peak memory, in bytes.
    pub memory_peak_bytes: i64,
    /// The duration, µs.
    pub duration_us: i64,
    /// When the run began, µs.
    pub started_at: i64,
    /// When the run ended, µs.
    pub finished_at: i64,
    /// The event that started the run, if any.
    pub event_id: Option<EventId>,
    /// The trigger that created the event.
    pub trigger_id: Option<TriggerId>,
    /// The execution that called this one as part of its own run.
    pub parent_id: Option<ExecutionId>,
    /// The execution that caused the event.
    pub caused_by: Option<ExecutionId>,
}

bulk_row! { Execution {
    id: Text,
    app_id: Text,
    script_id: Text,
    script_name: Text,
    version: Number,
    status: Text,
    trigger_kind: Text,
    attempt: Number,
    request: Text,
    response: Text,
    log: Text,
    error: Text,
    fuel_used: Number,
    memory_peak_bytes: Number,
    duration_us: Number,
    started_at: Number,
    finished_at: Number,
    event_id: Text,
    trigger_id: Text,
    parent_id: Text,
    caused_by: Text,
}}

/// Inserts executions as the next ones of this connection's writer: they get its next sequence
/// numbers, and the writer's row stays locked until the commit. Existing rows are skipped: if a
/// connection is lost during a commit, it is unknown whether the rows are stored, and they are sent
/// again.
pub(super) async fn insert(
    connection: &mut AnyConnection,
    dialect: Dialect,
    writer: &WriterId,
    rows: Rows,
) -> Result<()> {
    let number = "UPDATE writers SET sequence = sequence + $2 WHERE id = $1 RETURNING sequence";
    let last: i64 = sqlx::query_scalar(number)
        .bind(writer.get())
        .bind(rows.count)
        .fetch_one(&mut *connection)
        .await?;
    let further = [
        ("writer", "CAST($2 AS BIGINT)"),
        ("sequence", "CAST($3 AS BIGINT) + ROW_NUMBER() OVER ()"),
    ];
    let statement = bulk::insert_statement_with::<Execution>(
        dialect,
        "executions",
        &further,
        "ON CONFLICT (id) DO NOTHING",
    );
    sqlx::query(AssertSqlSafe(statement))
        .bind(rows.json)
        .bind(writer.get())
        .bind(last - rows.count)
        .execute(connection)
        .await?;
    Ok(())
}

/// Encoded executions, ready to insert.
pub(super) struct Rows {
    json: String,
    count: i64,
}

impl Rows {
    pub(super) fn of<'a>(rows: impl IntoIterator<Item = &'a Execution>) -> Result<Self> {
        let rows: Vec<_> = rows.into_iter().collect();
        let count = i64::try_from(rows.len()).unwrap_or(i64::MAX);
        Ok(Self { json: bulk::rows_json(rows)?, count })
    }
}

/// Selects whose executions to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExecutionScope {
    /// The executions of all scripts of an app.
    App(AppId),
    /// The executions of one script.
    Script(ScriptId),
}

impl ExecutionScope {
    pub(super) fn column(&self) -> &'static str {
        match self {
            Self::App(_) => "app_id",
            Self::Script(_) => "script_id",
        }
    }

    pub(super) fn id(&self) -> &str {
        match self {
            Self::App(id) => id.as_str(),
            Self::Script(id) => id.as_str(),
        }
    }
}

impl Store {
    /// Returns a committed execution. Errors: `NotFound(Execution)`.
    pub async fn find_execution(&self, id: &ExecutionId) -> Result<Execution> {
        sqlx::query_as("SELECT * FROM executions WHERE id = $1")
            .bind(id)
            .fetch_optional(self.reads())
            .await?
            .ok_or(Error::NotFound(Resource::Execution))
    }

    /// Lists executions, last finished first.
    pub async fn list_executions(
        &self,
        scope: &ExecutionScope,
        filter: &ExecutionFilter,
        page: Page,
    ) -> Result<Vec<Execution>> {
        let mut connection = self.reads().acquire().await?;
        Ok(search::fetch(&mut connection, scope, filter, &page.into()).await?.rows)
    }

    /// Lists the runs that an event started, and the runs they called, last attempt first.
    pub async fn list_executions_of_event(
        &self,
        scope: &ExecutionScope,
        event_id: &EventId,
        page: Page,
    ) -> Result<Vec<Execution>> {
        // An OR, or a scope that can use an index, would read all executions of the scope.
        let query = format!(
            "SELECT * FROM executions WHERE id IN (SELECT id FROM executions WHERE event_id = $2 \
             UNION SELECT part.id FROM executions run JOIN executions part \
             ON part.parent_id = run.id WHERE run.event_id = $2) AND {} || '' = $1 \
             ORDER BY finished_at DESC, id DESC LIMIT $3 OFFSET $4",
            scope.column()
        );
        let rows = sqlx::query_as(AssertSqlSafe(query))
            .bind(scope.id())
            .bind(event_id)
            .bind(page.limit)
            .bind(page.offset)
            .fetch_all(self.reads())
            .await?;
        Ok(rows)
    }

    /// Lists executions that finished after the execution `after`, first finished first. Starts at
    /// the oldest row if `after` is `None` or deleted. Ignores the filter's text.
    ///
    /// For clients older than [`Store::follow_executions`]. It misses executions that were
    /// committed after others that finished later. The filter applies to the next 10,000 rows.
    pub async fn list_executions_after(
        &self,
        scope: &ExecutionScope,
        filter: &ExecutionFilter,
        after: Option<&ExecutionId>,
        limit: i64,
    ) -> Result<Vec<Execution>> {
        let query = format!(
            "SELECT * FROM executions WHERE id IN (SELECT id FROM (SELECT id, finished_at, status, \
             trigger_kind, trigger_id FROM executions WHERE {} = $1 AND (finished_at, id) > \
             (COALESCE((SELECT finished_at FROM executions WHERE id = $8), 0), $8) \
             ORDER BY finished_at, id LIMIT {LOOKED_AT_MAX}) AS looked WHERE {} \
             ORDER BY finished_at, id LIMIT $7) ORDER BY finished_at, id",
            scope.column(),
            ExecutionFilter::conditions(),
        );
        let rows = filter
            .bind(sqlx::query_as(AssertSqlSafe(query)), scope)
            .bind(limit)
            .bind(after.map_or("", ExecutionId::as_str).to_owned())
            .fetch_all(self.reads())
            .await?;
        Ok(rows)
    }

    /// Lists the runs that an execution caused through events, last finished first.
    pub async fn list_executions_caused_by(
        &self,
        scope: &ExecutionScope,
        id: &ExecutionId,
        page: Page,
    ) -> Result<Vec<Execution>> {
        let mut connection = self.reads().acquire().await?;
        let listing = Listing::of(EXECUTIONS).found("caused_by =", id.as_str());
        let listing = listing.sifted(scope.column(), scope.id());
        Ok(listing.fetch(&mut connection, "*", &page.into()).await?.rows)
    }

    /// Deletes at most `limit` executions that finished before `at`, oldest first: all of them, or
    /// those of `scope`. Returns the number deleted; the caller repeats until it is below `limit`.
    pub async fn delete_executions_before(
        &self,
        scope: Option<&ExecutionScope>,
        at: i64,
        limit: i64,
    ) -> Result<u64> {
        let of_scope = scope.map_or(String::new(), |scope| format!("{} = $3 AND ", scope.column()));
        let statement = format!(
            "DELETE FROM executions WHERE id IN (SELECT id FROM executions \
             WHERE {of_scope}finished_at < $1 ORDER BY finished_at LIMIT $2)"
        );
        let id = scope.map(|scope| scope.id().to_owned());
        self.write(Touches::Records, move |connection| {
            Box::pin(async move {
                let query = sqlx::query(AssertSqlSafe(statement)).bind(at).bind(limit);
                let query = match id {
                    Some(id) => query.bind(id),
                    None => query,
                };
                Ok(query.execute(connection).await?.rows_affected())
            })
        })
        .await
    }
}

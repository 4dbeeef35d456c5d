//! The log of executions: read and deleted here, written by [`super::commit`].
//!
//! ```text
//! blocks  small executions without effects, hundreds in a row
//! filter  filters of lists
//! search  lists, and the search for a text
//! follow  the log in the order of its commits
//! cursor  a position in that order
//! size    the size of the log, and its limit
//! ```
//!
//! Invariant: an execution is never changed.

pub(super) mod blocks;
mod cursor;
mod filter;
mod follow;
mod search;
mod size;

use std::collections::BTreeMap;

use sqlx::{AnyConnection, AssertSqlSafe, Connection, FromRow};

use super::bulk::{self, bulk_row};
use super::dialect::Dialect;
use super::listing::{LOOKED_AT_MAX, Listing};

use super::signals::Touches;
use super::writer::WriterId;
use super::{
    AppId, Error, EventId, ExecutionId, ExecutionStatus, Json, Page, Resource, Result, ScriptId,
    Store, TriggerId, TriggerKind,
};

pub(super) use blocks::Packed;
pub use cursor::{CursorError, ExecutionCursor};
pub(super) use filter::EXECUTIONS;
pub use filter::ExecutionFilter;
pub use follow::Followed;
pub use size::{BY_AGE_SETTING, LogSize};

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
/// numbers, and the writer's row stays locked until the commit.
pub(super) async fn insert(
    connection: &mut AnyConnection,
    dialect: Dialect,
    writer: &WriterId,
    rows: &Encoded,
) -> Result<()> {
    let number = "UPDATE writers SET sequence = sequence + $2 WHERE id = $1 RETURNING sequence";
    let of_blocks = blocks::sequences(&rows.blocks);
    let last: i64 = sqlx::query_scalar(number)
        .bind(writer.get())
        .bind(rows.count + of_blocks)
        .fetch_one(&mut *connection)
        .await?;
    let first = last - rows.count - of_blocks + 1;
    blocks::insert(connection, dialect, writer.get(), first, &rows.blocks).await?;
    if rows.count == 0 {
        return Ok(());
    }
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
        .bind(rows.json.clone())
        .bind(writer.get())
        .bind(last - rows.count)
        .execute(connection)
        .await?;
    Ok(())
}

/// Encoded executions, ready to insert.
pub(super) struct Encoded {
    json: String,
    count: i64,
    blocks: Vec<Packed>,
}

impl Encoded {
    /// Encodes executions as rows.
    pub(super) fn as_rows<'a>(rows: impl IntoIterator<Item = &'a Execution>) -> Result<Self> {
        let rows: Vec<_> = rows.into_iter().collect();
        let count = i64::try_from(rows.len()).unwrap_or(i64::MAX);
        Ok(Self { json: bulk::rows_json(rows)?, count, blocks: Vec::new() })
    }

    /// Encodes executions in blocks, and as rows those that no block takes.
    pub(super) fn in_blocks<'a>(rows: impl IntoIterator<Item = &'a Execution>) -> Result<Self> {
        let (packed, rows): (Vec<_>, Vec<_>) = rows.into_iter().partition(|row| blocks::takes(row));
        Ok(Self { blocks: blocks::pack(packed)?, ..Self::as_rows(rows)? })
    }

    pub(super) fn blocks(&self) -> &[Packed] {
        &self.blocks
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

    /// Whether an execution belongs to the scope.
    fn covers(&self, row: &Execution) -> bool {
        match self {
            Self::App(id) => row.app_id == *id,
            Self::Script(id) => row.script_id == *id,
        }
    }
}

impl Store {
    /// Returns a committed execution. Errors: `NotFound(Execution)`.
    pub async fn find_execution(&self, id: &ExecutionId) -> Result<Execution> {
        let mut connection = self.reads().acquire().await?;
        let row = sqlx::query_as("SELECT * FROM executions WHERE id = $1")
            .bind(id)
            .fetch_optional(&mut *connection)
            .await?;
        if let Some(row) = row {
            return Ok(row);
        }
        let found = blocks::walk::find(&mut connection, id).await?;
        let found = found.ok_or(Error::NotFound(Resource::Execution))?;
        Ok(found.1.execution)
    }

    /// Lists executions, last finished first.
    pub async fn list_executions(
        &self,
        scope: &ExecutionScope,
        filter: &ExecutionFilter,
        page: Page,
    ) -> Result<Vec<Execution>> {
        let mut connection = self.reads().acquire().await?;
        let begin = self.inner.dialect.begin_snapshot();
        let mut snapshot = Connection::begin_with(&mut *connection, begin).await?;
        let rows = search::fetch(&mut snapshot, self.inner.dialect, scope, filter, &page.into())
            .await?
            .rows;
        snapshot.commit().await?;
        Ok(rows)
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
        let mut connection = self.reads().acquire().await?;
        let begin = self.inner.dialect.begin_snapshot();
        let mut snapshot = Connection::begin_with(&mut *connection, begin).await?;
        let position = match after {
            Some(id) => finished_at(&mut snapshot, id).await?,
            None => None,
        };
        let (at, id) = (position.unwrap_or(0), after.map_or("", ExecutionId::as_str));
        let query = format!(
            "SELECT * FROM executions WHERE id IN (SELECT id FROM (SELECT id, finished_at, status, \
             trigger_kind, trigger_id FROM executions WHERE {} = $1 AND (finished_at, id) > \
             ($8, $9) ORDER BY finished_at, id LIMIT {LOOKED_AT_MAX}) AS looked WHERE {} \
             ORDER BY finished_at, id LIMIT $7) ORDER BY finished_at, id",
            scope.column(),
            ExecutionFilter::conditions(),
        );
        let mut rows: Vec<Execution> = filter
            .bind(sqlx::query_as(AssertSqlSafe(query)), scope)
            .bind(limit)
            .bind(at)
            .bind(id.to_owned())
            .fetch_all(&mut *snapshot)
            .await?;
        if filter.fits_blocks() {
            let count = usize::try_from(limit).unwrap_or(0);
            let mut packed = blocks::walk::oldest(&mut snapshot, scope, (at, id), count).await?;
            packed.retain(|row| filter.fits(row));
            rows.extend(packed);
            rows.sort_by(|a, b| (a.finished_at, &a.id).cmp(&(b.finished_at, &b.id)));
            rows.truncate(count);
        }
        snapshot.commit().await?;
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

    /// Deletes executions that finished before `at`, oldest first: at most `limit` rows, and of the
    /// blocks as many as have the rest of `limit`. Only those of `scope`, if there is one. Returns
    /// the number deleted, which can exceed `limit` by a block; the caller repeats until it is below
    /// `limit`.
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
        let (dialect, scope) = (self.inner.dialect, scope.cloned());
        self.write(Touches::Records, move |connection| {
            Box::pin(async move {
                let query = sqlx::query(AssertSqlSafe(statement)).bind(at).bind(limit);
                let query = match &scope {
                    Some(scope) => query.bind(scope.id().to_owned()),
                    None => query,
                };
                let rows = query.execute(&mut *connection).await?.rows_affected();
                let left = limit - i64::try_from(rows).unwrap_or(limit);
                let of_blocks =
                    blocks::prune(connection, dialect, scope.as_ref(), at, left).await?;
                Ok(rows + of_blocks)
            })
        })
        .await
    }
}

/// Returns the rows with these ids.
async fn find_rows(
    connection: &mut AnyConnection,
    dialect: Dialect,
    ids: &[(&str,)],
) -> Result<BTreeMap<String, Execution>> {
    if ids.is_empty() {
        return Ok(BTreeMap::new());
    }
    let rows = dialect.rows();
    let query = format!("SELECT * FROM executions WHERE id IN (SELECT r.value->>0 FROM {rows})");
    let query = sqlx::query_as(AssertSqlSafe(query)).bind(bulk::json(ids)?);
    let rows: Vec<Execution> = query.fetch_all(connection).await?;
    Ok(rows.into_iter().map(|row| (row.id.as_str().to_owned(), row)).collect())
}

/// Returns when an execution finished; `None` if it does not exist.
async fn finished_at(connection: &mut AnyConnection, id: &ExecutionId) -> Result<Option<i64>> {
    let query = "SELECT finished_at FROM executions WHERE id = $1";
    let row = sqlx::query_scalar(query).bind(id).fetch_optional(&mut *connection).await?;
    if row.is_some() {
        return Ok(row);
    }
    let found = blocks::walk::find(connection, id).await?;
    Ok(found.map(|(_, found)| found.execution.finished_at))
}

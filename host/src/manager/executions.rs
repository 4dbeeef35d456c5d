//! `/executions/{id}` and the lists of executions of a script and of an app.

mod purge;
mod query;
mod recorded;

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::ControlPlane;
use super::extensible::Extensible;
use super::extract::{Path, Query};
use super::lists::{List, PageQuery};
use crate::auth::{Caller, Capability};
use crate::error::Result;
use crate::executor::LogLine;
use crate::json::Verbatim;
use crate::store::{
    self, ExecutionCursor, ExecutionId, ExecutionScope, ExecutionStatus, Listed, Position,
    Resource, ScriptId, TriggerKind,
};
pub use purge::Purged;
pub(super) use purge::*;
pub(super) use query::TEXT_CHARS_MAX;
use query::{ExecutionsQuery, Selection};
pub use recorded::RecordedLine;
use recorded::{RecordedRequest, RecordedResponse};

/// A row of an execution list.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
pub struct ExecutionSummary {
    /// The execution's id.
    pub id: String,
    /// The id of the script that ran.
    pub script_id: String,
    /// The script's name at that time.
    pub script: String,
    /// The version that ran.
    pub version: i64,
    /// The status with which it ended.
    #[schema(value_type = ExecutionStatus)]
    pub status: Extensible<ExecutionStatus>,
    /// The kind of its cause: `http`, `execute` (the test panel), `script` (another script),
    /// `kv`, `cron`, `queue`, `pubsub`, `files` or `dead_letter`.
    #[schema(value_type = TriggerKind)]
    pub trigger: Extensible<TriggerKind>,
    /// The id of the event that started it, the same for every attempt.
    pub event_id: Option<String>,
    /// The id of the trigger that the event matched.
    pub trigger_id: Option<String>,
    /// The id of the execution that called its script; `null` if none did.
    pub parent_id: Option<String>,
    /// The id of the execution that caused the event.
    pub caused_by: Option<String>,
    /// The number of the attempt, from 1.
    pub attempt: i64,
    /// The request's method.
    pub method: Option<String>,
    /// The request's path.
    pub path: Option<String>,
    /// The status of the response; `null` without a response.
    pub response_status: Option<i64>,
    /// The error; `null` without one.
    pub error: Option<ExecutionError>,
    /// The number of log lines.
    pub log_lines: usize,
    /// The number of Wasm instructions it took.
    pub fuel_used: i64,
    /// The peak memory, in bytes.
    pub memory_peak_bytes: i64,
    /// How long it took, in microseconds.
    pub duration_us: i64,
    /// When it began, in microseconds since 1970.
    pub started_at: i64,
    /// When it ended, in microseconds since 1970.
    pub finished_at: i64,
}

/// An execution with its request, response and log.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
pub struct Execution {
    /// The fields that lists show.
    #[serde(flatten)]
    pub summary: ExecutionSummary,
    /// The id of the app that the script belonged to.
    pub app_id: String,
    /// The request.
    #[schema(value_type = RecordedRequest)]
    pub request: Verbatim,
    /// The response; `null` without one.
    #[schema(value_type = Option<RecordedResponse>)]
    pub response: Option<Verbatim>,
    /// The log lines.
    #[schema(value_type = Vec<LogLine>)]
    pub log: Verbatim,
}

/// The reason why an execution has no response.
#[derive(Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(default)]
pub struct ExecutionError {
    /// The error message.
    pub message: String,
    /// The line in the script, from 1; `null` if it is not known.
    pub line: Option<u32>,
    /// The character in the line, from 1; `null` if it is not known.
    pub column: Option<u32>,
    /// `limit` if a limit was exceeded, `thrown` if the script threw more than a text. Not in
    /// lists.
    #[serde(flatten)]
    #[schema(value_type = BTreeMap<String, Value>)]
    pub details: BTreeMap<String, Verbatim>,
}

/// A page of executions.
#[derive(Debug, Serialize, ToSchema)]
pub struct ExecutionList {
    /// The executions on this page.
    pub items: Vec<ExecutionSummary>,
    /// The `offset` of the next page; `null` on the last one, and with `after`.
    pub next_offset: Option<i64>,
    /// The `before` of the next page, in lists of the newest; `null` on the last one. A page can
    /// have fewer items than its limit although there is a next page: the server examines a bounded
    /// number of executions, and few of them may match.
    pub next_before: Option<String>,
    /// When the oldest examined execution ended, µs since 1970, if the page ended because the server
    /// examined its maximum number of executions. `next_before` continues there.
    pub searched_until: Option<i64>,
    /// The `after` that continues the log: executions written after this response or, in a response
    /// to `after`, after its last execution. `null` with `event_id`, with `caused_by`, and where
    /// `after` was an id.
    pub next_after: Option<String>,
    /// Whether executions already exist after `next_after`. A page can be empty although more
    /// follow, if few of the examined executions match.
    pub has_more: bool,
}

/// Lists a script's executions, the last to end first.
#[utoipa::path(get, path = "/scripts/{id}/logs", tag = "executions",
    params(("id" = String, Path, description = "The script's id"), ExecutionsQuery),
    security(("key" = ["log:read"])),
    responses((status = 200, description = "A page of executions", body = ExecutionList)))]
pub(super) async fn list_script_executions(
    State(control_plane): State<ControlPlane>,
    caller: Caller,
    Path(id): Path<ScriptId>,
    Query(query): Query<ExecutionsQuery>,
) -> Result<Json<ExecutionList>> {
    let script = control_plane.script(&caller, &id, Capability::AppReadLogs).await?;
    list(&control_plane, &ExecutionScope::Script(script.id), query).await
}

/// Lists the executions of all scripts of an app, the last to end first.
#[utoipa::path(get, path = "/apps/{app}/executions", tag = "executions",
    params(("app" = String, Path, description = "The app's name"), ExecutionsQuery),
    security(("key" = ["log:read"])),
    responses((status = 200, description = "A page of executions", body = ExecutionList)))]
pub(super) async fn list_app_executions(
    State(control_plane): State<ControlPlane>,
    caller: Caller,
    Path(name): Path<String>,
    Query(query): Query<ExecutionsQuery>,
) -> Result<Json<ExecutionList>> {
    let app = control_plane.app(&caller, &name, Capability::AppReadLogs).await?;
    list(&control_plane, &ExecutionScope::App(app.id), query).await
}

/// A response whose caller had disconnected before it was ready.
#[derive(Debug, Serialize, ToSchema)]
pub struct AbandonedExecution {
    /// The id of the execution that produced it.
    execution_id: String,
    /// The id of the event that stored the request.
    event_id: String,
    /// The id of the script that ran.
    script_id: String,
    /// The response, as an execution shows it.
    #[schema(value_type = RecordedResponse)]
    response: Value,
    /// When it was ready, in microseconds since 1970.
    created_at: i64,
}

/// The page of abandoned executions to return.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AbandonedQuery {
    /// Number of items to return, 1 to 200. Default: 50.
    limit: Option<i64>,
    /// Cursor: the `next_after` of a previous response.
    after: Option<String>,
    /// Number of items to skip, at most 10,000. Cannot be combined with `after`.
    offset: Option<i64>,
}

/// Lists responses of an app whose callers had disconnected, newest first.
#[utoipa::path(get, path = "/apps/{app}/abandoned-executions", tag = "executions",
    params(("app" = String, Path, description = "The app's name"), AbandonedQuery),
    security(("key" = ["log:read"])),
    responses((status = 200, description = "A page of abandoned executions", body = List<AbandonedExecution>)))]
pub(super) async fn list_abandoned_executions(
    State(control_plane): State<ControlPlane>,
    caller: Caller,
    Path(name): Path<String>,
    Query(query): Query<AbandonedQuery>,
) -> Result<Json<List<AbandonedExecution>>> {
    let page = PageQuery::of_growing(query.limit, query.offset)?;
    let part = page.part("after", query.after.as_deref())?;
    let app = control_plane.app(&caller, &name, Capability::AppReadLogs).await?;
    let rows = control_plane.store.list_abandoned_executions(&app.id, part).await?;
    let position = |row: &store::AbandonedExecution| Position {
        at: row.created_at,
        id: row.execution_id.as_str().to_owned(),
    };
    Ok(Json(page.listed(rows, position, |row| AbandonedExecution {
        execution_id: row.execution_id.into(),
        event_id: row.event_id.into(),
        script_id: row.script_id.into(),
        response: json(&row.response),
        created_at: row.created_at,
    })))
}

/// Shows an execution.
#[utoipa::path(get, path = "/executions/{id}", tag = "executions",
    params(("id" = String, Path, description = "The execution's id")),
    security(("key" = ["log:read"])),
    responses((status = 200, description = "The execution", body = Execution)))]
pub(super) async fn get_execution(
    State(control_plane): State<ControlPlane>,
    caller: Caller,
    Path(id): Path<ExecutionId>,
) -> Result<Json<Execution>> {
    commit_recorded(&control_plane).await;
    let row = control_plane.store.find_execution(&id).await?;
    let (auth, resource) = (&control_plane.auth, Resource::Execution);
    auth.allow(&caller, &row.app_id, Capability::AppReadLogs, resource).await?;
    Ok(Json(row.into()))
}

async fn list(
    control_plane: &ControlPlane,
    scope: &ExecutionScope,
    query: ExecutionsQuery,
) -> Result<Json<ExecutionList>> {
    let page = PageQuery::of_growing(query.limit, query.offset)?;
    let selection = query.selection()?;
    commit_recorded(control_plane).await;
    let (store, rows) = (&control_plane.store, page.rows());
    let rows = match selection {
        Selection::Following(cursor, filter) => {
            let followed = store.follow_executions(scope, &filter, &cursor, page.size()).await?;
            return Ok(Json(followed.into()));
        }
        Selection::Filtered(filter) => {
            let part = page.part("before", query.before.as_deref())?;
            let listed = store.list_executions_and_cursor(scope, &filter, part).await?;
            return Ok(Json(newest(page, listed)));
        }
        Selection::EndedAfter(id, filter) => match store.cursor_behind(scope, &id).await? {
            Some(cursor) => {
                let followed =
                    store.follow_executions(scope, &filter, &cursor, page.size()).await?;
                return Ok(Json(followed.into()));
            }
            None => store.list_executions_after(scope, &filter, Some(&id), rows.limit).await?,
        },
        Selection::OfEvent(id) => store.list_executions_of_event(scope, &id, rows).await?,
        Selection::CausedBy(id) => store.list_executions_caused_by(scope, &id, rows).await?,
    };
    let List { items, next_offset, .. } = page.list(rows, ExecutionSummary::from);
    let (next_before, searched_until, next_after, has_more) = (None, None, None, false);
    let list =
        ExecutionList { items, next_offset, next_before, searched_until, next_after, has_more };
    Ok(Json(list))
}

/// The response with the newest executions.
fn newest(
    page: PageQuery,
    (listed, cursor): (Listed<store::Execution>, ExecutionCursor),
) -> ExecutionList {
    let position =
        |row: &store::Execution| Position { at: row.finished_at, id: row.id.as_str().to_owned() };
    let searched_until = listed.looked_to.as_ref().map(|position| position.at);
    let list = page.listed(listed, position, ExecutionSummary::from);
    ExecutionList {
        items: list.items,
        next_offset: list.next_offset,
        next_before: list.next_after,
        searched_until,
        next_after: Some(cursor.to_string()),
        has_more: false,
    }
}

impl From<store::Followed> for ExecutionList {
    fn from(followed: store::Followed) -> Self {
        Self {
            items: followed.rows.into_iter().map(ExecutionSummary::from).collect(),
            next_offset: None,
            searched_until: None,
            next_before: None,
            next_after: Some(followed.cursor.to_string()),
            has_more: followed.has_more,
        }
    }
}

/// Flushes recorded executions, so that a caller finds the execution of a response at once.
pub(super) async fn commit_recorded(control_plane: &ControlPlane) {
    if let Err(error) = control_plane.store.flush().await {
        error.tell("the newest executions are not listed yet");
    }
}

impl From<store::Execution> for ExecutionSummary {
    fn from(row: store::Execution) -> Self {
        let request = json(&row.request);
        let text = |value: &Value, name: &str| value[name].as_str().map(str::to_owned);
        Self {
            method: text(&request, "method"),
            path: text(&request, "path"),
            response_status: row
                .response
                .as_ref()
                .and_then(|response| json(response)["status"].as_i64()),
            error: row.error.as_ref().map(|error| ExecutionError {
                details: BTreeMap::new(),
                ..error.to().unwrap_or_default()
            }),
            log_lines: json(&row.log).as_array().map_or(0, Vec::len),
            id: row.id.into(),
            script_id: row.script_id.into(),
            script: row.script_name,
            version: row.version,
            status: row.status.into(),
            trigger: row.trigger_kind.into(),
            event_id: row.event_id.map(Into::into),
            trigger_id: row.trigger_id.map(Into::into),
            parent_id: row.parent_id.map(Into::into),
            caused_by: row.caused_by.map(Into::into),
            attempt: row.attempt,
            fuel_used: row.fuel_used,
            memory_peak_bytes: row.memory_peak_bytes,
            duration_us: row.duration_us,
            started_at: row.started_at,
            finished_at: row.finished_at,
        }
    }
}

impl Execution {
    /// Returns the lines of the log; none if the row is damaged.
    #[must_use]
    pub fn log_lines(&self) -> Vec<RecordedLine> {
        Vec::deserialize(&self.log.0).unwrap_or_default()
    }
}

impl From<store::Execution> for Execution {
    fn from(row: store::Execution) -> Self {
        Self {
            app_id: row.app_id.as_str().to_owned(),
            request: Verbatim(json(&row.request)),
            response: row.response.as_ref().map(|response| Verbatim(json(response))),
            log: Verbatim(json(&row.log)),
            summary: ExecutionSummary {
                error: row.error.as_ref().map(|error| error.to().unwrap_or_default()),
                ..row.into()
            },
        }
    }
}

/// The value of a column; `null` if it is not JSON, as in a damaged row.
fn json(column: &store::Json) -> Value {
    column.value().unwrap_or_default()
}

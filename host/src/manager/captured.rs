//! `/apps/{app}/captured-events`: recorded events and requests, to test scripts with.

use std::collections::HashSet;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::ControlPlane;
use super::extract::{Path, Query};
use super::lists::{List, PageQuery};
use crate::auth::{Caller, Capability};
use crate::error::{Error, Result};
use crate::store::{Captured, ExecutionScope, Resource, ScriptId, TriggerKind};

/// The number of executions searched for each requested event. An event has one execution for each
/// attempt, and only the beginning of a large event is stored.
const AMONG: i64 = 5;

/// An event or a request that started a script.
#[derive(Debug, Serialize, ToSchema)]
pub struct CapturedEvent {
    /// The event's id; for a request, the id of its execution.
    id: String,
    /// The kind of event; `http` for a request.
    kind: TriggerKind,
    /// The operation; for a request, its method.
    operation: String,
    /// The source of the event; for a request, its path.
    source: String,
    /// The id of the script that was started.
    script_id: String,
    /// When it was started, in microseconds since 1970.
    created_at: i64,
    /// The event as the script saw it in `ctx.event`; for a request, its recorded parts.
    event: Value,
}

impl CapturedEvent {
    fn of(captured: Captured) -> Option<Self> {
        let request: Value = captured.request.value().ok()?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (kind, operation, source, event) = match request.get("event") {
            Some(event) => {
                let kind: TriggerKind = text(&event["kind"]).try_into().ok()?;
                let details = &event[kind.as_str()];
                let place = ["queue", "topic", "collection", "bucket", "schedule", "name"];
                let source = place.iter().find_map(|name| details[name].as_str());
                let source = source.unwrap_or_default().to_owned();
                (kind, text(&event["operation"]), source, event.clone())
            }
            None if request.get("method").is_some() => {
                let (method, path) = (text(&request["method"]), text(&request["path"]));
                (TriggerKind::Http, method, path, request)
            }
            // A call by another script, or an event too large to be stored whole.
            None => return None,
        };
        Some(Self {
            id: captured.event_id.map_or_else(|| captured.id.into(), Into::into),
            kind,
            operation,
            source,
            script_id: captured.script_id.into(),
            created_at: captured.started_at,
            event,
        })
    }
}

/// Filters for captured events.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct CapturedQuery {
    /// Only this kind of event; `http` for requests.
    #[param(value_type = Option<String>)]
    kind: Option<TriggerKind>,
    /// Only events that started the script with this id.
    script_id: Option<String>,
    /// Number of items to return, 1 to 200. Default: 50.
    limit: Option<i64>,
}

/// Lists the events and requests that recently started an app's scripts, newest first. They are
/// read from the execution log.
#[utoipa::path(get, path = "/apps/{app}/captured-events", tag = "executions",
    params(("app" = String, Path, description = "The app's name"), CapturedQuery),
    security(("key" = ["log:read"])),
    responses((status = 200, description = "The events", body = List<CapturedEvent>)))]
pub(super) async fn list_captured_events(
    State(control_plane): State<ControlPlane>,
    caller: Caller,
    Path(name): Path<String>,
    Query(query): Query<CapturedQuery>,
) -> Result<Json<List<CapturedEvent>>> {
    let page = PageQuery::new(query.limit, None)?;
    let app = control_plane.app(&caller, &name, Capability::AppReadLogs).await?;
    let scope = match &query.script_id {
        None => ExecutionScope::App(app.id),
        Some(id) => {
            let id: ScriptId = id.parse().map_err(|_| Error::not_found(Resource::Script))?;
            ExecutionScope::Script(control_plane.script_of(&app.id, &id).await?.id)
        }
    };
    control_plane.store.flush().await?;
    let among = page.rows().limit * AMONG;
    let rows = control_plane.store.list_captured(&scope, query.kind, among).await?;
    let mut seen = HashSet::new();
    let events = rows.into_iter().filter_map(CapturedEvent::of);
    let events: Vec<_> = events.filter(|event| seen.insert(event.id.clone())).collect();
    let List { items, .. } = page.list(events, |event| event);
    Ok(Json(List { items, next_offset: None, next_after: None }))
}

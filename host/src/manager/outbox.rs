//! `/apps/{app}/outbox` and `/events/{id}`: accepted events that are not done.

use std::borrow::Cow;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::ControlPlane;
use super::extensible::Extensible;
use super::extract::{Path, Query};
use super::lists::{List, PageQuery, check_texts};
use crate::auth::{Caller, Capability};
use crate::error::{Error, Result};
use crate::json::Verbatim;
use crate::requests;
use crate::store::{self, EXCERPT_BYTES_MAX, EventFilter, EventId, Excerpt, Resource, TriggerKind};

/// An event that is not done.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
pub struct Event {
    /// The event's id. The execution of its first attempt has the same id.
    pub id: String,
    /// `waiting`, `running`, or `unassigned` while its queue has no trigger.
    #[schema(value_type = String)]
    pub state: Cow<'static, str>,
    /// The kind of event.
    #[schema(value_type = TriggerKind)]
    pub kind: Extensible<TriggerKind>,
    /// The operation that caused the event.
    pub operation: String,
    /// The queue, topic, collection or bucket of the event.
    pub source: String,
    /// The id of the trigger that the event matched.
    pub trigger_id: Option<String>,
    /// The id of the script to run.
    pub script_id: Option<String>,
    /// The payload, as the script sees it under the name of the kind. Lists omit payloads of more
    /// than 4 KiB, see `payload_is_left_out`.
    #[schema(value_type = Value)]
    pub payload: Verbatim,
    /// The size of the stored payload, in bytes.
    pub payload_bytes: i64,
    /// Whether `payload` is `null` because it is large. `GET /events/{id}` returns it.
    pub payload_is_left_out: bool,
    /// The length of the chain of events that led to it.
    pub depth: i64,
    /// The number of attempts begun.
    pub attempt: i64,
    /// When it can run next, in microseconds since 1970.
    pub available_at: i64,
    /// The id of the execution that caused it.
    pub caused_by: Option<String>,
    /// When the last attempt began, in microseconds since 1970.
    pub last_attempt_at: Option<i64>,
    /// The error of the last attempt.
    pub last_error: Option<String>,
    /// When it was accepted, in microseconds since 1970.
    pub created_at: i64,
}

impl From<store::Event> for Event {
    fn from(event: store::Event) -> Self {
        let bytes = event.payload.as_str().len();
        Self::of(Excerpt::whole(event, bytes), false)
    }
}

impl From<Excerpt<store::Event>> for Event {
    fn from(event: Excerpt<store::Event>) -> Self {
        let is_left_out = event.full_bytes > EXCERPT_BYTES_MAX;
        Self::of(event, is_left_out)
    }
}

impl Event {
    fn of(event: Excerpt<store::Event>, payload_is_left_out: bool) -> Self {
        let Excerpt { row: event, full_bytes: payload_bytes } = event;
        let state = match (&event.lease_token, &event.script_id) {
            (Some(_), _) => "running",
            (None, Some(_)) => "waiting",
            (None, None) => "unassigned",
        };
        Self {
            id: event.id.into(),
            state: state.into(),
            kind: event.kind.into(),
            operation: event.operation,
            source: event.source,
            trigger_id: event.trigger_id.map(Into::into),
            script_id: event.script_id.map(Into::into),
            payload: Verbatim(match payload_is_left_out {
                true => Value::Null,
                false => shown_payload(event.kind, &event.payload),
            }),
            payload_bytes,
            payload_is_left_out,
            depth: event.depth,
            attempt: event.attempt,
            available_at: event.available_at,
            caused_by: event.caused_by.map(Into::into),
            last_attempt_at: event.last_attempt_at,
            last_error: event.last_error,
            created_at: event.created_at,
        }
    }
}

/// Returns the payload of an event, without credentials.
pub(super) fn shown_payload(kind: TriggerKind, payload: &store::Json) -> Value {
    match kind {
        TriggerKind::Http => requests::shown(payload),
        _ => payload.value().unwrap_or_default(),
    }
}

/// The events of one kind and source that are not done.
#[derive(Debug, Serialize, ToSchema)]
pub struct Backlog {
    /// The kind of event.
    kind: TriggerKind,
    /// The queue, topic, collection or bucket.
    source: String,
    /// Pending and running events; 1,000 means 1,000 or more.
    events: i64,
    /// When the oldest of them was accepted, in microseconds since 1970.
    oldest_at: i64,
}

/// Filters for a list of events.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct OutboxQuery {
    /// Only events of this kind. A filter by kind, source or script alone, or a combination of
    /// filters, examines only the newest 10,000 events; `after` continues from there.
    #[param(value_type = Option<String>)]
    kind: Option<TriggerKind>,
    /// Only events of this queue, topic, collection or bucket.
    source: Option<String>,
    /// Only events of the trigger with this id.
    trigger_id: Option<String>,
    /// Only events that the execution with this id caused.
    caused_by: Option<String>,
    /// Only events for the script with this id.
    script_id: Option<String>,
    /// Number of items to return, 1 to 200. Default: 50.
    limit: Option<i64>,
    /// Cursor: the `next_after` of a previous response.
    after: Option<String>,
    /// Number of items to skip, at most 10,000. Cannot be combined with `after`.
    offset: Option<i64>,
}

/// The page of counts to return.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct BacklogQuery {
    /// Number of items to return, 1 to 200. Default: 50.
    limit: Option<i64>,
    /// Number of items to skip.
    offset: Option<i64>,
}

/// Lists an app's events that are not done, the last accepted first. Payloads of more than 4 KiB
/// are omitted.
#[utoipa::path(get, path = "/apps/{app}/outbox", tag = "events",
    params(("app" = String, Path, description = "The app's name"), OutboxQuery),
    security(("key" = ["log:read"])),
    responses((status = 200, description = "A page of events", body = List<Event>)))]
pub(super) async fn list_outbox(
    State(control_plane): State<ControlPlane>,
    caller: Caller,
    Path(name): Path<String>,
    Query(query): Query<OutboxQuery>,
) -> Result<Json<List<Event>>> {
    let page = PageQuery::of_growing(query.limit, query.offset)?;
    let part = page.part("after", query.after.as_deref())?;
    let app = control_plane.app(&caller, &name, Capability::AppReadLogs).await?;
    check_texts([query.source.as_deref()])?;
    let trigger_id = query.trigger_id.as_deref().map(str::parse).transpose();
    let cause = query.caused_by.as_deref().map(str::parse).transpose();
    let script_id = query.script_id.as_deref().map(str::parse).transpose();
    let filter = EventFilter {
        kind: query.kind,
        source: query.source,
        trigger_id: trigger_id.map_err(|_| Error::not_found(Resource::Trigger))?,
        caused_by: cause.map_err(|_| Error::not_found(Resource::Execution))?,
        script_id: script_id.map_err(|_| Error::not_found(Resource::Script))?,
    };
    let rows = control_plane.store.list_events(&app.id, &filter, part).await?;
    let position = |row: &Excerpt<store::Event>| store::Position {
        at: row.created_at,
        id: row.id.as_str().to_owned(),
    };
    Ok(Json(page.listed(rows, position, Event::from)))
}

/// Counts an app's events that are not done, by kind and source.
#[utoipa::path(get, path = "/apps/{app}/backlog", tag = "events",
    params(("app" = String, Path, description = "The app's name"), BacklogQuery),
    security(("key" = ["log:read"])),
    responses((status = 200, description = "A page of counts", body = List<Backlog>)))]
pub(super) async fn list_backlog(
    State(control_plane): State<ControlPlane>,
    caller: Caller,
    Path(name): Path<String>,
    Query(query): Query<BacklogQuery>,
) -> Result<Json<List<Backlog>>> {
    let page = PageQuery::new(query.limit, query.offset)?;
    let app = control_plane.app(&caller, &name, Capability::AppReadLogs).await?;
    let rows = control_plane.store.list_backlog(&app.id, page.rows()).await?;
    Ok(Json(page.list(rows, |row| Backlog {
        kind: row.kind,
        source: row.source,
        events: row.events,
        oldest_at: row.oldest_at,
    })))
}

/// Shows an event that is not done. An event that is done is found through its executions.
#[utoipa::path(get, path = "/events/{id}", tag = "events",
    params(("id" = String, Path, description = "The event's id")),
    security(("key" = ["log:read"])),
    responses((status = 200, description = "The event", body = Event)))]
pub(super) async fn get_event(
    State(control_plane): State<ControlPlane>,
    caller: Caller,
    Path(id): Path<EventId>,
) -> Result<Json<Event>> {
    let event = control_plane.store.find_event(&id).await?;
    let (auth, resource) = (&control_plane.auth, Resource::Event);
    auth.allow(&caller, &event.app_id, Capability::AppReadLogs, resource).await?;
    Ok(Json(event.into()))
}

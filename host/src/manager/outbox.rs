//! `/apps/{app}/outbox` and `/events/{id}`: events that are accepted and not done.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::ControlPlane;
use super::extract::{Path, Query};
use super::lists::{List, Page, check_texts};
use crate::auth::{Caller, Capability};
use crate::error::{Error, Result};
use crate::requests;
use crate::store::{self, EXCERPT_BYTES_MAX, EventFilter, EventId, Excerpt, Resource, TriggerKind};

/// An event that is not done.
#[derive(Debug, Serialize, ToSchema)]
pub struct Event {
    /// Its id; the execution of its first attempt has the same.
    id: String,
    /// `waiting`, `running`, or `unassigned` while its queue has no trigger.
    state: &'static str,
    /// The kind of event.
    kind: TriggerKind,
    /// What happened.
    operation: String,
    /// The queue, topic, collection or bucket that it came by.
    source: String,
    /// The trigger that it came by.
    trigger_id: Option<String>,
    /// The script to run.
    script_id: Option<String>,
    /// The details, as the script sees them under the name of the kind. A list leaves out
    /// those of more than 4 KiB, see `payload_is_left_out`.
    payload: Value,
    /// The size of the details as they are stored, in bytes.
    payload_bytes: i64,
    /// Whether `payload` is `null` because it is large: `GET /events/{id}` has it.
    payload_is_left_out: bool,
    /// How many events led to it.
    depth: i64,
    /// Attempts begun.
    attempt: i64,
    /// Not before this time, in microseconds since 1970.
    available_at: i64,
    /// The execution that caused it.
    caused_by: Option<String>,
    /// When the last attempt began, in microseconds since 1970.
    last_attempt_at: Option<i64>,
    /// Why the last attempt failed.
    last_error: Option<String>,
    /// When it was accepted, in microseconds since 1970.
    created_at: i64,
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
            state,
            kind: event.kind,
            operation: event.operation,
            source: event.source,
            trigger_id: event.trigger_id.map(Into::into),
            script_id: event.script_id.map(Into::into),
            payload: match payload_is_left_out {
                true => Value::Null,
                false => shown_payload(event.kind, &event.payload),
            },
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

/// The details of an event as they may be shown.
pub(super) fn shown_payload(kind: TriggerKind, payload: &store::Json) -> Value {
    match kind {
        TriggerKind::Http => requests::shown(payload),
        _ => payload.value().unwrap_or_default(),
    }
}

/// What waits by one way in.
#[derive(Debug, Serialize, ToSchema)]
pub struct Backlog {
    /// The kind of event.
    kind: TriggerKind,
    /// The queue, topic, collection or bucket.
    source: String,
    /// How many events wait or run; 1,000 stands for 1,000 or more.
    events: i64,
    /// When the oldest of them was accepted, in microseconds since 1970.
    oldest_at: i64,
}

/// Which events.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct OutboxQuery {
    /// Only of this kind. What is by kind alone, by source alone, by script or by several filters is
    /// looked for among the last 10,000 that fit otherwise, and behind them with `after`.
    #[param(value_type = Option<String>)]
    kind: Option<TriggerKind>,
    /// Only by this queue, topic, collection or bucket.
    source: Option<String>,
    /// Only by the trigger with this id.
    trigger_id: Option<String>,
    /// Only what the execution with this id has caused.
    caused_by: Option<String>,
    /// Only what the script with this id is to be run for.
    script_id: Option<String>,
    /// At most so many, 1 to 200; 50 when left out.
    limit: Option<i64>,
    /// Only what is behind this place: the `next_after` of an earlier answer.
    after: Option<String>,
    /// Number of items to skip, at most 10,000; not together with `after`.
    offset: Option<i64>,
}

/// Which part of a list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct BacklogQuery {
    /// At most so many, 1 to 200; 50 when left out.
    limit: Option<i64>,
    /// Number of items to skip.
    offset: Option<i64>,
}

/// Lists an app's events that are not done, the last accepted first. Payloads of more than
/// 4 KiB are left out.
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
    let page = Page::of_growing(query.limit, query.offset)?;
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

/// Counts what waits in an app, by kind and source.
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
    let page = Page::new(query.limit, query.offset)?;
    let app = control_plane.app(&caller, &name, Capability::AppReadLogs).await?;
    let rows = control_plane.store.list_backlog(&app.id, page.rows()).await?;
    Ok(Json(page.list(rows, |row| Backlog {
        kind: row.kind,
        source: row.source,
        events: row.events,
        oldest_at: row.oldest_at,
    })))
}

/// Shows an event that is not done; one that is, is found by its executions.
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

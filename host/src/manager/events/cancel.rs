//! Cancels pending events: one, or many by a filter.
//!
//! Invariant: a running event is not cancelled, and a cancelled event does not run.
//! Invariant: the entry of the audit log is written with the first batch.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::auth::{Caller, Capability, Change};
use crate::error::{Error, Refusal, Result};
use crate::manager::ControlPlane;
use crate::manager::extract::{Path, Query};
use crate::store::{
    AppId, EventFilter, EventId, Listed, Page, Part, Position, Resource, Store, TriggerKind,
};

/// The number of events that one write cancels.
const BATCH_ROWS: i64 = 500;
/// The number of batches that one request reads.
const REQUEST_BATCHES_MAX: usize = 100;

/// The endpoints, below `/api/v1`.
pub(super) fn api() -> OpenApiRouter<ControlPlane> {
    OpenApiRouter::new().routes(routes!(cancel_event)).routes(routes!(purge_outbox))
}

/// Which events to cancel. Without a filter: all pending ones.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct OutboxPurgeQuery {
    /// Only events of this kind.
    #[param(value_type = Option<String>)]
    kind: Option<TriggerKind>,
    /// Only events of this queue, topic, collection or bucket.
    source: Option<String>,
    /// Only events of the trigger with this id.
    trigger_id: Option<String>,
    /// Only events of the script with this id.
    script_id: Option<String>,
    /// Continues after this position: the `next_after` of an earlier response.
    after: Option<String>,
}

impl OutboxPurgeQuery {
    fn filter(&self) -> Result<EventFilter> {
        if self.source.as_ref().is_some_and(|source| source.contains('\0')) {
            return Err(Error::Invalid(Refusal::new("query_invalid", "text must not contain NUL")));
        }
        let trigger_id = self.trigger_id.as_deref().map(str::parse).transpose();
        let script_id = self.script_id.as_deref().map(str::parse).transpose();
        Ok(EventFilter {
            kind: self.kind,
            source: self.source.clone(),
            trigger_id: trigger_id.map_err(|_| Error::not_found(Resource::Trigger))?,
            script_id: script_id.map_err(|_| Error::not_found(Resource::Script))?,
            caused_by: None,
        })
    }

    fn position(&self) -> Result<Option<Position>> {
        let refusal = || Refusal::field("after", "must be the `next_after` of an earlier response");
        let position = self.after.as_deref().map(str::parse).transpose();
        position.map_err(|_| Error::Invalid(refusal()))
    }
}

/// The result of a purge.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
pub struct PurgedOutbox {
    /// The number of cancelled events.
    pub cancelled: usize,
    /// Whether all matching events are cancelled. If not, `next_after` continues.
    pub complete: bool,
    /// The `after` of the next request; `null` if there are no more.
    pub next_after: Option<String>,
}

/// Cancels a pending event: its script does not run. A caller of a `durable` route who waits for
/// it at this node gets 409 `event_cancelled` at once.
#[utoipa::path(delete, path = "/events/{id}", tag = "events",
    params(("id" = String, Path, description = "The event's id")),
    responses((status = 204, description = "The event is cancelled"),
        (status = 404, description = "The event does not exist, or is done"),
        (status = 409, description = "The event is running")),
    security(("key" = ["app:admin"])))]
async fn cancel_event(
    State(control_plane): State<ControlPlane>,
    caller: Caller,
    Path(id): Path<EventId>,
) -> Result<StatusCode> {
    let event = control_plane.store.find_event(&id).await?;
    let capability = Capability::AppCancelEvents;
    control_plane.auth.allow(&caller, &event.app_id, capability, Resource::Event).await?;
    let change = Change::new("cancel_event", Resource::Event, id.as_str(), &event.source)
        .in_app(&event.app_id)
        .from(&json!({ "kind": event.kind, "attempt": event.attempt }));
    control_plane.change(&caller, change).cancel_event(&id).await?;
    (control_plane.on_cancelled)(&id);
    Ok(StatusCode::NO_CONTENT)
}

/// Cancels pending events of an app, the latest first, at most 50,000 per request. Running events
/// and those accepted during the request are not cancelled.
#[utoipa::path(delete, path = "/apps/{app}/outbox", tag = "events",
    params(("app" = String, Path, description = "The app's name"), OutboxPurgeQuery),
    responses((status = 200, description = "The number of cancelled events", body = PurgedOutbox)),
    security(("key" = ["app:admin"])))]
async fn purge_outbox(
    State(control_plane): State<ControlPlane>,
    caller: Caller,
    Path(app): Path<String>,
    Query(query): Query<OutboxPurgeQuery>,
) -> Result<Json<PurgedOutbox>> {
    let app = control_plane.app(&caller, &app, Capability::AppCancelEvents).await?;
    let (filter, after) = (query.filter()?, query.position()?);
    let change =
        Change::new("purge_outbox", Resource::Event, "", query.source.as_deref().unwrap_or(""))
            .in_app(&app.id)
            .from(&json!({
                "kind": query.kind,
                "source": query.source,
                "trigger_id": query.trigger_id,
                "script_id": query.script_id,
            }));
    let noted = control_plane.change(&caller, change);
    Ok(Json(control_plane.purge(noted, &app.id, &filter, after).await?))
}

impl ControlPlane {
    /// Cancels the events that match a filter, from a position on. `noted` writes the first batch,
    /// even an empty one, so that the audit log records the request.
    async fn purge(
        &self,
        noted: Store,
        app_id: &AppId,
        filter: &EventFilter,
        mut after: Option<Position>,
    ) -> Result<PurgedOutbox> {
        let store = &self.store;
        let (mut noted, mut cancelled) = (Some(noted), 0);
        for _ in 0..REQUEST_BATCHES_MAX {
            let part = Part { page: Page { limit: BATCH_ROWS, offset: 0 }, after };
            let Listed { rows, looked_to } =
                store.list_event_positions(app_id, filter, part).await?;
            let ids =
                rows.iter().map(|row| row.id.parse()).collect::<std::result::Result<Vec<_>, _>>();
            let ids = ids.map_err(Error::internal)?;
            after = match i64::try_from(rows.len()) {
                Ok(BATCH_ROWS) => rows.into_iter().next_back(),
                _ => looked_to,
            };
            let writes = noted.take().unwrap_or_else(|| store.clone());
            let done = writes.cancel_events(ids).await?;
            done.iter().for_each(|id| (self.on_cancelled)(id));
            cancelled += done.len();
            if after.is_none() {
                break;
            }
        }
        let next_after = after.map(|after| after.to_string());
        Ok(PurgedOutbox { cancelled, complete: next_after.is_none(), next_after })
    }
}

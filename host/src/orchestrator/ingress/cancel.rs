//! Cancelling events that wait: one, or many by a filter.
//!
//! Invariant: what runs is not cancelled, and what is cancelled does not run.
//! Invariant: the entry of the audit log is written with the first events that it speaks of.

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::auth::{Caller, Capability, Change};
use crate::error::{Error, Refusal};
use crate::orchestrator::Orchestrator;
use crate::store::{
    AppId, EventFilter, EventId, Listed, Page, Part, Position, Resource, Store, TriggerKind,
};

/// How many events one write cancels.
const BATCH_ROWS: i64 = 500;
/// How many batches one request looks at.
const REQUEST_BATCHES_MAX: usize = 100;

/// The endpoints, to be merged into the API below `/api/v1`.
pub fn api() -> OpenApiRouter<Orchestrator> {
    OpenApiRouter::new().routes(routes!(cancel_event)).routes(routes!(purge_outbox))
}

/// Which events to cancel; all that wait when nothing is given.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct OutboxPurgeQuery {
    /// Only of this kind.
    #[param(value_type = Option<String>)]
    kind: Option<TriggerKind>,
    /// Only by this queue, topic, collection or bucket.
    source: Option<String>,
    /// Only by the trigger with this id.
    trigger_id: Option<String>,
    /// Only what the script with this id is to be run for.
    script_id: Option<String>,
    /// Goes on behind this place: the `next_after` of an earlier answer.
    after: Option<String>,
}

impl OutboxPurgeQuery {
    fn filter(&self) -> Result<EventFilter, Error> {
        if self.source.as_ref().is_some_and(|source| source.contains('\0')) {
            return Err(Error::Invalid(Refusal::new("query_invalid", "a text contains no NUL")));
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

    fn position(&self) -> Result<Option<Position>, Error> {
        let refusal = || Refusal::field("after", "must be the `next_after` of an answer");
        let position = self.after.as_deref().map(str::parse).transpose();
        position.map_err(|_| Error::Invalid(refusal()))
    }
}

/// What was cancelled.
#[derive(Debug, Serialize, ToSchema)]
pub struct PurgedOutbox {
    /// How many events.
    cancelled: usize,
    /// Whether these were all; if not, `next_after` goes on.
    complete: bool,
    /// The `after` of the next request; `null` when there is no more.
    next_after: Option<String>,
}

/// Cancels an event that waits: its script does not run. A caller of a `durable` route who waits
/// for it at this node gets 409 `event_cancelled` at once.
#[utoipa::path(delete, path = "/events/{id}", tag = "events",
    params(("id" = String, Path, description = "The event's id")),
    responses((status = 204, description = "It is cancelled"),
        (status = 404, description = "There is no such event, or it is done"),
        (status = 409, description = "It runs")),
    security(("key" = ["app:admin"])))]
async fn cancel_event(
    State(orchestrator): State<Orchestrator>,
    caller: Caller,
    id: Result<Path<String>, PathRejection>,
) -> Result<StatusCode, Error> {
    let nothing = || Error::not_found(Resource::Event);
    let Path(id) = id.map_err(|_| nothing())?;
    let id: EventId = id.parse().map_err(|_| nothing())?;
    let parts = &orchestrator.parts;
    let event = parts.store.find_event(&id).await?;
    let capability = Capability::AppCancelEvents;
    parts.auth.allow(&caller, &event.app_id, capability, Resource::Event).await?;
    let change = Change::new("cancel_event", Resource::Event, id.as_str(), &event.source)
        .in_app(&event.app_id)
        .from(&json!({ "kind": event.kind, "attempt": event.attempt }));
    parts.store.on_behalf(caller.entry(&parts.clock, change)).cancel_event(&id).await?;
    orchestrator.inbox.cancel(&id);
    Ok(StatusCode::NO_CONTENT)
}

/// Cancels what waits in an app, the last accepted first, at most 50,000 events in a request.
/// Events that run are left alone, and so are those that are accepted meanwhile.
#[utoipa::path(delete, path = "/apps/{app}/outbox", tag = "events",
    params(("app" = String, Path, description = "The app's name"), OutboxPurgeQuery),
    responses((status = 200, description = "How many were cancelled", body = PurgedOutbox)),
    security(("key" = ["app:admin"])))]
async fn purge_outbox(
    State(orchestrator): State<Orchestrator>,
    caller: Caller,
    app: Result<Path<String>, PathRejection>,
    query: Result<Query<OutboxPurgeQuery>, QueryRejection>,
) -> Result<Json<PurgedOutbox>, Error> {
    let Path(app) = app.map_err(|_| Error::not_found(Resource::App))?;
    let app = orchestrator.app(&caller, &app, Capability::AppCancelEvents, Resource::App).await?;
    let Query(query) = query.map_err(|rejection| {
        Error::Invalid(Refusal::new("query_invalid", rejection.body_text()))
    })?;
    let (filter, after) = (query.filter()?, query.position()?);
    let parts = &orchestrator.parts;
    let change =
        Change::new("purge_outbox", Resource::Event, "", query.source.as_deref().unwrap_or(""))
            .in_app(&app.id)
            .from(&json!({
                "kind": query.kind,
                "source": query.source,
                "trigger_id": query.trigger_id,
                "script_id": query.script_id,
            }));
    let noted = parts.store.on_behalf(caller.entry(&parts.clock, change));
    Ok(Json(orchestrator.purge(noted, &app.id, &filter, after).await?))
}

impl Orchestrator {
    /// Cancels what a filter finds behind a place. `noted` writes the first batch, also an empty
    /// one: somebody wanted it cancelled.
    async fn purge(
        &self,
        noted: Store,
        app_id: &AppId,
        filter: &EventFilter,
        mut after: Option<Position>,
    ) -> Result<PurgedOutbox, Error> {
        let store = &self.parts.store;
        let (mut noted, mut cancelled) = (Some(noted), 0);
        for _ in 0..REQUEST_BATCHES_MAX {
            let part = Part { page: Page { limit: BATCH_ROWS, offset: 0 }, after };
            let Listed { rows, looked_to } =
                store.list_event_positions(app_id, filter, part).await?;
            let ids = rows.iter().map(|row| row.id.parse()).collect::<Result<Vec<_>, _>>();
            let ids = ids.map_err(Error::internal)?;
            after = match i64::try_from(rows.len()) {
                Ok(BATCH_ROWS) => rows.into_iter().next_back(),
                _ => looked_to,
            };
            let writes = noted.take().unwrap_or_else(|| store.clone());
            let done = writes.cancel_events(ids).await?;
            done.iter().for_each(|id| self.inbox.cancel(id));
            cancelled += done.len();
            if after.is_none() {
                break;
            }
        }
        let next_after = after.map(|after| after.to_string());
        Ok(PurgedOutbox { cancelled, complete: next_after.is_none(), next_after })
    }
}

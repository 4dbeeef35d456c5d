//! `/health/live`, `/health/ready` and `/metrics`: the endpoints for supervisors and monitoring.

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::http::request::Parts;
use axum::response::IntoResponse;
use serde::Serialize;
use utoipa::ToSchema;

use super::ControlPlane;
use crate::auth::Capability;
use crate::error::{Error, Result};
use crate::metrics::{APPS_MAX, Backlog, Stored};
use crate::store;
use crate::store::Storage;

/// The media type of OpenMetrics text.
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The state of the process.
#[derive(Debug, Serialize, ToSchema)]
pub struct Health {
    /// `live` or `ready`.
    status: &'static str,
}

/// Returns 200 while the process can answer at all.
#[utoipa::path(get, path = "/health/live", tag = "health", security(()),
    responses((status = 200, description = "The process answers", body = Health)))]
pub(super) async fn get_live() -> Json<Health> {
    Json(Health { status: "live" })
}

/// Returns 200 while requests can be served. Returns 503 while the database is unavailable or
/// read-only, or while this node has not seen the changes of other nodes for 30 seconds.
#[utoipa::path(get, path = "/health/ready", tag = "health", security(()),
    responses((status = 200, description = "The database answers", body = Health)))]
pub(super) async fn get_ready(State(control_plane): State<ControlPlane>) -> Result<Json<Health>> {
    control_plane.store.ping_writes().await?;
    if control_plane.store.definitions_are_old() {
        let reason = "this node has not checked for changes of other nodes for too long";
        return Err(store::Error::Unavailable(reason.into()).into());
    }
    Ok(Json(Health { status: "ready" }))
}

/// Returns the metrics of this process, in the text format of OpenMetrics.
#[utoipa::path(get, path = "/metrics", tag = "health",
    security(("key" = ["log:read"])),
    responses((status = 200, description = "The metrics", content_type = OPENMETRICS, body = String)))]
pub(super) async fn get_metrics(
    State(control_plane): State<ControlPlane>,
    request: Parts,
) -> Result<impl IntoResponse> {
    // This route is outside of the API's guard, so it checks the caller itself.
    control_plane.auth.recognise(&request).await?.check(Capability::InstanceReadMetrics)?;
    let store = &control_plane.store;
    let store_is_up = store.ping_writes().await.is_ok();
    // While the database is unavailable, the last known values stay.
    if let (Ok(storage), Ok(freed)) = (store.sum_storage().await, store.freed_bytes().await) {
        let all = Storage::NAMES.into_iter().zip(storage.numbers()).zip(store.storage_refusals());
        let stored = all.map(|((limit, used), refused)| Stored { limit, used, refused });
        control_plane.metrics.keeps(stored, freed);
    }
    if let Ok(outbox) = store.outbox_facts().await {
        control_plane.metrics.waits(Backlog {
            waiting: outbox.waiting,
            running: outbox.running,
            oldest_due_age_us: outbox.oldest_due_at.map_or(0, |at| (outbox.read_at - at).max(0)),
        });
    }
    if let (Ok(all), Ok(by_app)) = (
        store.count_unresolved_dead_letters().await,
        store.list_apps_with_dead_letters(APPS_MAX).await,
    ) {
        let by_app = by_app.into_iter().map(|of_app| (of_app.app, of_app.count));
        control_plane.metrics.unresolved_dead_letters(all, by_app);
    }
    control_plane.metrics.definitions_age(store.definitions_age());
    let slots = control_plane.executor.slots();
    let text = control_plane.metrics.encode(&slots, store_is_up).map_err(Error::internal)?;
    Ok(([(header::CONTENT_TYPE, OPENMETRICS)], text))
}

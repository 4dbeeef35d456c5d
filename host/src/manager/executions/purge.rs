//! Deletes executions before their retention ends, to free disk space or to remove private data.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::{IntoParams, ToSchema};

use super::commit_recorded;
use crate::auth::{Caller, Capability, Change};
use crate::error::{Error, Refusal, Result};
use crate::manager::ControlPlane;
use crate::manager::extract::{Path, Query};
use crate::store::{ExecutionScope, Resource};

/// The number of rows one write deletes.
const BATCH_ROWS: i64 = 500;
/// The most rows one request deletes.
const REQUEST_ROWS_MAX: u64 = 50_000;
/// The most disk space that one request gives back, in writes of 8 MiB.
const REQUEST_GIVE_BACK_MAX: usize = 64;

/// The executions to delete.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PurgeQuery {
    /// Only executions that ended more than this many seconds ago; 0 for all.
    #[param(required = true)]
    older_than_s: Option<u32>,
}

/// The executions of an app to delete.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AppPurgeQuery {
    /// Only executions that ended more than this many seconds ago; 0 for all.
    #[param(required = true)]
    older_than_s: Option<u32>,
    /// Only executions of the script with this name.
    script: Option<String>,
}

/// The result of a purge.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
pub struct Purged {
    /// The number of deleted executions.
    pub deleted: u64,
    /// Whether all matching executions were deleted. If not, repeat the request.
    #[serde(default = "all_at_once")]
    #[schema(required)]
    pub complete: bool,
}

/// Release 0.1 deletes all matching executions, and does not report it.
fn all_at_once() -> bool {
    true
}

/// Deletes old executions of all apps, at most 50,000 for each request, and gives their disk space
/// back.
#[utoipa::path(delete, path = "/executions", tag = "executions", params(PurgeQuery),
    security(("key" = ["instance:admin"])),
    responses((status = 200, description = "The number of deleted executions", body = Purged)))]
pub(in crate::manager) async fn purge_executions(
    State(control_plane): State<ControlPlane>,
    caller: Caller,
    Query(query): Query<PurgeQuery>,
) -> Result<Json<Purged>> {
    caller.check(Capability::InstancePurgeLogs)?;
    let older_than_s = age(query.older_than_s)?;
    let change = Change::new("purge_executions", Resource::Execution, "", "")
        .to(&json!({ "older_than_s": older_than_s }));
    purge(&control_plane, &caller, change, None, older_than_s).await
}

/// Deletes old executions of an app, at most 50,000 for each request, and gives their disk space
/// back.
#[utoipa::path(delete, path = "/apps/{app}/executions", tag = "executions",
    params(("app" = String, Path, description = "The app's name"), AppPurgeQuery),
    security(("key" = ["app:admin"])),
    responses((status = 200, description = "The number of deleted executions", body = Purged)))]
pub(in crate::manager) async fn purge_app_executions(
    State(control_plane): State<ControlPlane>,
    caller: Caller,
    Path(name): Path<String>,
    Query(query): Query<AppPurgeQuery>,
) -> Result<Json<Purged>> {
    let app = control_plane.app(&caller, &name, Capability::AppPurgeLogs).await?;
    let older_than_s = age(query.older_than_s)?;
    let (scope, id, name) = match &query.script {
        Some(name) => {
            let script = control_plane.store.find_script_by_name(&app.id, name).await?;
            (ExecutionScope::Script(script.id.clone()), script.id.to_string(), script.name)
        }
        None => (ExecutionScope::App(app.id.clone()), String::new(), String::new()),
    };
    let change = Change::new("purge_executions", Resource::Execution, &id, &name)
        .in_app(&app.id)
        .to(&json!({ "older_than_s": older_than_s, "script": query.script }));
    purge(&control_plane, &caller, change, Some(&scope), older_than_s).await
}

/// Returns the requested age. It is checked after access, like all input.
fn age(older_than_s: Option<u32>) -> Result<u32> {
    let missing = || Error::Invalid(Refusal::field("older_than_s", "is missing"));
    older_than_s.ok_or_else(missing)
}

async fn purge(
    control_plane: &ControlPlane,
    caller: &Caller,
    change: Change,
    scope: Option<&ExecutionScope>,
    older_than_s: u32,
) -> Result<Json<Purged>> {
    let before = control_plane.clock.now_us() - i64::from(older_than_s) * 1_000_000;
    // The purge includes executions that have just ended.
    commit_recorded(control_plane).await;
    let store = &control_plane.store;
    // The first batch also writes the audit entry, even if there is nothing to delete, because the
    // request itself is audited.
    let noted = control_plane.change(caller, change);
    let mut batch = noted.delete_executions_before(scope, before, BATCH_ROWS).await?;
    let mut deleted = batch;
    while batch >= BATCH_ROWS.unsigned_abs() && deleted < REQUEST_ROWS_MAX {
        batch = store.delete_executions_before(scope, before, BATCH_ROWS).await?;
        deleted += batch;
    }
    for _ in 0..REQUEST_GIVE_BACK_MAX {
        // The rows are deleted even if their disk space is given back later.
        match store.give_back_room().await {
            Ok(true) => {}
            Ok(false) => break,
            Err(error) => {
                error.tell("the disk space of deleted executions was not given back");
                break;
            }
        }
    }
    Ok(Json(Purged { deleted, complete: batch < BATCH_ROWS.unsigned_abs() }))
}

//! `/audit` and `/apps/{app}/audit`: the log of administrative changes.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::ControlPlane;
use super::extract::{Path, Query};
use super::lists::{List, PageQuery, check_texts};
use crate::auth::{Caller, Capability};
use crate::error::Result;
use crate::store::{self, AppId, AuditFilter, Position};

/// An entry of the audit log.
#[derive(Debug, Serialize, ToSchema)]
pub struct AuditEntry {
    /// The entry's id.
    id: String,
    /// The id of the app that was changed; `null` for changes to the instance.
    app_id: Option<String>,
    /// The principal that made the change: `owner`, or `user:` and an id.
    principal: String,
    /// The principal's name at that time.
    principal_name: String,
    /// The first characters of the API key that was used; `null` without one.
    key_prefix: Option<String>,
    /// The caller's address; `null` if it is not known.
    address: Option<String>,
    /// The operation, as this API names it: `update_script`.
    action: String,
    /// The kind of resource: `script`.
    resource: String,
    /// The resource's id.
    resource_id: String,
    /// The resource's name at that time.
    resource_name: String,
    /// The state before the change, without secret values.
    #[schema(value_type = Option<Object>)]
    before: Option<Value>,
    /// The state after the change, or the changed fields, without secret values.
    #[schema(value_type = Option<Object>)]
    after: Option<Value>,
    /// When it happened, in microseconds since 1970.
    created_at: i64,
}

impl From<store::AuditEntry> for AuditEntry {
    fn from(entry: store::AuditEntry) -> Self {
        let json = |text: Option<store::Json>| text.and_then(|text| text.value().ok());
        Self {
            id: entry.id.into(),
            app_id: entry.app_id.map(String::from),
            principal: entry.principal,
            principal_name: entry.principal_name,
            key_prefix: entry.key_prefix,
            address: Some(entry.address).filter(|address| !address.is_empty()),
            action: entry.action,
            resource: entry.resource,
            resource_id: entry.resource_id,
            resource_name: entry.resource_name,
            before: json(entry.before),
            after: json(entry.after),
            created_at: entry.created_at,
        }
    }
}

/// Filters for a list of entries.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AuditQuery {
    /// Only entries of this principal: `owner`, or `user:` and an id.
    principal: Option<String>,
    /// Only entries with this action: `update_script`.
    action: Option<String>,
    /// Only entries about the resource with this id.
    resource_id: Option<String>,
    /// Number of items to return, 1 to 200. Default: 50.
    limit: Option<i64>,
    /// Cursor: the `next_after` of a previous response.
    after: Option<String>,
    /// Number of items to skip, at most 10,000. Cannot be combined with `after`.
    offset: Option<i64>,
}

/// Lists the audit log of the instance, newest first.
#[utoipa::path(get, path = "/audit", tag = "audit", params(AuditQuery),
    security(("key" = ["instance:admin"])),
    responses((status = 200, description = "A page of entries", body = List<AuditEntry>)))]
pub(super) async fn list_audit(
    State(control_plane): State<ControlPlane>,
    caller: Caller,
    Query(query): Query<AuditQuery>,
) -> Result<Json<List<AuditEntry>>> {
    caller.check(Capability::InstanceReadAudit)?;
    list(&control_plane, None, &query).await
}

/// Lists the audit log of an app, newest first.
#[utoipa::path(get, path = "/apps/{app}/audit", tag = "audit",
    params(("app" = String, Path, description = "The app's name"), AuditQuery),
    security(("key" = ["app:admin"])),
    responses((status = 200, description = "A page of entries", body = List<AuditEntry>)))]
pub(super) async fn list_app_audit(
    State(control_plane): State<ControlPlane>,
    caller: Caller,
    Path(name): Path<String>,
    Query(query): Query<AuditQuery>,
) -> Result<Json<List<AuditEntry>>> {
    let app = control_plane.app(&caller, &name, Capability::AppReadAudit).await?;
    list(&control_plane, Some(&app.id), &query).await
}

async fn list(
    control_plane: &ControlPlane,
    app_id: Option<&AppId>,
    query: &AuditQuery,
) -> Result<Json<List<AuditEntry>>> {
    let page = PageQuery::of_growing(query.limit, query.offset)?;
    let part = page.part("after", query.after.as_deref())?;
    check_texts([&query.principal, &query.action, &query.resource_id].map(Option::as_deref))?;
    let filter = AuditFilter {
        app_id,
        principal: query.principal.as_deref(),
        action: query.action.as_deref(),
        resource_id: query.resource_id.as_deref(),
    };
    let entries = control_plane.store.list_audit(&filter, part).await?;
    let position =
        |row: &store::AuditEntry| Position { at: row.created_at, id: row.id.as_str().to_owned() };
    Ok(Json(page.listed(entries, position, AuditEntry::from)))
}

//! `/audit` and `/apps/{app}/audit`: who did what to what.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::ControlPlane;
use super::extract::{Path, Query};
use super::lists::{List, Page, check_texts};
use crate::auth::{Caller, Capability};
use crate::error::Result;
use crate::store::{self, AppId, AuditFilter, Position};

/// What somebody did.
#[derive(Debug, Serialize, ToSchema)]
pub struct AuditEntry {
    /// Its id.
    id: String,
    /// The id of the app that it concerns.
    app_id: Option<String>,
    /// Who: `owner`, or `user:` and an id.
    principal: String,
    /// Their name at that time.
    principal_name: String,
    /// How the key began that they used, if it was an API key.
    key_prefix: Option<String>,
    /// The address that it came from; `null` where that is not known.
    address: Option<String>,
    /// What they did, as the operation of this API: `update_script`.
    action: String,
    /// To what kind of thing: `script`.
    resource: String,
    /// To which.
    resource_id: String,
    /// Its name at that time.
    resource_name: String,
    /// What was there before, without secret values.
    #[schema(value_type = Option<Object>)]
    before: Option<Value>,
    /// What was there afterwards, or what was changed, without secret values.
    #[schema(value_type = Option<Object>)]
    after: Option<Value>,
    /// When, in microseconds since 1970.
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

/// Which entries.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AuditQuery {
    /// Only what this principal did: `owner`, or `user:` and an id.
    principal: Option<String>,
    /// Only this: `update_script`.
    action: Option<String>,
    /// Only what was done to the thing of this id.
    resource_id: Option<String>,
    /// At most so many, 1 to 200; 50 when left out.
    limit: Option<i64>,
    /// Only what is behind this place: the `next_after` of an earlier answer.
    after: Option<String>,
    /// Number of items to skip, at most 10,000; not together with `after`.
    offset: Option<i64>,
}

/// Lists what was done anywhere, newest first.
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

/// Lists what was done in an app, newest first.
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
    let page = Page::of_growing(query.limit, query.offset)?;
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

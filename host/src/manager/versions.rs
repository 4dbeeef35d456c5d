//! `/scripts/{id}/versions`: a script's earlier versions, and the rollback to one of them.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::{IntoParams, ToSchema};

use super::ControlPlane;
use super::extract::{Body, Path, Query};
use super::lists::{List, PageQuery};
use super::scripts::{Script, Shown, app_of};
use crate::auth::{Caller, Capability, Change};
use crate::error::Result;
use crate::store::{self, Resource, ScriptId};

/// A version of a script, without its source.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[schema(as = ScriptVersion)]
pub struct Version {
    /// The number of the version, from 1.
    pub version: i64,
    /// Whether it is the deployed version.
    pub running: bool,
    /// The SHA-256 of the source, in hexadecimal.
    pub source_sha256: String,
    /// When it was created, in microseconds since 1970.
    pub created_at: i64,
}

impl Version {
    fn of(script: &store::Script, version: store::ScriptVersion) -> Self {
        Self {
            running: version.version == script.version,
            version: version.version,
            source_sha256: version.source_sha256,
            created_at: version.created_at,
        }
    }
}

/// A version of a script with its source.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[schema(as = ScriptVersionWithSource)]
pub struct VersionWithSource {
    /// The version.
    #[serde(flatten)]
    pub version: Version,
    /// The source.
    pub source: String,
}

/// The version to roll back to.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ScriptRollback)]
pub struct RollbackScript {
    /// The number of the version.
    pub version: i64,
}

/// The page of versions to return.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct VersionsQuery {
    /// Number of items to return, 1 to 200. Default: 50.
    limit: Option<i64>,
    /// Number of items to skip.
    offset: Option<i64>,
}

/// Lists a script's versions, newest first.
#[utoipa::path(get, path = "/scripts/{id}/versions", tag = "versions",
    params(("id" = String, Path, description = "The script's id"), VersionsQuery),
    security(("key" = ["script:read"])),
    responses((status = 200, description = "A page of versions", body = List<Version>)))]
pub(super) async fn list_versions(
    State(control_plane): State<ControlPlane>,
    caller: Caller,
    Path(id): Path<ScriptId>,
    Query(query): Query<VersionsQuery>,
) -> Result<Json<List<Version>>> {
    let page = PageQuery::new(query.limit, query.offset)?;
    let script = control_plane.script(&caller, &id, Capability::AppRead).await?;
    let versions = control_plane.store.list_script_versions(&id, page.rows()).await?;
    Ok(Json(page.list(versions, |version| Version::of(&script, version))))
}

/// Shows a version with its source.
#[utoipa::path(get, path = "/scripts/{id}/versions/{version}", tag = "versions",
    params(("id" = String, Path, description = "The script's id"),
        ("version" = i64, Path, description = "The version's number")),
    security(("key" = ["script:read"])),
    responses((status = 200, description = "The version", body = VersionWithSource)))]
pub(super) async fn get_version(
    State(control_plane): State<ControlPlane>,
    caller: Caller,
    Path((id, version)): Path<(ScriptId, i64)>,
) -> Result<Json<VersionWithSource>> {
    let script = control_plane.script(&caller, &id, Capability::AppRead).await?;
    let found = control_plane.store.find_script_version(&id, version).await?;
    Ok(Json(VersionWithSource {
        version: Version::of(&script, found.version),
        source: found.source,
    }))
}

/// Deploys an existing version again. No version is changed or created.
#[utoipa::path(post, path = "/scripts/{id}/rollback", tag = "versions",
    params(("id" = String, Path, description = "The script's id")), request_body = RollbackScript,
    security(("key" = ["script:write"])),
    responses((status = 200, description = "The changed script", body = Script)))]
pub(super) async fn rollback_script(
    State(control_plane): State<ControlPlane>,
    caller: Caller,
    Path(id): Path<ScriptId>,
    body: Body<RollbackScript>,
) -> Result<Json<Script>> {
    let script = control_plane.script(&caller, &id, Capability::AppWriteScripts).await?;
    let version = body.read()?.version;
    let change = Change::new("rollback_script", Resource::Script, id.as_str(), &script.name)
        .in_app(&script.app_id)
        .from(&json!({ "version": script.version }))
        .to(&json!({ "version": version }));
    let store = control_plane.change(&caller, change);
    let script = store.rollback_script(&id, version, control_plane.clock.now_us()).await?;
    let app = app_of(&control_plane, &script).await?;
    Ok(Json(Script::of(&Shown::of(&control_plane, &app).await?, script)))
}

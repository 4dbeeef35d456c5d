//! `/scripts/{id}/versions`: what a script was, and going back to it.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::{IntoParams, ToSchema};

use super::ControlPlane;
use super::extract::{Body, Path, Query};
use super::lists::{List, Page};
use super::scripts::{Script, Shown, app_of};
use crate::auth::{Caller, Capability, Change};
use crate::error::Result;
use crate::store::{self, Resource, ScriptId};

/// A version of a script, without its source.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ScriptVersion)]
pub struct Version {
    /// Its number, from 1.
    version: i64,
    /// Whether it is the one that runs.
    running: bool,
    /// The source's SHA-256, in hexadecimal.
    source_sha256: String,
    /// When it was made, in microseconds since 1970.
    created_at: i64,
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
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ScriptVersionWithSource)]
pub struct VersionWithSource {
    /// The version.
    #[serde(flatten)]
    version: Version,
    /// Its source.
    source: String,
}

/// Which version to run.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ScriptRollback)]
pub struct RollbackScript {
    /// Its number.
    version: i64,
}

/// Which versions.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct VersionsQuery {
    /// At most so many, 1 to 200; 50 when left out.
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
    let page = Page::new(query.limit, query.offset)?;
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

/// Runs another version from now on. No version is changed or made.
#[utoipa::path(post, path = "/scripts/{id}/rollback", tag = "versions",
    params(("id" = String, Path, description = "The script's id")), request_body = RollbackScript,
    security(("key" = ["script:write"])),
    responses((status = 200, description = "The script as it is now", body = Script)))]
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

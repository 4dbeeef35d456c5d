//! `/apps/{app}/scripts` and `/scripts/{id}`: the code that handles requests and events.
//!
//! Invariant: a source that does not parse is never stored ([`super::source`]).

mod limits;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::{IntoParams, ToSchema};

use super::ControlPlane;
use super::extensible::Extensible;
use super::extract::{Body, Path, Query};
use super::ingress_policy::OpenEndpoints;
use super::lists::{List, PageQuery};
use super::names::{check_description, check_script_name};
use super::omitted::is_default;
use super::routes;
use super::source::check_source;
use crate::auth::{Caller, Capability, Change};
use crate::error::{Error, Result};
use crate::limits::Limits as Ceiling;
use crate::store::{self, NewScript, Resource, ScriptChange, ScriptId};
pub use limits::{Limits, LimitsInForce};

/// A script, without its source.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
pub struct Script {
    /// The script's id.
    pub id: String,
    /// The name of the app that it belongs to.
    pub app: String,
    /// Its name, unique in the app.
    pub name: String,
    /// The description.
    pub description: String,
    /// The deployed version.
    pub version: i64,
    /// The path of its endpoint. It answers there while `endpoint_open` is true.
    #[schema(example = "/x/shop/orders")]
    pub endpoint: String,
    /// Whether the script's own switch allows an endpoint.
    pub endpoint_enabled: bool,
    /// Whether its endpoint is open, to everyone. It is not if the switch is off, if a route with
    /// `auth` leads to the script, or if the app's policy closes it.
    pub endpoint_open: bool,
    /// The limits that the script requests for a run.
    #[schema(value_type = Limits)]
    pub limits: Extensible<Limits>,
    /// The limits in force for a run: those requested or the platform's default, never above the
    /// ceiling.
    pub limits_in_force: LimitsInForce,
    /// When it was created, in microseconds since 1970.
    pub created_at: i64,
    /// When it was last changed, in microseconds since 1970.
    pub updated_at: i64,
}

impl Script {
    pub(super) fn of(shown: &Shown<'_>, script: store::Script) -> Self {
        let Shown { app, ceiling, endpoints } = shown;
        let endpoint_enabled = script.endpoint_closed_at.is_none();
        Self {
            endpoint_enabled,
            endpoint_open: endpoint_enabled && endpoints.are_open_for(&script.id),
            limits_in_force: LimitsInForce::of(ceiling, &script.limits),
            id: script.id.into(),
            app: app.name.clone(),
            endpoint: format!("/x/{}/{}", app.name, script.name),
            name: script.name,
            description: script.description,
            version: script.version,
            limits: Extensible::Known(script.limits.into()),
            created_at: script.created_at,
            updated_at: script.updated_at,
        }
    }
}

/// The context needed to show the scripts of an app.
pub(super) struct Shown<'a> {
    app: &'a store::App,
    ceiling: &'a Ceiling,
    endpoints: OpenEndpoints,
}

impl<'a> Shown<'a> {
    pub(super) async fn of(
        control_plane: &'a ControlPlane,
        app: &'a store::App,
    ) -> Result<Shown<'a>> {
        let endpoints = OpenEndpoints::of(control_plane, &app.id).await?;
        Ok(Self { app, ceiling: &control_plane.ceiling, endpoints })
    }
}

/// A script with the source of its deployed version.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
pub struct ScriptWithSource {
    /// The script.
    #[serde(flatten)]
    pub script: Script,
    /// The source of the deployed version.
    pub source: String,
    /// The SHA-256 of the source, in hexadecimal.
    pub source_sha256: String,
}

/// The script to create.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewScript)]
pub struct CreateScript {
    /// 1 to 63 lower-case letters, digits, `-` and `_`, starting with a letter.
    #[schema(example = "orders")]
    pub name: String,
    /// The Rhai source, at most 256 KiB.
    #[schema(example = "#{ hello: ctx.request.query.name }")]
    pub source: String,
    /// The description.
    #[serde(default, skip_serializing_if = "is_default")]
    pub description: String,
    /// The limits that the script requests for a run.
    #[serde(default, skip_serializing_if = "is_default")]
    pub limits: Limits,
    /// Whether the script can have an endpoint. Default: true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint_enabled: Option<bool>,
}

/// The changes to a script. An omitted field is not changed.
#[derive(Debug, Deserialize, Serialize, Default, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ScriptChange)]
pub struct UpdateScript {
    /// The source of a new version, which is deployed at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The new description.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// All limits. An omitted limit gets the platform's default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limits: Option<Limits>,
    /// Whether the script can have an endpoint. True does not open an endpoint that a route or the
    /// app's policy closes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint_enabled: Option<bool>,
    /// The deployed version that the change is based on. 409 if another version is deployed by
    /// then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected_version: Option<i64>,
}

/// Filters for a list of scripts.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ScriptsQuery {
    /// Only the script with exactly this name.
    name: Option<String>,
    /// Number of items to return, 1 to 200. Default: 50.
    limit: Option<i64>,
    /// Number of items to skip.
    offset: Option<i64>,
}

/// Lists an app's scripts, newest first.
#[utoipa::path(get, path = "/apps/{app}/scripts", tag = "scripts",
    params(("app" = String, Path, description = "The app's name"), ScriptsQuery),
    security(("key" = ["script:read"])),
    responses((status = 200, description = "A page of scripts", body = List<Script>)))]
pub(super) async fn list_scripts(
    State(control_plane): State<ControlPlane>,
    caller: Caller,
    Path(name): Path<String>,
    Query(query): Query<ScriptsQuery>,
) -> Result<Json<List<Script>>> {
    let page = PageQuery::new(query.limit, query.offset)?;
    let app = control_plane.app(&caller, &name, Capability::AppRead).await?;
    let store = &control_plane.store;
    let context = Shown::of(&control_plane, &app).await?;
    let shown = |script| Script::of(&context, script);
    let Some(name) = query.name else {
        return Ok(Json(page.list(store.list_scripts(&app.id, page.rows()).await?, shown)));
    };
    match store.find_script_by_name(&app.id, &name).await {
        Ok(script) => Ok(Json(page.list_part([script], shown))),
        Err(store::Error::NotFound(_)) => Ok(Json(page.list_part([], shown))),
        Err(error) => Err(error.into()),
    }
}

/// Creates a script with version 1. Its endpoint is open to everyone at once, unless
/// `endpoint_enabled` is false.
#[utoipa::path(post, path = "/apps/{app}/scripts", tag = "scripts",
    params(("app" = String, Path, description = "The app's name")), request_body = CreateScript,
    security(("key" = ["script:write"])),
    responses((status = 201, description = "The new script", body = Script)))]
pub(super) async fn create_script(
    State(control_plane): State<ControlPlane>,
    caller: Caller,
    Path(app): Path<String>,
    body: Body<CreateScript>,
) -> Result<(StatusCode, Json<Script>)> {
    let app = control_plane.app(&caller, &app, Capability::AppWriteScripts).await?;
    let script = create(&control_plane, Some(&caller), &app, body.read()?).await?;
    let shown = Shown::of(&control_plane, &app).await?;
    Ok((StatusCode::CREATED, Json(Script::of(&shown, script))))
}

/// Creates a script in the app. Without a caller, PiCloud itself creates it.
pub(super) async fn create(
    control_plane: &ControlPlane,
    caller: Option<&Caller>,
    app: &store::App,
    body: CreateScript,
) -> Result<store::Script> {
    check_script_name(&body.name)?;
    check_description(&body.description)?;
    let script = NewScript {
        id: control_plane.clock.new_id().into(),
        app_id: app.id.clone(),
        name: body.name,
        description: body.description,
        limits: body.limits.granted(&control_plane.ceiling)?,
        endpoint_enabled: body.endpoint_enabled.unwrap_or(true),
        source: check_source(control_plane, body.source).await?,
        created_at: control_plane.clock.now_us(),
    };
    let _addresses = control_plane.lock_addresses().await;
    routes::check_endpoint_is_free(control_plane, app, &script.name).await?;
    let change = Change::new("create_script", Resource::Script, script.id.as_str(), &script.name)
        .in_app(&app.id)
        .to(&json!({
            "name": script.name,
            "description": script.description,
            "source_sha256": script.source.sha256,
            "endpoint_enabled": script.endpoint_enabled,
        }));
    let store = match caller {
        Some(caller) => control_plane.change(caller, change),
        None => control_plane.store.clone(),
    };
    Ok(store.insert_script(script).await?)
}

/// Shows a script with the source of its deployed version.
#[utoipa::path(get, path = "/scripts/{id}", tag = "scripts",
    params(("id" = String, Path, description = "The script's id")),
    security(("key" = ["script:read"])),
    responses((status = 200, description = "The script", body = ScriptWithSource)))]
pub(super) async fn get_script(
    State(control_plane): State<ControlPlane>,
    caller: Caller,
    Path(id): Path<ScriptId>,
) -> Result<Json<ScriptWithSource>> {
    let store = &control_plane.store;
    let script = control_plane.script(&caller, &id, Capability::AppRead).await?;
    let app = app_of(&control_plane, &script).await?;
    let source = store.find_script_version(&id, script.version).await?;
    Ok(Json(ScriptWithSource {
        script: Script::of(&Shown::of(&control_plane, &app).await?, script),
        source: source.source,
        source_sha256: source.version.source_sha256,
    }))
}

/// Changes a script. A new source creates a new version, which is deployed at once.
#[utoipa::path(put, path = "/scripts/{id}", tag = "scripts",
    params(("id" = String, Path, description = "The script's id")), request_body = UpdateScript,
    security(("key" = ["script:write"])),
    responses((status = 200, description = "The changed script", body = Script)))]
pub(super) async fn update_script(
    State(control_plane): State<ControlPlane>,
    caller: Caller,
    Path(id): Path<ScriptId>,
    body: Body<UpdateScript>,
) -> Result<Json<Script>> {
    let script = control_plane.script(&caller, &id, Capability::AppWriteScripts).await?;
    let body = body.read()?;
    body.description.as_deref().map_or(Ok(()), check_description)?;
    let limits = body.limits.map(|limits| limits.granted(&control_plane.ceiling)).transpose()?;
    let source = match body.source {
        Some(source) => Some(check_source(&control_plane, source).await?),
        None => None,
    };
    let change = ScriptChange {
        name: None,
        description: body.description,
        limits,
        endpoint_enabled: body.endpoint_enabled,
        source,
        expected_version: body.expected_version,
        updated_at: control_plane.clock.now_us(),
    };
    let app = app_of(&control_plane, &script).await?;
    let audited = Change::new("update_script", Resource::Script, id.as_str(), &script.name)
        .in_app(&app.id)
        .from(&json!({
            "version": script.version,
            "description": script.description,
            "limits": Limits::from(script.limits),
            "endpoint_enabled": script.endpoint_closed_at.is_none(),
        }))
        .to(&json!({
            "source_sha256": change.source.as_ref().map(|source| &source.sha256),
            "description": change.description,
            "limits": change.limits.map(Limits::from),
            "endpoint_enabled": change.endpoint_enabled,
        }));
    let script = control_plane.change(&caller, audited).update_script(&id, change).await?;
    Ok(Json(Script::of(&Shown::of(&control_plane, &app).await?, script)))
}

/// Deletes a script with its versions, routes and triggers. If it has triggers, the caller also
/// needs the right to delete them. Its executions are kept until their retention ends.
#[utoipa::path(delete, path = "/scripts/{id}", tag = "scripts",
    params(("id" = String, Path, description = "The script's id")),
    security(("key" = ["script:write"])),
    responses((status = 204, description = "The script is deleted")))]
pub(super) async fn delete_script(
    State(control_plane): State<ControlPlane>,
    caller: Caller,
    Path(id): Path<ScriptId>,
) -> Result<StatusCode> {
    let script = control_plane.script(&caller, &id, Capability::AppWriteScripts).await?;
    let store = &control_plane.store;
    let triggers = store.list_triggers_of_script(&script.id).await?;
    if !triggers.is_empty() {
        let (app_id, capability) = (&script.app_id, Capability::AppManageTriggers);
        control_plane.auth.allow(&caller, app_id, capability, Resource::Script).await?;
    }
    let routes = store.list_routes_of(&script.id).await?;
    let routes: Vec<_> =
        routes.iter().map(|route| json!([route.method, route.host, route.path])).collect();
    let triggers: Vec<_> = triggers.iter().map(|(id, kind)| json!([id.as_str(), kind])).collect();
    let change = Change::new("delete_script", Resource::Script, id.as_str(), &script.name)
        .in_app(&script.app_id)
        .from(&json!({
            "version": script.version,
            "description": script.description,
            "routes": routes,
            "triggers": triggers,
        }));
    control_plane.change(&caller, change).delete_script(&id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Returns the app of a script; 404 for the script if it is being deleted.
pub(super) async fn app_of(
    control_plane: &ControlPlane,
    script: &store::Script,
) -> Result<store::App> {
    let app = control_plane.store.find_app(&script.app_id).await;
    app.map_err(|error| match error {
        store::Error::NotFound(_) => Error::not_found(Resource::Script),
        other => other.into(),
    })
}

//! `/apps/{app}/scripts` and `/scripts/{id}`: what answers requests.
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
use super::extract::{Body, Path, Query};
use super::ingress::OpenEndpoints;
use super::lists::{List, Page};
use super::names::{check_description, check_script_name};
use super::routes;
use super::source::check_source;
use crate::auth::{Caller, Capability, Change};
use crate::error::{Error, Result};
use crate::limits::Limits as Ceiling;
use crate::store::{self, NewScript, Resource, ScriptChange, ScriptId};
use limits::{Limits, LimitsInForce};

/// A script, without its source.
#[derive(Debug, Serialize, ToSchema)]
pub struct Script {
    /// Its id.
    id: String,
    /// The name of the app that it belongs to.
    app: String,
    /// Its name, unique in the app.
    name: String,
    /// What its author says about it.
    description: String,
    /// The version that runs.
    version: i64,
    /// The path of its own endpoint, at which it answers while `endpoint_open`.
    #[schema(example = "/x/shop/orders")]
    endpoint: String,
    /// Whether it may have an endpoint of its own: the script's switch.
    endpoint_enabled: bool,
    /// Whether it answers at its endpoint, to anybody: not if the switch is off, a route with
    /// `auth` leads to it, or the app's policy closes it.
    endpoint_open: bool,
    /// What it asks for a run.
    limits: Limits,
    /// What a run gets: what is asked for or the platform's default, never above the
    /// ceiling.
    limits_in_force: LimitsInForce,
    /// When it was made, in microseconds since 1970.
    created_at: i64,
    /// When it was last changed, in microseconds since 1970.
    updated_at: i64,
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
            limits: script.limits.into(),
            created_at: script.created_at,
            updated_at: script.updated_at,
        }
    }
}

/// What is shown with each script of an app.
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

/// A script with the source that runs.
#[derive(Debug, Serialize, ToSchema)]
pub struct ScriptWithSource {
    /// The script.
    #[serde(flatten)]
    script: Script,
    /// The source of the version that runs.
    source: String,
    /// Its SHA-256, in hexadecimal.
    source_sha256: String,
}

/// A script to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewScript)]
pub struct CreateScript {
    /// 1 to 63 lower-case letters, digits, `-` and `_`, a letter first.
    #[schema(example = "orders")]
    pub(super) name: String,
    /// The Rhai source, at most 256 KiB.
    #[schema(example = "#{ hello: ctx.request.query.name }")]
    pub(super) source: String,
    /// What it is for.
    #[serde(default)]
    pub(super) description: String,
    /// What it asks for a run.
    #[serde(default)]
    pub(super) limits: Limits,
    /// Whether it may have an endpoint of its own; it may when left out.
    #[serde(default)]
    pub(super) endpoint_enabled: Option<bool>,
}

/// What to change about a script; what is left out stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ScriptChange)]
pub struct UpdateScript {
    /// The source of a new version, which runs from then on.
    source: Option<String>,
    /// The new description.
    description: Option<String>,
    /// All limits; one that is left out becomes the platform's default.
    limits: Option<Limits>,
    /// Whether it may have an endpoint of its own. It only closes: an endpoint that something
    /// else closes stays closed.
    endpoint_enabled: Option<bool>,
    /// Change it only if this is the version that runs; 409 when somebody else
    /// has saved in the meantime.
    expected_version: Option<i64>,
}

/// Which scripts.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ScriptsQuery {
    /// Only the script of exactly this name.
    name: Option<String>,
    /// At most so many, 1 to 200; 50 when left out.
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
    let page = Page::new(query.limit, query.offset)?;
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

/// Makes a script, at version 1. It answers anybody at its endpoint from then on, unless
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

/// Makes a script of the app; without a caller, PiCloud itself does.
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

/// Shows a script with the source that runs.
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

/// Changes a script. A source makes a new version, which runs from then on.
#[utoipa::path(put, path = "/scripts/{id}", tag = "scripts",
    params(("id" = String, Path, description = "The script's id")), request_body = UpdateScript,
    security(("key" = ["script:write"])),
    responses((status = 200, description = "The script as it is now", body = Script)))]
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

/// Deletes a script with its versions, routes and triggers. With triggers, it needs what
/// deleting them needs too. Its executions stay until they are too old.
#[utoipa::path(delete, path = "/scripts/{id}", tag = "scripts",
    params(("id" = String, Path, description = "The script's id")),
    security(("key" = ["script:write"])),
    responses((status = 204, description = "It is gone")))]
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

/// The app that a script belongs to; 404 for the script if it is being deleted.
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

//! `/apps`: the namespaces that hold scripts, routes and domains.

use std::borrow::Cow;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::{IntoParams, ToSchema};

use super::ControlPlane;
use super::extract::{Body, Path, Query};
use super::lists::{List, PageQuery};
use super::names::{check_app_name, check_description};
use super::omitted::is_default;
use super::storage::AppStorage;
use crate::auth::{Caller, Capability, Change};
use crate::error::{Error, Result};
use crate::store::{self, AppChange, InstanceRole, NewApp, Resource};

/// The number of rows read at once by a search.
const SEARCH_ROWS: i64 = 500;

/// An app.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
pub struct App {
    /// The app's id.
    pub id: String,
    /// The app's name. Its endpoints are below `/x/{name}/…`.
    pub name: String,
    /// The description.
    pub description: String,
    /// When it was created, in microseconds since 1970.
    pub created_at: i64,
    /// When it was last changed, in microseconds since 1970.
    pub updated_at: i64,
}

impl From<store::App> for App {
    fn from(app: store::App) -> Self {
        Self {
            id: app.id.into(),
            name: app.name,
            description: app.description,
            created_at: app.created_at,
            updated_at: app.updated_at,
        }
    }
}

/// An app, with its storage and the caller's capabilities.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
pub struct AppInFull {
    /// The app.
    #[serde(flatten)]
    pub app: App,
    /// The storage the app uses, and its limits.
    pub storage: AppStorage,
    /// The caller's capabilities in the app: `app_read`, `app_write_scripts`, ….
    #[schema(value_type = Vec<String>)]
    pub capabilities: Vec<Cow<'static, str>>,
}

/// The app to create.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewApp)]
pub struct CreateApp {
    /// 1 to 63 lower-case letters, digits and dashes, starting with a letter.
    #[schema(example = "shop")]
    pub name: String,
    /// The description.
    #[serde(default, skip_serializing_if = "is_default")]
    pub description: String,
}

/// The changes to an app. An omitted field is not changed.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = AppChange)]
pub struct UpdateApp {
    /// The new name. The app's endpoints move with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The new description.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// Filters for a list of apps.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AppsQuery {
    /// Only apps with this text in their name or description, ignoring case.
    q: Option<String>,
    /// Number of items to return, 1 to 200. Default: 50.
    limit: Option<i64>,
    /// Number of items to skip.
    offset: Option<i64>,
}

/// Lists apps, newest first.
#[utoipa::path(get, path = "/apps", tag = "apps", params(AppsQuery),
    security(("key" = ["script:read"])),
    responses((status = 200, description = "A page of apps", body = List<App>)))]
pub(super) async fn list_apps(
    State(control_plane): State<ControlPlane>,
    caller: Caller,
    Query(query): Query<AppsQuery>,
) -> Result<Json<List<App>>> {
    caller.check(Capability::PlatformUse)?;
    let page = PageQuery::new(query.limit, query.offset)?;
    let Some(sought) = query.q.filter(|sought| !sought.is_empty()) else {
        let apps = seen_apps(&control_plane, &caller, page.rows()).await?;
        return Ok(Json(page.list(apps, App::from)));
    };
    let sought = sought.to_lowercase();
    let matches = |app: &store::App| {
        app.name.contains(&sought) || app.description.to_lowercase().contains(&sought)
    };
    let mut found = Vec::new();
    for offset in (0..).step_by(SEARCH_ROWS as usize) {
        let part = store::Page { limit: SEARCH_ROWS, offset };
        let apps = seen_apps(&control_plane, &caller, part).await?;
        let is_last = (apps.len() as i64) < SEARCH_ROWS;
        found.extend(apps.into_iter().filter(matches));
        if is_last {
            break;
        }
    }
    Ok(Json(page.list_part(found, App::from)))
}

/// Returns a page of the apps that the caller can see.
async fn seen_apps(
    control_plane: &ControlPlane,
    caller: &Caller,
    page: store::Page,
) -> Result<Vec<store::App>> {
    let store = &control_plane.store;
    if let Some(only) = caller.key().and_then(|key| key.app_id.as_ref()) {
        if page.offset > 0 {
            return Ok(Vec::new());
        }
        let app = store.find_app(only).await?;
        return match control_plane
            .auth
            .allow(caller, only, Capability::AppRead, Resource::App)
            .await
        {
            Ok(()) => Ok(vec![app]),
            Err(Error::NotFound(_)) => Ok(Vec::new()),
            Err(error) => Err(error),
        };
    }
    Ok(match caller.user_id().filter(|_| caller.role == InstanceRole::Member) {
        Some(user_id) => store.list_apps_of(user_id, page).await?,
        None => store.list_apps(page).await?,
    })
}

/// Creates an app.
#[utoipa::path(post, path = "/apps", tag = "apps", request_body = CreateApp,
    security(("key" = ["instance:admin"])),
    responses((status = 201, description = "The new app", body = App)))]
pub(super) async fn create_app(
    State(control_plane): State<ControlPlane>,
    caller: Caller,
    body: Body<CreateApp>,
) -> Result<(StatusCode, Json<App>)> {
    caller.check(Capability::InstanceCreateApps)?;
    let body = body.read()?;
    check_app_name(&body.name)?;
    check_description(&body.description)?;
    let app = NewApp {
        id: control_plane.clock.new_id().into(),
        name: body.name,
        description: body.description,
        created_at: control_plane.clock.now_us(),
    };
    let change = Change::new("create_app", Resource::App, app.id.as_str(), &app.name);
    let change =
        change.in_app(&app.id).to(&json!({ "name": app.name, "description": app.description }));
    let app = control_plane.change(&caller, change).insert_app(app).await?;
    Ok((StatusCode::CREATED, Json(app.into())))
}

/// Shows an app.
#[utoipa::path(get, path = "/apps/{app}", tag = "apps",
    params(("app" = String, Path, description = "The app's name")),
    security(("key" = ["script:read"])),
    responses((status = 200, description = "The app", body = AppInFull)))]
pub(super) async fn get_app(
    State(control_plane): State<ControlPlane>,
    caller: Caller,
    Path(name): Path<String>,
) -> Result<Json<AppInFull>> {
    let app = control_plane.app(&caller, &name, Capability::AppRead).await?;
    let app_role = control_plane.auth.app_role(&caller, &app.id).await?;
    let capabilities = caller.capabilities_in(&app.id, app_role);
    let capabilities = capabilities.into_iter().map(|can| can.as_str().into()).collect();
    let storage = AppStorage::of(&control_plane, &app.id).await?;
    Ok(Json(AppInFull { app: app.into(), storage, capabilities }))
}

/// Changes an app.
#[utoipa::path(patch, path = "/apps/{app}", tag = "apps",
    params(("app" = String, Path, description = "The app's name")), request_body = UpdateApp,
    security(("key" = ["app:admin"])),
    responses((status = 200, description = "The changed app", body = App)))]
pub(super) async fn update_app(
    State(control_plane): State<ControlPlane>,
    caller: Caller,
    Path(name): Path<String>,
    body: Body<UpdateApp>,
) -> Result<Json<App>> {
    let app = control_plane.app(&caller, &name, Capability::AppManage).await?;
    let body = body.read()?;
    body.name.as_deref().map_or(Ok(()), check_app_name)?;
    body.description.as_deref().map_or(Ok(()), check_description)?;
    let audited = Change::new("update_app", Resource::App, app.id.as_str(), &app.name)
        .in_app(&app.id)
        .from(&json!({ "name": app.name, "description": app.description }))
        .to(&json!({ "name": body.name, "description": body.description }));
    let change = AppChange {
        name: body.name,
        description: body.description,
        updated_at: control_plane.clock.now_us(),
    };
    let store = control_plane.change(&caller, audited);
    Ok(Json(store.update_app(&app.id, change).await?.into()))
}

/// Deletes an app with its scripts, routes and domains. Its executions are kept until their
/// retention ends.
#[utoipa::path(delete, path = "/apps/{app}", tag = "apps",
    params(("app" = String, Path, description = "The app's name")),
    security(("key" = ["app:admin"])),
    responses((status = 204, description = "The app is deleted")))]
pub(super) async fn delete_app(
    State(control_plane): State<ControlPlane>,
    caller: Caller,
    Path(name): Path<String>,
) -> Result<StatusCode> {
    let app = control_plane.app(&caller, &name, Capability::AppManage).await?;
    let change = Change::new("delete_app", Resource::App, app.id.as_str(), &app.name)
        .in_app(&app.id)
        .from(&json!({ "name": app.name, "description": app.description }));
    control_plane.change(&caller, change).delete_app(&app.id).await?;
    Ok(StatusCode::NO_CONTENT)
}

//! `/apps`: the spaces in which scripts, routes and domains live.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::{IntoParams, ToSchema};

use super::ControlPlane;
use super::extract::{Body, Path, Query};
use super::lists::{List, Page};
use super::names::{check_app_name, check_description};
use super::storage::AppStorage;
use crate::auth::{Caller, Capability, Change};
use crate::error::{Error, Result};
use crate::store::{self, AppChange, InstanceRole, NewApp, Resource};

/// How many apps are read at once while names are searched.
const SEARCH_ROWS: i64 = 500;

/// An app.
#[derive(Debug, Serialize, ToSchema)]
pub struct App {
    /// Its id.
    id: String,
    /// Its name, which its endpoints begin with: `/x/{name}/…`.
    name: String,
    /// What its author says about it.
    description: String,
    /// When it was made, in microseconds since 1970.
    created_at: i64,
    /// When it was last changed, in microseconds since 1970.
    updated_at: i64,
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

/// An app, and what the caller may do in it.
#[derive(Debug, Serialize, ToSchema)]
pub struct AppInFull {
    /// The app.
    #[serde(flatten)]
    app: App,
    /// What the app keeps, and may keep.
    storage: AppStorage,
    /// Everything that whoever asks may do in it: `app_read`, `app_write_scripts`, ….
    capabilities: Vec<&'static str>,
}

/// An app to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewApp)]
pub struct CreateApp {
    /// 1 to 63 lower-case letters, digits and dashes, a letter first.
    #[schema(example = "shop")]
    name: String,
    /// What it is for.
    #[serde(default)]
    description: String,
}

/// What to change about an app; what is left out stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = AppChange)]
pub struct UpdateApp {
    /// The new name. The app's endpoints move with it.
    name: Option<String>,
    /// The new description.
    description: Option<String>,
}

/// Which apps.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AppsQuery {
    /// Only apps with this text in their name or description, in any case.
    q: Option<String>,
    /// At most so many, 1 to 200; 50 when left out.
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
    let page = Page::new(query.limit, query.offset)?;
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

/// A page of the apps that the caller may see.
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

/// Makes an app.
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
    let capabilities = capabilities.into_iter().map(Capability::as_str).collect();
    let storage = AppStorage::of(&control_plane, &app.id).await?;
    Ok(Json(AppInFull { app: app.into(), storage, capabilities }))
}

/// Changes an app.
#[utoipa::path(patch, path = "/apps/{app}", tag = "apps",
    params(("app" = String, Path, description = "The app's name")), request_body = UpdateApp,
    security(("key" = ["app:admin"])),
    responses((status = 200, description = "The app as it is now", body = App)))]
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

/// Deletes an app with its scripts, routes and domains. Its executions stay until
/// they are too old.
#[utoipa::path(delete, path = "/apps/{app}", tag = "apps",
    params(("app" = String, Path, description = "The app's name")),
    security(("key" = ["app:admin"])),
    responses((status = 204, description = "It is gone")))]
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

//! `/apps`: the spaces in which scripts, routes and domains live.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::ControlPlane;
use super::extract::{Body, Path, Query};
use super::lists::{List, Page};
use super::names::{check_app_name, check_description};
use crate::error::Result;
use crate::store::{self, AppChange, NewApp};

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
    /// So many are skipped first.
    offset: Option<i64>,
}

/// Lists apps, newest first.
#[utoipa::path(get, path = "/apps", tag = "apps", params(AppsQuery),
    responses((status = 200, description = "A page of apps", body = List<App>)))]
pub(super) async fn list_apps(
    State(control_plane): State<ControlPlane>,
    Query(query): Query<AppsQuery>,
) -> Result<Json<List<App>>> {
    let page = Page::new(query.limit, query.offset)?;
    let Some(sought) = query.q.filter(|sought| !sought.is_empty()) else {
        let apps = control_plane.store.list_apps(page.rows()).await?;
        return Ok(Json(page.list(apps, App::from)));
    };
    let sought = sought.to_lowercase();
    let matches = |app: &store::App| {
        app.name.contains(&sought) || app.description.to_lowercase().contains(&sought)
    };
    let mut found = Vec::new();
    for offset in (0..).step_by(SEARCH_ROWS as usize) {
        let apps =
            control_plane.store.list_apps(store::Page { limit: SEARCH_ROWS, offset }).await?;
        let is_last = (apps.len() as i64) < SEARCH_ROWS;
        found.extend(apps.into_iter().filter(matches));
        if is_last {
            break;
        }
    }
    Ok(Json(page.list_part(found, App::from)))
}

/// Makes an app.
#[utoipa::path(post, path = "/apps", tag = "apps", request_body = CreateApp,
    responses((status = 201, description = "The new app", body = App)))]
pub(super) async fn create_app(
    State(control_plane): State<ControlPlane>,
    Body(body): Body<CreateApp>,
) -> Result<(StatusCode, Json<App>)> {
    check_app_name(&body.name)?;
    check_description(&body.description)?;
    let app = NewApp {
        id: control_plane.clock.new_id().into(),
        name: body.name,
        description: body.description,
        created_at: control_plane.clock.now_us(),
    };
    let app = control_plane.store.insert_app(app).await?;
    Ok((StatusCode::CREATED, Json(app.into())))
}

/// Shows an app.
#[utoipa::path(get, path = "/apps/{app}", tag = "apps",
    params(("app" = String, Path, description = "The app's name")),
    responses((status = 200, description = "The app", body = App)))]
pub(super) async fn get_app(
    State(control_plane): State<ControlPlane>,
    Path(name): Path<String>,
) -> Result<Json<App>> {
    Ok(Json(control_plane.app(&name).await?.into()))
}

/// Changes an app.
#[utoipa::path(patch, path = "/apps/{app}", tag = "apps",
    params(("app" = String, Path, description = "The app's name")), request_body = UpdateApp,
    responses((status = 200, description = "The app as it is now", body = App)))]
pub(super) async fn update_app(
    State(control_plane): State<ControlPlane>,
    Path(name): Path<String>,
    Body(body): Body<UpdateApp>,
) -> Result<Json<App>> {
    body.name.as_deref().map_or(Ok(()), check_app_name)?;
    body.description.as_deref().map_or(Ok(()), check_description)?;
    let app = control_plane.app(&name).await?;
    let change = AppChange {
        name: body.name,
        description: body.description,
        updated_at: control_plane.clock.now_us(),
    };
    Ok(Json(control_plane.store.update_app(&app.id, change).await?.into()))
}

/// Deletes an app with its scripts, routes and domains. Its executions stay until
/// they are too old.
#[utoipa::path(delete, path = "/apps/{app}", tag = "apps",
    params(("app" = String, Path, description = "The app's name")),
    responses((status = 204, description = "It is gone")))]
pub(super) async fn delete_app(
    State(control_plane): State<ControlPlane>,
    Path(name): Path<String>,
) -> Result<StatusCode> {
    let app = control_plane.app(&name).await?;
    control_plane.store.delete_app(&app.id).await?;
    Ok(StatusCode::NO_CONTENT)
}

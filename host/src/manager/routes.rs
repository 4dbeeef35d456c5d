//! `/apps/{app}/routes` and `/routes/{id}`: a method and a path that lead to a
//! script.
//!
//! Invariant: of two routes that could answer one request, one is more specific;
//! two of the same shape are never there at once, nor a route in the place of
//! another script's endpoint.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::ControlPlane;
use super::extract::{Body, Path, Query};
use super::lists::{List, Page};
use super::names::normalise_host;
use super::route_pattern::RoutePattern;
use crate::auth::{Caller, Capability, Change};
use crate::error::{Error, Refusal, Result};
use crate::store::{self, AppId, Delivery, Resource, RouteId, ScriptId};

/// The methods that a route can be for; `*` stands for all of them.
const METHODS: [&str; 8] = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "*"];
/// How many routes are read at once while conflicts are sought.
const SEARCH_ROWS: i64 = 500;

/// A route.
#[derive(Debug, Serialize, ToSchema)]
pub struct Route {
    /// Its id.
    id: String,
    /// The id of the script that it leads to.
    script_id: String,
    /// A method, or `*` for all.
    method: String,
    /// The domain at whose root the path starts; `null` when it starts at
    /// `/x/{app}`.
    host: Option<String>,
    /// The path pattern, in its normal form.
    path: String,
    /// How a request is served: `sync`, `durable` or `async`.
    #[schema(value_type = String)]
    delivery: Delivery,
    /// When it was made, in microseconds since 1970.
    created_at: i64,
}

impl From<store::Route> for Route {
    fn from(route: store::Route) -> Self {
        Self {
            id: route.id.into(),
            script_id: route.script_id.into(),
            method: route.method,
            host: Some(route.host).filter(|host| !host.is_empty()),
            path: route.path,
            delivery: route.delivery,
            created_at: route.created_at,
        }
    }
}

/// A route to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewRoute)]
pub struct CreateRoute {
    /// The id of a script of the app.
    script_id: String,
    /// `GET`, `POST`, `PUT`, `PATCH`, `DELETE`, `HEAD`, `OPTIONS`, or `*` for all.
    #[schema(example = "GET")]
    method: String,
    /// A domain that the app has claimed; left out, the path starts at `/x/{app}`.
    host: Option<String>,
    /// The path pattern: segments are static or `{name}`, the last may be
    /// `{*rest}`.
    #[schema(example = "/orders/{id}")]
    path: String,
    /// `sync`: run now and answer the result; `durable`: store, run, and answer the
    /// result if it comes in time; `async`: store and answer 202.
    #[serde(default = "default_delivery")]
    #[schema(value_type = String, example = "sync")]
    delivery: Delivery,
}

fn default_delivery() -> Delivery {
    Delivery::Sync
}

/// Which routes.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct RoutesQuery {
    /// At most so many, 1 to 200; 50 when left out.
    limit: Option<i64>,
    /// So many are skipped first.
    offset: Option<i64>,
}

/// Lists an app's routes, newest first.
#[utoipa::path(get, path = "/apps/{app}/routes", tag = "routes",
    params(("app" = String, Path, description = "The app's name"), RoutesQuery),
    security(("key" = ["script:read"])),
    responses((status = 200, description = "A page of routes", body = List<Route>)))]
pub(super) async fn list_routes(
    State(control_plane): State<ControlPlane>,
    caller: Caller,
    Path(name): Path<String>,
    Query(query): Query<RoutesQuery>,
) -> Result<Json<List<Route>>> {
    let page = Page::new(query.limit, query.offset)?;
    let app = control_plane.app(&caller, &name, Capability::AppRead).await?;
    let routes = control_plane.store.list_routes(&app.id, page.rows()).await?;
    Ok(Json(page.list(routes, Route::from)))
}

/// Makes a route. One that would answer the same requests as another is refused.
#[utoipa::path(post, path = "/apps/{app}/routes", tag = "routes",
    params(("app" = String, Path, description = "The app's name")), request_body = CreateRoute,
    security(("key" = ["route:write"])),
    responses((status = 201, description = "The new route", body = Route)))]
pub(super) async fn create_route(
    State(control_plane): State<ControlPlane>,
    caller: Caller,
    Path(name): Path<String>,
    body: Body<CreateRoute>,
) -> Result<(StatusCode, Json<Route>)> {
    let app = control_plane.app(&caller, &name, Capability::AppManageRoutes).await?;
    let body = body.read()?;
    let script_id: ScriptId =
        body.script_id.parse().map_err(|_| Error::not_found(Resource::Script))?;
    let pattern = RoutePattern::parse(&body.path)
        .map_err(|reason| Error::Invalid(Refusal::field("path", &reason)))?;
    let host = body.host.as_deref().map(normalise_host).transpose()?;
    let route = store::Route {
        id: control_plane.clock.new_id().into(),
        app_id: app.id.clone(),
        script_id,
        method: normalise_method(&body.method)?,
        host: host.unwrap_or_default(),
        path: pattern.path.clone(),
        shape: pattern.shape.clone(),
        delivery: body.delivery,
        created_at: control_plane.clock.now_us(),
    };

    let _addresses = control_plane.lock_addresses().await;
    for other in routes_of(&control_plane, &app.id).await? {
        if conflict(&route, &other) {
            return Err(Error::Conflict(route_conflict(&route, &other)));
        }
    }
    check_no_endpoint_is_hidden(&control_plane, &route, &pattern).await?;
    let change = changed("create_route", &route).to(&Route::from(route.clone()));
    let route = control_plane.change(&caller, change).insert_route(route).await?;
    Ok((StatusCode::CREATED, Json(route.into())))
}

/// Shows a route.
#[utoipa::path(get, path = "/routes/{id}", tag = "routes",
    params(("id" = String, Path, description = "The route's id")),
    security(("key" = ["script:read"])),
    responses((status = 200, description = "The route", body = Route)))]
pub(super) async fn get_route(
    State(control_plane): State<ControlPlane>,
    caller: Caller,
    Path(id): Path<RouteId>,
) -> Result<Json<Route>> {
    Ok(Json(route_of(&control_plane, &caller, &id, Capability::AppRead).await?.into()))
}

/// Deletes a route.
#[utoipa::path(delete, path = "/routes/{id}", tag = "routes",
    params(("id" = String, Path, description = "The route's id")),
    security(("key" = ["route:write"])),
    responses((status = 204, description = "It is gone")))]
pub(super) async fn delete_route(
    State(control_plane): State<ControlPlane>,
    caller: Caller,
    Path(id): Path<RouteId>,
) -> Result<StatusCode> {
    let route = route_of(&control_plane, &caller, &id, Capability::AppManageRoutes).await?;
    let change = changed("delete_route", &route).from(&Route::from(route));
    control_plane.change(&caller, change).delete_route(&id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The route of that id, if the caller may do this in its app.
async fn route_of(
    control_plane: &ControlPlane,
    caller: &Caller,
    id: &RouteId,
    capability: Capability,
) -> Result<store::Route> {
    let route = control_plane.store.find_route(id).await?;
    control_plane.auth.allow(caller, &route.app_id, capability, Resource::Route).await?;
    Ok(route)
}

fn changed(action: &'static str, route: &store::Route) -> Change {
    let name = format!("{} {}{}", route.method, route.host, route.path);
    Change::new(action, Resource::Route, route.id.as_str(), &name).in_app(&route.app_id)
}

fn normalise_method(method: &str) -> Result<String> {
    let method = method.to_ascii_uppercase();
    if METHODS.contains(&method.as_str()) {
        return Ok(method);
    }
    let reason = format!("must be one of {}", METHODS.join(", "));
    Err(Error::Invalid(Refusal::field("method", &reason)))
}

async fn routes_of(control_plane: &ControlPlane, app_id: &AppId) -> Result<Vec<store::Route>> {
    let mut routes = Vec::new();
    loop {
        let page = store::Page { limit: SEARCH_ROWS, offset: routes.len() as i64 };
        let rows = control_plane.store.list_routes(app_id, page).await?;
        let is_last = (rows.len() as i64) < SEARCH_ROWS;
        routes.extend(rows);
        if is_last {
            return Ok(routes);
        }
    }
}

/// Whether one request could be answered by both, neither being more specific.
fn conflict(a: &store::Route, b: &store::Route) -> bool {
    let same_method = a.method == b.method || a.method == "*" || b.method == "*";
    same_method && a.host == b.host && a.shape == b.shape
}

fn route_conflict(new: &store::Route, other: &store::Route) -> Refusal {
    let message = format!(
        "{} {} answers the same requests as {} {} (route {}, to script {})",
        new.method, new.path, other.method, other.path, other.id, other.script_id
    );
    Refusal::new("route_conflict", message)
        .with("route", format!("{} {}", new.method, new.path))
        .with("script_id", new.script_id.as_str())
        .with("conflicting_route", format!("{} {}", other.method, other.path))
        .with("conflicting_route_id", other.id.as_str())
        .with("conflicting_script_id", other.script_id.as_str())
}

/// `/x/{app}/orders` answers for the script `orders`, whatever routes there are.
async fn check_no_endpoint_is_hidden(
    control_plane: &ControlPlane,
    route: &store::Route,
    pattern: &RoutePattern,
) -> Result<()> {
    let Some(segment) = pattern.only_static_segment().filter(|_| route.host.is_empty()) else {
        return Ok(());
    };
    match control_plane.store.find_script_by_name(&route.app_id, segment).await {
        Ok(script) if script.id != route.script_id => {
            let message = format!("{} is the endpoint of the script {}", route.path, script.name);
            let refusal = Refusal::new("route_hides_endpoint", message);
            Err(Error::Conflict(refusal.with("conflicting_script_id", script.id.as_str())))
        }
        Ok(_) | Err(store::Error::NotFound(_)) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Refuses a script whose endpoint would be in the place of a route.
///
/// # Errors
/// `Conflict` with the route.
pub(super) async fn check_endpoint_is_free(
    control_plane: &ControlPlane,
    app: &store::App,
    script_name: &str,
) -> Result<()> {
    let path = format!("/{script_name}");
    let routes = routes_of(control_plane, &app.id).await?;
    match routes.iter().find(|route| route.host.is_empty() && route.path == path) {
        None => Ok(()),
        Some(route) => {
            let message = format!(
                "the endpoint of a script {script_name} is the path of {} {} (route {})",
                route.method, route.path, route.id
            );
            let refusal = Refusal::new("endpoint_taken_by_route", message);
            Err(Error::Conflict(refusal.with("conflicting_route_id", route.id.as_str())))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(method: &str, host: &str, path: &str) -> store::Route {
        let id = "0197f3a4-5c1e-7b7a-8f6e-3d2c1b0a9f8e";
        let RoutePattern { path, shape } = RoutePattern::parse(path).unwrap();
        store::Route {
            id: id.parse().unwrap(),
            app_id: id.parse().unwrap(),
            script_id: id.parse().unwrap(),
            method: method.to_owned(),
            host: host.to_owned(),
            path,
            shape,
            delivery: Delivery::Sync,
            created_at: 0,
        }
    }

    #[test]
    fn routes_conflict_when_one_request_could_be_answered_by_both() {
        let table = [
            (("GET", "", "/a/{id}"), ("GET", "", "/a/{name}"), true),
            (("GET", "", "/a/{id}"), ("*", "", "/a/{name}"), true),
            (("*", "", "/a"), ("DELETE", "", "/%61"), true),
            (("GET", "", "/{*a}"), ("GET", "", "/{*b}"), true),
            (("GET", "", "/a/{id}"), ("POST", "", "/a/{id}"), false),
            (("GET", "", "/a/{id}"), ("GET", "", "/a/b"), false),
            (("GET", "", "/a/{id}"), ("GET", "", "/a/{*id}"), false),
            (("GET", "", "/a"), ("GET", "a.example", "/a"), false),
        ];
        for ((m1, h1, p1), (m2, h2, p2), expected) in table {
            let (a, b) = (route(m1, h1, p1), route(m2, h2, p2));
            assert_eq!(conflict(&a, &b), expected, "{m1} {p1} and {m2} {p2}");
            assert_eq!(conflict(&b, &a), expected, "{m2} {p2} and {m1} {p1}");
        }
    }

    #[test]
    fn a_method_is_one_of_eight_in_any_case() {
        assert_eq!(normalise_method("get").unwrap(), "GET");
        assert_eq!(normalise_method("*").unwrap(), "*");
        for wrong in ["", "CONNECT", "TRACE", "GETS", "GET "] {
            assert!(normalise_method(wrong).is_err(), "{wrong}");
        }
    }
}

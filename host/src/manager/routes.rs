//! `/apps/{app}/routes` and `/routes/{id}`: a method and a path that lead to a
//! script.
//!
//! Invariant: of two routes that could answer one request, one is more specific;
//! two of the same shape are never there at once, nor a route in the place of
//! another script's endpoint.

mod addresses;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

pub(super) use self::addresses::{check_endpoint_is_free, routes_of};
use self::addresses::{check_no_endpoint_is_hidden, conflict, route_conflict};
use super::ControlPlane;
use super::extract::{Body, Path, Query};
use super::lists::{List, Page};
use super::names::check_host;
use super::policies;
use super::route_pattern::RoutePattern;
use crate::auth::{Caller, Capability, Change};
use crate::error::{Error, Refusal, Result};
use crate::store::{
    self, AppId, Cors, Delivery, RateLimit, Resource, RouteAuth, RouteChange, RouteId, RoutePolicy,
    ScriptId,
};

/// The methods that a route can be for; `*` stands for all of them.
pub(super) const METHODS: [&str; 8] =
    ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "*"];

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
    /// Who is let in.
    auth: RouteAuth,
    /// How often; `null` without a limit.
    rate_limit: Option<RateLimit>,
    /// How many requests are run at once on each node; `null` without a limit.
    concurrency_max: Option<u32>,
    /// Pages of which other origins may read the answers; `null` where the script decides.
    cors: Option<Cors>,
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
            auth: route.policy.auth,
            rate_limit: route.policy.rate_limit,
            concurrency_max: route.policy.concurrency_max,
            cors: route.policy.cors,
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
    /// Who is let in; everybody when left out.
    #[serde(default)]
    auth: RouteAuth,
    /// How often; any number of times when left out.
    #[serde(default)]
    rate_limit: Option<RateLimit>,
    /// How many requests are run at once on each node, 1 to 10,000.
    #[serde(default)]
    concurrency_max: Option<u32>,
    /// Pages of which other origins may read the answers. Preflights are answered, and what
    /// the script says about origins is replaced.
    #[serde(default)]
    cors: Option<Cors>,
}

/// What a route is from now on. Its method, host and path stay; all that is left out is as
/// if it had been left out when the route was made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = RouteChange)]
pub struct UpdateRoute {
    /// The id of a script of the app.
    script_id: String,
    /// `sync`, `durable` or `async`.
    #[serde(default = "default_delivery")]
    #[schema(value_type = String, example = "sync")]
    delivery: Delivery,
    /// Who is let in.
    #[serde(default)]
    auth: RouteAuth,
    /// How often.
    #[serde(default)]
    rate_limit: Option<RateLimit>,
    /// How many requests are run at once on each node, 1 to 10,000.
    #[serde(default)]
    concurrency_max: Option<u32>,
    /// Pages of which other origins may read the answers.
    #[serde(default)]
    cors: Option<Cors>,
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
    /// Number of items to skip.
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
    let host = body.host.as_deref().map(check_host).transpose()?;
    let route = store::Route {
        id: control_plane.clock.new_id().into(),
        app_id: app.id.clone(),
        script_id,
        method: normalise_method(&body.method)?,
        host: host.map(|host| host.to_string()).unwrap_or_default(),
        path: pattern.path.clone(),
        shape: pattern.shape.clone(),
        delivery: body.delivery,
        policy: policies::checked(RoutePolicy {
            auth: body.auth,
            rate_limit: body.rate_limit,
            concurrency_max: body.concurrency_max,
            cors: body.cors,
        })?,
        created_at: control_plane.clock.now_us(),
    };
    check_secrets_are_set(&control_plane, &app.id, &route.policy).await?;

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

/// Changes a route: its script, how requests are served and what is asked of them before.
/// It holds from the next request on; one that is being counted is counted anew only if its
/// limit has changed.
#[utoipa::path(put, path = "/routes/{id}", tag = "routes",
    params(("id" = String, Path, description = "The route's id")), request_body = UpdateRoute,
    security(("key" = ["route:write"])),
    responses((status = 200, description = "The route as it is now", body = Route)))]
pub(super) async fn update_route(
    State(control_plane): State<ControlPlane>,
    caller: Caller,
    Path(id): Path<RouteId>,
    body: Body<UpdateRoute>,
) -> Result<Json<Route>> {
    route_of(&control_plane, &caller, &id, Capability::AppManageRoutes).await?;
    let body = body.read()?;
    let script_id = body.script_id.parse().map_err(|_| Error::not_found(Resource::Script))?;
    let policy = policies::checked(RoutePolicy {
        auth: body.auth,
        rate_limit: body.rate_limit,
        concurrency_max: body.concurrency_max,
        cors: body.cors,
    })?;
    // A route in the place of its script's endpoint cannot lead to another script.
    let _addresses = control_plane.lock_addresses().await;
    let route = control_plane.store.find_route(&id).await?;
    let pattern = RoutePattern::parse(&route.path)
        .map_err(|reason| Error::Invalid(Refusal::field("path", &reason)))?;
    check_secrets_are_set(&control_plane, &route.app_id, &policy).await?;
    let wanted = store::Route { script_id, delivery: body.delivery, policy, ..route.clone() };
    check_no_endpoint_is_hidden(&control_plane, &wanted, &pattern).await?;
    let audited = changed("update_route", &route);
    let audited = audited.from(&Route::from(route)).to(&Route::from(wanted.clone()));
    let change = RouteChange {
        script_id: wanted.script_id,
        delivery: wanted.delivery,
        policy: wanted.policy,
    };
    let store = control_plane.change(&caller, audited);
    Ok(Json(store.update_route(&id, change).await?.into()))
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

/// A route without its secret would let nobody in, and say so to its callers only.
async fn check_secrets_are_set(
    control_plane: &ControlPlane,
    app_id: &AppId,
    policy: &RoutePolicy,
) -> Result<()> {
    if policy.auth.is_none() {
        return Ok(());
    }
    let set = control_plane.store.list_secrets(app_id).await?;
    let is_set = |name: &String| set.iter().any(|secret| secret.name == *name);
    match policy.auth.secrets().iter().find(|name| !is_set(name)) {
        None => Ok(()),
        Some(name) => {
            let message = format!("the app has no secret {name}: set it first");
            let refusal = Refusal::new("secret_not_found", message);
            Err(Error::NotFound(refusal.with("secret", name.as_str())))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_method_is_one_of_eight_in_any_case() {
        assert_eq!(normalise_method("get").unwrap(), "GET");
        assert_eq!(normalise_method("*").unwrap(), "*");
        for wrong in ["", "CONNECT", "TRACE", "GETS", "GET "] {
            assert!(normalise_method(wrong).is_err(), "{wrong}");
        }
    }
}

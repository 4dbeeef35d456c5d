//! `/apps/{app}/routes` and `/routes/{id}`: methods and paths that lead to a script.
//!
//! Invariant: if two routes match one request, one of them is more specific. Two routes of the same
//! shape never exist at once, nor does a route on the path of another script's endpoint.

mod addresses;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

pub(super) use self::addresses::{check_endpoint_is_free, routes_of};
use self::addresses::{check_no_endpoint_is_hidden, conflict, route_conflict};
use super::ControlPlane;
use super::extensible::Extensible;
use super::extract::{Body, Path, Query};
use super::lists::{List, PageQuery};
use super::names::check_host;
use super::omitted::not_null;
use super::policies;
use super::policies::shape::{Cors, RateLimit, RouteAuth};
use super::route_pattern::RoutePattern;
use crate::auth::{Caller, Capability, Change};
use crate::error::{Error, Refusal, Result};
use crate::store::{self, AppId, Delivery, Resource, RouteChange, RouteId, RoutePolicy, ScriptId};

/// The methods of a route; `*` stands for all of them.
pub(super) const METHODS: [&str; 8] =
    ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "*"];

/// A route.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
pub struct Route {
    /// The route's id.
    pub id: String,
    /// The id of the script that it leads to.
    pub script_id: String,
    /// A method, or `*` for all.
    pub method: String,
    /// The domain on which the path starts at the root; `null` if it starts at `/x/{app}`.
    pub host: Option<String>,
    /// The path pattern, in its normal form.
    pub path: String,
    /// How a request is served: `sync`, `durable` or `async`.
    #[schema(value_type = String)]
    pub delivery: Extensible<Delivery>,
    /// How callers must authenticate.
    #[schema(value_type = RouteAuth)]
    pub auth: Extensible<RouteAuth>,
    /// The rate limit; `null` for none.
    #[schema(value_type = Option<RateLimit>)]
    pub rate_limit: Option<Extensible<RateLimit>>,
    /// The most requests run at the same time on each node; `null` for no limit.
    pub concurrency_max: Option<u32>,
    /// The origins whose pages can read responses; `null` if the script decides.
    #[schema(value_type = Option<Cors>)]
    pub cors: Option<Extensible<Cors>>,
    /// When it was created, in microseconds since 1970.
    pub created_at: i64,
}

impl From<store::Route> for Route {
    fn from(route: store::Route) -> Self {
        Self {
            id: route.id.into(),
            script_id: route.script_id.into(),
            method: route.method,
            host: Some(route.host).filter(|host| !host.is_empty()),
            path: route.path,
            delivery: route.delivery.into(),
            auth: Extensible::Known(route.policy.auth.into()),
            rate_limit: route.policy.rate_limit.map(|rate| Extensible::Known(rate.into())),
            concurrency_max: route.policy.concurrency_max,
            cors: route.policy.cors.map(|cors| Extensible::Known(cors.into())),
            created_at: route.created_at,
        }
    }
}

/// The route to create.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewRoute)]
pub struct CreateRoute {
    /// The id of a script of the app.
    pub script_id: String,
    /// `GET`, `POST`, `PUT`, `PATCH`, `DELETE`, `HEAD`, `OPTIONS`, or `*` for all.
    #[schema(example = "GET")]
    pub method: String,
    /// A domain that the app has claimed. Default: the path starts at `/x/{app}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The path pattern. Each segment is static or `{name}`; the last can be `{*rest}`.
    #[schema(example = "/orders/{id}")]
    pub path: String,
    /// `sync`: run now and return the result; `durable`: store, run, and return the result if it is
    /// ready in time; `async`: store and answer 202.
    #[serde(default, deserialize_with = "not_null", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, example = "sync")]
    pub delivery: Option<Delivery>,
    /// How callers must authenticate. Default: everyone can call.
    #[serde(default, deserialize_with = "not_null", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = RouteAuth)]
    pub auth: Option<RouteAuth>,
    /// The rate limit. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<RateLimit>,
    /// The most requests run at the same time on each node, 1 to 10,000. Default: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency_max: Option<u32>,
    /// The origins whose pages can read responses. PiCloud then answers preflight requests, and
    /// replaces the CORS headers of the script.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cors: Option<Cors>,
}

/// The new settings of a route. Its method, host and path cannot change. An omitted field gets the
/// default that it has when a route is created.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = RouteChange)]
pub struct UpdateRoute {
    /// The id of a script of the app.
    pub script_id: String,
    /// `sync`, `durable` or `async`.
    #[serde(default = "default_delivery")]
    #[schema(value_type = String, example = "sync")]
    pub delivery: Delivery,
    /// How callers must authenticate.
    #[serde(default)]
    pub auth: RouteAuth,
    /// The rate limit.
    #[serde(default)]
    pub rate_limit: Option<RateLimit>,
    /// The most requests run at the same time on each node, 1 to 10,000.
    #[serde(default)]
    pub concurrency_max: Option<u32>,
    /// The origins whose pages can read responses.
    #[serde(default)]
    pub cors: Option<Cors>,
}

fn default_delivery() -> Delivery {
    Delivery::Sync
}

/// The page of routes to return.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct RoutesQuery {
    /// Number of items to return, 1 to 200. Default: 50.
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
    let page = PageQuery::new(query.limit, query.offset)?;
    let app = control_plane.app(&caller, &name, Capability::AppRead).await?;
    let routes = control_plane.store.list_routes(&app.id, page.rows()).await?;
    Ok(Json(page.list(routes, Route::from)))
}

/// Creates a route. A route that matches the same requests as another one is refused.
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
        delivery: body.delivery.unwrap_or_else(default_delivery),
        policy: policies::checked(RoutePolicy {
            auth: body.auth.unwrap_or_default().into(),
            rate_limit: body.rate_limit.map(Into::into),
            concurrency_max: body.concurrency_max,
            cors: body.cors.map(Into::into),
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

/// Changes a route: its script, its delivery mode and its policy. The change applies from the next
/// request on. The rate limit's counter starts again only if the limit has changed.
#[utoipa::path(put, path = "/routes/{id}", tag = "routes",
    params(("id" = String, Path, description = "The route's id")), request_body = UpdateRoute,
    security(("key" = ["route:write"])),
    responses((status = 200, description = "The changed route", body = Route)))]
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
        auth: body.auth.into(),
        rate_limit: body.rate_limit.map(Into::into),
        concurrency_max: body.concurrency_max,
        cors: body.cors.map(Into::into),
    })?;
    // A route on the path of its script's endpoint cannot lead to another script.
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
    responses((status = 204, description = "The route is deleted")))]
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

/// Finds a route and checks that the caller has the capability in its app.
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

/// Refuses a policy whose secret is missing: its route would refuse every request, unnoticed.
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
            let message = format!("the app has no secret {name}: create it first");
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

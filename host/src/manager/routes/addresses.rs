//! Checks which paths are taken by routes and by scripts' endpoints.

use crate::error::{Error, Refusal, Result};
use crate::manager::ControlPlane;
use crate::manager::route_pattern::RoutePattern;
use crate::store::{self, AppId};

/// The number of routes read at once by a search for conflicts.
const SEARCH_ROWS: i64 = 500;

/// Returns all routes of an app.
pub(in crate::manager) async fn routes_of(
    control_plane: &ControlPlane,
    app_id: &AppId,
) -> Result<Vec<store::Route>> {
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

/// Whether both match one request and neither is more specific.
pub(super) fn conflict(a: &store::Route, b: &store::Route) -> bool {
    let same_method = a.method == b.method || a.method == "*" || b.method == "*";
    same_method && a.host == b.host && a.shape == b.shape
}

pub(super) fn route_conflict(new: &store::Route, other: &store::Route) -> Refusal {
    let message = format!(
        "{} {} matches the same requests as {} {} (route {}, to script {})",
        new.method, new.path, other.method, other.path, other.id, other.script_id
    );
    Refusal::new("route_conflict", message)
        .with("route", format!("{} {}", new.method, new.path))
        .with("script_id", new.script_id.as_str())
        .with("conflicting_route", format!("{} {}", other.method, other.path))
        .with("conflicting_route_id", other.id.as_str())
        .with("conflicting_script_id", other.script_id.as_str())
}

/// Refuses a route on the path of another script's endpoint, such as `/x/{app}/orders`.
pub(super) async fn check_no_endpoint_is_hidden(
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

/// Refuses a script whose endpoint would be on the path of a route.
///
/// # Errors
/// `Conflict` with the route.
pub(in crate::manager) async fn check_endpoint_is_free(
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
                "the endpoint of the script {script_name} would be on the path of {} {} (route {})",
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
    use crate::store::{Delivery, RoutePolicy};

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
            policy: RoutePolicy::default(),
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
}

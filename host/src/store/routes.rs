//! Routes: a method and a path pattern that map to a script.
//!
//! Invariant: a route maps to a script of its own app. It can use a domain only while the app has
//! claimed it, and is served there only once the domain is verified.

use sqlx::{AnyConnection, FromRow};

use super::signals::Touches;
use super::{
    AppId, Conflict, Delivery, Error, Page, Resource, Result, RouteId, RoutePolicy, SameRoute,
    ScriptId, Store, domains, text,
};

/// A stored route.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct Route {
    /// The id.
    pub id: RouteId,
    /// The app it belongs to.
    pub app_id: AppId,
    /// The script it runs.
    pub script_id: ScriptId,
    /// `*`, or a method in upper case.
    pub method: String,
    /// Empty under `/x/{app}`, else a domain that the app has claimed.
    pub host: String,
    /// The path pattern, as its author wrote it.
    pub path: String,
    /// The pattern without its parameters' names. Two routes of one app, host and method with the
    /// same shape match the same requests.
    pub shape: String,
    /// How a request is served.
    #[sqlx(try_from = "String")]
    pub delivery: Delivery,
    /// The requirements for a request.
    #[sqlx(try_from = "String")]
    pub policy: RoutePolicy,
    /// When it was created, µs.
    pub created_at: i64,
}

/// A change to a route; its method and path stay unchanged.
#[derive(Debug, Clone)]
pub struct RouteChange {
    /// The script it runs.
    pub script_id: ScriptId,
    /// How a request is served.
    pub delivery: Delivery,
    /// The requirements for a request.
    pub policy: RoutePolicy,
}

impl Store {
    /// Inserts a route. Errors: `NotFound(Script)` or `NotFound(Domain)` if it does not exist or
    /// belongs to another app; `Conflict(Route)` with the route that matches the same requests;
    /// `Invalid`.
    pub async fn insert_route(&self, route: Route) -> Result<Route> {
        text::check("method", &route.method, text::METHOD_BYTES_MAX)?;
        text::check("host", &route.host, text::HOST_BYTES_MAX)?;
        text::check("path", &route.path, text::UNLIMITED)?;
        text::check("shape", &route.shape, text::PATH_BYTES_MAX)?;
        self.write(Touches::Definitions, move |connection| {
            Box::pin(async move { insert(connection, route).await })
        })
        .await
    }

    /// Lists the routes that run a script.
    pub async fn list_routes_of(&self, script_id: &ScriptId) -> Result<Vec<Route>> {
        let query = sqlx::query_as("SELECT * FROM routes WHERE script_id = $1 ORDER BY id");
        Ok(query.bind(script_id).fetch_all(self.reads()).await?)
    }

    /// Lists the app's routes on a host.
    pub async fn list_routes_on(&self, app_id: &AppId, host: &str) -> Result<Vec<Route>> {
        let query = "SELECT * FROM routes WHERE app_id = $1 AND host = $2 ORDER BY id";
        Ok(sqlx::query_as(query).bind(app_id).bind(host).fetch_all(self.reads()).await?)
    }

    /// Returns the route with this id. Errors: `NotFound(Route)`.
    pub async fn find_route(&self, id: &RouteId) -> Result<Route> {
        sqlx::query_as("SELECT * FROM routes WHERE id = $1")
            .bind(id)
            .fetch_optional(self.reads())
            .await?
            .ok_or(Error::NotFound(Resource::Route))
    }

    /// Lists the app's routes, newest first.
    pub async fn list_routes(&self, app_id: &AppId, page: Page) -> Result<Vec<Route>> {
        let routes = sqlx::query_as(
            "SELECT * FROM routes WHERE app_id = $1 \
             ORDER BY created_at DESC, id DESC LIMIT $2 OFFSET $3",
        )
        .bind(app_id)
        .bind(page.limit)
        .bind(page.offset)
        .fetch_all(self.reads())
        .await?;
        Ok(routes)
    }

    /// Changes a route. Errors: `NotFound(Route)`; `NotFound(Script)`, also if the script belongs
    /// to another app.
    pub async fn update_route(&self, id: &RouteId, change: RouteChange) -> Result<Route> {
        let (id, policy) = (id.clone(), json_of(&change.policy)?);
        self.write(Touches::Definitions, move |connection| {
            Box::pin(async move {
                let route: Route = sqlx::query_as("SELECT * FROM routes WHERE id = $1")
                    .bind(&id)
                    .fetch_optional(&mut *connection)
                    .await?
                    .ok_or(Error::NotFound(Resource::Route))?;
                check_script(connection, &change.script_id, &route.app_id).await?;
                sqlx::query_as(
                    "UPDATE routes SET script_id = $2, delivery = $3, policy = $4 \
                     WHERE id = $1 RETURNING *",
                )
                .bind(id)
                .bind(change.script_id)
                .bind(change.delivery.as_str())
                .bind(policy)
                .fetch_optional(connection)
                .await
                .map_err(|error| Error::from(error).on_foreign_key(Resource::Script))?
                .ok_or(Error::NotFound(Resource::Route))
            })
        })
        .await
    }

    /// Deletes a route. Errors: `NotFound(Route)`.
    pub async fn delete_route(&self, id: &RouteId) -> Result<()> {
        let id = id.clone();
        self.write(Touches::Definitions, move |connection| {
            Box::pin(async move {
                let done = sqlx::query("DELETE FROM routes WHERE id = $1")
                    .bind(id)
                    .execute(connection)
                    .await?;
                if done.rows_affected() == 1 {
                    Ok(())
                } else {
                    Err(Error::NotFound(Resource::Route))
                }
            })
        })
        .await
    }
}

fn json_of(policy: &RoutePolicy) -> Result<String> {
    serde_json::to_string(policy).map_err(|error| Error::from(sqlx::Error::Encode(error.into())))
}

async fn check_script(
    connection: &mut AnyConnection,
    script_id: &ScriptId,
    app_id: &AppId,
) -> Result<()> {
    let script = sqlx::query("SELECT 1 FROM scripts WHERE id = $1 AND app_id = $2")
        .bind(script_id)
        .bind(app_id)
        .fetch_optional(connection)
        .await?;
    script.map(drop).ok_or(Error::NotFound(Resource::Script))
}

async fn insert(connection: &mut AnyConnection, route: Route) -> Result<Route> {
    check_script(connection, &route.script_id, &route.app_id).await?;
    let policy = json_of(&route.policy)?;
    if !route.host.is_empty() {
        let is_claimed = domains::is_claimed(connection, &route.app_id, &route.host).await?;
        if !is_claimed {
            return Err(Error::NotFound(Resource::Domain));
        }
    }
    // Queried first, because a violated constraint would not name the other route.
    let same: Option<Route> = sqlx::query_as(
        "SELECT * FROM routes WHERE app_id = $1 AND host = $2 AND method = $3 AND shape = $4",
    )
    .bind(&route.app_id)
    .bind(&route.host)
    .bind(&route.method)
    .bind(&route.shape)
    .fetch_optional(&mut *connection)
    .await?;
    if let Some(same) = same {
        return Err(Error::Conflict(Conflict::Route(Box::new(SameRoute {
            id: same.id,
            method: same.method,
            path: same.path,
        }))));
    }
    sqlx::query_as(
        "INSERT INTO routes (id, app_id, script_id, method, host, path, shape, delivery, policy, \
         created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) RETURNING *",
    )
    .bind(route.id)
    .bind(route.app_id)
    .bind(route.script_id)
    .bind(route.method)
    .bind(route.host)
    .bind(route.path)
    .bind(route.shape)
    .bind(route.delivery.as_str())
    .bind(policy)
    .bind(route.created_at)
    .fetch_one(connection)
    .await
    // Another node can have inserted the same route, or deleted the script, first.
    .map_err(|error| {
        Error::from(error).on_unique(Conflict::Concurrent).on_foreign_key(Resource::Script)
    })
}

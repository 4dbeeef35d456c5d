//! Routes: a method and a path pattern that lead to a script.
//!
//! Invariant: a route leads to a script of its own app, and stands under a
//! domain only while the app has claimed it.

use sqlx::{AnyConnection, FromRow};

use super::writer::Touches;
use super::{
    AppId, Conflict, Delivery, Error, Page, Resource, Result, RouteId, ScriptId, Store, text,
};

/// A route as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct Route {
    /// Its id.
    pub id: RouteId,
    /// The app that it belongs to.
    pub app_id: AppId,
    /// The script that it leads to.
    pub script_id: ScriptId,
    /// `*`, or a method in upper case.
    pub method: String,
    /// Empty under `/x/{app}`, else a domain that the app has claimed.
    pub host: String,
    /// The path pattern, as its author wrote it.
    pub path: String,
    /// The pattern without its parameters' names. Two routes of one app, host
    /// and method with the same shape answer the same requests.
    pub shape: String,
    /// How a request is served.
    #[sqlx(try_from = "String")]
    pub delivery: Delivery,
    /// When it was made, µs.
    pub created_at: i64,
}

impl Store {
    /// Makes a route. Errors: `NotFound(Script)` and `NotFound(Domain)`, also if
    /// they are another app's; `Conflict(Route)` with the route that answers the
    /// same requests; `Invalid`.
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

    /// Errors: `NotFound(Route)`.
    pub async fn find_route(&self, id: &RouteId) -> Result<Route> {
        sqlx::query_as("SELECT * FROM routes WHERE id = $1")
            .bind(id)
            .fetch_optional(self.reads())
            .await?
            .ok_or(Error::NotFound(Resource::Route))
    }

    /// The app's routes, newest first.
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

async fn insert(connection: &mut AnyConnection, route: Route) -> Result<Route> {
    let script = sqlx::query("SELECT 1 FROM scripts WHERE id = $1 AND app_id = $2")
        .bind(&route.script_id)
        .bind(&route.app_id)
        .fetch_optional(&mut *connection)
        .await?;
    if script.is_none() {
        return Err(Error::NotFound(Resource::Script));
    }
    if !route.host.is_empty() {
        let domain = sqlx::query("SELECT 1 FROM domains WHERE host = $1 AND app_id = $2")
            .bind(&route.host)
            .bind(&route.app_id)
            .fetch_optional(&mut *connection)
            .await?;
        if domain.is_none() {
            return Err(Error::NotFound(Resource::Domain));
        }
    }
    // Asked first, because a violated constraint would not say which route it was.
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
        return Err(Error::Conflict(Conflict::Route(Box::new(same))));
    }
    sqlx::query_as(
        "INSERT INTO routes (id, app_id, script_id, method, host, path, shape, delivery, created_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) RETURNING *",
    )
    .bind(route.id)
    .bind(route.app_id)
    .bind(route.script_id)
    .bind(route.method)
    .bind(route.host)
    .bind(route.path)
    .bind(route.shape)
    .bind(route.delivery.as_str())
    .bind(route.created_at)
    .fetch_one(connection)
    .await
    // Another node may have been faster, with the route or with deleting the script.
    .map_err(|error| {
        Error::from(error).on_unique(Conflict::Concurrent).on_foreign_key(Resource::Script)
    })
}

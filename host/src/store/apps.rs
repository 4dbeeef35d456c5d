//! Apps: the namespaces of scripts, routes and domains.

use sqlx::{AssertSqlSafe, FromRow};

use super::signals::Touches;
use super::{
    AppId, Conflict, Error, IngressPolicy, Page, Resource, Result, Store, UserId, remains, text,
};

/// A stored app.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct App {
    /// The id.
    pub id: AppId,
    /// Its name, unique in the instance.
    pub name: String,
    /// A description by its author.
    pub description: String,
    /// When it was created, µs.
    pub created_at: i64,
    /// When it was last changed, µs.
    pub updated_at: i64,
}

/// A new app.
#[derive(Debug, Clone)]
pub struct NewApp {
    /// The id.
    pub id: AppId,
    /// Its name, at most 256 bytes.
    pub name: String,
    /// A description by its author.
    pub description: String,
    /// The current time, µs.
    pub created_at: i64,
}

/// A change to an app; a `None` field stays unchanged.
#[derive(Debug, Clone, Default)]
pub struct AppChange {
    /// The new name.
    pub name: Option<String>,
    /// The new description.
    pub description: Option<String>,
    /// The current time, µs.
    pub updated_at: i64,
}

impl Store {
    /// Inserts an app. Errors: `Conflict(AppName)`, `Invalid`.
    pub async fn insert_app(&self, app: NewApp) -> Result<App> {
        text::check("name", &app.name, text::NAME_BYTES_MAX)?;
        text::check("description", &app.description, text::UNLIMITED)?;
        self.write(Touches::Definitions, move |connection| {
            Box::pin(async move {
                sqlx::query_as(
                    "INSERT INTO apps (id, name, description, created_at, updated_at) \
                     VALUES ($1, $2, $3, $4, $4) RETURNING *",
                )
                .bind(app.id)
                .bind(app.name)
                .bind(app.description)
                .bind(app.created_at)
                .fetch_one(connection)
                .await
                .map_err(|error| Error::from(error).on_unique(Conflict::AppName))
            })
        })
        .await
    }

    /// Returns the app with this id. Errors: `NotFound(App)`.
    pub async fn find_app(&self, id: &AppId) -> Result<App> {
        sqlx::query_as("SELECT * FROM apps WHERE id = $1 AND deleted_at IS NULL")
            .bind(id)
            .fetch_optional(self.reads())
            .await?
            .ok_or(Error::NotFound(Resource::App))
    }

    /// Returns the app with this name. Errors: `NotFound(App)`.
    pub async fn find_app_by_name(&self, name: &str) -> Result<App> {
        text::check_sought(Resource::App, name)?;
        sqlx::query_as("SELECT * FROM apps WHERE name = $1 AND deleted_at IS NULL")
            .bind(name)
            .fetch_optional(self.reads())
            .await?
            .ok_or(Error::NotFound(Resource::App))
    }

    /// Lists all apps, newest first.
    pub async fn list_apps(&self, page: Page) -> Result<Vec<App>> {
        let apps = sqlx::query_as(
            "SELECT * FROM apps WHERE deleted_at IS NULL \
             ORDER BY created_at DESC, id DESC LIMIT $1 OFFSET $2",
        )
        .bind(page.limit)
        .bind(page.offset)
        .fetch_all(self.reads())
        .await?;
        Ok(apps)
    }

    /// Lists the apps a user is a member of, newest first.
    pub async fn list_apps_of(&self, user_id: &UserId, page: Page) -> Result<Vec<App>> {
        let apps = sqlx::query_as(
            "SELECT a.* FROM apps a JOIN members m ON m.app_id = a.id WHERE m.user_id = $1 \
             AND a.deleted_at IS NULL ORDER BY a.created_at DESC, a.id DESC LIMIT $2 OFFSET $3",
        )
        .bind(user_id)
        .bind(page.limit)
        .bind(page.offset)
        .fetch_all(self.reads())
        .await?;
        Ok(apps)
    }

    /// Changes an app. Errors: `NotFound(App)`, `Conflict(AppName)`, `Invalid`.
    pub async fn update_app(&self, id: &AppId, change: AppChange) -> Result<App> {
        text::check("name", change.name.as_deref().unwrap_or_default(), text::NAME_BYTES_MAX)?;
        text::check(
            "description",
            change.description.as_deref().unwrap_or_default(),
            text::UNLIMITED,
        )?;
        let id = id.clone();
        self.write(Touches::Definitions, move |connection| {
            Box::pin(async move {
                sqlx::query_as(
                    "UPDATE apps SET name = COALESCE($2, name), \
                     description = COALESCE($3, description), updated_at = $4 \
                     WHERE id = $1 AND deleted_at IS NULL RETURNING *",
                )
                .bind(id)
                .bind(change.name)
                .bind(change.description)
                .bind(change.updated_at)
                .fetch_optional(connection)
                .await
                .map_err(|error| Error::from(error).on_unique(Conflict::AppName))?
                .ok_or(Error::NotFound(Resource::App))
            })
        })
        .await
    }

    /// Returns the app's requirements for every request. Errors: `NotFound(App)`.
    pub async fn find_ingress(&self, id: &AppId) -> Result<IngressPolicy> {
        let query = "SELECT ingress FROM apps WHERE id = $1 AND deleted_at IS NULL";
        let json: Option<String> =
            sqlx::query_scalar(query).bind(id).fetch_optional(self.reads()).await?;
        Ok(json.ok_or(Error::NotFound(Resource::App))?.into())
    }

    /// Replaces the app's ingress policy. Errors: `NotFound(App)`.
    pub async fn update_ingress(&self, id: &AppId, policy: &IngressPolicy, at: i64) -> Result<()> {
        let id = id.clone();
        // The default policy is stored as `{}`, which costs a request nothing.
        let json = if *policy == IngressPolicy::default() {
            "{}".to_owned()
        } else {
            serde_json::to_string(policy)
                .map_err(|error| Error::from(sqlx::Error::Encode(error.into())))?
        };
        self.write(Touches::Definitions, move |connection| {
            Box::pin(async move {
                let done = sqlx::query(
                    "UPDATE apps SET ingress = $2, updated_at = $3 \
                     WHERE id = $1 AND deleted_at IS NULL",
                )
                .bind(id)
                .bind(json)
                .bind(at)
                .execute(connection)
                .await?;
                if done.rows_affected() == 1 { Ok(()) } else { Err(Error::NotFound(Resource::App)) }
            })
        })
        .await
    }

    /// Deletes an app with its domains, scripts and routes. Its executions stay until retention
    /// deletes them; [`Store::remove_remains`] deletes the rest in parts.
    /// Errors: `NotFound(App)`.
    pub async fn delete_app(&self, id: &AppId) -> Result<()> {
        let (id, dialect) = (id.clone(), self.inner.dialect);
        self.write(Touches::Definitions, move |connection| {
            Box::pin(async move {
                let now = AssertSqlSafe(format!("SELECT {}", dialect.now()));
                let now: i64 = sqlx::query_scalar(now).fetch_one(&mut *connection).await?;
                let note = "INSERT INTO deleted_apps (id, name, deleted_at) \
                     SELECT id, name, $2 FROM apps WHERE id = $1 AND deleted_at IS NULL";
                sqlx::query(note).bind(&id).bind(now).execute(&mut *connection).await?;
                if remains::delete(connection, &id, now).await? {
                    Ok(())
                } else {
                    Err(Error::NotFound(Resource::App))
                }
            })
        })
        .await
    }
}

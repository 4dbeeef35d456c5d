//! Apps: the spaces in which scripts, routes and domains live.

use sqlx::{AssertSqlSafe, FromRow};

use super::signals::Touches;
use super::{
    AppId, Conflict, Error, IngressPolicy, Page, Resource, Result, Store, UserId, remains, text,
};

/// An app as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct App {
    /// Its id.
    pub id: AppId,
    /// Its name, unique in the instance.
    pub name: String,
    /// What its author says about it.
    pub description: String,
    /// When it was made, µs.
    pub created_at: i64,
    /// When it was last changed, µs.
    pub updated_at: i64,
}

/// An app to be made.
#[derive(Debug, Clone)]
pub struct NewApp {
    /// Its id.
    pub id: AppId,
    /// Its name, at most 256 bytes.
    pub name: String,
    /// What its author says about it.
    pub description: String,
    /// Now, µs.
    pub created_at: i64,
}

/// What to change; `None` leaves it.
#[derive(Debug, Clone, Default)]
pub struct AppChange {
    /// The new name.
    pub name: Option<String>,
    /// The new description.
    pub description: Option<String>,
    /// Now, µs.
    pub updated_at: i64,
}

impl Store {
    /// Makes an app. Errors: `Conflict(AppName)`, `Invalid`.
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

    /// Errors: `NotFound(App)`.
    pub async fn find_app(&self, id: &AppId) -> Result<App> {
        sqlx::query_as("SELECT * FROM apps WHERE id = $1 AND deleted_at IS NULL")
            .bind(id)
            .fetch_optional(self.reads())
            .await?
            .ok_or(Error::NotFound(Resource::App))
    }

    /// Errors: `NotFound(App)`.
    pub async fn find_app_by_name(&self, name: &str) -> Result<App> {
        text::check_sought(Resource::App, name)?;
        sqlx::query_as("SELECT * FROM apps WHERE name = $1 AND deleted_at IS NULL")
            .bind(name)
            .fetch_optional(self.reads())
            .await?
            .ok_or(Error::NotFound(Resource::App))
    }

    /// All apps, newest first.
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

    /// The apps that a user is a member of, newest first.
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

    /// What the app asks of every request. Errors: `NotFound(App)`.
    pub async fn find_ingress(&self, id: &AppId) -> Result<IngressPolicy> {
        let query = "SELECT ingress FROM apps WHERE id = $1 AND deleted_at IS NULL";
        let json: Option<String> =
            sqlx::query_scalar(query).bind(id).fetch_optional(self.reads()).await?;
        Ok(json.ok_or(Error::NotFound(Resource::App))?.into())
    }

    /// Puts another policy in the place of the app's. Errors: `NotFound(App)`.
    pub async fn update_ingress(&self, id: &AppId, policy: &IngressPolicy, at: i64) -> Result<()> {
        let id = id.clone();
        // An app that asks for nothing costs a request nothing.
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
    /// takes them; the rest is removed in parts by [`Store::remove_remains`].
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

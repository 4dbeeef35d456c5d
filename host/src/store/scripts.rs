//! Scripts and their versions. A version is never changed; the column `scripts.version` selects the
//! deployed one.
//!
//! Invariant: a version number is never reused for another source.

mod versions;

pub use versions::{NewSource, ScriptSource, ScriptVersion};

use sqlx::{AnyConnection, AssertSqlSafe, FromRow};

use versions::{check_source, insert_version, running_version};

use super::signals::Touches;
use super::{AppId, Conflict, Error, Page, Reads, Resource, Result, ScriptId, Store, text};

/// A stored script, without its source.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct Script {
    /// The id.
    pub id: ScriptId,
    /// The app it belongs to.
    pub app_id: AppId,
    /// The name, unique in the app.
    pub name: String,
    /// A description by its author.
    pub description: String,
    /// The deployed version.
    pub version: i64,
    /// The limits of a run.
    #[sqlx(flatten)]
    pub limits: ScriptLimits,
    /// When its own endpoint was closed, µs; `None` while it is open.
    pub endpoint_closed_at: Option<i64>,
    /// When it was created, µs.
    pub created_at: i64,
    /// When it was last changed, µs.
    pub updated_at: i64,
}

/// A script's own limits per run; `None` means the platform's default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, FromRow)]
pub struct ScriptLimits {
    /// Fuel.
    pub fuel_max: Option<i64>,
    /// Memory in bytes.
    pub memory_bytes_max: Option<i64>,
    /// Wall-clock time in milliseconds.
    pub wall_ms_max: Option<i64>,
}

/// A new script, which starts at version 1.
#[derive(Debug, Clone)]
pub struct NewScript {
    /// The id.
    pub id: ScriptId,
    /// The app it belongs to.
    pub app_id: AppId,
    /// The name, at most 256 bytes.
    pub name: String,
    /// A description by its author.
    pub description: String,
    /// The limits of a run.
    pub limits: ScriptLimits,
    /// Whether it responds at its own endpoint.
    pub endpoint_enabled: bool,
    /// The source of version 1.
    pub source: NewSource,
    /// The current time, µs.
    pub created_at: i64,
}

/// A change to a script; a `None` field stays unchanged.
#[derive(Debug, Clone, Default)]
pub struct ScriptChange {
    /// The new name.
    pub name: Option<String>,
    /// The new description.
    pub description: Option<String>,
    /// The new limits, all three.
    pub limits: Option<ScriptLimits>,
    /// Whether it responds at its own endpoint.
    pub endpoint_enabled: Option<bool>,
    /// The source of a new version, which is deployed at once.
    pub source: Option<NewSource>,
    /// The version that must be deployed for the change to happen.
    pub expected_version: Option<i64>,
    /// The current time, µs.
    pub updated_at: i64,
}

impl Store {
    /// Inserts a script and its version 1.
    /// Errors: `Conflict(ScriptName)`, `NotFound(App)`, `Invalid`.
    pub async fn insert_script(&self, script: NewScript) -> Result<Script> {
        text::check("name", &script.name, text::NAME_BYTES_MAX)?;
        text::check("description", &script.description, text::UNLIMITED)?;
        check_source(&script.source)?;
        self.write(Touches::Definitions, move |connection| {
            Box::pin(async move {
                let made: Script = sqlx::query_as(
                    "INSERT INTO scripts (id, app_id, name, description, version, fuel_max, \
                     memory_bytes_max, wall_ms_max, endpoint_closed_at, created_at, updated_at) \
                     VALUES ($1, $2, $3, $4, 1, $5, $6, $7, $9, $8, $8) RETURNING *",
                )
                .bind(&script.id)
                .bind(script.app_id)
                .bind(script.name)
                .bind(script.description)
                .bind(script.limits.fuel_max)
                .bind(script.limits.memory_bytes_max)
                .bind(script.limits.wall_ms_max)
                .bind(script.created_at)
                .bind((!script.endpoint_enabled).then_some(script.created_at))
                .fetch_one(&mut *connection)
                .await
                .map_err(|error| {
                    Error::from(error).on_unique(Conflict::ScriptName).on_foreign_key(Resource::App)
                })?;
                insert_version(connection, &made, script.source).await?;
                Ok(made)
            })
        })
        .await
    }

    /// Returns the script with this id. Errors: `NotFound(Script)`.
    pub async fn find_script(&self, id: &ScriptId) -> Result<Script> {
        sqlx::query_as("SELECT * FROM scripts WHERE id = $1")
            .bind(id)
            .fetch_optional(self.reads())
            .await?
            .ok_or(Error::NotFound(Resource::Script))
    }
}

impl Reads {
    /// Returns the app's script with this name. Errors: `NotFound(Script)`.
    pub async fn find_script_by_name(&self, app_id: &AppId, name: &str) -> Result<Script> {
        text::check_sought(Resource::Script, name)?;
        sqlx::query_as("SELECT * FROM scripts WHERE app_id = $1 AND name = $2")
            .bind(app_id)
            .bind(name)
            .fetch_optional(self.reads())
            .await?
            .ok_or(Error::NotFound(Resource::Script))
    }
}

impl Store {
    /// Lists the app's scripts, newest first.
    pub async fn list_scripts(&self, app_id: &AppId, page: Page) -> Result<Vec<Script>> {
        let scripts = sqlx::query_as(
            "SELECT * FROM scripts WHERE app_id = $1 \
             ORDER BY created_at DESC, id DESC LIMIT $2 OFFSET $3",
        )
        .bind(app_id)
        .bind(page.limit)
        .bind(page.offset)
        .fetch_all(self.reads())
        .await?;
        Ok(scripts)
    }

    /// Changes a script. A new source gets the number after the highest version, even if an older
    /// version is deployed.
    /// Errors: `NotFound(Script)`, `Conflict(ScriptName)`, `Conflict(Version)` if the expected
    /// version is not deployed, `Invalid`.
    pub async fn update_script(&self, id: &ScriptId, change: ScriptChange) -> Result<Script> {
        text::check("name", change.name.as_deref().unwrap_or_default(), text::NAME_BYTES_MAX)?;
        text::check(
            "description",
            change.description.as_deref().unwrap_or_default(),
            text::UNLIMITED,
        )?;
        change.source.as_ref().map_or(Ok(()), check_source)?;
        let id = id.clone();
        self.write(Touches::Definitions, move |connection| {
            Box::pin(async move { update(connection, &id, change).await })
        })
        .await
    }

    /// Deletes a script with its versions and routes. Its executions stay until retention deletes
    /// them. Errors: `NotFound(Script)`.
    pub async fn delete_script(&self, id: &ScriptId) -> Result<()> {
        let (id, dialect) = (id.clone(), self.inner.dialect);
        self.write(Touches::Definitions, move |connection| {
            Box::pin(async move {
                let note = format!(
                    "INSERT INTO deleted_scripts (id, app_id, name, deleted_at) \
                     SELECT id, app_id, name, {} FROM scripts WHERE id = $1",
                    dialect.now()
                );
                let note = sqlx::query(AssertSqlSafe(note)).bind(&id);
                if note.execute(&mut *connection).await?.rows_affected() == 0 {
                    return Err(Error::NotFound(Resource::Script));
                }
                let delete = sqlx::query("DELETE FROM scripts WHERE id = $1").bind(id);
                delete.execute(connection).await?;
                Ok(())
            })
        })
        .await
    }

    /// Returns the last name of a deleted script.
    pub async fn find_deleted_script_name(&self, id: &ScriptId) -> Result<Option<String>> {
        let query = sqlx::query_scalar("SELECT name FROM deleted_scripts WHERE id = $1").bind(id);
        Ok(query.fetch_optional(self.reads()).await?)
    }
}

async fn update(
    connection: &mut AnyConnection,
    id: &ScriptId,
    change: ScriptChange,
) -> Result<Script> {
    let limits = change.limits.unwrap_or_default();
    let updated: Option<Script> = sqlx::query_as(
        "UPDATE scripts SET name = COALESCE($2, name), description = COALESCE($3, description), \
         fuel_max = CASE WHEN $4 = 1 THEN $5 ELSE fuel_max END, \
         memory_bytes_max = CASE WHEN $4 = 1 THEN $6 ELSE memory_bytes_max END, \
         wall_ms_max = CASE WHEN $4 = 1 THEN $7 ELSE wall_ms_max END, \
         version = CASE WHEN $8 = 1 \
           THEN (SELECT MAX(v.version) + 1 FROM script_versions v WHERE v.script_id = $1) \
           ELSE version END, \
         endpoint_closed_at = CASE WHEN $11 = 1 THEN NULL \
           WHEN $11 = 0 THEN COALESCE(endpoint_closed_at, $9) ELSE endpoint_closed_at END, \
         updated_at = $9 \
         WHERE id = $1 AND ($10 IS NULL OR version = $10) RETURNING *",
    )
    .bind(id)
    .bind(change.name)
    .bind(change.description)
    .bind(i64::from(change.limits.is_some()))
    .bind(limits.fuel_max)
    .bind(limits.memory_bytes_max)
    .bind(limits.wall_ms_max)
    .bind(i64::from(change.source.is_some()))
    .bind(change.updated_at)
    .bind(change.expected_version)
    .bind(change.endpoint_enabled.map(i64::from))
    .fetch_optional(&mut *connection)
    .await
    .map_err(|error| Error::from(error).on_unique(Conflict::ScriptName))?;

    let Some(script) = updated else {
        let running = running_version(connection, id).await?;
        return Err(Error::Conflict(Conflict::Version(running)));
    };
    if let Some(source) = change.source {
        insert_version(connection, &script, source).await?;
    }
    Ok(script)
}

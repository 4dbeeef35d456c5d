//! The versions of scripts, and which version is deployed.

use sqlx::{AnyConnection, FromRow};

use super::Script;
use crate::store::signals::Touches;
use crate::store::{Conflict, Error, Page, Reads, Resource, Result, ScriptId, Store, text};

/// A script version, without its source.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct ScriptVersion {
    /// The script.
    pub script_id: ScriptId,
    /// The number, from 1.
    pub version: i64,
    /// The SHA-256 of the source, in hexadecimal.
    pub source_sha256: String,
    /// When it was created, µs.
    pub created_at: i64,
}

/// A script version with its source.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct ScriptSource {
    /// The version.
    #[sqlx(flatten)]
    pub version: ScriptVersion,
    /// The source text.
    pub source: String,
}

/// The source of a new version.
#[derive(Debug, Clone)]
pub struct NewSource {
    /// The source text.
    pub text: String,
    /// The SHA-256 of the text, in hexadecimal.
    pub sha256: String,
}

impl Store {
    /// Deploys an older (or newer) version.
    /// Errors: `NotFound(Script)`, `NotFound(Version)`.
    pub async fn rollback_script(&self, id: &ScriptId, version: i64, at: i64) -> Result<Script> {
        let id = id.clone();
        self.write(Touches::Definitions, move |connection| {
            Box::pin(async move {
                let moved = sqlx::query_as(
                    "UPDATE scripts SET version = $2, updated_at = $3 WHERE id = $1 AND EXISTS \
                     (SELECT 1 FROM script_versions WHERE script_id = $1 AND version = $2) RETURNING *",
                )
                .bind(&id)
                .bind(version)
                .bind(at)
                .fetch_optional(&mut *connection)
                .await?;
                match moved {
                    Some(script) => Ok(script),
                    None => {
                        running_version(connection, &id).await?;
                        Err(Error::NotFound(Resource::Version))
                    }
                }
            })
        })
        .await
    }

    /// Lists the script's versions, newest first, without their sources.
    pub async fn list_script_versions(
        &self,
        id: &ScriptId,
        page: Page,
    ) -> Result<Vec<ScriptVersion>> {
        let versions = sqlx::query_as(
            "SELECT script_id, version, source_sha256, created_at FROM script_versions \
             WHERE script_id = $1 ORDER BY version DESC LIMIT $2 OFFSET $3",
        )
        .bind(id)
        .bind(page.limit)
        .bind(page.offset)
        .fetch_all(self.reads())
        .await?;
        Ok(versions)
    }
}

impl Reads {
    /// Returns a version with its source. Errors: `NotFound(Version)`.
    pub async fn find_script_version(&self, id: &ScriptId, version: i64) -> Result<ScriptSource> {
        sqlx::query_as("SELECT * FROM script_versions WHERE script_id = $1 AND version = $2")
            .bind(id)
            .bind(version)
            .fetch_optional(self.reads())
            .await?
            .ok_or(Error::NotFound(Resource::Version))
    }
}

pub(super) fn check_source(source: &NewSource) -> Result<()> {
    text::check("source", &source.text, text::UNLIMITED)?;
    text::check("source_sha256", &source.sha256, text::UNLIMITED)
}

pub(super) async fn insert_version(
    connection: &mut AnyConnection,
    script: &Script,
    source: NewSource,
) -> Result<()> {
    sqlx::query(
        "INSERT INTO script_versions (script_id, version, source, source_sha256, created_at) \
         VALUES ($1, $2, $3, $4, $5)",
    )
    .bind(&script.id)
    .bind(script.version)
    .bind(source.text)
    .bind(source.sha256)
    .bind(script.updated_at)
    .execute(connection)
    .await
    // Two nodes can have assigned the same number.
    .map_err(|error| Error::from(error).on_unique(Conflict::Concurrent))?;
    Ok(())
}

pub(super) async fn running_version(connection: &mut AnyConnection, id: &ScriptId) -> Result<i64> {
    sqlx::query_scalar("SELECT version FROM scripts WHERE id = $1")
        .bind(id)
        .fetch_optional(connection)
        .await?
        .ok_or(Error::NotFound(Resource::Script))
}

//! The database at one moment, for a copy of it that is made while others use it.
//!
//! Invariant: nothing here creates, migrates or changes the database that is copied: a
//! server of another release may be at work on it.

use std::path::Path;

use sqlx::{AnyConnection, Connection, FromRow};

use super::dialect;
use super::{AppId, DatabaseUrl, Error, Json, Result};

/// A connection that copies the database, or sees it as its copy does.
pub struct Snapshot(AnyConnection);

/// A file of a bucket, as its entry has it.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct StoredFile {
    /// Whose it is.
    pub app_id: AppId,
    /// In which bucket.
    pub bucket: String,
    /// Its path there.
    pub path: String,
    /// What describes its blob.
    pub value: Json,
}

impl Snapshot {
    /// Connects; what is read is what is there now.
    ///
    /// Errors: `Unavailable` if there is no such database or it does not answer.
    pub async fn open(url: &DatabaseUrl) -> Result<Self> {
        sqlx::any::install_default_drivers();
        Ok(Self(dialect::connect_to_copy(url).await?))
    }

    /// Writes all of an SQLite database into the new file `copy`, as of one moment
    /// between call and return. Whoever writes meanwhile is not held up.
    ///
    /// Errors: `Unavailable` if there is no room or such a file already.
    pub async fn copy_into(&mut self, copy: &Path) -> Result<()> {
        let copy = copy
            .to_str()
            .ok_or(Error::Invalid { field: "the path of the copy", reason: "must be UTF-8" })?;
        sqlx::query(dialect::COPY_INTO).bind(copy).execute(&mut self.0).await?;
        Ok(())
    }

    /// Fixes the moment that is seen from now on, on PostgreSQL: its name is for
    /// `pg_dump --snapshot`, and good until this is closed.
    pub async fn export(&mut self) -> Result<String> {
        for statement in dialect::BEGIN_EXPORT {
            sqlx::query(*statement).execute(&mut self.0).await?;
        }
        Ok(sqlx::query_scalar(dialect::EXPORT).fetch_one(&mut self.0).await?)
    }

    /// Whether a PostgreSQL database has no tables yet.
    pub async fn is_empty(&mut self) -> Result<bool> {
        let tables: i64 = sqlx::query_scalar(dialect::COUNT_TABLES).fetch_one(&mut self.0).await?;
        Ok(tables == 0)
    }

    /// Whether it has the table of settings: a database that no server has opened does not.
    pub async fn has_settings(&mut self) -> Result<bool> {
        let query = dialect::settings_table(&self.0);
        Ok(sqlx::query_scalar::<_, i64>(query).fetch_one(&mut self.0).await? > 0)
    }

    /// The setting's value, if it is set.
    pub async fn find_setting(&mut self, name: &str) -> Result<Option<String>> {
        let query = sqlx::query_scalar("SELECT value FROM settings WHERE name = $1").bind(name);
        Ok(query.fetch_optional(&mut self.0).await?)
    }

    /// Whether one of these apps exists.
    pub async fn has_one_of(&mut self, apps: &[AppId]) -> Result<bool> {
        for app in apps {
            let query = sqlx::query("SELECT 1 FROM apps WHERE id = $1").bind(app);
            if query.fetch_optional(&mut self.0).await?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The files of all apps, in some order; those after `after`, at most `limit`.
    pub async fn list_files(
        &mut self,
        after: Option<&StoredFile>,
        limit: i64,
    ) -> Result<Vec<StoredFile>> {
        let query = sqlx::query_as(
            "SELECT app_id, collection AS bucket, name AS path, value FROM entries \
             WHERE space = 'files' AND (app_id, collection, name) > ($1, $2, $3) \
             ORDER BY app_id, collection, name LIMIT $4",
        );
        let rows = query
            .bind(after.map_or("", |file| file.app_id.as_str()))
            .bind(after.map_or("", |file| &file.bucket))
            .bind(after.map_or("", |file| &file.path))
            .bind(limit)
            .fetch_all(&mut self.0)
            .await?;
        Ok(rows)
    }

    /// Ends it.
    pub async fn close(self) -> Result<()> {
        Ok(self.0.close().await?)
    }
}

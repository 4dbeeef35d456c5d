//! The database at one moment, for a copy made while others use it.
//!
//! Invariant: nothing here creates, migrates or changes the copied database: a server of another
//! release can be using it.

use std::path::Path;

use sqlx::{AnyConnection, Connection, FromRow};

use super::dialect;
use super::{AppId, DatabaseUrl, Error, Json, Result};

/// A connection that copies the database, or sees the same moment as its copy.
pub struct Snapshot(AnyConnection);

/// A file of a bucket, as stored in its entry.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct StoredFile {
    /// The app it belongs to.
    pub app_id: AppId,
    /// The bucket.
    pub bucket: String,
    /// The path in the bucket.
    pub path: String,
    /// The description of its blob.
    pub value: Json,
}

impl Snapshot {
    /// Connects. Reads see the current state.
    ///
    /// Errors: `Unavailable` if the database does not exist or does not answer.
    pub async fn open(url: &DatabaseUrl) -> Result<Self> {
        sqlx::any::install_default_drivers();
        Ok(Self(dialect::connect_to_copy(url).await?))
    }

    /// Writes a whole SQLite database into the new file `copy`, as of one moment between call and
    /// return. Does not block writers.
    ///
    /// Errors: `Unavailable` if the disk is full or the file exists.
    pub async fn copy_into(&mut self, copy: &Path) -> Result<()> {
        let copy = copy
            .to_str()
            .ok_or(Error::Invalid { field: "the path of the copy", reason: "must be UTF-8" })?;
        sqlx::query(dialect::COPY_INTO).bind(copy).execute(&mut self.0).await?;
        Ok(())
    }

    /// Fixes the moment of later reads, on PostgreSQL. Returns its name for `pg_dump --snapshot`,
    /// which is valid until this is closed.
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

    /// Whether the table of settings exists. It is missing if no server has opened the database.
    pub async fn has_settings(&mut self) -> Result<bool> {
        let query = dialect::settings_table(&self.0);
        Ok(sqlx::query_scalar::<_, i64>(query).fetch_one(&mut self.0).await? > 0)
    }

    /// Returns the setting's value, if it is set.
    pub async fn find_setting(&mut self, name: &str) -> Result<Option<String>> {
        let query = sqlx::query_scalar("SELECT value FROM settings WHERE name = $1").bind(name);
        Ok(query.fetch_optional(&mut self.0).await?)
    }

    /// Whether any of these apps exists.
    pub async fn has_one_of(&mut self, apps: &[AppId]) -> Result<bool> {
        for app in apps {
            let query = sqlx::query("SELECT 1 FROM apps WHERE id = $1").bind(app);
            if query.fetch_optional(&mut self.0).await?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Lists at most `limit` files of all apps, after `after`, in a fixed order.
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

    /// Closes the connection.
    pub async fn close(self) -> Result<()> {
        Ok(self.0.close().await?)
    }
}

//! Tracks which file contents can be removed from the data folder.
//!
//! ```text
//!  described by a file ──overwritten, deleted──▶ freed ──after a while──▶ removed
//!  never described (run not committed) ──seen──▶ orphan ──seen a day later──▶ removed
//! ```

use std::collections::HashSet;

use serde::Deserialize;
use sqlx::{AnyConnection, AssertSqlSafe, FromRow};

use super::dialect::Dialect;
use super::signals::Touches;
use super::{AppId, Json, Result, Store, bulk};

/// The contents of an overwritten or deleted file.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct FreedBlob {
    /// The app.
    pub app_id: AppId,
    /// The name of the blob.
    pub blob: String,
    /// The size in bytes.
    pub size_bytes: i64,
}

impl FreedBlob {
    /// The contents described by a file's entry.
    pub(super) fn of_file(app_id: &AppId, value: &Json) -> Option<Self> {
        let Contents { blob, size_bytes } = value.to().ok()?;
        Some(Self { app_id: app_id.clone(), blob, size_bytes })
    }
}

/// The contents described by a file's entry: only the fields needed to find them.
#[derive(Deserialize)]
pub(super) struct Contents {
    blob: String,
    pub(super) size_bytes: i64,
}

/// Records contents that a commit frees, inside its transaction.
pub(super) async fn free(
    connection: &mut AnyConnection,
    dialect: Dialect,
    freed: &[FreedBlob],
) -> Result<()> {
    let rows: Vec<_> = freed.iter().map(|it| (&it.app_id, &it.blob, it.size_bytes)).collect();
    let insert = format!(
        "INSERT INTO freed_blobs (app_id, blob, size_bytes, freed_at) \
         SELECT r.value->>0, r.value->>1, CAST(r.value->>2 AS BIGINT), {} FROM {} WHERE true \
         ON CONFLICT (app_id, blob) DO NOTHING",
        dialect.now(),
        dialect.rows()
    );
    bulk::run(connection, insert, &rows).await?;
    Ok(())
}

impl Store {
    /// Lists contents that were freed at least `age_us` microseconds ago, oldest first.
    pub async fn list_freed_blobs(&self, age_us: i64, limit: i64) -> Result<Vec<FreedBlob>> {
        let query = format!(
            "SELECT app_id, blob, size_bytes FROM freed_blobs WHERE freed_at <= {} - $1 \
             ORDER BY freed_at LIMIT $2",
            self.inner.dialect.now()
        );
        let query = sqlx::query_as(AssertSqlSafe(query)).bind(age_us).bind(limit);
        Ok(query.fetch_all(self.reads()).await?)
    }

    /// Returns the microseconds until the oldest freed contents reach the age `age_us`: 0 if they
    /// already have, `None` if no contents are freed.
    pub async fn next_freed_blob_in(&self, age_us: i64) -> Result<Option<i64>> {
        let query =
            format!("SELECT MIN(freed_at) + $1 - {} FROM freed_blobs", self.inner.dialect.now());
        let next: Option<i64> =
            sqlx::query_scalar(AssertSqlSafe(query)).bind(age_us).fetch_one(self.reads()).await?;
        Ok(next.map(|us| us.max(0)))
    }

    /// Returns the number of freed bytes that are not yet removed.
    pub async fn freed_bytes(&self) -> Result<i64> {
        let query = "SELECT CAST(COALESCE(SUM(size_bytes), 0) AS BIGINT) FROM freed_blobs";
        Ok(sqlx::query_scalar(query).fetch_one(self.reads()).await?)
    }

    /// Deletes the records of freed contents that were removed.
    pub async fn forget_freed_blobs(&self, removed: Vec<FreedBlob>) -> Result<()> {
        let dialect = self.inner.dialect;
        self.write(Touches::Records, move |connection| {
            Box::pin(async move {
                let rows: Vec<_> = removed.iter().map(|it| (&it.app_id, &it.blob)).collect();
                let delete = format!(
                    "DELETE FROM freed_blobs WHERE (app_id, blob) IN \
                     (SELECT r.value->>0, r.value->>1 FROM {})",
                    dialect.rows()
                );
                bulk::run(connection, delete, &rows).await?;
                Ok(())
            })
        })
        .await
    }

    /// Records that no file of the app describes these `blobs`. Returns those recorded at least
    /// `age_us` microseconds ago, and deletes the app's records of all other blobs.
    pub async fn note_orphan_blobs(
        &self,
        app_id: &AppId,
        blobs: Vec<String>,
        age_us: i64,
    ) -> Result<HashSet<String>> {
        let (dialect, app_id) = (self.inner.dialect, app_id.clone());
        self.write(Touches::Records, move |connection| {
            Box::pin(async move {
                let rows: Vec<_> = blobs.iter().map(|blob| (blob,)).collect();
                let rows = bulk::json(&rows)?;
                let forget = format!(
                    "DELETE FROM orphan_blobs WHERE app_id = $2 \
                     AND blob NOT IN (SELECT r.value->>0 FROM {})",
                    dialect.rows()
                );
                let forget = sqlx::query(AssertSqlSafe(forget)).bind(&rows).bind(&app_id);
                forget.execute(&mut *connection).await?;
                let note = format!(
                    "INSERT INTO orphan_blobs (app_id, blob, seen_at) SELECT $2, r.value->>0, {} \
                     FROM {} WHERE true ON CONFLICT (app_id, blob) DO NOTHING",
                    dialect.now(),
                    dialect.rows()
                );
                let note = sqlx::query(AssertSqlSafe(note)).bind(&rows).bind(&app_id);
                note.execute(&mut *connection).await?;
                let old = format!(
                    "SELECT blob FROM orphan_blobs WHERE app_id = $1 AND seen_at <= {} - $2",
                    dialect.now()
                );
                let old: Vec<String> = sqlx::query_scalar(AssertSqlSafe(old))
                    .bind(&app_id)
                    .bind(age_us)
                    .fetch_all(connection)
                    .await?;
                Ok(old.into_iter().collect())
            })
        })
        .await
    }

    /// Whether an app exists or existed here. Only then do its contents belong to this database.
    pub async fn knows_app(&self, id: &AppId) -> Result<bool> {
        let query = "SELECT 1 FROM apps WHERE id = $1 \
                     UNION ALL SELECT 1 FROM deleted_apps WHERE id = $1 LIMIT 1";
        Ok(sqlx::query(query).bind(id).fetch_optional(self.reads()).await?.is_some())
    }
}

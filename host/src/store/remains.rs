//! Deletes the remaining rows of deleted apps.
//!
//! ```text
//!  app ──delete──▶ deleted: its name is free, its definitions are deleted, nothing of it runs
//!                     │ its rows are deleted, a part at a time
//!                     ▼
//!                  removed
//! ```
//!
//! An app can have millions of rows. Deleting them with one statement would block every other
//! write.
//!
//! Invariant: no statement here deletes more than [`PART_ROWS`] rows.

use sqlx::{AnyConnection, AssertSqlSafe};

use super::dialect::Dialect;
use super::signals::Touches;
use super::{AppId, FreedBlob, Json, Result, Space, Store, blobs};

/// The maximum number of rows that one statement deletes.
const PART_ROWS: u64 = 500;

/// A condition for rows of apps that are not deleted.
pub(super) const OF_AN_APP: &str =
    "app_id NOT IN (SELECT id FROM apps WHERE deleted_at IS NOT NULL)";

/// The tables that grow with an app's use, with their keys. Entries precede their collections.
/// Files are entries.
const TABLES: [(&str, &str); 5] = [
    ("outbox", "id"),
    ("dead_letters", "id"),
    ("idempotency_keys", "app_id, scope, idempotency_key"),
    ("entries", "app_id, space, collection, name"),
    ("collections", "app_id, space, name"),
];

/// The tables of an app's definitions; they are small and deleted at once.
const DEFINITIONS: [&str; 9] = [
    "triggers",
    "routes",
    "scripts",
    "domains",
    "members",
    "api_keys",
    "secrets",
    "outbound",
    "app_secrets",
];

/// Marks an app as deleted, inside a transaction.
pub(super) async fn delete(connection: &mut AnyConnection, id: &AppId, now: i64) -> Result<bool> {
    // No other app has an id as its name.
    let delete = "UPDATE apps SET name = id, deleted_at = $2 WHERE id = $1 AND deleted_at IS NULL";
    let deleted = sqlx::query(delete).bind(id).bind(now).execute(&mut *connection).await?;
    if deleted.rows_affected() == 0 {
        return Ok(false);
    }
    for table in DEFINITIONS {
        let delete = AssertSqlSafe(format!("DELETE FROM {table} WHERE app_id = $1"));
        sqlx::query(delete).bind(id).execute(&mut *connection).await?;
    }
    Ok(true)
}

impl Store {
    /// Deletes some of the remaining rows of deleted apps. Returns whether there are more.
    ///
    /// # Errors
    /// Errors of the database; nothing was deleted then.
    pub async fn remove_remains(&self) -> Result<bool> {
        let query = "SELECT id FROM apps WHERE deleted_at IS NOT NULL ORDER BY deleted_at LIMIT 1";
        let app: Option<AppId> = sqlx::query_scalar(query).fetch_optional(self.reads()).await?;
        let Some(app) = app else { return Ok(false) };
        let dialect = self.inner.dialect;
        let frees_blobs = self
            .write(Touches::Records, move |connection| {
                Box::pin(async move { remove_part(connection, dialect, &app).await })
            })
            .await?;
        if frees_blobs {
            self.inner.signals.tell_freed();
        }
        Ok(true)
    }
}

/// Deletes rows of the first table that has any, otherwise the app. Returns whether file contents
/// were freed.
async fn remove_part(
    connection: &mut AnyConnection,
    dialect: Dialect,
    app: &AppId,
) -> Result<bool> {
    for (table, key) in TABLES {
        let delete = format!(
            "DELETE FROM {table} WHERE ({key}) IN (SELECT {key} FROM {table} \
             WHERE app_id = $1 LIMIT {PART_ROWS}{})",
            dialect.skip_locked()
        );
        if table == "entries" {
            let delete = AssertSqlSafe(format!("{delete} RETURNING space, value"));
            let removed: Vec<(String, Json)> =
                sqlx::query_as(delete).bind(app).fetch_all(&mut *connection).await?;
            let files = removed.iter().filter(|(space, _)| space == Space::Files.as_str());
            let freed: Vec<_> =
                files.filter_map(|(_, value)| FreedBlob::of_file(app, value)).collect();
            blobs::free(connection, dialect, &freed).await?;
            if !removed.is_empty() {
                return Ok(!freed.is_empty());
            }
        } else {
            let delete = sqlx::query(AssertSqlSafe(delete)).bind(app);
            if delete.execute(&mut *connection).await?.rows_affected() > 0 {
                return Ok(false);
            }
        }
    }
    // Rows that a run has added in the meantime are deleted with the app.
    sqlx::query("DELETE FROM apps WHERE id = $1").bind(app).execute(connection).await?;
    Ok(false)
}

//! Figures about the stored data, for operators.

use std::collections::HashMap;

use sqlx::{AssertSqlSafe, FromRow};

use super::dialect::{Node, node};
use super::outbox::facts_query;
use super::{COUNTED_MAX, Result, Store};

/// The tables that grow with use, fastest first.
const TABLES: [&str; 10] = [
    "executions",
    "execution_blocks",
    "outbox",
    "entries",
    "dead_letters",
    "abandoned_executions",
    "idempotency_keys",
    "script_versions",
    "sessions",
    "audit",
];

/// The maximum size of an SQLite database whose tables are measured, in bytes. Measuring reads
/// every page, each time the instance's page is refreshed.
const MEASURED_BYTES_MAX: i64 = 256 << 20;

/// The kind, version and size of the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabaseFacts {
    /// `sqlite` or `postgres`.
    pub kind: &'static str,
    /// The version of the database software.
    pub version: String,
    /// The size on disk.
    pub size_bytes: i64,
}

/// The size of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableFacts {
    /// The name.
    pub name: &'static str,
    /// The number of rows: exact up to [`COUNTED_MAX`], estimated beyond.
    pub rows: i64,
    /// The size with indexes; `None` on SQLite for a database of more than 256 MiB.
    pub size_bytes: Option<i64>,
}

/// The events in the outboxes of all apps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromRow)]
pub struct OutboxFacts {
    /// The number of pending events, at most [`COUNTED_MAX`].
    pub waiting: i64,
    /// The number of running events, at most [`COUNTED_MAX`].
    pub running: i64,
    /// The due time of the oldest due event, by the database's clock, µs.
    pub oldest_due_at: Option<i64>,
    /// When this was read, by the database's clock, µs.
    pub read_at: i64,
}

/// The dead letters of an app.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct AppDeadLetters {
    /// The app's name.
    pub app: String,
    /// The number of unresolved dead letters, at most 1,000.
    pub count: i64,
}

/// The maximum number of dead letters counted per app.
const COUNTED_BY_APP_MAX: i64 = 1_000;

impl Store {
    /// Returns the kind, version and size of the database.
    pub async fn database_facts(&self) -> Result<DatabaseFacts> {
        let dialect = self.inner.dialect;
        let (version, size_bytes) = sqlx::query_as(dialect.facts()).fetch_one(self.reads()).await?;
        Ok(DatabaseFacts { kind: dialect.name(), version, size_bytes })
    }

    /// Lists the connected nodes, first connected first; empty on SQLite, which has only this
    /// process.
    pub async fn list_nodes(&self) -> Result<Vec<Node>> {
        let Some(query) = self.inner.dialect.nodes() else { return Ok(Vec::new()) };
        let rows: Vec<(String, i64)> = sqlx::query_as(query).fetch_all(self.reads()).await?;
        Ok(rows.into_iter().filter_map(node).collect())
    }

    /// Returns the sizes of the tables that grow with use.
    pub async fn table_facts(&self) -> Result<Vec<TableFacts>> {
        let mut facts = Vec::with_capacity(TABLES.len());
        let sizes = self.tree_sizes().await?;
        for name in TABLES {
            let size = self.inner.dialect.size_of(name);
            let estimate = self.inner.dialect.estimated_rows(name);
            let query = format!(
                "SELECT counted, CASE WHEN counted < {COUNTED_MAX} THEN 0 ELSE {estimate} END, \
                 {size} FROM (SELECT COUNT(*) AS counted FROM \
                 (SELECT 1 FROM {name} LIMIT {COUNTED_MAX}) AS c) AS t"
            );
            let (counted, estimated, size_bytes): (i64, i64, Option<i64>) =
                sqlx::query_as(AssertSqlSafe(query)).fetch_one(self.reads()).await?;
            let rows = counted.max(estimated);
            let size_bytes = size_bytes.or_else(|| sizes.get(name).copied());
            facts.push(TableFacts { name, rows, size_bytes });
        }
        Ok(facts)
    }

    /// Returns the size of each table with its indexes, where this requires reading all pages.
    async fn tree_sizes(&self) -> Result<HashMap<String, i64>> {
        let mut sizes = HashMap::new();
        let Some(query) = self.inner.dialect.tree_sizes() else { return Ok(sizes) };
        if self.database_facts().await?.size_bytes > MEASURED_BYTES_MAX {
            return Ok(sizes);
        }
        let trees: Vec<(String, i64)> = sqlx::query_as(query).fetch_all(self.reads()).await?;
        for (table, bytes) in trees {
            *sizes.entry(table).or_default() += bytes;
        }
        Ok(sizes)
    }

    /// Returns the numbers of events in the outboxes of all apps.
    pub async fn outbox_facts(&self) -> Result<OutboxFacts> {
        Ok(sqlx::query_as(AssertSqlSafe(facts_query(self.inner.dialect)))
            .fetch_one(self.reads())
            .await?)
    }

    /// Returns the number of unresolved dead letters of all apps, at most [`COUNTED_MAX`].
    pub async fn count_unresolved_dead_letters(&self) -> Result<i64> {
        let query = format!(
            "SELECT COUNT(*) FROM (SELECT 1 FROM dead_letters WHERE resolution IS NULL \
             LIMIT {COUNTED_MAX}) AS counted"
        );
        Ok(sqlx::query_scalar(AssertSqlSafe(query)).fetch_one(self.reads()).await?)
    }

    /// Lists at most `limit` apps with unresolved dead letters, oldest app first. Each step finds
    /// the next such app by an index.
    pub async fn list_apps_with_dead_letters(&self, limit: i64) -> Result<Vec<AppDeadLetters>> {
        let query = format!(
            "WITH RECURSIVE open (app_id) AS ( \
                 SELECT MIN(app_id) FROM dead_letters WHERE resolution IS NULL \
                 UNION ALL \
                 SELECT (SELECT MIN(d.app_id) FROM dead_letters d WHERE d.resolution IS NULL \
                     AND d.app_id > open.app_id) FROM open WHERE open.app_id IS NOT NULL) \
             SELECT a.name AS app, (SELECT COUNT(*) FROM (SELECT 1 FROM dead_letters d WHERE d.app_id = o.app_id \
                 AND d.resolution IS NULL LIMIT {COUNTED_BY_APP_MAX}) AS c) AS count \
             FROM (SELECT app_id FROM open WHERE app_id IS NOT NULL LIMIT $1) AS o \
             JOIN apps a ON a.id = o.app_id AND a.deleted_at IS NULL"
        );
        Ok(sqlx::query_as(AssertSqlSafe(query)).bind(limit).fetch_all(self.reads()).await?)
    }
}

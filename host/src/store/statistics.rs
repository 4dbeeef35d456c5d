//! How much is kept, for whoever looks after the instance.

use sqlx::{AssertSqlSafe, FromRow};

use super::dialect::node;
use super::{Result, Store};

/// Rows beyond this number are not counted: counting reads them.
pub const ROWS_COUNTED_MAX: i64 = 1_000_000;

/// The tables that grow with use, in the order of how fast.
const TABLES: [&str; 9] = [
    "executions",
    "outbox",
    "entries",
    "dead_letters",
    "abandoned_executions",
    "idempotency_keys",
    "script_versions",
    "sessions",
    "audit",
];

/// What the database is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabaseFacts {
    /// `sqlite` or `postgres`.
    pub kind: &'static str,
    /// Its own version.
    pub version: String,
    /// What it takes on its disk.
    pub size_bytes: i64,
}

/// A process that is connected to the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its id, new with every start.
    pub id: String,
    /// Its version of PiCloud.
    pub version: String,
    /// Since when it is connected, by the database's time, µs.
    pub connected_at: i64,
}

/// How full a table is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableFacts {
    /// Its name.
    pub name: &'static str,
    /// Its rows, at most [`ROWS_COUNTED_MAX`].
    pub rows: i64,
    /// What it takes with its indexes, where the database knows.
    pub size_bytes: Option<i64>,
}

/// What waits in the outboxes of all apps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromRow)]
pub struct OutboxFacts {
    /// Events that nobody has in hand, at most [`ROWS_COUNTED_MAX`].
    pub waiting: i64,
    /// Events that are in hand.
    pub running: i64,
    /// Since when the oldest one that could begin waits, by the database's time, µs.
    pub oldest_due_at: Option<i64>,
}

impl Store {
    /// What the database is, and how large.
    pub async fn database_facts(&self) -> Result<DatabaseFacts> {
        let dialect = self.inner.dialect;
        let (version, size_bytes) = sqlx::query_as(dialect.facts()).fetch_one(self.reads()).await?;
        Ok(DatabaseFacts { kind: dialect.name(), version, size_bytes })
    }

    /// The nodes that are connected, the first to come first; none on SQLite, which has
    /// this process alone.
    pub async fn list_nodes(&self) -> Result<Vec<Node>> {
        let Some(query) = self.inner.dialect.nodes() else { return Ok(Vec::new()) };
        let rows: Vec<(String, i64)> = sqlx::query_as(query).fetch_all(self.reads()).await?;
        Ok(rows.into_iter().filter_map(node).collect())
    }

    /// How full the tables are that grow with use.
    pub async fn table_facts(&self) -> Result<Vec<TableFacts>> {
        let mut facts = Vec::with_capacity(TABLES.len());
        for name in TABLES {
            let size = self.inner.dialect.size_of(name);
            let query = format!(
                "SELECT COUNT(*), {size} FROM (SELECT 1 FROM {name} LIMIT {ROWS_COUNTED_MAX}) AS t"
            );
            let (rows, size_bytes) =
                sqlx::query_as(AssertSqlSafe(query)).fetch_one(self.reads()).await?;
            facts.push(TableFacts { name, rows, size_bytes });
        }
        Ok(facts)
    }

    /// What waits in the outboxes of all apps.
    pub async fn outbox_facts(&self) -> Result<OutboxFacts> {
        let query = format!(
            "SELECT (SELECT COUNT(*) FROM (SELECT 1 FROM outbox WHERE lease_token IS NULL \
             LIMIT {ROWS_COUNTED_MAX}) AS w) AS waiting, \
             (SELECT COUNT(*) FROM outbox WHERE lease_token IS NOT NULL) AS running, \
             (SELECT MIN(available_at) FROM outbox WHERE lease_token IS NULL \
             AND script_id IS NOT NULL AND available_at <= {}) AS oldest_due_at",
            self.inner.dialect.now()
        );
        Ok(sqlx::query_as(AssertSqlSafe(query)).fetch_one(self.reads()).await?)
    }

    /// How many dead letters of all apps nobody has dealt with.
    pub async fn count_unresolved_dead_letters(&self) -> Result<i64> {
        let query = "SELECT COUNT(*) FROM dead_letters WHERE resolution IS NULL";
        Ok(sqlx::query_scalar(query).fetch_one(self.reads()).await?)
    }
}

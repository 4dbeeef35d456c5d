//! The size of the log, and its limit.

use sqlx::FromRow;

use super::blocks;
use crate::store::signals::Touches;
use crate::store::{Result, Store};

/// The setting of a database from before the log had a limit: `untold`, or `told` once the operator
/// has been told that its log is limited by age only.
pub const BY_AGE_SETTING: &str = "execution_log_by_age";

/// The approximate size of a row without its texts, with its index entries, in bytes.
const ROW_BYTES: i64 = 600;

/// The number of newest rows whose texts are measured.
const MEASURED: i64 = 200;

/// The approximate size of the log, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromRow)]
pub struct LogSize {
    /// Executions without effects, in blocks.
    pub blocks: i64,
    /// The number of the other executions.
    pub rows: i64,
    /// The mean size of one of them.
    pub row_bytes: i64,
}

impl LogSize {
    /// Returns the size of the whole log.
    #[must_use]
    pub fn bytes(&self) -> i64 {
        self.blocks.saturating_add(self.rows.saturating_mul(self.row_bytes))
    }
}

impl Store {
    /// Returns the size of the log. Counts all rows, which takes a second for some millions.
    pub async fn log_size(&self) -> Result<LogSize> {
        let query = format!(
            "SELECT (SELECT CAST(COALESCE(SUM(bytes), 0) AS BIGINT) FROM execution_blocks) AS blocks, \
             (SELECT COUNT(*) FROM executions) AS rows, (SELECT {ROW_BYTES} \
             + CAST(COALESCE(AVG(LENGTH(request) + LENGTH(log) + LENGTH(COALESCE(response, '')) \
             + LENGTH(COALESCE(error, ''))), 0) AS BIGINT) FROM (SELECT request, log, response, error \
             FROM executions ORDER BY finished_at DESC LIMIT {MEASURED}) AS newest) AS row_bytes"
        );
        Ok(sqlx::query_as(sqlx::AssertSqlSafe(query)).fetch_one(self.reads()).await?)
    }

    /// Deletes some of the oldest blocks, as many as have `bytes` or fewer. Returns the number of
    /// executions and of bytes; 0 bytes at the end.
    pub async fn delete_oldest_blocks(&self, bytes: i64) -> Result<(u64, i64)> {
        let dialect = self.inner.dialect;
        self.write(Touches::Records, move |connection| {
            Box::pin(async move { blocks::delete_oldest(connection, dialect, bytes).await })
        })
        .await
    }

    /// Deletes at most `count` of the oldest rows of the log. Returns their number.
    pub async fn delete_oldest_executions(&self, count: i64) -> Result<u64> {
        self.write(Touches::Records, move |connection| {
            Box::pin(async move {
                let statement = "DELETE FROM executions WHERE id IN \
                     (SELECT id FROM executions ORDER BY finished_at LIMIT $1)";
                let done = sqlx::query(statement).bind(count).execute(connection).await?;
                Ok(done.rows_affected())
            })
        })
        .await
    }
}
